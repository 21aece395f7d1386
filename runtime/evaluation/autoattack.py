"""AutoAttack (Croce & Hein, arXiv:2003.01690) through `pyautoattack` 0.2.0, with a resume of our own.

The package's own resume file cannot be read back (its list of attacks is saved as the text of a set), so its
attacks are run one by one on the survivors, and what each batch broke is kept on the disk. Seeds are set per
attack and batch by the package, so the verdicts are those of one uninterrupted call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoloss.compiler.plan import EVALUATION_BATCH, Component, exact
from isoloss.runtime.errors import JobError
from isoloss.runtime.evaluation.scoring import Subject
from isoloss.runtime.noise import key
from isoloss.runtime.store.arrays import ARCHIVE_BYTES, read_archive

#: Its targeted losses look at the four largest logits.
LEAST_CLASSES = 4
VERSIONS = ("standard", "plus", "rand")
NORMS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True, slots=True)
class Broken:
    """Adversarial images float32 (n, C, H, W), originals where nothing was found; `stages` tells what each
    attack left: (name, robust share of all images). `warnings` are the package's own flags."""

    adversarial: Tensor
    robust: Tensor
    stages: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]


def autoattack(
    subject: Subject,
    attack: Component,
    seed: int,
    work: Path | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Broken:
    """Run a version of AutoAttack on the images the network gets right. Images already wrong stay untouched.

    Raises JobError R504 for settings or networks it is not defined for."""
    _check(attack, subject.classes)
    x, y = subject.x, subject.y
    state = _State.load(work, x, subject.logits(x).argmax(1) == y)
    with _quiet_log() as warnings, torch.random.fork_rng():
        suite = _suite(subject, attack, seed)
        names = list(suite.attacks_to_run)
        for number, name in enumerate(names):
            if number < state.stage:
                continue
            _run_stage(suite, name, subject, state)
            progress((number + 1) / len(names))
            state.finish(name)
    stages = tuple(zip(names, state.shares, strict=True))
    return Broken(state.adversarial, state.robust, stages, tuple(dict.fromkeys(warnings)))


def _run_stage(suite: Any, name: str, subject: Subject, state: _State) -> None:
    """One attack on those that were robust when it began, in the batches one uninterrupted call would
    make."""
    while state.position < len(state.candidates):
        chosen = state.candidates[state.position : state.position + EVALUATION_BATCH]
        suite.attacks_to_run = [name]
        found, _ = suite.run_standard_evaluation(
            subject.x[chosen], subject.y[chosen], batch_size=EVALUATION_BATCH
        )
        found = found.float().cpu()
        still = subject.logits(found).argmax(1) == subject.y[chosen]
        state.record(chosen, found, still)


def _check(attack: Component, classes: int) -> None:
    version = attack.get("version", "standard")
    if version not in VERSIONS:
        raise JobError("R504", f"no version `{version}` of AutoAttack", f"known: {', '.join(VERSIONS)}")
    if attack["norm"] not in NORMS:
        raise JobError("R504", f"AutoAttack has no norm `{attack['norm']}`", f"known: {', '.join(NORMS)}")
    if classes < LEAST_CLASSES:
        raise JobError(
            "R504",
            f"AutoAttack's targeted losses need {LEAST_CLASSES} classes, this dataset has {classes}",
            "evaluate with `pgd` instead",
        )


def _suite(subject: Subject, attack: Component, seed: int) -> Any:
    from pyautoattack import AutoAttack

    suite = AutoAttack(
        subject.network,
        device=subject.device,
        eps=exact(attack["eps"]),
        norm=NORMS[attack["norm"]],
        # The package seeds numpy-sized generators: 31 bits. Without one it takes the clock.
        seed=key(seed, "autoattack") % 2**31,
        version=attack.get("version", "standard"),
    )
    targets = min(9, subject.classes - 1)
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = targets
    return suite


@contextmanager
def _quiet_log() -> Iterator[list[str]]:
    """Collect the package's warnings; nothing of its log reaches a terminal."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                found.append("alarm: " + record.getMessage().split(" See ")[0].rstrip(". "))

    logger, handler = logging.getLogger("auto-attack"), Collect()
    before = logger.propagate, logger.level
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate, _ = before
        logger.setLevel(before[1])


class _State:
    """How far the suite has come. Saved after every batch, whole or not at all."""

    def __init__(self, path: Path | None, adversarial: Tensor, robust: Tensor) -> None:
        self.path, self.adversarial, self.robust, self.right = path, adversarial, robust, robust.clone()
        self.stage, self.position = 0, 0
        self.candidates = torch.nonzero(robust).flatten()
        self.shares: list[float] = []

    @classmethod
    def load(cls, work: Path | None, x: Tensor, right: Tensor) -> _State:
        state = cls(None if work is None else work / "autoattack.npz", x.clone(), right.clone())
        if state.path is not None and state.path.exists():
            # The images found, and a few numbers for each.
            saved = read_archive(state.path, x.nbytes + 64 * len(x) + ARCHIVE_BYTES)
            state.adversarial[torch.from_numpy(saved["index"])] = torch.from_numpy(saved["found"])
            state.robust = torch.from_numpy(saved["robust"])
            state.candidates = torch.from_numpy(saved["candidates"])
            state.stage, state.position = int(saved["stage"]), int(saved["position"])
            state.shares = saved["shares"].tolist()
        return state

    def record(self, chosen: Tensor, found: Tensor, still: Tensor) -> None:
        self.adversarial[chosen[~still]] = found[~still]
        self.robust[chosen[~still]] = False
        self.position += len(chosen)
        self._save()

    def finish(self, name: str) -> None:
        self.stage, self.position = self.stage + 1, 0
        self.candidates = torch.nonzero(self.robust).flatten()
        self.shares.append(float(self.robust.double().mean()))
        self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        # Only what was broken differs from the originals.
        index = torch.nonzero(self.right & ~self.robust).flatten()
        draft = self.path.with_name(f".{self.path.name}")
        np.savez(
            draft,
            index=index.numpy(),
            found=self.adversarial[index].numpy(),
            robust=self.robust.numpy(),
            candidates=self.candidates.numpy(),
            stage=self.stage,
            position=self.position,
            shares=np.array(self.shares, dtype=np.float64),
        )
        draft.replace(self.path)
