"""ARCHITECTURE.md names what is there, and the walls it describes hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import networkx as nx
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


ROOMS = ("dsl", "compiler", "runtime", "isoloss")
#: (file, an import that a wall forbids, how the linter names it).
PLANTED = (
    (
        "runtime/disk.py",
        "from isoloss.compiler.cost import flops",
        "isoloss.runtime.disk -> isoloss.compiler.cost",
    ),
    ("runtime/disk.py", "from isoloss.plans import planning", "isoloss.runtime.disk -> isoloss.plans"),
    ("runtime/noise.py", "from isoloss.dsl import names", "isoloss.runtime.noise -> isoloss.dsl"),
    (
        "compiler/rounding.py",
        "from isoloss.plans import planning",
        "isoloss.compiler.rounding -> isoloss.plans",
    ),
    ("dsl/names.py", "from isoloss.errors import UserError", "isoloss.dsl.names -> isoloss.errors"),
    (
        "compiler/plan.py",
        "from isoloss.compiler import rounding",
        "isoloss.compiler.plan -> isoloss.compiler.rounding",
    ),
    ("compiler/plan.py", "from isoloss.dsl import names", "isoloss.compiler.plan -> isoloss.dsl.names"),
    ("compiler/facts/shards.py", "import torch", "isoloss.compiler.facts.shards -> torch"),
    ("dsl/files.py", "import numpy", "isoloss.dsl.files -> numpy"),
)


def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("isoloss", exclude_type_checking_imports=True, cache_dir=None)


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_top_holds_folders_and_a_few_files(room: str) -> None:
    files = [p.name for p in (ROOT / room).glob("*.py") if p.name not in ("__init__.py", "__main__.py")]
    assert len(files) <= (6 if room == "isoloss" else 5), files


def test_no_files_import_each_other_in_a_circle() -> None:
    graph, files = _graph(), nx.DiGraph()
    for importer in graph.modules:
        files.add_edges_from((importer, one) for one in graph.find_modules_directly_imported_by(importer))
    circles = [sorted(circle) for circle in nx.strongly_connected_components(files) if len(circle) > 1]
    assert circles == []


def test_no_two_folders_import_each_other() -> None:
    """Of any two folders or files side by side, whatever their depth, at most one imports from the other."""
    graph, pairs = _graph(), set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            one, other = importer.split("."), imported.split(".")
            shared = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
            if shared is not None:
                pairs.add((".".join(one[: shared + 1]), ".".join(other[: shared + 1])))
    assert [pair for pair in sorted(pairs) if pair[::-1] in pairs] == []


def test_no_room_imports_the_package_itself() -> None:
    """`from isoloss import …` in a room is an import upwards, which the layers can't see."""
    for room in ROOMS[:-1]:
        for path in (ROOT / room).rglob("*.py"):
            assert not re.search(
                r"^\s*(from isoloss import|import isoloss$)", path.read_text(encoding="utf-8"), re.M
            ), path


def test_planted_imports_fail_the_linter(tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(
            ROOT / room, tmp_path / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line, _ in PLANTED:
        path = tmp_path / file
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")
    linter = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as run; run()",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [*linter, "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for _, _, broken in PLANTED:
        assert broken in done.stdout
