"""The parts of a training recipe that a study names with settings: losses, attacks, optimisers, schedules …

`source` says where a default comes from; PUBLISHED is the code of Bartoldson et al. (2024) and Wang et al.
(2023), the reference where it differs from the papers."""

from __future__ import annotations

from isoloss.dsl.vocabulary.row import By, Slot, Term

PUBLISHED = "Wang et al. 2023 and Bartoldson et al. 2024, published code"


def _fraction(name: str, doc: str, example: str, default: str | None, source: str = "") -> Slot:
    return Slot(name, "number", doc, example, default, dimension="fraction", low="0", high="1", source=source)


CUBUK = "Cubuk et al. 2017, arXiv:1711.02846"
KURAKIN = "Kurakin et al. 2017, arXiv:1611.01236"
MART = "Wang et al. 2020 (MART), published code"
AWP = "Wu et al. 2020 (AWP), arXiv:2004.05884, published code"
SCORE = "Pang et al. 2022 (SCORE), arXiv:2202.10103, published code"


def _smoothing(default: str, source: str) -> Slot:
    return _fraction(
        "label_smoothing",
        "Share of the label spread over all classes, in the cross-entropy only.",
        "0.1",
        default,
        source,
    )


_ENTROPY = Slot(
    "entropy",
    "number",
    "Weight λ of the entropy of the predictions whose cross-entropy is taken: + λ·H(p), which raises confidence.",
    "3",
    "0",
    low="0",
    source=CUBUK + ": 4.5 for MNIST, 3 for wide networks on CIFAR-10; 0 in the other recipes",
)

