"""Sample images clean and attacked: samples.npz of evaluate jobs -> pixels on the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import EvaluateSpec, Job, exact
from isoloss.report.gather import Material
from isoloss.report.html import note, section, text
from isoloss.report.png import data_uri
from isoloss.report.trained_networks import TrainedNetwork
from isoloss.runtime.store.arrays import read_archive

FILE = "samples.npz"
MOST_JOBS, MOST_PAIRS = 3, 10
#: Larger images would make the page heavy; CIFAR-10's are 32 pixels.
MOST_PIXELS = 96


@dataclass(frozen=True, slots=True)
class Samples:
    """`clean`, `attacked` float (n, H, W, C) in [0, 1]; `labels`, `predictions` int (n,): what each image is
    and what the network takes its attacked form for; `before` what it takes the clean one for, if stored."""

    clean: NDArray[np.float64]
    attacked: NDArray[np.float64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    before: NDArray[np.int64] | None


def samples(material: Material) -> str:
    shown = []
    for job, run in _chosen(material):
        loaded = load(material.results[job.id].folder / FILE)
        if loaded is not None:
            shown.append(_block(job, run, loaded))
    if not shown:
        return section("samples", "Sample images", "<p>No evaluation has stored sample images yet.</p>")
    explained = note(
        "Each triple: the clean test image, the attack's change (mid-grey: unchanged; black and white: "
        "minus and plus the largest change in the picture), the attacked image. Below: true label → what "
        "the network "
        "sees in the attacked image. Pixels are enlarged without smoothing."
    )
    return section("samples", "Sample images", explained, *shown)


def load(path: Path) -> Samples | None:
    """Read a samples file; None where it is missing or not what it should be (a damaged file is the store's
    business, not the page's)."""
    try:
        found = read_archive(path)
        clean, attacked = _pixels(found["clean"]), _pixels(found["attacked"])
        labels, predictions = found["labels"].astype(np.int64), found["predictions"].astype(np.int64)
    except (OSError, KeyError, ValueError, TypeError):
        return None
    before = found.get("clean_predictions")
    n = len(labels)
    whole = clean.shape == attacked.shape and clean.ndim == 4 and len(clean) == n == len(predictions)
    if not whole or max(clean.shape[1:3], default=0) > MOST_PIXELS or clean.shape[3] not in (1, 3):
        return None
    return Samples(clean, attacked, labels, predictions, None if before is None else before.astype(np.int64))


def _pixels(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """uint8 or float images, channels first or last -> float (n, H, W, C) in [0, 1]."""
    values = images.astype(np.float64) / (255.0 if images.dtype == np.uint8 else 1.0)
    if values.ndim == 3:
        values = values[..., None]
    # 1 or 3 in second place and not in last: channels first, as torch has them.
    if values.ndim == 4 and values.shape[1] in (1, 3) and values.shape[3] not in (1, 3):
        values = np.moveaxis(values, 1, 3)
    return np.clip(np.nan_to_num(values), 0.0, 1.0)


def _chosen(material: Material) -> list[tuple[Job, TrainedNetwork | None]]:
    """Evaluations with samples: runs of allocations first, then the largest networks; one per network."""
    runs = {run.id: run for run in material.runs}
    found = [
        (job, runs.get(job.spec.network))
        for job in material.jobs.values()
        if isinstance(job.spec, EvaluateSpec)
        and job.id in material.results
        and FILE in material.results[job.id].artefacts
    ]

    def rank(item: tuple[Job, TrainedNetwork | None]) -> tuple[bool, float, str]:
        job, run = item
        asked = bool((run.facts if run else job.facts).allocation)
        return (not asked, -float(run.params * run.images if run else 0), job.name)

    ordered = sorted(found, key=rank)
    first: dict[str, tuple[Job, TrainedNetwork | None]] = {}
    for job, run in ordered:
        assert isinstance(job.spec, EvaluateSpec)
        first.setdefault(job.spec.network, (job, run))
    best = list(first.values())
    # The last shows the smallest network: how differently it fails.
    return best if len(best) <= MOST_JOBS else [*best[: MOST_JOBS - 1], best[-1]]


def _block(job: Job, run: TrainedNetwork | None, found: Samples) -> str:
    assert isinstance(job.spec, EvaluateSpec)
    # Half broken, half standing where there are both: neither success nor failure is hidden.
    fooled = np.flatnonzero(found.predictions != found.labels)
    held = np.flatnonzero(found.predictions == found.labels)
    half = MOST_PAIRS // 2
    take_fooled = min(len(fooled), max(half, MOST_PAIRS - len(held)))
    picks = [*fooled[:take_fooled], *held[: MOST_PAIRS - take_fooled]]
    of = text(run.name) if run else text(job.name)
    eps = job.spec.attack.get("eps")
    strength = f", ε = {text(eps)}" if isinstance(eps, str | int | float) and exact(eps) >= 0 else ""
    said = note(
        f"Attack: {text(job.spec.attack.get('kind'))}{strength}. In the stored sample, {len(fooled)} of "
        f"{len(found.labels)} attacked images get another label than their own; {take_fooled} of these and "
        f"{len(picks) - take_fooled} others are shown."
    )
    pairs = "".join(_pair(found, int(i)) for i in picks)
    return f'<h3>{of}</h3>{said}<div class="pairs">{pairs}</div>'


def _pair(found: Samples, i: int) -> str:
    clean, attacked = found.clean[i], found.attacked[i]
    change = attacked - clean
    largest = float(np.abs(change).max()) or 1.0
    pictures = (
        (clean, f"clean image, true label {found.labels[i]}"),
        (0.5 + 0.5 * change / largest, "the attack's change, scaled"),
        (attacked, f"attacked image, taken for {found.predictions[i]}"),
    )
    images = "".join(f'<img src="{_uri(p)}" alt="{text(a)}" title="{text(a)}">' for p, a in pictures)
    good = found.predictions[i] == found.labels[i]
    answer = f'<span class="{"good" if good else "bad"}">{found.predictions[i]}{"" if good else " ✗"}</span>'
    before = f" (clean: {found.before[i]})" if found.before is not None else ""
    return f'<div class="pair"><div>{images}</div>{found.labels[i]} → {answer}{before}</div>'


def _uri(picture: NDArray[np.float64]) -> str:
    return data_uri(np.round(picture * 255).astype(np.uint8))
