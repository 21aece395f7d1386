"""The `fid` job: how good images are, in a declared feature space, against all of the published training split.

In: FidSpec, the shards it names, and so many of the dataset's own images as it says. Out: `quality.json`,
`samples.npz`, `samples.png`; observes `fid @ pixels`, `fd @ resnet18`, …, and in the same space `kid`, `precision`,
`recall`, `memorisation`, `agreement`. Resumes where a network's features stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.compiler.plan import FidSpec, Observation, frechet_space
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality import measures
from isoloss.runtime.quality import reference as references
from isoloss.runtime.quality.agreement import Agreement, agree
from isoloss.runtime.quality.evidence import save_samples
from isoloss.runtime.quality.features import Space, build
from isoloss.runtime.quality.frechet import GROUPS
from isoloss.runtime.quality.kernel_distance import BLOCKS
from isoloss.runtime.quality.measures import PAIRWISE, Compared, Measure
from isoloss.runtime.quality.sets import FeatureSet, Pictures, cached, computed, kept

#: Below this many images per feature a covariance is singular or nearly so, and the distance mostly noise. The
#: compiler's limit too (a test holds them equal).
IMAGES_PER_FEATURE = 2

#: Of real images' agreement; less alarms.
LEAST_AGREEMENT = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    """The images of a measurement: those that are measured, those that generators learn from, and real ones they
    never saw. `looked`: positions of the measured ones that pairs are made of, in KID's blocks."""

    measured: Pictures
    looked: NDArray[np.int64]
    train: ImageSet
    held_out: ImageSet


def run(context: JobContext) -> tuple[Observation, ...]:
    """Measure. Raises JobError R401, R521 (weights), R502 (no such features here), R503 (too few images), R522
    (moments of another space), R523 (features that are no numbers), R401-R406 (data and shards)."""
    spec = context.job.spec
    assert isinstance(spec, FidSpec)
    rng = np.random.default_rng(spec.seed)
    space = build(spec.features, context.data_root, context.device)
    subject = _subject(context, spec, rng)
    moments = spec.features.get("reference")
    size = _size(space, subject, moments is not None)
    given = moments and references.from_file(moments, context.data_root, size, space.name)
    # Features. A network's take most of the time; all other steps are quick.
    measured, unseen = subject.measured, Pictures.of(subject.held_out)
    part = _parts(context, (len(subject.train), measured.count, unseen.count))
    real = cached(space, subject.train, context.cache, context.work / "reference", part[0])
    ours = kept(space, measured, context.work / "measured", part[1])
    held_out = kept(space, unseen, context.work / "held_out", part[2])
    # Measures.
    reference = given or references.measured(real)
    found = [measures.distance(space.name, ours, measured.spread(GROUPS), reference)]
    compared = measures.compare(ours, subject.looked, real, held_out, rng)
    found += measures.pairs(space.name, compared, rng)
    found.append(measures.agreed(_agreement(context, spec, space, subject, compared, (ours, held_out))))
    # Evidence.
    save_samples(context.output, measured, subject.looked, subject.train, compared.nearest)
    _save_numbers(context, spec, space, subject, found)
    return tuple(_observation(context, spec, space, each) for each in found)


def _subject(context: JobContext, spec: FidSpec, rng: np.random.Generator) -> Subject:
    # Validation images are real ones as well, and published numbers are distances to all of them.
    train = load(spec.dataset, "train+validation", context.data_root)
    test = load(spec.dataset, "test", context.data_root)
    measured = _measured(context, spec, train)
    looked = np.concatenate(measured.spread(BLOCKS, PAIRWISE))
    return Subject(measured, looked, train, test.take(measures.subset(len(test), measured.count, rng)))


def _measured(context: JobContext, spec: FidSpec, train: ImageSet) -> Pictures:
    """Made images, then real ones."""
    if not spec.real:
        return _made(context, spec, train)
    own = load(spec.dataset, "train", context.data_root, spec.real)
    if len(own) < spec.real:
        raise JobError("R405", f"{spec.real:,} real images are needed, there are {len(own):,} to train on")
    real = Pictures.of(own)
    return _made(context, spec, train).and_then(real) if spec.images else real


def _made(context: JobContext, spec: FidSpec, train: ImageSet) -> Pictures:
    shards = open_shards([context.inputs[id] for id in spec.samples], spec.images, train.classes)
    if shards.parts[0][0].shape[1:] != train.images.shape[1:]:
        raise JobError("R404", "generated and real images have different shapes")
    return Pictures.of(shards)


