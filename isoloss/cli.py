"""The command line: argv -> a command module -> an exit code. The only place where errors become text."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from importlib import import_module

from isoloss.compiler.plan import VERSION
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.errors import INTERRUPTED, WRONG_INPUT, UserError
from isoloss.screens.clean_output import clean_output
from isoloss.screens.diagnostics import show_diagnostics, wants_json

#: command -> what it does; `isoloss/commands/<command>.py` does it.
COMMANDS: dict[str, str] = {
    "check": "parse, resolve, type-check and count the cells of studies",
    "fmt": "lay studies out canonically; comments stay",
    "plan": "compile a study: jobs, costs, choices, answers",
    "explain": "say why a job exists and what its cost is made of",
    "graph": "draw the plan's DAG",
    "diff": "show what changes between two plans or studies",
    "run": "compile and run until nothing is left",
    "status": "show what is done, running and failed",
    "results": "show what was measured, a row per network or group",
    "report": "write one HTML file of figures and tables",
    "calibrate": "measure this machine's speed for the cost model",
    "fit": "fit a law to a table of runs",
    "optimum": "N*, D*, L* for a compute budget under a law",
    "forecast": "loss and accuracy for a compute budget under laws",
    "verify": "recompute a paper's claims",
    "import": "turn a published table of runs into ours",
    "help": "explain a word of the language or a diagnostic code",
}

#: Objects made between two looks for garbage. Start-up makes many that all live on, and a plan a hundred thousand:
#: looking among them is a tenth of `check`.
COLLECT_EVERY = 50_000


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code (errors.py); never lets a traceback reach a user for their mistake."""
    gc.set_threshold(COLLECT_EVERY)
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    parser = _parser(chosen, alone=arguments[:1] == [chosen])
    if chosen is not None and chosen not in COMMANDS:
        parser.error(_unknown_command(chosen))
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    with clean_output(data=wants_json(parsed)):
        return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    try:
        return int(parsed.run(parsed))
    except UserError as error:
        show_diagnostics(error.diagnostics, parsed)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; finished jobs are kept, the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our pipe went away (`isoloss plan … | head`): not a mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        show_diagnostics([_our_bug(error)], parsed)
        return WRONG_INPUT


def _unknown_command(word: str) -> str:
    from isoloss.dsl.names import nearest

    near = nearest(word, COMMANDS)
    close = f"`{near}` is close" if near else f"commands: {', '.join(COMMANDS)}"
    hint = f"; a study is planned with `isoloss plan {word}`" if word.endswith(".study") else ""
    return f"no command `{word}`: {close}{hint}"


def _our_bug(error: Exception) -> Diagnostic:
    """R299 for an exception that no user caused; its traceback goes to a file."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="isoloss-", suffix=".traceback.txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(traceback.format_exc())
    what = str(error).splitlines()[0] if str(error) else "no message"
    return Diagnostic(
        "R299",
        f"internal error: {type(error).__name__}: {what}",
        help=(f"a bug of ours: please report it with {file.name}",),
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's own, given the terminal's width: the module that it would measure it with is slow to import."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """The width of the terminal, as `shutil.get_terminal_size` finds it."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return 80


def _parser(chosen: str | None, alone: bool) -> argparse.ArgumentParser:
    """The parser of all commands; only the chosen command's module is imported. `alone`: the line begins with the
    command, so that help on the others can't be asked for."""
    parser = argparse.ArgumentParser(
        prog="isoloss",
        description="Studies of adversarial robustness: write, plan, run.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    # One command's words are enough once it is named: making them all takes longer than reading a study.
    shown = {chosen: COMMANDS[chosen]} if alone and chosen in COMMANDS else COMMANDS
    for name, summary in shown.items():
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )
        if name == chosen:
            module = import_module(f"isoloss.commands.{name.replace('import', 'import_')}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser
