"""Datasets: a Component names one, `load` gives its images. One registry row per dataset."""

from __future__ import annotations

from isoloss.runtime.data.imageset import ImageSet
from isoloss.runtime.data.registry import DATASETS, SPLITS, load

__all__ = ["DATASETS", "SPLITS", "ImageSet", "load"]
