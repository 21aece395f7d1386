"""Generators: every measure of their images with intervals; samples beside the nearest real training images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import Job, Observation, frechet_space
from isoloss.dsl.vocabulary.quantity_text import count_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import details, figure, figures, note, section, table, text
from isoloss.report.png import data_uri
from isoloss.report.sections.learning import learning
from isoloss.report.sections.samples import MOST_PIXELS
from isoloss.report.svg import Axis, Figure, category
from isoloss.runtime.store.arrays import read_archive

FILE = "samples.npz"
MOST_GENERATORS, MOST_SHOWN, MOST_SUSPECTS = 12, 10, 4

#: First word of a typed name -> heading of its column, in their order; what it says.
COLUMNS = {
    "fid": "FID",
    "fd": "FD",
    "kid": "KID",
    "kd": "KD",
    "precision": "precision",
    "recall": "recall",
    "memorisation": "memorised",
    "agreement": "agreement",
}
_SHARES = ("precision", "recall", "memorisation", "agreement")
MEANINGS = (
    "<em>FID</em>, <em>FD</em>: Fréchet distance to the training split, lower is better, biased upwards by about "
    "1/n. <em>KID</em>, <em>KD</em>: kernel distance, lower is better, unbiased, so it may fall below 0. "
    "<em>precision</em>: generated images that lie among real ones; <em>recall</em>: real images that lie among "
    "generated ones; comparable at equal n only. <em>memorised</em>: generated images nearer to a training image "
    "than all but 5 % of held-out real images are; 5 % where nothing is memorised. <em>agreement</em>: images whose "
    "class a clean classifier confirms. Each is typed by its features or classifier: numbers of two spaces are "
    "never compared."
)


def generators(material: Material) -> str:
    names = sorted(
        {j.facts.generator for j in material.jobs.values() if j.facts.generator},
        key=material.rank,
    )
    if not names:
        return section("generators", "Generators", "<p>No generator is planned.</p>")
    shown = [block for name in names[:MOST_GENERATORS] if (block := _samples(material, name))]
    return section(
        "generators",
        "Generators",
        _table(material, names),
        figures([*_distances(material, names), *learning(material)]),
        *(("<h3>Samples and their nearest training images</h3>", note(_EXPLAINED), *shown) if shown else ()),
    )


# Numbers.


def _table(material: Material, names: list[str]) -> str:
    if not material.quality and not material.measures:
        return "<p>No generator's quality is stated or measured yet.</p>"
    typed = list(dict.fromkeys(metric for name in names for metric in material.measures.get(name, ())))
    stated = [n for n in names if n not in material.measures and n in material.quality]
    order = list(COLUMNS)
    typed.sort(key=lambda m: (order.index(_word(m)) if _word(m) in order else len(order), m))
    words = [_word(metric) for metric in typed]
    # Where every measure is of one space, the note below the table says which.
    heads = [
        COLUMNS.get(word, word) + (f" @ {_space(metric)}" if words.count(word) > 1 else "")
        for word, metric in zip(words, typed, strict=True)
    ]
    rows = []
    for name in names:
        measured = material.measures.get(name, {})
        cells = [_cell(measured.get(metric)) for metric in typed]
        own = [_stated(material, name)] if stated else []
        counts = sorted({o.count for o in measured.values() if o.count is not None})
        rows.append([text(name), *own, *cells, ", ".join(count_text(c) for c in counts) or "–"])
    head = ["generator", *(["stated"] if stated else []), *heads, "images"]
    listed = ", ".join(f"<code>{text(metric)}</code>" for metric in typed)
    return table(head, rows) + (note(f"Measured: {listed}. {MEANINGS}") if typed else "")


def _word(metric: str) -> str:
    return metric.partition(" @ ")[0]


def _space(metric: str) -> str:
    return metric.partition(" @ ")[2]


def _cell(found: Observation | None) -> str:
    if found is None:
        return number_html.MISSING
    quantity = "accuracy" if _word(found.metric) in _SHARES else "plain"
    return number_html.span(found.value, found.low, found.high, quantity)


def _stated(material: Material, name: str) -> str:
    value = material.quality.get(name)
    if name in material.measures or value is None:
        return "–"
    return f"{number_html.data(value, 'fid')} ({text(material.quality_name(name))})"


def _distances(material: Material, names: list[str]) -> Iterator[str]:
    """A dot for each generator's Fréchet distance, a figure for each space: hollow where it is stated."""
    by_space: dict[str, list[str]] = {}
    for name in names:
        if name in material.quality:
            by_space.setdefault(material.quality_name(name), []).append(name)
    for space, members in by_space.items():
        log = all(material.quality[n] > 0 for n in members)
        plot = Figure(
            f"{space} of each generator",
            Axis(f"{space} (lower is better)", "log" if log else "linear"),
            Axis(
                "",
                "linear",
                lambda v, members=members: members[round(v)],  # type: ignore[misc]
                low=-0.6,
                high=len(members) - 0.4,
                marks=tuple(range(len(members))),
            ),
            height=74 + 30 * len(members),
        )
        for i, name in enumerate(members):
            found = _frechet(material, name)
            if found is not None and found.low is not None and found.high is not None:
                plot.line([found.low, found.high], [i, i], category(0))
            value = material.quality[name]
            plot.points([value], [i], category(0), hollow=found is None, tips=[f"{name}: {value:.4g}"])
        hollow = any(_frechet(material, n) is None for n in members)
        caption = "Lines are 95 % intervals over redrawn images."
        yield figure(
            plot.render(), caption + (" Hollow: stated in the study, not measured." if hollow else "")
        )


