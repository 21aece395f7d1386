"""Registered things that a study names with settings: models, datasets, and with generators.py's and
recipes.py's all that we have."""

from __future__ import annotations

from isoloss.dsl.vocabulary.features import FEATURES
from isoloss.dsl.vocabulary.generators import DENOISERS, DISCRIMINATORS, SAMPLERS
from isoloss.dsl.vocabulary.recipes import (
    ATTACKS,
    AUGMENTS,
    AVERAGES,
    BATCHNORMS,
    LOSSES,
    NORMALIZES,
    OPTIMIZERS,
    PERTURBS,
    SCHEDULES,
)
from isoloss.dsl.vocabulary.row import Slot, Term

SQUIGGLES = "Kindermans & Staats 2022, arXiv:2204.11985"

MODELS = (
    Term(
        "wrn",
        "model",
        "Pre-activation WideResNet with SiLU, exactly as published: depth 6n+4, groups of 16, 32, 64 × width channels.",
        "wrn(28, 10)",
        (
            Slot("depth", "integer", "Layers, 6n + 4.", "28", low="10", high="1000", residue=(4, 6)),
            Slot("width", "integer", "Widening factor.", "10", low="1", high="1000"),
        ),
        "Zagoruyko & Komodakis 2016; Gowal et al. 2020 (SiLU)",
    ),
    Term(
        "cnn",
        "model",
        "Four 3×3 convolutions with batch norm and SiLU (w, w, 2w with stride 2, 2w), then a linear layer; for small images.",
        "cnn(4)",
        (Slot("width", "integer", "Channels w of the first convolution.", "4", low="1", high="1000"),),
        "ours",
    ),
)


DATASETS = (
    Term(
        "digits",
        "dataset",
        "scikit-learn's real handwritten digits: 1,797 images 8×8×1 in 10 classes; 800 to learn from, 97 held out for "
        "validation, 900 to test on.",
        "digits",
        (),
        "UCI, Alpaydin & Kaynak 1998",
    ),
    Term(
        "cifar10",
        "dataset",
        "CIFAR-10: 50,000 training images, 1,024 of them held out for validation, and 10,000 test images 32×32×3 in 10 classes, from the published files.",
        "cifar10",
        (),
        "Krizhevsky 2009",
    ),
    Term(
        "cifar100",
        "dataset",
        "CIFAR-100: 50,000 training images, 1,024 of them held out for validation, and 10,000 test images 32×32×3 in 100 classes, from the published files.",
        "cifar100",
        (),
        "Krizhevsky 2009",
    ),
    Term(
        "svhn",
        "dataset",
        "SVHN: 73,257 training images, 1,024 of them held out for validation, and 26,032 test images 32×32×3 of house-number digits, from the published files.",
        "svhn",
        (),
        "Netzer et al. 2011",
    ),
    Term(
        "mnist",
        "dataset",
        "MNIST: 60,000 training images, 1,024 of them held out for validation, and 10,000 test images 28×28×1 of handwritten digits, from the published files.",
        "mnist",
        (),
        "LeCun et al. 1998",
    ),
    Term(
        "fashion_mnist",
        "dataset",
        "Fashion-MNIST: 60,000 training images, 1,024 of them held out for validation, and 10,000 test images 28×28×1 of clothes, from the published files.",
        "fashion_mnist",
        (),
        "Xiao et al. 2017",
    ),
    Term(
        "squiggles",
        "dataset",
        "Squiggles: pictures of curves, labelled 1 where the curve crosses itself, made when needed: as many unique ones as "
        "a run draws, 8,192 for validation, 98,304 to test on, no curve in two of them.",
        "squiggles(variant = taylor)",
        (
            Slot("variant", "choice", "Which curves: Taylor polynomials, or sums of sines.", "taylor",
                 choices=("taylor", "sinenet")),
            Slot("resolution", "integer", "Pixels per side.", "60", "60", low="8", high="512", source=SQUIGGLES),
            Slot("units", "integer", "Sines in a curve, of `sinenet`.", "300", "300", low="1", high="10000",
                 source=SQUIGGLES + "; the authors' code: 25"),
        ),
        SQUIGGLES,
    ),
)  # fmt: skip

BUILT_IN: tuple[Term, ...] = (
    *MODELS,
    *LOSSES,
    *ATTACKS,
    *PERTURBS,
    *OPTIMIZERS,
    *SCHEDULES,
    *AVERAGES,
    *AUGMENTS,
    *NORMALIZES,
    *BATCHNORMS,
    *SAMPLERS,
    *DENOISERS,
    *DISCRIMINATORS,
    *FEATURES,
    *DATASETS,
)
