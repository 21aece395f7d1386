"""Generators of labelled images: a sampler (how to walk from noise to data) around a denoiser (what data is).

`build` makes one from the two Components of a plan; `images` [start, stop) of it depend on (seed, index)
alone."""

from __future__ import annotations

from isoloss.runtime.generators.registry import Generator, build

__all__ = ["Generator", "build"]
