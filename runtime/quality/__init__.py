"""How good generated images are: features, distances between sets of features, and their intervals."""

from __future__ import annotations
