"""Attacks: an attack Component -> an Attack, called on a network, images in [0, 1] and labels.

One registry row per attack. A new attack is one class with a `run`, and one row of the vocabulary."""

from __future__ import annotations

from isoloss.runtime.attacks.base import Attack
from isoloss.runtime.attacks.registry import ATTACKS, build

__all__ = ["ATTACKS", "Attack", "build"]
