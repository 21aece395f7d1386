"""Here so that pytest puts tests/ on the path: helpers shared by all rooms (`doc_commands`) import from it.

Options of all rooms."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; explain it in the commit"
    )
