"""Tables for the tests of commands: made from stated laws, so that the right answer is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SIZES = (5_849_050, 19_799_770, 52_517_850, 122_217_690, 316_356_058)
IMAGES = (5_017_600, 10_035_200, 30_720_000, 71_680_000, 102_400_000)
LAW2 = {
    "A": 6.687,
    "alpha": 0.2443,
    "B": 9.89,
    "beta": 0.2281,
    "zeta": -0.2768,
    "E": 0.4816,
    "epsilon": 0.1555,
}


def loss2(params: float, images: float, fid: float) -> float:
    """Approach 2 with LAW2."""
    p = LAW2
    quality = 1 + fid
    reducible = p["B"] * quality ** p["zeta"] / images ** p["beta"]
    return float(p["A"] / params ** p["alpha"] + reducible + p["E"] * quality ** p["epsilon"])


def plain(noise: float = 0.0) -> str:
    """params, images, loss at FID 0: what every law of N and D can be fitted to."""
    rng = np.random.default_rng(3)
    rows = (
        f"{n},{d},{loss2(n, d, 0) * float(np.exp(rng.normal(0, noise)))!r}" for n in SIZES for d in IMAGES
    )
    return "params,images,loss\n" + "\n".join(rows) + "\n"


def qualities(noise: float = 0.003) -> str:
    """With fid, flops (7822 N D) and accuracy: three generators."""
    rng = np.random.default_rng(4)
    lines = ["params,images,fid,flops,loss,accuracy"]
    for fid in (1.65, 2.48, 6.79):
        for n in SIZES:
            for d in IMAGES:
                loss = loss2(n, d, fid) * float(np.exp(rng.normal(0, noise)))
                accuracy = 1.2575 - 0.7496 * loss + rng.normal(0, 0.002)
                lines.append(f"{n},{d},{fid},{7822 * n * d!r},{loss!r},{accuracy!r}")
    return "\n".join(lines) + "\n"


def curves() -> str:
    """run, fraction and flops, eight evaluations per run: for approach1."""
    return "run,params,images,fid,flops,fraction,loss\n" + "\n".join(_curve_rows()) + "\n"


def _curve_rows() -> Iterator[str]:
    for n in SIZES:
        for d in IMAGES:
            for step in range(1, 9):
                fraction = step / 8
                seen = d * fraction
                loss = loss2(n, seen, 1.65) * (1 + 0.1 * (1 - fraction))
                yield f"wrn{n}_{d},{n},{seen!r},1.65,{7822 * n * seen!r},{fraction},{loss!r}"
