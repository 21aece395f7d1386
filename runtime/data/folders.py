"""Folders of ours as parts of a set: `images.npy`, `labels.npy` and the manifest that vouches for them, as jobs of
a store leave them. Every byte is compared with the manifest's checksums before any is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoloss.runtime import disk
from isoloss.runtime.data.parts import Chunk, rows_at_a_time
from isoloss.runtime.data.rows import Rows
from isoloss.runtime.data.shards import IMAGES, LABELS, check_manifest, open_shards
from isoloss.runtime.errors import JobError


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder whose form was checked; its bytes are verified by `sha256`."""

    path: Path
    count: int
    shape: tuple[int, int, int]
    facts: Mapping[str, Any]
    classes: int

    def sha256(self) -> str:
        """Of the checksums that its manifest vouches for. Raises JobError R402 where a file has another."""
        sums = self.facts.get("sha256")
        for name in (IMAGES, LABELS):
            said = sums.get(name) if isinstance(sums, Mapping) else None
            if disk.sha256(self.path / name) != said:
                raise JobError("R402", f"{self.path / name} is not what its manifest says", "fetch it again")
        assert isinstance(sums, Mapping)
        return hashlib.sha256(f"{sums[IMAGES]}{sums[LABELS]}".encode()).hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        shards = open_shards([self.path], self.count, self.classes)
        pixels, classes = Rows([p for p, _ in shards.parts]), Rows([labels for _, labels in shards.parts])
        rows = rows_at_a_time(self.shape)
        for start in range(0, self.count, rows):
            count = min(rows, self.count - start)
            images, labels = np.empty((count, *self.shape), np.uint8), np.empty(count, np.int64)
            pixels.read(start, images)
            classes.read(start, labels)
            yield images, labels


def open_folder(path: Path, classes: int) -> Folder:
    """Check a folder's form. Raises JobError R401 to R405, as `open_shards`."""
    pixels = open_shards([path], 0, classes).parts[0][0]
    height, width, channels = pixels.shape[1:]
    facts = check_manifest(path, pixels, classes)
    return Folder(path, len(pixels), (height, width, channels), facts, classes)