def _parts(context: JobContext, images: Sequence[int]) -> list[Callable[[float], None]]:
    """Progress of steps that take time in proportion to `images`, together nine tenths of the job."""
    ends = 0.9 * np.cumsum([0, *images]) / sum(images)

    def telling(start: float, stop: float) -> Callable[[float], None]:
        return lambda done: context.progress(start + done * (stop - start))

    return [telling(float(a), float(b)) for a, b in pairwise(ends)]


def _size(space: Space, subject: Subject, given: bool) -> int:
    """Features of an image, once it is sure that there are images enough for covariances of so many; `given`: that
    of real images is."""
    size = space.extract(subject.train.images[:1]).shape[1]
    if subject.measured.count < IMAGES_PER_FEATURE * size:
        help = "raise `images` of the generator and of its `features`, or state its `fid`"
        raise _too_few(f"{subject.measured.count:,} images", size, help)
    if not given and len(subject.train) < IMAGES_PER_FEATURE * size:
        help = 'use `features = pixels`, or name moments of more real images: `reference = "moments.npz"`'
        raise _too_few(f"{len(subject.train):,} training images", size, help)
    return size


def _too_few(images: str, size: int, help: str) -> JobError:
    least = f"at least {IMAGES_PER_FEATURE * size:,} are needed"
    return JobError("R503", f"{images} are too few for a distance over {size:,} features; {least}", help)


def _agreement(
    context: JobContext,
    spec: FidSpec,
    space: Space,
    subject: Subject,
    compared: Compared,
    features: Sequence[FeatureSet],
) -> Agreement:
    """CIFAR-10 has a classifier that nothing here was trained with; others have their nearest neighbours. `features`
    in `space`: of the measured images, and of the held-out ones."""
    labels, unseen = subject.measured.take(subject.looked)[1], subject.held_out.labels
    if spec.dataset["kind"] != "cifar10":
        return measures.by_neighbours(space.name, compared, labels, subject.train.labels, unseen)
    from isoloss.runtime.quality.resnet18 import Resnet18

    network = Resnet18(context.device)
    if space.name != "resnet18":
        own = Space("resnet18", network.features)
        features = [computed(own, each) for each in (subject.measured, Pictures.of(subject.held_out))]

    def classes(features: FeatureSet, index: NDArray[np.int64]) -> NDArray[np.int64]:
        said = []
        for rows in features.pieces(index):
            said.append(network.classes(rows))
            context.progress(0.9)
        return np.concatenate(said)

    ours = classes(features[0], subject.looked)
    theirs = classes(features[1], np.arange(len(unseen)))
    return agree("resnet18", (ours, labels), (theirs, unseen))


def _save_numbers(
    context: JobContext, spec: FidSpec, space: Space, subject: Subject, found: Sequence[Measure]
) -> None:
    record = {
        "space": space.name,
        "features": dict(spec.features),
        "dataset": dict(spec.dataset),
        "generated_images": spec.images,
        "real_images": spec.real,
        "reference": spec.features.get("reference") or "train+validation",
        "training_images": len(subject.train),
        "notes": list(space.notes),
        "measures": {
            each.metric: {**asdict(each.measured), "bias": each.bias, **each.details} for each in found
        },
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (context.output / "quality.json").write_bytes(orjson.dumps(record, option=options))


def _observation(context: JobContext, spec: FidSpec, space: Space, each: Measure) -> Observation:
    main = frechet_space(each.metric) is not None
    bias = (f"biased at n = {each.measured.count}: {each.bias}",) if main else ()
    return Observation(
        job=context.job.id,
        kind="fid",
        metric=each.metric,
        value=each.measured.value,
        low=each.measured.low,
        high=each.measured.high,
        count=each.measured.count,
        fid=each.measured.value if main else None,
        seed=spec.seed,
        flags=(*bias, *space.notes, *_alarms(each)),
    )


def _alarms(each: Measure) -> tuple[str, ...]:
    """Labels that agree with their images far less than real ones do: FID, which knows no labels, may look perfect."""
    real = each.details.get("held_out")
    if real is None or each.measured.value >= LEAST_AGREEMENT * float(real):
        return ()
    told = f"{each.measured.value:.1%} of the labels agree with their images, of real ones {float(real):.1%}"
    return (f"alarm: {told}: are they permuted, or of another dataset?",)
