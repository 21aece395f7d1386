"""What the fault tests share. Workers are processes of their own: they find the tests' fakes as we do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.disturbed import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _importable_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nobody disturbed."""
    run = Run(tmp_path_factory.mktemp("undisturbed") / "store")
    assert run.wait() == 0, run.said
    return run.store