def _frechet(material: Material, name: str) -> Observation | None:
    measured = material.measures.get(name, {})
    return next((o for metric, o in measured.items() if frechet_space(metric) is not None), None)


# Images.

_EXPLAINED = (
    "Left of each pair a generated image, right the real training image that is nearest to it in the features that "
    "the quality is measured in, with their distance. The first images of each generator, not chosen; then those "
    "that lie nearest to a training image of all that were measured, where memorisation would show."
)


@dataclass(frozen=True, slots=True)
class Samples:
    """uint8 (n, H, W, C) and (n,) each; the last `suspects` are the nearest to training images."""

    generated: NDArray[np.uint8]
    nearest: NDArray[np.uint8]
    labels: NDArray[np.int64]
    nearest_labels: NDArray[np.int64]
    distance: NDArray[np.float64]
    suspects: int


def load(path: Path) -> Samples | None:
    """Read a fid job's samples; None where they are missing or not what they should be."""
    try:
        found = read_archive(path)
        generated, nearest = found["generated"], found["nearest"]
        labels, theirs = found["labels"].astype(np.int64), found["nearest_labels"].astype(np.int64)
        distance, suspects = found["distance"].astype(np.float64), int(found["suspects"])
    except (OSError, KeyError, ValueError, TypeError):
        return None
    whole = generated.dtype == nearest.dtype == np.uint8 and generated.shape == nearest.shape
    whole = whole and generated.ndim == 4 and generated.shape[3] in (1, 3)
    whole = whole and len(generated) == len(labels) == len(theirs) == len(distance) >= suspects >= 0
    if not whole or max(generated.shape[1:3], default=0) > MOST_PIXELS:
        return None
    return Samples(generated, nearest, labels, theirs, distance, suspects)


def _samples(material: Material, name: str) -> str:
    job = _job(material, name)
    found = load(material.results[job.id].folder / FILE) if job is not None else None
    if found is None:
        return ""
    cut = len(found.distance) - found.suspects
    first = [_pair(found, i) for i in range(min(cut, MOST_SHOWN))]
    suspects = [_pair(found, i) for i in range(cut, min(cut + MOST_SUSPECTS, len(found.distance)))]
    more = (
        details("Nearest to training images", f'<div class="pairs">{"".join(suspects)}</div>')
        if suspects
        else ""
    )
    return f'<h4>{text(name)}</h4><div class="pairs">{"".join(first)}</div>{more}'


def _job(material: Material, name: str) -> Job | None:
    return next(
        (
            job
            for job in material.jobs.values()
            if job.kind == "fid"
            and job.facts.generator == name
            and job.id in material.results
            and FILE in material.results[job.id].artefacts
        ),
        None,
    )


def _pair(found: Samples, i: int) -> str:
    pictures = (
        (found.generated[i], f"generated image of class {found.labels[i]}"),
        (found.nearest[i], f"nearest training image, class {found.nearest_labels[i]}"),
    )
    images = "".join(f'<img src="{data_uri(p)}" alt="{text(a)}" title="{text(a)}">' for p, a in pictures)
    same = found.labels[i] == found.nearest_labels[i]
    theirs = f"{found.nearest_labels[i]}" if same else f'<span class="bad">{found.nearest_labels[i]} ✗</span>'
    distance = number_html.data(found.distance[i])
    return f'<div class="pair"><div>{images}</div>{found.labels[i]} · {theirs}, {distance}</div>'
