"""Digits per second of the mixture generator at 20 steps: `python benchmarks/generate.py [THREADS]`.

Goal: 8,000 per second on a pair of cores. Prints wall time and, for machines with other work, CPU time."""

from __future__ import annotations

import sys
import time

from isoloss.runtime.generators import build

IMAGES = 40_000
SAMPLERS = {
    "edm(20)": {"kind": "edm", "steps": 20, "sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0},
    "edm(4)": {"kind": "edm", "steps": 4, "sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0},
    "pfgmpp(18)": {
        "kind": "pfgmpp",
        "steps": 18,
        "sigma_min": 0.002,
        "sigma_max": 10.0,
        "rho": 7.0,
        "dimension": 2048,
    },
}


def main(threads: int) -> None:
    for name, sampler in SAMPLERS.items():
        denoiser = {"kind": "mixture", "components": 4, "regularization": 2e-3}
        generator = build({"kind": "digits"}, sampler, denoiser, seed=0)
        images = IMAGES // 5 if name.startswith("pfgmpp") else IMAGES
        # Threads and matrix library start outside the measurement.
        for _ in generator.pieces(0, 1, threads):
            pass
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in generator.pieces(0, images, threads):
            pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:12} {threads} threads: {images / wall:8,.0f} digits/s, {images / cpu:8,.0f} per CPU s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
