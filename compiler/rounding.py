"""Digits of what a plan says: enough for everything, too few to hang on the last bit of a logarithm."""

from __future__ import annotations


def rounded(value: float) -> float:
    """To ten digits, as everything fitted in a plan: its bytes are the same on every processor."""
    return float(f"{value:.10g}")
