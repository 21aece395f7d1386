"""Registered things that a study names with settings: models, samplers, denoisers, datasets, and with
recipes.py's all that we have."""

from __future__ import annotations

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
from isoloss.dsl.vocabulary.row import By, Slot, Term

EDM = "Karras et al. 2022 (EDM), arXiv:2206.00364, Table 1 and §5"


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


def _sampler_slots() -> tuple[Slot, ...]:
    return (
        Slot("steps", "integer", "Steps n of Heun's method; 2n − 1 network evaluations.", "20", low="2", high="1000"),
        Slot("sigma_min", "number", "Smallest noise level.", "0.002", "0.002", low="0", exclusive=True, source=EDM),
        Slot(
            "sigma_max",
            "number",
            "Largest noise level.",
            "80",
            By("dataset", {"digits": "10", "*": "80"}),
            low="0",
            exclusive=True,
            source=EDM + "; 10 for digits: ours, for images of 64 pixels",
        ),
        Slot("rho", "number", "Bend of the noise schedule.", "7", "7", low="0", exclusive=True, source=EDM),
    )  # fmt: skip


SAMPLERS = (
    Term("edm", "sampler", "EDM's deterministic Heun sampler.", "edm(steps = 20)", _sampler_slots(), EDM),
    Term(
        "pfgmpp",
        "sampler",
        "PFGM++ with Heun's method.",
        "pfgmpp(steps = 18)",
        (
            *_sampler_slots(),
            Slot(
                "dimension", "integer", "Extra dimensions D; EDM is the limit of large D.", "2048", "2048",
                low="1", high="1000000000", source="Xu et al. 2023, CIFAR-10",
            ),
        ),
        "Xu et al. 2023, arXiv:2302.04265",
    ),
    Term(
        "dg",
        "sampler",
        "EDM with discriminator guidance.",
        "dg(steps = 20)",
        (
            *_sampler_slots(),
            Slot(
                "weight", "number", "Weight w1 of the guidance, first-order slope only.", "1", "1", low="0",
                source="Kim et al. 2023, class-conditional CIFAR-10",
            ),
        ),
        "Kim et al. 2023, arXiv:2211.17091",
    ),
)  # fmt: skip

DENOISERS = (
    Term(
        "mixture",
        "denoiser",
        "Closed-form posterior mean under one Gaussian mixture per class, fitted to real training images.",
        "mixture(components = 4)",
        (
            Slot("components", "integer", "Full-covariance components per class.", "4", "4", low="1", high="1000",
                 source="ours"),
            Slot("regularization", "number", "Added to each covariance's diagonal.", "2e-3", "2e-3", low="0",
                 exclusive=True, source="ours"),
        ),
        "ours",
    ),
)  # fmt: skip

DATASETS = (
    Term(
        "digits",
        "dataset",
        "scikit-learn's real handwritten digits: 1,797 images 8×8×1 in 10 classes; 897 to learn from, 900 to test on.",
        "digits",
        (),
        "UCI, Alpaydin & Kaynak 1998",
    ),
    Term(
        "cifar10",
        "dataset",
        "CIFAR-10: 50,000 training and 10,000 test images 32×32×3 in 10 classes, from the published files.",
        "cifar10",
        (),
        "Krizhevsky 2009",
    ),
    Term(
        "cifar100",
        "dataset",
        "CIFAR-100: 50,000 training and 10,000 test images 32×32×3 in 100 classes, from the published files.",
        "cifar100",
        (),
        "Krizhevsky 2009",
    ),
    Term(
        "svhn",
        "dataset",
        "SVHN: 73,257 training and 26,032 test images 32×32×3 of house-number digits, from the published files.",
        "svhn",
        (),
        "Netzer et al. 2011",
    ),
    Term(
        "mnist",
        "dataset",
        "MNIST: 60,000 training and 10,000 test images 28×28×1 of handwritten digits, from the published files.",
        "mnist",
        (),
        "LeCun et al. 1998",
    ),
    Term(
        "fashion_mnist",
        "dataset",
        "Fashion-MNIST: 60,000 training and 10,000 test images 28×28×1 of clothes, from the published files.",
        "fashion_mnist",
        (),
        "Xiao et al. 2017",
    ),
)

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
    *DATASETS,
)
