"""Registered things that a study names with settings: models, losses, attacks, optimisers, generators.

`source` says where a default comes from; the published recipe is that of Bartoldson et al. (2024) and
Wang et al. (2023), whose code is the reference where it differs from the papers."""

from __future__ import annotations

from isoloss.dsl.vocabulary.row import By, Slot, Term

PUBLISHED = "Wang et al. 2023 and Bartoldson et al. 2024, published code"
EDM = "Karras et al. 2022 (EDM), arXiv:2206.00364, Table 1 and §5"


def _fraction(name: str, doc: str, example: str, default: str | None, source: str = "") -> Slot:
    return Slot(name, "number", doc, example, default, dimension="fraction", low="0", high="1", source=source)


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


def _smoothing(default: str, source: str) -> Slot:
    return _fraction(
        "label_smoothing",
        "Share of the label spread over all classes, clean term only.",
        "0.1",
        default,
        source,
    )


LOSSES = (
    Term(
        "trades",
        "loss",
        "CE(clean) + beta · KL(p_clean ‖ p_adversarial), the gradient flowing through both sides.",
        "trades(beta = 5, label_smoothing = 0.1)",
        (
            Slot("beta", "number", "Weight of the robustness term.", "5", "5", low="0", source=PUBLISHED),
            _smoothing("0.1", PUBLISHED),
        ),
        "Zhang et al. 2019, arXiv:1901.08573, eq. 5; " + PUBLISHED,
    ),
    Term(
        "pgd_at",
        "loss",
        "Cross-entropy on adversarial images only.",
        "pgd_at()",
        (_smoothing("0", "Madry et al. 2018"),),
        "Madry et al. 2018, arXiv:1706.06083, eq. 2.1",
    ),
    Term(
        "natural",
        "loss",
        "Cross-entropy on clean images; the attack is `none`.",
        "natural()",
        (_smoothing("0", "common practice"),),
        "baseline",
    ),
)

_EPS = Slot(
    "eps",
    "number",
    "Radius of the perturbation, as a fraction of the pixel range; stays an exact rational.",
    "8/255",
    dimension="pixels",
    low="0",
    high="1",
    exclusive=True,
)
_NORM = Slot(
    "norm", "choice", "Norm that bounds the perturbation.", "linf", "linf", choices=("linf", "l2"),
    source="the papers' threat model",
)  # fmt: skip

ATTACKS = (
    Term(
        "pgd",
        "attack",
        "Projected gradient ascent with sign steps (linf) or normalised steps (l2), clipped to the pixel range every step.",
        "pgd(norm = linf, eps = 8/255, steps = 10)",
        (
            _NORM,
            _EPS,
            Slot(
                "step",
                "number",
                "Step length, as a fraction of the pixel range.",
                "2/255",
                "eps / 4",
                dimension="pixels",
                low="0",
                high="1",
                exclusive=True,
                source="2/255 at eps = 8/255 in the published code",
            ),
            Slot("steps", "integer", "Gradient steps.", "10", "10", low="1", high="100000", source=PUBLISHED),
            Slot(
                "loss",
                "choice",
                "What the steps ascend: KL to the clean prediction, cross-entropy, or the CW margin (kappa 0).",
                "cw",
                By("loss", {"trades": "kl", "evaluate": "cw", "*": "ce"}),
                choices=("kl", "ce", "cw"),
                source="kl inside TRADES, ce inside PGD-AT, cw (CW-PGD-40) for evaluation: published code",
            ),
            Slot(
                "restarts", "integer", "Starts; one that fools is enough.", "1", "1", low="1", high="1000",
                source=PUBLISHED,
            ),
            Slot(
                "start",
                "choice",
                "First point: uniform in the ball, 0.001·N(0, 1) around the image, or the image itself.",
                "uniform",
                "uniform",
                choices=("uniform", "normal", "zero"),
                source=PUBLISHED + "; the original TRADES code starts normal",
            ),
        ),
        "Madry et al. 2018, arXiv:1706.06083",
    ),
    Term(
        "autoattack",
        "attack",
        "The AutoAttack ensemble: APGD-CE, APGD-T, FAB-T, Square, each on what still stands.",
        "autoattack(norm = linf, eps = 8/255)",
        (
            _NORM,
            _EPS,
            Slot(
                "version", "choice", "Which ensemble.", "standard", "standard",
                choices=("standard", "plus", "rand"), source="Croce & Hein 2020",
            ),
        ),
        "Croce & Hein 2020, arXiv:2003.01690",
        trains=False,
    ),
    Term("none", "attack", "No attack: clean images.", "none"),
)  # fmt: skip

