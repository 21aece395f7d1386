"""Squiggles (Kindermans & Staats, arXiv:2204.11985): pictures of curves, labelled by whether they cross
themselves.

Everything but the label is differentiable, and there are as many unique images as anybody asks for."""

from __future__ import annotations

from isoloss.runtime.generators.squiggles.images import Squiggles

__all__ = ["Squiggles"]
