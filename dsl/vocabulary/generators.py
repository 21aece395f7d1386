"""What a generator is made of: samplers, denoisers, the discriminator that guides one."""

from __future__ import annotations

from isoloss.dsl.vocabulary.row import By, Slot, Term

EDM = "Karras et al. 2022 (EDM), arXiv:2206.00364, Table 1 and §5"
_TRAINED = "Karras et al. 2022 (EDM), arXiv:2206.00364: CIFAR-10, as in the released code"
_GUIDED = "Kim et al. 2023, class-conditional CIFAR-10"


def _tiny(digits: str, others: str) -> By:
    """A default for images of 64 pixels, and the published one for all others."""
    return By("dataset", {"digits": digits, "*": others})


def _images(name: str, doc: str, example: str, default: str | By, source: str, low: str = "1") -> Slot:
    return Slot(
        name, "integer", doc, example, default, dimension="images", low=low, high="1e12", source=source
    )


def _share(name: str, doc: str, example: str, default: str | By, source: str) -> Slot:
    return Slot(name, "number", doc, example, default, dimension="fraction", low="0", high="1", source=source)


_PRECISION = Slot(
    "precision", "choice", "Number format of convolutions and products of its training, as in a recipe; images are made "
    "in fp32.", "bf16", "fp32", choices=("fp32", "tf32", "bf16"), source=_TRAINED,
)  # fmt: skip


def _sampler_slots() -> tuple[Slot, ...]:
    return (
        Slot("steps", "integer", "Steps n of Heun's method; 2n − 1 network evaluations.", "20", low="2", high="1000"),
        Slot("sigma_min", "number", "Smallest noise level.", "0.002", "0.002", low="0", exclusive=True, source=EDM),
        Slot(
            "sigma_max",
            "number",
            "Largest noise level, in the denoiser's pixels: [0, 1] for `mixture`, [−1, 1] for networks.",
            "80",
            _tiny("10", "80"),
            low="0",
            exclusive=True,
            source=EDM + "; 10 for digits: ours, for images of 64 pixels",
        ),
        Slot("rho", "number", "Bend of the noise schedule.", "7", "7", low="0", exclusive=True, source=EDM),
    )  # fmt: skip


def _churn_slots() -> tuple[Slot, ...]:
    return (
        Slot("churn", "number", "Noise added before steps, S_churn; 0: the sampler is deterministic.", "40", "0",
             low="0", source=EDM + ": 0 for CIFAR-10"),
        Slot("churn_min", "number", "Least noise level at which it is added, S_tmin.", "0.05", "0", low="0",
             source=EDM),
        Slot("churn_max", "number", "Largest noise level at which it is added, S_tmax.", "50", "unlimited", low="0",
             absent="unlimited", source=EDM),
        Slot("churn_noise", "number", "Scale of the noise added, S_noise.", "1.003", "1", low="0", exclusive=True,
             source=EDM),
    )  # fmt: skip


def _network_slots(
    channels: str | By,
    multipliers: str | By,
    blocks: str | By,
    attention: str | By,
    dropout: str | By,
    source: str,
) -> tuple[Slot, ...]:
    return (
        Slot("channels", "integer", "Channels at full size.", "128", channels, low="4", high="4096", residue=(0, 4),
             source=source),
        Slot("multipliers", "integers", "Channels of each level, in `channels`; each level has half the size of the "
             "one before.", "[2, 2, 2]", multipliers, low="1", high="64", source=source),
        Slot("blocks", "integer", "Residual blocks of each level.", "4", blocks, low="1", high="64", source=source),
        Slot("attention", "integers", "Rows of the images at whose size blocks look at all pixels; the smallest image "
             "of a U-Net always has one such block.", "[16]", attention, low="1", high="1024", absent="none",
             source=source),
        _share("dropout", "Share of a block's values dropped in training.", "13%", dropout, source),
        Slot("form", "choice", "Positional embedding and 2×2 means (DDPM++), or Fourier embedding, smooth filters and "
             "a residual encoder (NCSN++).", "ddpmpp", "ddpmpp", choices=("ddpmpp", "ncsnpp"), source=source),
    )  # fmt: skip


_OURS = _TRAINED + "; digits: ours"
_SEED = Slot("seed", "integer", "Seed of its initial weights, order and noise.", "1", "0", low="0", high="4e9",
             source="ours")  # fmt: skip

