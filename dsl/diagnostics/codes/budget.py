"""Diagnostic codes of the stage: budget. Raised by the compiler when it chooses and prices a study's jobs."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.diagnostics.codes.shell import noted, planned

_FIT = "fit f { law = chinchilla }"
_ASK = "allocate a { law = f compute = 1 TFLOP generator = g }"
_LAW = "fit f { law = chinchilla }"
_FAR = "forecast x {{ law = f generator = g compute = 100 TFLOP within = {} }}"
_LARGE = "grid runs { model in [wrn(82, 16)] generator = g images in [5M] }"
_CIFAR = {
    "dataset": "cifar10",
    "data": "generator g { sampler = edm(steps = 7) fid = 6.79 images = 100M }",
    "recipe": "recipe r { loss = trades() attack = pgd(eps = 8/255) batch = 2048 lr = 0.2 }",
    "test": "evaluate robust { attack = pgd(eps = 8/255, steps = 40, loss = cw) }",
}
_BF16 = "recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 precision = bf16 }"
_SMALL = "grid runs { model in [wrn(28, 1)] generator = g images in [5M] }"

CODES: tuple[Code, ...] = (
    Code(
        "B101",
        "a budget that buys nothing",
        "Not one cell of the grids, with its images and its evaluation, fits into `compute`. The message names the "
        "cheapest one's cost.",
        planned("budget { compute = 1 MFLOP choose = cheapest }"),
        planned("budget { compute = 1 TFLOP choose = cheapest }"),
    ),
    Code(
        "B102",
        "all runs cost more than the budget",
        "`choose = all` wants every cell, and `compute` doesn't hold them with what `allocate` will train. Cells are "
        "never left out in silence: `choose = cheapest` or `design` leaves some out and says which.",
        planned("budget { compute = 1 GFLOP choose = all }"),
        planned("budget { compute = 1 TFLOP choose = all }"),
    ),
    Code(
        "B103",
        "the follow-up alone exceeds the budget",
        "What an `allocate` trains counts against `budget.compute` like every job. Of one that is asked at a `compute` "
        "that, the images it may need and its evaluations are kept aside before any cell is bought; one that is asked "
        "for an `accuracy` or a `time` has what the cells leave.",
        planned(_FIT, _ASK, "budget { compute = 0.5 TFLOP choose = cheapest }"),
        planned(_FIT, _ASK, "budget { compute = 9 TFLOP choose = cheapest }"),
    ),
    Code(
        "B104",
        "more storage than the budget",
        "Images, weights and samples of all jobs together take more bytes than `storage`. Images are most of it: a "
        "generator's shards hold twice the images of the one before.",
        planned("budget { storage = 10 kB }"),
        planned("budget { storage = 1 GB }"),
    ),
    Code(
        "B105",
        "what the design assumes",
        "`choose = design` buys the runs that leave the answers of `forecast`, `allocate` or `fit` the least variance "
        "for the budget. Before anything is measured it stands on a prior, which it names, and a pilot comes first; "
        "fids that are not measured yet are assumed too. Without a fit there is no question to plan for, and the "
        "cheapest runs are bought first.",
        noted("budget { compute = 25 GFLOP choose = design }"),
        noted("budget { compute = 1 TFLOP choose = design }"),
    ),
    Code(
        "B106",
        "more memory than the devices have",
        "Adversarial training keeps three tensors per convolution for every image of the batch, for the clean and the "
        "adversarial pass. No number of the budget's devices that can share the batch holds a job. The help goes from "
        "what changes nothing to what makes it another experiment: more devices, bf16, smaller batch-norm groups, "
        "checkpointing; ZeRO comes last, because the state that it partitions is a few per cent.",
        planned("budget { devices = 1 of v100 }", grid=_LARGE, **_CIFAR),
        planned("budget { devices = 4 of h200 }", grid=_SMALL, **_CIFAR),
    ),
    Code(
        "B107",
        "jobs longer than the walltime",
        "On its fewest devices such a job outlasts `walltime`. It becomes a chain: each link goes on from the last checkpoint.",
        noted("budget { devices = 4 of v100 walltime = 1 h }", grid=_LARGE, **_CIFAR),
        noted("budget { devices = 4 of v100 walltime = 2 d }", grid=_SMALL, **_CIFAR),
    ),
    Code(
        "B108",
        "a follow-up that no longer fits",
        "The run that an `allocate` came to, with its images and evaluations, costs more than the budget has left: an "
        "`accuracy` may need more than anybody could keep aside before its law was known. It is not trained.",
        "",
        planned(_FIT, _ASK, "budget { compute = 9 TFLOP choose = cheapest }"),
    ),
    Code(
        "B109",
        "a device without a profile",
        "Seconds and money need to know what a device achieves. The kind of device in the budget has no built-in "
        "profile: an extension named it without bringing one.",
        "",
        planned("budget { devices = 2 of cpu }"),
    ),
    Code(
        "B110",
        "a tolerance out of reach",
        "A forecast's `within` is narrower than what the whole budget, spent as well as the design can, is expected to "
        "leave. The message has three numbers: the wanted half-width, the expected one, and the bound that no plan of "
        "these cells can beat at this budget (Elfving's theorem, seed noise alone). The help names the cheapest run "
        "that would settle it, in the grid or on the way to the question's compute; where noise, misfit and the one "
        "test set leave more than `within`, no run does. Known before anything is spent; as sure as the prior it "
        "stands on until runs are finished.",
        planned(_LAW, _FAR.format("0.1%"), "budget { compute = 60 GFLOP choose = design }"),
        planned(_LAW, _FAR.format("90%"), "budget { compute = 60 GFLOP choose = design }"),
    ),
    Code(
        "B111",
        "laws the pool can't tell apart",
        "Two laws of one forecast fit everything measured, and would fit every cell of the grids: what one predicts "
        "there the other can imitate to within the noise. Yet their answers differ by more than is wanted. More of the "
        "same runs won't decide between them. The help names the cheapest run that would, on the way to the "
        "question's compute.",
        "",
        planned(_LAW, _FAR.format("90%"), "budget { compute = 60 GFLOP choose = design }"),
    ),
    Code(
        "B112",
        "pinned runs cost more than the budget",
        "`pin` names runs that are bought before all others, whatever they tell. Together, with what is kept aside for "
        "an `allocate`, they cost more than `compute`. Pinned runs are never left out in silence.",
        planned("budget { compute = 10 GFLOP choose = cheapest pin = runs }"),
        planned("budget { compute = 1 TFLOP choose = cheapest pin = (runs where images == 4k) }"),
    ),
    Code(
        "B113",
        "an allocation without a run",
        "What is asked for can't be had: no network and number of images that its law predicts comes to the `accuracy`, "
        "ends within the `time`, or costs so little as the `compute`. The message has what can be had. Known once the "
        "runs are finished that its law is fitted to.",
        "",
        planned(_FIT, _ASK, "budget { compute = 9 TFLOP choose = cheapest }"),
    ),
    Code(
        "B114",
        "jobs that take several devices",
        "One device can't hold a job's batch, several can: each has a share of it, and batch norm's statistics are those "
        "of the whole batch or of the stated group, so that the job is the same on any number of devices. The plan's "
        "`placement` says how many, how many images pass at a time, and whether ZeRO is needed.",
        planned("budget { devices = 32 of v100 }", grid=_LARGE, **_CIFAR),
        planned("budget { devices = 4 of h200 }", grid=_SMALL, **_CIFAR),
    ),
    Code(
        "B115",
        "a number format that the devices don't have",
        "`precision` is part of what a training means. NVIDIA's GPUs multiply in bf16 and TF32 from Ampere (A100) on; "
        "T4 and V100 have neither, and bf16 there would be emulated.",
        planned("budget { devices = 4 of v100 }", recipe=_BF16),
        planned("budget { devices = 4 of h200 }", recipe=_BF16),
    ),
    Code(
        "B116",
        "devices that the default torch doesn't run on",
        "The torch that `pip install torch` brings is built with CUDA 13, which has no code for NVIDIA's GPUs below compute "
        "capability 7.5: P100, GTX 1080 Ti, V100. Builds with CUDA 12.6 have it, up to torch 2.14.",
        planned("budget { devices = 4 of v100 }"),
        planned("budget { devices = 4 of t4 }"),
    ),
)