LOSSES = (
    Term(
        "trades",
        "loss",
        "CE(clean) + beta · KL(p_clean ‖ p_adversarial), batch means; clean and adversarial images pass separately.",
        "trades(beta = 5, label_smoothing = 0.1)",
        (
            Slot("beta", "number", "Weight of the robustness term.", "6", "5", low="0",
                 source=PUBLISHED + "; 6 in Zhang et al. and in AWP's code"),
            _smoothing("0.1", PUBLISHED + "; 0 in Zhang et al."),
            Slot(
                "detach", "boolean", "Whether the KL's gradient stops at the clean side.", "true", "false",
                source=PUBLISHED + ", and Zhang et al.: through both sides",
            ),
            _ENTROPY,
        ),
        "Zhang et al. 2019, arXiv:1901.08573, eq. 5; variants: docs/recipes.md",
    ),
    Term(
        "pgd_at",
        "loss",
        "Cross-entropy on adversarial images only, of whichever attack: FGSM and R-FGSM training too.",
        "pgd_at()",
        (_smoothing("0", "Madry et al. 2018"), _ENTROPY),
        "Madry et al. 2018, arXiv:1706.06083, eq. 2.1",
    ),
    Term(
        "mart",
        "loss",
        "BCE(p_adversarial, y) + beta · KL(p_clean ‖ p_adversarial) · (1 − p_clean,y), batch means; BCE = −log p_y − "
        "log(1.0001 − the largest other p). Its attack starts normal, climbs ce and sees the network in eval mode.",
        "mart(beta = 5)",
        (Slot("beta", "number", "Weight of the robustness term.", "5", "5", low="0", source=MART),),
        MART,
    ),
    Term(
        "lse",
        "loss",
        "Squared distances of probabilities in place of TRADES' logarithms: Σ(p_clean − label)² + beta · "
        "max(Σ(p_adversarial − p_clean)² − slack, 0), batch means. Its attack climbs the same distance.",
        "lse(beta = 4)",
        (
            Slot("beta", "number", "Weight of the robustness term.", "4", low="0"),
            _smoothing("0.1", SCORE + ", where the share goes to the other classes only"),
            Slot("slack", "number", "Distance that costs nothing.", "0.1", "0", low="0", high="2", source=SCORE),
        ),
        SCORE + "; also a flag of Wang et al.'s code",
    ),
    Term(
        "half",
        "loss",
        "Every second image of a batch is attacked, all pass together: (Σ CE(clean) + weight · Σ CE(adversarial)) / "
        "(number clean + weight · number adversarial).",
        "half(weight = 0.3)",
        (
            Slot("weight", "number", "Weight λ of an adversarial image against a clean one.", "0.3", "0.3", low="0",
                 high="1000", source=KURAKIN + ", eq. 4; Cubuk et al. state none"),
            _smoothing("0", "Kurakin et al. 2017"),
            _ENTROPY,
        ),
        KURAKIN,
    ),
    Term(
        "noise",
        "loss",
        "Cross-entropy on images with fresh Gaussian noise, not clipped to the pixel range; the attack is `none`.",
        "noise(sigma = 0.08)",
        (
            Slot("sigma", "number", "Deviation of the noise, as a fraction of the pixel range.", "0.08", "0.08",
                 dimension="pixels", low="0", high="1", source="Kindermans & Staats 2022 (Squiggles)"),
            _smoothing("0", "common practice"),
            _ENTROPY,
        ),
        "Kindermans & Staats 2022 (Squiggles)",
    ),
    Term(
        "natural",
        "loss",
        "Cross-entropy on clean images; the attack is `none`.",
        "natural()",
        (_smoothing("0", "common practice"), _ENTROPY),
        "baseline",
    ),
)  # fmt: skip

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
CLIMBS = ("kl", "ce", "cw", "lse", "least")
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
                "What the steps ascend: KL to the clean prediction, cross-entropy, the CW margin (kappa 0), the "
                "squared distance to the clean probabilities, or minus the cross-entropy of the class that is least "
                "likely on the clean image.",
                "cw",
                By("loss", {"trades": "kl", "lse": "lse", "evaluate": "cw", "*": "ce"}),
                choices=CLIMBS,
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
                By("loss", {"mart": "normal", "*": "uniform"}),
                choices=("uniform", "normal", "zero"),
                source=PUBLISHED + "; normal in the code of TRADES, MART and AWP",
            ),
        ),
        "Madry et al. 2018, arXiv:1706.06083",
    ),
    Term(
        "fgsm",
        "attack",
        "One step of length eps from the image: x + eps · sign(gradient), in l2 x + eps · gradient / |gradient|.",
        "fgsm(eps = 8/255)",
        (
            _NORM,
            _EPS,
            # Distances to the clean prediction have no gradient at the clean image.
            Slot("loss", "choice", "What the step ascends: cross-entropy, the CW margin (kappa 0), or `least`, which "
                 "makes it step l.l. of Kurakin et al.", "least", "ce", choices=("ce", "cw", "least"),
                 source="Goodfellow et al. 2015"),
            Slot("sigma", "number", "Each image has an eps of its own, drawn from |N(0, sigma)| truncated at `eps`; "
                 "`none`: all have `eps`.", "8/255", "none", dimension="pixels", low="0", high="1", exclusive=True,
                 absent="none", source="Goodfellow et al. 2015; " + KURAKIN + ": 8/255, truncated at 16/255"),
        ),
        "Goodfellow et al. 2015, arXiv:1412.6572; l2: " + CUBUK,
    ),
    Term(
        "rfgsm",
        "attack",
        "A step alpha in a random direction (the sign of Gaussian noise), then FGSM of eps − alpha from there.",
        "rfgsm(eps = 8/255, alpha = 4/255)",
        (
            _NORM,
            _EPS,
            Slot("alpha", "number", "Length of the random step, at most eps.", "4/255", "eps / 2", dimension="pixels",
                 low="0", high="1", ceiling="eps", source="Tramèr et al. 2018: eps / 2"),
            Slot("loss", "choice", "What the step ascends, as in pgd.", "ce", "ce", choices=CLIMBS,
                 source="Tramèr et al. 2018"),
        ),
        "Tramèr et al. 2018, arXiv:1705.07204",
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

PERTURBS = (
    Term("none", "perturb", "Weights as they are.", "none"),
    Term(
        "awp",
        "perturb",
        "One ascent step on the weights after the images are attacked: v = gamma · |w| / |g| · g for every tensor of "
        "rank above 1; the gradient is taken at w + v and v is taken back after the update. Running statistics of "
        "batch norm don't see the ascent.",
        "awp(gamma = 0.005, warmup = 5%)",
        (
            Slot("gamma", "number", "Length of the step, relative to each tensor's norm.", "0.005", "0.005", low="0",
                 high="1", exclusive=True, source=AWP + ", with TRADES"),
            _fraction("warmup", "Share of training before it begins.", "5%", "5%",
                      AWP + ": from epoch 10 of 200"),
        ),
        AWP,
    ),
)  # fmt: skip

_EXCLUDE = Slot(
    "exclude", "choice",
    "What weight decay spares: batch norm's weights and biases, these and every other bias, or nothing.",
    "batchnorm", "batchnorm", choices=("batchnorm", "batchnorm_and_bias", "nothing"),
    source=PUBLISHED + "; Madry et al. decay convolutions and matrices only; TRADES, MART and AWP spare nothing",
)  # fmt: skip

OPTIMIZERS = (
    Term(
        "sgd",
        "optimizer",
        "Stochastic gradient descent.",
        "sgd(momentum = 0.9, nesterov = true, weight_decay = 5e-4)",
        (
            _fraction("momentum", "Momentum.", "0.9", "0.9", PUBLISHED),
            Slot("nesterov", "boolean", "Nesterov's form.", "true", "true", source=PUBLISHED),
            Slot("weight_decay", "number", "L2 decay of the weights.", "5e-4", "5e-4", low="0", high="1",
                 source=PUBLISHED),
            _EXCLUDE,
        ),
        PUBLISHED,
    ),
    Term(
        "adam",
        "optimizer",
        "Adam, with L2 decay in the gradient where any is asked for.",
        "adam()",
        (
            Slot("beta1", "number", "Decay of the gradient's mean.", "0.9", "0.9", low="0", high="0.9999999",
                 source="Kingma & Ba 2015"),
            Slot("beta2", "number", "Decay of the gradient's square.", "0.999", "0.999", low="0", high="0.9999999",
                 source="Kingma & Ba 2015"),
            Slot("adam_eps", "number", "Added to the root.", "1e-8", "1e-8", low="0", exclusive=True,
                 source="Kingma & Ba 2015"),
            Slot("weight_decay", "number", "L2 decay of the weights.", "0", "0", low="0", high="1",
                 source="Madry et al. 2018, MNIST: none, at a rate of 1e-4"),
            _EXCLUDE,
        ),
        "Kingma & Ba 2015, arXiv:1412.6980",
    ),
)  # fmt: skip


def _warmup(source: str) -> Slot:
    return _fraction(
        "warmup", "Share of training over which the rate rises from 0 in a line.", "5%", "0%", source
    )


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
    Term("constant", "schedule", "The same rate throughout.", "constant", (), "Madry et al. 2018, MNIST"),
    Term(
        "step",
        "schedule",
        "The rate is multiplied by a factor at each milestone.",
        "step(milestones = [50%, 75%], factor = 0.1)",
        (
            Slot("milestones", "numbers", "Shares of training at which it falls.", "[50%, 75%]", "[50%, 75%]",
                 dimension="fraction", low="0", high="1", source="AWP's code: epochs 100 and 150 of 200"),
            Slot("factor", "number", "What it is multiplied by.", "0.1", "0.1", low="0", high="1", exclusive=True,
                 source="the code of TRADES, AWP and Madry et al."),
        ),
        "Zhang et al. 2019, Wu et al. 2020, published code",
    ),
    Term(
        "linear",
        "schedule",
        "A straight line from lr down to a share of it.",
        "linear(end = 0%)",
        (
            _fraction("end", "Share of lr at the end.", "0%", "0%", "common practice"),
            _warmup("common practice"),
        ),
        "common practice",
    ),
    Term(
        "cooldown",
        "schedule",
        "A constant rate, and a straight line to 0 at the end: runs of different length share their beginning.",
        "cooldown(fraction = 20%)",
        (
            _fraction("fraction", "Share of training that cools down.", "20%", "20%", "Hägele et al. 2024"),
            _warmup("common practice"),
        ),
        "Hägele et al. 2024, arXiv:2405.18392",
    ),
)  # fmt: skip

