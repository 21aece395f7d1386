"""Can a study's images have the evaluations that it asks for? Study -> diagnostics, before a training.

Pure."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.datasets import AUTOATTACK_CLASSES, shape
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Evaluation, Study


def check_evaluations(study: Study) -> Iterator[Diagnostic]:
    """G115: more images than the split has; G116: AutoAttack on fewer classes than its losses need. Raises KeyError
    for a dataset without a shape."""
    row, kind = shape(component(study.dataset)), study.dataset.kind
    for evaluation in _asked(study):
        there = row.tested(None, evaluation.split)
        if evaluation.images is not None and evaluation.images > there:
            yield Diagnostic(
                "G115",
                f"`{evaluation.name}` asks for {evaluation.images:,} {evaluation.split} images, {kind} has {there:,}",
                evaluation.origin.span,
                help=(f"write `images = {there}`, or leave it out: all of the split are then tested",),
            )
        if evaluation.attack.kind == "autoattack" and row.classes < AUTOATTACK_CLASSES:
            yield Diagnostic(
                "G116",
                f"`{evaluation.name}` needs {AUTOATTACK_CLASSES} classes for AutoAttack: {kind} has {row.classes}",
                evaluation.origin.span,
                help=("attack with `pgd(…)`, with restarts",),
            )


def _asked(study: Study) -> Iterator[Evaluation]:
    """Every evaluation once: declared ones, those of swept values, and those written in an allocation."""
    seen: set[tuple[object, ...]] = set()
    swept = (e for grid in study.grids for variant in grid.variants for e in variant.evaluations)
    written = (e for allocation in study.allocations for e in allocation.evaluate)
    for evaluation in (*study.evaluations, *swept, *written):
        key = evaluation.name, evaluation.attack.kind, evaluation.split, evaluation.images
        if key not in seen:
            seen.add(key)
            yield evaluation
