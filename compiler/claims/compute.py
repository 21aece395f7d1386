"""Costs and counts (Sections 2, 2.4, Appendices A, C, D): architectures and run sizes -> printed numbers.

Networks are counted layer by layer, not taken from the paper."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from isoloss.compiler.claims.claim import Claim, percent, printed, stated
from isoloss.compiler.cost.architectures import Architecture, count

PART = "Compute and counts"

#: Table 3: (depth, width) of the eight networks, and N in millions as printed.
MODELS = {(28, 4): 6, (40, 4): 9, (82, 4): 20, (28, 12): 53, (58, 12): 122, (82, 12): 178, (70, 16): 267,
          (82, 16): 316}  # fmt: skip
LONG, SHORT = (5, 10, 30, 70, 100), (5, 10, 30)  # million images, Appendix C
GENERATORS = {"EDM-5": SHORT, "EDM-6": SHORT, "EDM-7": LONG, "EDM-10": SHORT, "EDM-20": LONG,
              "PFGM++": LONG, "DG": LONG}  # fmt: skip

#: Section 2.4 and Appendix H.4: the five runs beside the scaling grid and the prior best (Wang et al. 2023);
#: million images as trained (nominal 175, 150, 349, 300, 500 and 100, counted in whole batches of 2048).
LARGE = {(58, 12): 179.2, (82, 12): 153.6, (82, 8): 349.184, (82, 16): 307.2, (94, 16): 512.0}
PRIOR, PRIOR_IMAGES = (70, 16), 102.4

#: Appendix D: 1 clean forward, ten PGD steps of a forward and an input gradient, the loss's two forwards and
#: a backward over two batches.
PASSES = 1 + 10 * 2 + 2 + 4


def network(depth: int, width: int) -> Architecture:
    return count({"kind": "wrn", "depth": depth, "width": width}, {"kind": "cifar10"})


def drawn(million: float) -> float:
    """Images drawn for a nominal size: whole batches per epoch of 50,000; batch 1024 up to 10M, else 2048."""
    batch = 1024 if million <= 10 else 2048
    return million * 1e6 / 50_000 * ceil(50_000 / batch) * batch


def train_flops(model: tuple[int, int], images: float) -> float:
    """27 x forward FLOPs x images."""
    return PASSES * network(*model).forward_flops * images


def claims() -> Iterator[Claim]:
    yield from _networks()
    yield from _grid()
    yield from _records()


def _networks() -> Iterator[Claim]:
    off = {m: p for m, p in MODELS.items() if round(network(*m).params / 1e6) != p}
    listed = ", ".join(f"{network(*m).params / 1e6:.2f}" for m in MODELS)
    yield stated(
        PART, "parameters of the eight networks, in millions", "Table 3",
        ", ".join(map(str, MODELS.values())), listed, "differs" if off else "agrees",
        "all trainable weights, batch norm's affine and the head included",
    )  # fmt: skip
    yield printed(PART, "forward passes per adversarial training step", "Appendix D", "27", float(PASSES))
    ratio = PASSES / 3
    yield printed(PART, "cost of a step over a plain one", "Appendix D.1", "9", ratio, "27/3")
    constants = {m: PASSES * network(*m).forward_flops / network(*m).params for m in MODELS}
    worst = max(abs(c / 7822 - 1) for c in constants.values())
    yield stated(
        PART, "FLOPs = 7822 N D within 1 % for every run", "Section 2.2", "7822, <= 1%",
        f"{min(constants.values()):.0f} to {max(constants.values()):.0f}, worst {100 * worst:.2f}%",
        "agrees" if worst <= 0.01 else "differs", "27 x counted forward FLOPs / N for the eight networks",
    )  # fmt: skip
    small = PASSES * network(16, 1).forward_flops / network(16, 1).params
    yield stated(
        PART, "the constant below a million parameters", "", "", f"{small:.0f} for WRN-16-1", "finding",
        f"{percent(small / 7822 - 1)}: outside the paper's networks the constant must not be used",
    )  # fmt: skip


def _grid() -> Iterator[Claim]:
    cells = len(MODELS) * sum(len(sizes) for sizes in GENERATORS.values())
    yield stated(
        PART, "model-dataset combinations", "Section 2.2", "233", f"{cells} + 1",
        "agrees" if cells == 232 else "differs",
        "8 models x (4 generators x 5 sizes + 3 x 3), and one run on 300M images",
    )  # fmt: skip
    yield printed(PART, "training runs", "Appendix A", "238", float(cells + 1 + len(LARGE)),
                  "the combinations and the five runs of Section 2.4")  # fmt: skip
    yield stated(
        PART, "observations", "Section 2.2", "more than 9000", f"{(cells + 1) * 40}",
        "agrees" if (cells + 1) * 40 > 9000 else "differs", "an evaluation every 2.5 % of 233 runs",
    )  # fmt: skip
    grid = sum(train_flops(m, drawn(d)) for sizes in GENERATORS.values() for d in sizes for m in MODELS)
    large = sum(train_flops(m, d * 1e6) for m, d in LARGE.items()) + train_flops((82, 16), 307.2e6)
    total = grid + large
    yield stated(
        PART, "compute of all runs", "Section 4", "over 1e22 FLOPs", f"{total:.3g}",
        "agrees" if total > 1e22 else "differs", f"232 cells {grid:.3g}, six larger runs {large:.3g}",
    )  # fmt: skip
    small = sum(network(*m).params < 1e8 for m in MODELS)
    left = len(MODELS) * len(LONG) - small * sum(d > 10 for d in LONG)
    yield stated(
        PART, "runs behind Approach 2's base fit", "Section 2.2", "40", str(left),
        "differs" if left != 40 else "agrees",
        "Appendix H.2.1 drops N < 100M with D > 10M and FID < 10: no small network on much data is left",
    )  # fmt: skip


def _records() -> Iterator[Claim]:
    prior = train_flops(PRIOR, PRIOR_IMAGES * 1e6)
    share = {m: train_flops(m, d * 1e6) / prior - 1 for m, d in LARGE.items()}
    inference = {m: network(*m).forward_flops / network(*PRIOR).forward_flops - 1 for m in LARGE}
    a, b = (58, 12), (82, 8)
    yield stated(
        PART, "20% (70%) fewer training (inference) FLOPs than the prior best", "Abstract", "20% (70%)",
        f"WRN-58-12 {percent(share[a])} ({percent(inference[a])}), "
        f"WRN-82-8 {percent(share[b])} ({percent(inference[b])})",
        "differs", "two networks: neither saves both; each figure alone agrees",
    )  # fmt: skip
    ratio = network(*PRIOR).params / network(82, 8).params
    yield stated(
        PART, "WRN-82-8 is over 3x more parameter efficient", "Section 2.4", "over 3x", f"{ratio:.2f}x",
        "agrees" if ratio > 3 else "differs",
    )  # fmt: skip
    yield stated(
        PART, "+3 points AutoAttack over the prior best", "Section 2.4", "3%", f"{73.71 - 70.69:.2f} points",
        "agrees" if round(73.71 - 70.69) == 3 else "differs",
        "73.71 - 70.69; sampling error of each on 10,000 images is +-0.9 points",
    )  # fmt: skip