OPTIMIZERS = (
    Term(
        "sgd",
        "optimizer",
        "Stochastic gradient descent; batch-norm parameters are not decayed.",
        "sgd(momentum = 0.9, nesterov = true, weight_decay = 5e-4)",
        (
            _fraction("momentum", "Momentum.", "0.9", "0.9", PUBLISHED),
            Slot("nesterov", "boolean", "Nesterov's form.", "true", "true", source=PUBLISHED),
            Slot(
                "weight_decay", "number", "L2 decay of all weights but those of batch norm.", "5e-4", "5e-4",
                low="0", high="1", source=PUBLISHED,
            ),
        ),
        PUBLISHED,
    ),
)  # fmt: skip

SCHEDULES = (
    Term(
        "cosine",
        "schedule",
        "One-cycle learning rate: cosine from lr/25 up to lr over the warm-up, then cosine down to lr/250000.",
        "cosine(warmup = 2.5%)",
        (
            _fraction("warmup", "Share of training spent warming up.", "2.5%", "2.5%", PUBLISHED),
            Slot(
                "per",
                "choice",
                "When the rate changes. The published code updates it per epoch; ours updates per step unless told.",
                "epoch",
                "step",
                choices=("step", "epoch"),
                source="ours; published: epoch",
            ),
            Slot(
                "cycle_momentum",
                "boolean",
                "Move momentum .95 → .85 → .95 against the rate, as the published code does without saying so.",
                "true",
                "false",
                source="the papers' stated momentum; published code: true",
            ),
        ),
        PUBLISHED,
    ),
)

AVERAGES = (
    Term(
        "ema",
        "average",
        "Exponential moving average of the weights, copied until the warm-up ends.",
        "ema(decay = 0.995)",
        (_fraction("decay", "Decay per step.", "0.995", "0.995", PUBLISHED),),
        PUBLISHED,
    ),
    Term("none", "average", "No averaging: evaluations use the live weights.", "none"),
)

AUGMENTS = (
    Term("none", "augment", "Images as they are.", "none"),
    Term(
        "pad_crop_flip",
        "augment",
        "Pad, crop at random to the original size, flip left-right half the time.",
        "pad_crop_flip(4)",
        (
            Slot(
                "pad",
                "integer",
                "Pixels padded on each side.",
                "4",
                "4",
                low="0",
                high="64",
                source=PUBLISHED,
            ),
        ),
        PUBLISHED,
    ),
)


def _statistic(name: str, doc: str, example: str) -> Slot:
    return Slot(name, "numbers", doc, example, low="0", high="1")


NORMALIZES = (
    Term("none", "normalize", "Pixels in [0, 1] enter the network as they are.", "none"),
    Term(
        "mean_std",
        "normalize",
        "Subtract a mean and divide by a deviation per channel, inside the network.",
        "mean_std(mean = [0.5], std = [0.25])",
        (_statistic("mean", "One number per channel.", "[0.5]"), _statistic("std", "One number per channel.", "[0.25]")),
    ),
    Term(
        "cifar10",
        "normalize",
        "CIFAR-10's mean .4914 .4822 .4465 and deviation .2471 .2435 .2616.",
        "cifar10",
        (),
        PUBLISHED,
    ),
)  # fmt: skip

BATCHNORMS = (
    Term(
        "batchnorm",
        "batchnorm",
        "How batch normalisation behaves in training.",
        "batchnorm(attack = train, momentum = 0.01)",
        (
            Slot(
                "attack",
                "choice",
                "Mode of the network while it is attacked: train (batch statistics, running buffers frozen) or eval.",
                "train",
                "train",
                choices=("train", "eval"),
                source=PUBLISHED,
            ),
            _fraction("momentum", "Weight of the newest batch in the running statistics.", "0.01", "0.01", PUBLISHED),
        ),
        PUBLISHED,
    ),
)  # fmt: skip


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
