"""`isoloss help`: explain a word of the language or a diagnostic code, from the tables of the checks."""

from __future__ import annotations

import argparse

from isoloss.errors import FINE, WRONG_USAGE, fault

EPILOG = """examples:
  isoloss help            every word and code
  isoloss help pgd        an attack and its settings
  isoloss help grid       a block
  isoloss help U102       a diagnostic, with a wrong and a right example
  isoloss help plan       a command"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "word", nargs="?", metavar="WORD", help="a word of the language, a code, or a command"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is known of a word, or list all words."""
    from difflib import get_close_matches

    from isoloss.cli import COMMANDS, main
    from isoloss.dsl.editor.word_help import explain, overview, words
    from isoloss.dsl.names import nearest

    if arguments.word is None:
        print(overview(), end="")
        return FINE
    text = explain(arguments.word)
    if text is None and arguments.word in COMMANDS:
        return main([arguments.word, "--help"])
    if text is None:
        all_words = (*words(), *COMMANDS)
        close = dict.fromkeys([n for n in [nearest(arguments.word, all_words)] if n])
        close |= dict.fromkeys(get_close_matches(arguments.word, all_words, n=4))
        listed = ", ".join(f"`{word}`" for word in close)
        help = f"close: {listed}" if close else "`isoloss help` lists every word and code"
        raise fault("N113", f"no word or code `{arguments.word}`", help, exit_code=WRONG_USAGE)
    print(text, end="")
    return FINE
