"""Here so that pytest puts tests/ on the path: helpers shared by all rooms (`doc_commands`) import from it.

Options of all rooms."""

from __future__ import annotations

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; explain it in the commit"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Property tests draw the same examples every time, so that `make test` gives everybody one verdict; with
    `--hypothesis-seed=N` others (`make seeds` does that with twenty)."""
    settings.register_profile("same examples", derandomize=True)
    if config.getoption("hypothesis_seed", None) is None:
        settings.load_profile("same examples")
