"""Errors that reach a user as diagnostics and an exit code, never as a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isoloss.dsl.diagnostics.diagnostic import Diagnostic

if TYPE_CHECKING:
    from isoloss.runtime.errors import JobError

# Exit codes.
FINE, WRONG_INPUT, WRONG_USAGE, JOB_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


class UserError(Exception):
    """A mistake of the user's, to be shown and not traced. `exit_code` is one of the constants above."""

    def __init__(self, diagnostics: Iterable[Diagnostic], exit_code: int = WRONG_INPUT) -> None:
        self.diagnostics = tuple(diagnostics)
        self.exit_code = exit_code
        super().__init__("; ".join(d.headline for d in self.diagnostics))


def fault(code: str, headline: str, *help: str, exit_code: int = WRONG_INPUT) -> UserError:
    """One diagnostic without a place in a file, ready to raise."""
    return UserError([Diagnostic(code, headline, help=help)], exit_code)


def as_user_error(error: JobError) -> UserError:
    """The runtime's failure of a whole run, as the command line shows it."""
    return fault(error.code, error.message, *error.help, exit_code=JOB_FAILED if error.code == "R209" else 1)
