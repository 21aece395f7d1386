"""Kill -9 at random instants of a real study, a thousand times: does anything show?

    python benchmarks/faults.py [KILLS] [FOLDER]      (1,000 kills)

The study of tests/faults, in rounds of at most a dozen kills: of workers, of one of two ranks, of the whole tree.
Every round is brought to its end and compared with an undisturbed run, bit for bit (tests/faults/disturbed.py says what
is compared). The first difference ends it. With FOLDER, the rounds that are done are kept there, and the same command
goes on from them."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, only benchmarks/ is on the path

import orjson

from tests.faults.disturbed import (
    KILLS_PER_ROUND,
    PAIR,
    Kill,
    Run,
    check_equal,
    kill_a_rank,
    kill_a_worker,
    kill_the_tree,
    one_round,
)  # fmt: skip

#: Of ten rounds: what is killed, with which options, and the mean seconds between two attempts at a kill.
ROUNDS: tuple[tuple[str, Kill, tuple[str, ...], float], ...] = (
    *[("worker", kill_a_worker, (), 0.8)] * 6,
    *[("tree", kill_the_tree, (), 0.3)] * 2,
    *[("rank", kill_a_rank, PAIR, 0.8)] * 2,
)


def main(kills: int, folder: Path) -> None:
    done = _done(folder)
    quiet = {options: _undisturbed(folder, name, options) for name, options in (("one", ()), ("pair", PAIR))}
    while (left := kills - sum(row["kills"] for row in done)) > 0:
        number = len(done)
        name, kill, options, pause = ROUNDS[number % len(ROUNDS)]
        path, began = folder / f"round{number}", time.monotonic()
        shutil.rmtree(path, ignore_errors=True)  # of a call that was ended in it
        count = one_round(path, kill, min(KILLS_PER_ROUND, left), random.Random(number), options, pause)
        check_equal(path, quiet[options])
        done.append({"kind": name, "kills": count, "seconds": round(time.monotonic() - began, 1)})
        with (folder / "rounds.jsonl").open("ab") as rounds:
            rounds.write(orjson.dumps(done[-1]) + b"\n")
        shutil.rmtree(path)
        print(f"round {number}: {count} times a {name}, {done[-1]['seconds']:.0f} s; equal", flush=True)
    _tell(done)


def _done(folder: Path) -> list[dict]:
    path = folder / "rounds.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _undisturbed(folder: Path, name: str, options: tuple[str, ...]) -> Path:
    run = Run(folder / name, options)
    assert run.wait(1200) == 0, run.said
    return run.store


def _tell(done: list[dict]) -> None:
    hits, seconds = Counter(), sum(row["seconds"] for row in done)
    for row in done:
        hits[row["kind"]] += row["kills"]
    of = ", ".join(f"{count} of a {name}" for name, count in sorted(hits.items()))
    print(
        f"{sum(hits.values())} kills ({of}) in {len(done)} rounds, {seconds / 60:.0f} min: every bit as undisturbed"
    )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    if len(sys.argv) > 2:
        place = Path(sys.argv[2])
        place.mkdir(parents=True, exist_ok=True)
        main(count, place)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(count, Path(temporary))
