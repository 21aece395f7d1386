"""Diagnostic codes of the stage: grid. Raised by the compiler when it expands a study's cells."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_GENERATOR = "generator g {{ sampler = edm(steps = 7) {more} }}"
_RECIPE = "recipe r {{ loss = trades() attack = pgd(eps = 0.15) batch = {batch} lr = 0.1 {more} }}"


def _study(
    grid: str, batch: str = "64", generator: str = "", dataset: str = "digits", recipe: str = ""
) -> str:
    return (
        f"study tiny {{\n  dataset {dataset}\n  {_GENERATOR.format(more=generator)}\n"
        f"  {_RECIPE.format(batch=batch, more=recipe)}\n  grid runs {{ {grid} }}\n}}"
    )


_CELL = "model = cnn(2) generator = g"
#: Closes the block of `g`, whose fid is measured, and opens one whose fid is stated.
_PAPER = "} generator paper { sampler = edm(steps = 5) fid = 1.65"

CODES: tuple[Code, ...] = (
    Code(
        "G101",
        "a grid without cells",
        "No combination of the axes passes every `where`.",
        _study(f"{_CELL} images in [4k, 8k] where images > 10k"),
        _study(f"{_CELL} images in [4k, 8k] where images > 4k"),
    ),
    Code(
        "G102",
        "cells listed twice",
        "Two combinations of the axes are the same run. It runs once; replicates need seeds of their own.",
        _study(f"{_CELL} images in [4k, 4000, 8k]"),
        _study(f"{_CELL} images in [4k, 8k]"),
    ),
    Code(
        "G103",
        "a rule with a gap",
        "For some cells no branch of the rule holds, so they have no batch or learning rate. The message shows the "
        "range that isn't covered.",
        _study(f"{_CELL} images in [4k, 8k]", batch="64 if images <= 4k"),
        _study(f"{_CELL} images in [4k, 8k]", batch="64 if images <= 4k else 128"),
    ),
    Code(
        "G104",
        "more images than a generator has",
        "A run draws every image once. A generator that states `images` has no more unique ones to give, and a run may "
        "draw each as often as its `passes` say: once unless stated, real images any number of times. Of a mix only the "
        "generator's share counts.",
        _study(f"{_CELL} images in [4k, 8k]", generator="images = 5k"),
        _study(f"{_CELL} images in [4k, 8k] where images <= generator.images", generator="images = 5k"),
    ),
    Code(
        "G105",
        "a rule that waits for a measurement",
        "A batch or learning rate depends on a FID that a job will measure, but every cell is decided before. A `where` "
        "may wait: its cells are provisional until then.",
        _study(f"{_CELL} images in [4k, 8k]", batch="64 if fid < 1 else 128"),
        _study(f"{_CELL} images in [4k, 8k]", batch="64 if fid < 1 else 128", generator="fid = 0.1"),
    ),
    Code(
        "G106",
        "an impossible batch or learning rate",
        "A rule gives some cell a batch that is no whole number of images, or a learning rate that isn't above 0.",
        _study(f"{_CELL} images in [4k, 8k]", batch="images / 3000"),
        _study(f"{_CELL} images in [4k, 8k]", batch="images / 100"),
    ),
    Code(
        "G107",
        "a network that can't be built here",
        "The family has no such member, or a package registered it with the language and not with the compiler.",
        _study("model = resnet(18) generator = g images = 4k"),
        _study("model = cnn(2) generator = g images = 4k"),
    ),
    Code(
        "G108",
        "a dataset without a shape",
        "A dataset that another package registered says no size, channels and epoch, so nothing can be counted.",
        _study(f"{_CELL} images = 4k", dataset="faces", generator="denoiser = none"),
        _study(f"{_CELL} images = 4k"),
    ),
    Code(
        "G109",
        "more real images than there are",
        "`from = real` draws from the dataset's training images, without those that are held out for validation: digits "
        "has 800, CIFAR-10 48,976. A run may draw each any number of times, but no others.",
        "study tiny { dataset digits generator g { from = real images = 1000 }\n"
        f"  {_RECIPE.format(batch=64, more='')}\n  grid runs {{ {_CELL} images = 4k }} }}",
        "study tiny { dataset digits generator g { from = real images = 500 }\n"
        f"  {_RECIPE.format(batch=64, more='')}\n  grid runs {{ {_CELL} images = 4k }} }}",
    ),
    Code(
        "G110",
        "a mix without a fixed set of real images",
        "A mix repeats a fixed set of real images among generated ones. A dataset that makes as many real images as are "
        "asked for has no such set, and needs no others.",
        _study(f"{_CELL} images = 4k", dataset="squiggles(variant = taylor)").replace(
            "  grid", "  mix m { generator = g real = 1/8 }\n  grid"
        ),
        "study tiny { dataset squiggles(variant = taylor) generator g { from = real }\n"
        f"  {_RECIPE.format(batch=64, more='')}\n  grid runs {{ {_CELL} images = 4k }} }}",
    ),
    Code(
        "G111",
        "a generator's network that its images don't allow",
        "Each level of a U-Net after the first halves the image, so an image of 28 pixels has at most three levels; "
        "group normalisation needs channels that equal groups of at least four divide.",
        _study(f"{_CELL} images = 4k", generator="denoiser = unet(multipliers = [1, 1, 2, 2, 2])"),
        _study(f"{_CELL} images = 4k", generator="denoiser = unet(multipliers = [1, 2, 2])"),
    ),
    Code(
        "G112",
        "a condition on fids of different feature spaces",
        "A filter or rule compares FIDs, and the grid's generators have them in different spaces: 2 may be poor in one "
        "and excellent in another. A stated `fid` is Inception's unless `features` says otherwise; a measured one is of "
        "the generator's `features`.",
        _study("model = cnn(2) generator in [g, paper] images in [4k, 8k] where fid < 2", generator=_PAPER),
        _study(
            "model = cnn(2) generator in [g, paper] images in [4k, 8k] where generator != paper",
            generator=_PAPER,
        ),
    ),
    Code(
        "G113",
        "batch-norm groups that don't divide the batch",
        "`batchnorm(group = N)` normalises N images together, and a batch is a whole number of such groups: what a "
        "smaller last one would do to the statistics is nobody's recipe. With `half`, which attacks every second "
        "image, a group is even.",
        _study(f"{_CELL} images in [4k, 8k]", recipe="batchnorm = batchnorm(group = 48)"),
        _study(f"{_CELL} images in [4k, 8k]", recipe="batchnorm = batchnorm(group = 32)"),
    ),
    Code(
        "G114",
        "a quality that can't be measured",
        "A Fréchet distance compares covariances of features, which need more images than there are features: at least "
        "two each, generated and real (`pixels` of digits 64, `resnet18` 512, `inception` 2,048). ResNet-18's are "
        "features of colour images of 32×32 pixels only.",
        _study(f"{_CELL} images = 4k", generator="features = inception()"),
        _study(f"{_CELL} images = 4k", generator="features = pixels"),
    ),
    Code(
        "G115",
        "more test images than there are",
        "An evaluation takes the first so many images of its split. It would end after the training, for want of images.",
        "study tiny { dataset digits recipe r { loss = natural() batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) images = 4k } evaluate e { attack = none images = 1000 } }",
        "study tiny { dataset digits recipe r { loss = natural() batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) images = 4k } evaluate e { attack = none images = 900 } }",
    ),
    Code(
        "G116",
        "too few classes for AutoAttack",
        "AutoAttack's targeted DLR loss divides by the difference of the first and the mean of the third and fourth logits: it "
        "isn't defined below four classes.",
        "study tiny { dataset squiggles(variant = taylor, resolution = 16) recipe r { loss = natural() batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) images = 4k } evaluate e { attack = autoattack(eps = 0.1) } }",
        "study tiny { dataset squiggles(variant = taylor, resolution = 16) recipe r { loss = natural() batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) images = 4k } evaluate e { attack = pgd(eps = 0.1, restarts = 5) } }",
    ),
)
