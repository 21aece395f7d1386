"""A store that a stranger prepared: commands on it change no file outside it, read none, and never end in a traceback.

500 seeds by hand (ISOLOSS_LONG=1), a few of them in `make test`; a failing seed is an argument of `test_a_seed`."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from isoloss import cli

STUDY = Path(__file__).with_name("tiny.study")
SEEDS = 500 if os.environ.get("ISOLOSS_LONG") else 25
ESCAPE = "\x1b]0;owned\x07\x1b[2Jred\u202eder\x9b31m"


class Watch:
    """What Python opens, lists, renames or removes in one folder. An audit hook can't be taken away: it rests."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        folder = self.folder
        if folder is None or not event.startswith(("open", "os.", "shutil.", "sqlite3.")):
            return
        for argument in arguments:
            if isinstance(argument, str | bytes | os.PathLike):
                self.folder = None
                try:
                    path = os.path.realpath(os.fsdecode(argument))
                except ValueError:
                    path = ""
                self.folder = folder
                # That a link to it is looked at or removed touches nothing.
                if path.startswith(folder) and event not in ("os.remove", "os.rename", "os.link"):
                    self.seen.append(f"{event} {argument!r}")


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store of a simulated study."""
    store = tmp_path_factory.mktemp("sound") / "store"
    truth = ["--executor", "simulate", "--truth", "bartoldson2024.approach3"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert cli.main(["run", str(STUDY), "--store", str(store), "--no-tracking", *truth]) == 0
    return store


# What a stranger does.


def _files(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file() and not path.is_symlink())


def _link(store: Path, canary: Path, luck: random.Random) -> None:
    """In the place of a file or folder, or beside it."""
    place = luck.choice(sorted(store.rglob("*")))
    target = canary / luck.choice(["secret.txt", "folder", "secret.json"])
    if luck.random() < 0.6:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    else:
        parent = place if place.is_dir() else place.parent
        place = parent / luck.choice(
            ["x", ".lock", "0" * 20, "0" * 20 + ".log", "tracking.lock", "report.html", "cache"]
        )
    if not place.exists() and not place.is_symlink():
        place.symlink_to(os.path.relpath(target, place.parent) if luck.random() < 0.5 else target)


def _events(store: Path, canary: Path, luck: random.Random) -> None:
    out = luck.choice(
        [str(canary / "secret.json"), os.path.relpath(canary / "secret.json", store), ESCAPE, "..", "\0"]
    )
    strange = luck.choice([out, None, 1, [out], {"a": out}, 1e300, True, ""])
    kinds: list[dict[str, Any]] = [
        {"event": "job", "state": "started", "job": out, "name": ESCAPE},
        {
            "event": "job",
            "state": "failed",
            "job": "0" * 20,
            "name": ESCAPE,
            "message": ESCAPE,
            "code": ESCAPE,
        },
        {"event": "plan", "study": "x", "name": ESCAPE, "revision": 1, "file": out},
        {"event": "file", "study": "x", "name": "x", "path": out},
        {"event": "metrics", "job": "0" * 20, "points": [["x", 0, 1.0, 1]]},
        {"event": "study", "study": "x", "name": ESCAPE, "state": ESCAPE, "revision": 1},
        {
            "event": "forecast",
            "study": "x",
            "job": "x",
            "answer": ESCAPE,
            "values": {"loss": {"low": 1, "mid": 2}},
        },
        {"event": "score", "study": "x", "job": "x", "quantity": "loss", "measured": {"mid": 1}},
    ]
    with (store / luck.choice(["journal.jsonl", "forecasts.jsonl"])).open("ab") as file:
        for event in luck.sample(kinds, 3):
            if luck.random() < 0.6:
                event[luck.choice(list(event))] = strange
            file.write(orjson.dumps({"time": 1.0, **event}) + b"\n")


def _bend(data: Any, canary: Path, luck: random.Random) -> Any:
    """The same JSON with one value somewhere of another kind."""
    if isinstance(data, dict) and data and luck.random() < 0.9:
        key = luck.choice(sorted(data))
        return {**data, key: _bend(data[key], canary, luck)}
    if isinstance(data, list) and data and luck.random() < 0.9:
        place = luck.randrange(len(data))
        return [*data[:place], _bend(data[place], canary, luck), *data[place + 1 :]]
    out = str(canary / "secret.txt")
    return luck.choice(
        [None, [], {}, "x", ESCAPE, out, -1, 1e300, 2**63, True, [[[]]], {"file": out, "line": 1}]
    )


def _json(store: Path, canary: Path, luck: random.Random) -> None:
    names = ("origin", "isoloss.json")
    places = [path for path in _files(store) if path.suffix == ".json" or path.name in names]
    place = luck.choice(places)
    data = _bend(orjson.loads(place.read_bytes()), canary, luck)
    if place.name == "result.json" and isinstance(data, dict):
        _sign(data)
    place.write_bytes(orjson.dumps(data))


def _sign(data: dict[str, Any]) -> None:
    data.pop("digest", None)
    data["digest"] = hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _artefact(store: Path, canary: Path, luck: random.Random) -> None:
    """A result that counts a file elsewhere among its own, or an archive that expands a thousandfold."""
    result = luck.choice(sorted(store.glob("*/result.json")))
    data = orjson.loads(result.read_bytes())
    secret = (canary / "secret.txt").read_bytes()
    name = luck.choice(
        ["samples.npz", "samples.png", "verdicts.npz", str(canary / "secret.txt"), "../../canary/secret.txt"]
    )
    size, digest = len(secret), hashlib.sha256(secret).hexdigest()
    if "/" not in name:
        with zipfile.ZipFile(result.parent / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for key in ("clean", "attacked", "generated", "nearest"):
                head = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    head, {"descr": "|u1", "fortran_order": False, "shape": (2**27,)}
                )
                archive.writestr(f"{key}.npy", head.getvalue() + bytes(1 << 20))
        content = (result.parent / name).read_bytes()
        size, digest = len(content), hashlib.sha256(content).hexdigest()
    data["artefacts"][name] = [size, digest]
    _sign(data)
    result.write_bytes(orjson.dumps(data))


def _bytes(store: Path, canary: Path, luck: random.Random) -> None:
    place = luck.choice(_files(store))
    content = place.read_bytes()
    cut = luck.randrange(len(content) + 1)
    place.write_bytes(
        luck.choice([b"", content[:cut], luck.randbytes(200), content[:cut] + b"\xff\xfe" + content[cut:]])
    )


def _strange(store: Path, canary: Path, luck: random.Random) -> None:
    """Files where folders should be, pipes, and files in folders that anybody may have named."""
    name = luck.choice(["work", "leases", "tmp", "plans", "logs", "damaged", "cache", "tracking", "slurm"])
    if luck.random() < 0.3:
        shutil.rmtree(store / name, ignore_errors=True)
        (store / name).write_text("x")
    elif luck.random() < 0.3:
        os.mkfifo(store / name / "x") if (store / name).is_dir() else os.mkfifo(store / "x")
    else:
        (store / name).mkdir(exist_ok=True)
        (store / name / luck.choice(["0" * 20, f"{'0' * 20}.1.x", "\x1b[2J", "x.json", ".lock"])).write_text(
            ESCAPE
        )


DEEDS: tuple[Callable[[Path, Path, random.Random], None], ...] = (
    _link, _events, _json, _json, _artefact, _bytes, _strange,
)  # fmt: skip


# What becomes of it.


def _state(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield str(path), path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_seed(
    seed: int, sound: Path, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    luck = random.Random(seed)
    store, canary = tmp_path / "store", tmp_path / "canary"
    shutil.copytree(sound, store)
    (canary / "folder").mkdir(parents=True)
    (canary / "secret.txt").write_text("the secret\n")
    (canary / "secret.json").write_text('{"jobs": [{"id": "the secret"}], "secret": 1}')
    for _ in range(luck.choice([1, 1, 2, 4])):
        # What an earlier deed bent may be nothing that a later one can bend.
        with suppress(ValueError, TypeError, KeyError, IndexError):
            luck.choice(DEEDS)(store, canary, luck)
    before = list(_state(canary))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    commands = [
        ["status", "store"], ["status", "store", "--verify"], ["status", "store", "--json"], ["report", "store"],
        ["results", "store"], ["results", "store", "--csv"],
        ["plan", str(STUDY), "--store", "store"],
        ["run", str(STUDY), "--store", "store", "--no-tracking", "--executor", "simulate",
         "--truth", "bartoldson2024.approach3"],
    ]  # fmt: skip
    for command in luck.sample(commands, 3):
        out, err = io.StringIO(), io.StringIO()
        watch.folder, watch.seen = str(canary), []
        try:
            with redirect_stdout(out), redirect_stderr(err):
                status = cli.main(command)
        finally:
            watch.folder = None
        said = out.getvalue() + err.getvalue()
        told = f"{command}: {said[-1500:]}"
        if "R299" in said:
            told += "".join(path.read_text()[-3000:] for path in tmp_path.glob("isoloss-*.traceback.txt"))
        assert not watch.seen, told
        assert status in (0, 1, 3), told
        assert "R299" not in said, told
        assert "Traceback" not in said, told
        assert "--json" in command or not set(said) & set("\x1b\x07\x9b\u202e"), told
        assert "the secret" not in said, told
        assert list(_state(canary)) == before, told
        if command[0] in ("report", "run") and status == 0:
            assert "\x1b" not in (store / "report.html").read_text(), told
