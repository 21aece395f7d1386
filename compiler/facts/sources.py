"""What a generator can give: how many unique images, each how often. A generator, a dataset's shape -> a Supply.

Limits are decided here and nowhere else; cells, jobs and questions ask. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from isoloss.compiler.facts.datasets import DatasetShape
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Generator, Study


@dataclass(frozen=True, slots=True)
class Supply:
    """`unique` images (None: as many as asked for), each at most `passes` times (None: any number). Of a mix:
    the images a run may draw before one of its generator comes twice."""

    unique: int | None
    passes: int | None

    @property
    def drawn(self) -> int | None:
        """The most images a run may draw; None: no limit."""
        return None if self.unique is None or self.passes is None else self.unique * self.passes


def is_real(generator: Generator) -> bool:
    return generator.source is not None and generator.source.kind == "real"


def mixed(generator: Generator) -> tuple[str, Fraction] | None:
    """(its generator's name, share of generated images) of a mix; None for anything else."""
    if generator.source is None or generator.source.kind != "mix":
        return None
    real = generator.source.get("real")
    assert isinstance(real, Fraction | int)
    return str(generator.source.get("generator")), 1 - Fraction(real)


def supply(generator: Generator, generators: Mapping[str, Generator], shape: DatasetShape) -> Supply:
    """What `generator` can give; `generators` by name, for what a mix is made of."""
    mix = mixed(generator)
    if mix is not None:
        base = supply(generators[mix[0]], generators, shape)
        unique = None if base.unique is None else int(base.unique / mix[1])
        return Supply(unique, base.passes)
    if is_real(generator):
        there = [n for n in (generator.images, shape.train_images) if n is not None]
        return Supply(min(there, default=None), generator.passes)
    return Supply(generator.images, generator.passes)


def check_sources(study: Study, shape: DatasetShape) -> Iterator[Diagnostic]:
    """G109: more real images than there are. G110: a mix where real images are made when asked for."""
    kind, most = study.dataset.kind, shape.train_images
    for generator in study.generators:
        span = generator.origin.span
        if is_real(generator) and most is not None and (generator.images or 0) > most:
            headline = (
                f"`{generator.name}` has {generator.images:,} images, `{kind}` has {most:,} to train on"
            )
            yield Diagnostic(
                "G109", headline, span, help=(f"write at most `images = {most}`, or leave it out",)
            )
        if mixed(generator) is not None and most is None:
            headline = f"`{kind}` has no fixed set of real images that `{generator.name}` could mix in"
            yield Diagnostic(
                "G110", headline, span, help=("train on them alone: `generator NAME { from = real }`",)
            )
