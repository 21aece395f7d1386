"""Attack a test set batch by batch, and judge what came out.

In: a network in eval mode, images in [0, 1], labels, an attack. Out: adversarial images in float32, verified
to be inside ball and range, and predictions recomputed on exactly those. Letters: B images of a batch, n of
the set, C channels, H rows, W columns, K classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isoloss.compiler.plan import EVALUATION_BATCH
from isoloss.runtime import disk
from isoloss.runtime.attacks import Attack
from isoloss.runtime.data import ImageSet
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import noise_at
from isoloss.runtime.store.arrays import mapped

#: What float32 may add to a projected perturbation.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Subject:
    """What is attacked: a frozen network in eval mode and the test images, x float32 (n, C, H, W) on the
    CPU."""

    network: nn.Module
    x: Tensor
    y: Tensor
    classes: int
    device: str = "cpu"

    @classmethod
    def of(cls, network: nn.Module, images: ImageSet, device: str = "cpu") -> Subject:
        x = torch.from_numpy(np.ascontiguousarray(images.images)).permute(0, 3, 1, 2).float() / 255.0
        frozen = network.to(device).eval().requires_grad_(False)
        return cls(frozen, x.contiguous(), torch.from_numpy(images.labels), images.classes, device)

    def __len__(self) -> int:
        return len(self.y)

    def logits(self, x_nCHW: Tensor) -> Tensor:
        """float32 (n, K) on the CPU, a batch at a time."""
        with torch.no_grad():
            parts = [self.network(x_nCHW[b].to(self.device)).float().cpu() for b in batches(len(x_nCHW))]
        return torch.cat(parts)

    def first(self, count: int) -> Subject:
        return Subject(self.network, self.x[:count], self.y[:count], self.classes, self.device)


def batches(count: int) -> Iterator[slice]:
    for start in range(0, count, EVALUATION_BATCH):
        yield slice(start, min(start + EVALUATION_BATCH, count))


def attack_all(
    subject: Subject,
    attack: Attack,
    seed: int,
    work: Path | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Adversarial images float32 (n, C, H, W) of *every* image: the adversarial loss is a mean over all,
    also over those a network gets wrong unattacked. With `work`, a killed evaluation goes on at the batch it
    was in."""
    kept = _Kept(work, tuple(subject.x.shape)) if work is not None else None
    found = torch.from_numpy(kept.array) if kept is not None else torch.empty_like(subject.x)
    for place in batches(len(subject)):
        if kept is not None and place.stop <= kept.done:
            continue
        x, y = subject.x[place].to(subject.device), subject.y[place].to(subject.device)
        noise = noise_at(seed, "evaluate", place.start, device=subject.device)
        found[place] = attack(subject.network, x, y, noise).float().cpu()
        if kept is not None:
            kept.mark(place.stop)
        progress(place.stop / len(subject))
    return found.clone()


class _Kept:
    """Adversarial images on the disk, and how many of them are there."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        # Hidden: only the mark says that there is something to go on from.
        path, self._mark = folder / ".adversarial.npy", folder / "adversarial.done"
        self.done = int(self._mark.read_text()) if self._mark.exists() and path.exists() else 0
        self.array = mapped(path, np.float32, shape, new=not self.done)

    def mark(self, done: int) -> None:
        self.array.flush()
        disk.replace(self._mark, str(done).encode())


def perturbation(x_nCHW: Tensor, adversarial_nCHW: Tensor, norm: str) -> Tensor:
    """Size of each perturbation, float32 (n,): `linf` or `l2`."""
    delta = (adversarial_nCHW - x_nCHW).flatten(1)
    return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)


def verify(x_nCHW: Tensor, adversarial_nCHW: Tensor, norm: str, epsilon: float) -> None:
    """An attack that left the ball or the pixel range proves nothing. Raises JobError R505."""
    if not bool(torch.isfinite(adversarial_nCHW).all()):
        raise JobError("R505", "the attack made pixels that are not numbers", "check the network's outputs")
    size = float(perturbation(x_nCHW, adversarial_nCHW, norm).max())
    # In L2 the rounding of every pixel adds up.
    slack = TOLERANCE * (1 if norm == "linf" else max(1.0, x_nCHW[0].numel() ** 0.5))
    if size > epsilon + slack:
        raise JobError("R505", f"the attack moved an image by {size:.7g}, further than eps = {epsilon:.7g}")
    low, high = float(adversarial_nCHW.min()), float(adversarial_nCHW.max())
    if low < 0.0 or high > 1.0:
        raise JobError("R505", f"the attack left the pixel range: [{low:.7g}, {high:.7g}]")


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Per image: predictions int64 (n,) clean and attacked, and the loss reported, float32 (n,) (None where
    the attack defines none)."""

    labels: Tensor
    clean: Tensor
    attacked: Tensor
    loss: Tensor | None

    @property
    def right(self) -> Tensor:
        return self.clean == self.labels

    @property
    def robust(self) -> Tensor:
        """Right on the clean image *and* on the attacked one: an attack cannot repair a mistake."""
        return self.right & (self.attacked == self.labels)