AVERAGES = (
    Term(
        "ema",
        "average",
        "Exponential moving average of the weights. Running statistics of batch norm are the live network's own: "
        "never averaged, never estimated again.",
        "ema(decay = 0.995)",
        (
            _fraction(
                "decay",
                "Decay per step, reached in a ramp (1 + d) / (10 + d), d steps after the warm-up.",
                "0.995",
                "0.995",
                PUBLISHED,
            ),
            _fraction(
                "warmup", "Share of training during which the average is a copy.", "2.5%", "2.5%", PUBLISHED
            ),
        ),
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
        "How batch normalisation behaves in training (its epsilon is 1e-5).",
        "batchnorm(attack = train, momentum = 0.01, group = all)",
        (
            Slot(
                "attack",
                "choice",
                "Mode of the network while it is attacked: train (batch statistics, running buffers frozen), eval, or "
                "moving (train, and every pass of the attack moves the running buffers too).",
                "train",
                By("loss", {"mart": "eval", "*": "train"}),
                choices=("train", "eval", "moving"),
                source=PUBLISHED + "; eval in the code of TRADES, MART and AWP, moving in Madry et al.'s for CIFAR-10",
            ),
            _fraction("momentum", "Weight of the newest batch in the running statistics.", "0.01", "0.01", PUBLISHED),
            _fraction("first", "The same in the very first step: 100% starts them from data, not from 0 and 1. "
                      "torch's own way is the momentum's value.", "10%", "100%", PUBLISHED),
            Slot(
                "group",
                "integer",
                "Images that are normalised together, in training and under its attack; it divides the batch. `all`: "
                "the whole batch, over all devices. Identity: another group is another experiment.",
                "64",
                "all",
                dimension="images",
                low="2",
                high="1e7",
                absent="all",
                source=PUBLISHED + ": statistics span the batch over all GPUs (SyncBN)",
            ),
        ),
        PUBLISHED,
    ),
)  # fmt: skip
