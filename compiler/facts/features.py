"""What the compiler must know of a feature space: its size, the images it takes, what an image costs in it. Data
in: a name, or a Study. Data out: a row of one table, or what can't be measured.

The extractors are the runtime's; tests hold the tables equal and count the FLOPs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.datasets import shape
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Generator, Study

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """`dimensions` of an image's features, None: as many as it has values. `forward_flops` of one image:
    2 x multiply-accumulates of convolutions, exact. `image`: the only (channels, height, width) it takes."""

    dimensions: int | None
    forward_flops: float
    image: tuple[int, int, int] | None = None


#: inception: at 299x299, up to the 2,048 pooled features. resnet18: at 32x32, without its linear layer.
FEATURES: Mapping[str, FeatureShape] = {
    "pixels": FeatureShape(None, 0.0),
    "resnet18": FeatureShape(512, 1_110_835_200.0, (3, 32, 32)),
    "inception": FeatureShape(2048, 11_422_336_192.0),
}


def dimensions(features: Component, dataset: Component) -> int | None:
    """Values of one image's features; None for a space without a row."""
    row = FEATURES.get(features["kind"])
    if row is None or row.dimensions is not None:
        return None if row is None else row.dimensions
    pixels = shape(dataset)
    return pixels.channels * pixels.height * pixels.width


#: Below this many images per feature a covariance is singular or nearly so, and the distance mostly noise. The
#: runtime's limit too (a test holds them equal).
IMAGES_PER_FEATURE = 2


def check_features(study: Study) -> Iterator[Diagnostic]:
    """G114: a quality that is asked for and can't be measured. Raises KeyError for a dataset without a shape."""
    dataset = component(study.dataset)
    asked = _asked(study)
    for generator in study.generators:
        if generator.fid is None and generator.name in asked:
            for headline, help in _problems(generator, dataset):
                yield Diagnostic("G114", headline, generator.origin.span, help=(help,))


def _asked(study: Study) -> set[str]:
    """Generators whose quality somebody wants to know."""
    named = {str(name) for grid in study.grids for name in grid.values("generator")}
    named.update(forecast.generator for forecast in study.forecasts if forecast.generator is not None)
    return named.union(*(allocation.generators for allocation in study.allocations))


def _problems(generator: Generator, dataset: Component) -> Iterator[tuple[str, str]]:
    features, pixels = component(generator.features), shape(dataset)
    kind, size = features["kind"], dimensions(features, dataset)
    row = FEATURES.get(kind)
    if row is None or size is None:
        return
    image = (pixels.channels, pixels.height, pixels.width)
    if row.image not in (None, image):
        yield (
            f"`{kind}` takes images of {_by(row.image)}, generator `{generator.name}` makes {_by(image)}",
            "small images are compared in `features = pixels`",
        )
        return
    least = IMAGES_PER_FEATURE * size
    wanted = int(features["images"])
    measured = wanted if generator.images is None else min(wanted, generator.images)
    if measured < least:
        yield (
            f"{measured:,} images of generator `{generator.name}` are too few for a distance over {size:,} features",
            f"at least {least:,} are needed, two per feature: raise `images` of the generator and of its `features`, "
            "or state its `fid`",
        )
    elif features.get("reference") is None and pixels.epoch_images < least:
        yield (
            f"the training images of `{dataset['kind']}` are too few for a distance over {size:,} features",
            'use `features = pixels`, or name moments of more real images: `reference = "moments.npz"`',
        )


def _by(image: tuple[int, int, int] | None) -> str:
    return "×".join(map(str, image or ()))
