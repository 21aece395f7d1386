"""ARCHITECTURE.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:isoloss|dsl|compiler|runtime|tests|examples|docs)/[^`]*)`", TEXT)))
FILES = sorted(set(re.findall(r"`([a-z]+\.(?:npy|npz|json|pt|png))`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", FILES)
def test_every_artefact_is_written_by_a_job(name: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "runtime").rglob("*.py")]
    assert any(f'"{name}"' in text for text in texts)


def test_it_names_paths_and_artefacts() -> None:
    assert len(PATHS) > 15
    assert len(FILES) >= 7


def test_every_kind_of_job_has_its_row() -> None:
    from isoloss.compiler.plan import KINDS

    for kind, row in KINDS.items():
        assert f"| `{kind}` | `{row.spec.__name__}` |" in TEXT


def test_kinds_are_written_down_once() -> None:
    from typing import get_args

    from isoloss.compiler import plan

    assert get_args(plan.Kind) == tuple(plan.KINDS)
    assert get_args(plan.Spec) == tuple(row.spec for row in plan.KINDS.values())


def test_every_folder_of_a_store_is_named() -> None:
    from isoloss.runtime.store.store import _FOLDERS

    for folder in _FOLDERS:
        assert f"      {folder}/" in TEXT