SAMPLERS = (
    Term("edm", "sampler", "EDM's Heun sampler, deterministic without churn.", "edm(steps = 20)",
         (*_sampler_slots(), *_churn_slots()), EDM),
    Term(
        "pfgmpp",
        "sampler",
        "PFGM++ with Heun's method; a U-Net that it follows is trained under its kernel.",
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
        "EDM with discriminator guidance: a network that tells real images from those of `edm` with the same settings "
        "corrects every step.",
        "dg(steps = 20)",
        (
            *_sampler_slots(),
            Slot("weight", "number", "Weight w1 of the guidance, first-order slope only.", "1", "1", low="0",
                 source=_GUIDED),
            Slot("churn", "number", "Churn of images that are taken for generated, at every `churn_every`-th step.", "4",
                 "4", low="0", source=_GUIDED),
            Slot("churn_every", "integer", "Steps from one boost by churn to the next; `none`: no such boost.", "5",
                 "5", low="1", high="1000", absent="none", source=_GUIDED),
            Slot("double_every", "integer", "Steps from one boost to the next at which guidance doubles for images that "
                 "are taken for generated; `none`: no such boost.", "2", "2", low="1", high="1000", absent="none",
                 source=_GUIDED),
            Slot("discriminator", "call", "The network that guides, and its training.", "encoder(channels = 16)",
                 "encoder()", family="discriminator", source="ours"),
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
    Term(
        "unet",
        "denoiser",
        "A U-Net trained by a job of its own on the real training images, all but a held-out slice; generators whose "
        "networks are trained alike share one. Images have pixels in [−1, 1].",
        "unet(channels = 128, images = 200M)",
        (
            *_network_slots(
                _tiny("16", "128"), _tiny("[1, 2]", "[2, 2, 2]"), _tiny("1", "4"), _tiny("[4]", "[16]"),
                _tiny("0%", "13%"), _OURS,
            ),
            _images("images", "Images drawn over the whole training.", "200M", _tiny("200k", "200M"), _OURS),
            _images("batch", "Images per step.", "512", _tiny("128", "512"), _OURS),
            Slot("lr", "number", "Learning rate of Adam (0.9, 0.999, 1e-8) after its rise.", "1e-3", "1e-3", low="0",
                 high="1000", exclusive=True, source=_TRAINED),
            _images("warmup", "Images over which the learning rate rises from 0.", "10M", _tiny("10k", "10M"), _OURS,
                    low="0"),
            _images("ema", "Half-life of the weights' average, in images.", "500k", _tiny("10k", "500k"), _OURS),
            Slot("ramp", "number", "Early on the half-life is at most this share of the images drawn so far; `none`: it "
                 "is what it is.", "5%", "5%", dimension="fraction", low="0", high="1", exclusive=True, absent="none",
                 source=_TRAINED),
            _share("augment", "Probability of each geometric change of a training image (one mirrored at random, the "
                   "others flipped, scaled, turned, stretched, moved), which the network is told; 0 %: none.", "12%",
                   _tiny("0%", "12%"), _OURS),
            Slot("sigma_mean", "number", "Mean of the log of the noise levels it is trained at.", "-1.2", "-1.2",
                 source=EDM),
            Slot("sigma_spread", "number", "Standard deviation of that log.", "1.2", "1.2", low="0", exclusive=True,
                 source=EDM),
            _PRECISION,
            _SEED,
        ),
        EDM,
    ),
    Term(
        "pretrained",
        "denoiser",
        "A published network: a file below the data root that `isoloss import` made of NVIDIA's .pkl.",
        'pretrained(file = "edm-cifar10-32x32-cond-vp.pt")',
        (
            Slot("file", "file", "Where its weights are, below the data root.", '"edm-cifar10-32x32-cond-vp.pt"'),
            Slot("sha256", "digest", "Checksum that the file must have; `none`: whatever is there.",
                 '"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"', "none", absent="none"),
            *_network_slots("128", "[2, 2, 2]", "4", "[16]", "13%", _TRAINED),
        ),
        "Karras et al. 2022; CC BY-NC-SA 4.0",
    ),
)  # fmt: skip

DISCRIMINATORS = (
    Term(
        "encoder",
        "discriminator",
        "The encoder of a small U-Net with a head, told noise level and class, trained on real images and the first "
        "shard of what `edm` makes, 10,000. (The published one reads the features of a frozen ImageNet classifier.)",
        "encoder(channels = 16, images = 200k)",
        (
            *_network_slots(
                _tiny("16", "64"), _tiny("[1, 2]", "[1, 2, 2]"), "2", _tiny("[4]", "[16, 8]"), "0%", "ours"
            ),
            _images("images", "Images drawn over the whole training, half of them real.", "25M",
                    _tiny("200k", "25M"), _GUIDED + ": 250 epochs of 100,000 images; digits: ours"),
            _images("batch", "Images per step, half of them real.", "128", "128", "Kim et al. 2023", low="2"),
            Slot("lr", "number", "Learning rate of Adam.", "3e-4", "3e-4", low="0", high="1000", exclusive=True,
                 source="Kim et al. 2023"),
            Slot("weight_decay", "number", "Decay of its weights.", "1e-7", "1e-7", low="0", source="Kim et al. 2023"),
            _PRECISION,
            _SEED,
        ),
        "Kim et al. 2023, arXiv:2211.17091; the network: ours",
    ),
)  # fmt: skip
