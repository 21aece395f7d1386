"""Squiggles with labels per second and core: `python benchmarks/squiggles.py`. Goal: 4,000 at 60 pixels; a
loop in NumPy and shapely makes 356. CPU time of one process, so that other work on the machine counts
little."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time

from isoloss.runtime.data.squiggles import Squiggles, curves
from isoloss.runtime.data.squiggles.render import render

IMAGES = 8192


def main() -> None:
    for source in (Squiggles("taylor"), Squiggles("sinenet"), Squiggles("sinenet", units=25)):
        source.images("train", 0, 512)
        began = time.process_time()
        source.images("train", 0, IMAGES)
        seconds = time.process_time() - began
        latents = source.latents("train", 0)
        stages = {}
        clock = time.process_time()
        points = source.points(latents)
        stages["curve"], clock = time.process_time() - clock, time.process_time()
        curves.crosses_itself(points)
        stages["label"], clock = time.process_time() - clock, time.process_time()
        render(points, 60)
        stages["image"] = time.process_time() - clock
        parts = ", ".join(f"{name} {1e6 * s / len(latents):.0f} us" for name, s in stages.items())
        units = f"({source.units})" if source.variant == "sinenet" else ""
        print(f"{source.variant}{units}: {IMAGES / seconds:,.0f} images per CPU second; {parts}")


if __name__ == "__main__":
    main()
