"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their published *binary* files: label bytes, then 3,072
pixels.

The Python edition holds pickles, which run code when they are read; this one can't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isoloss.compiler.plan import Component
from isoloss.runtime.data.files import Published, contents, damaged, find, is_there, member
from isoloss.runtime.data.imageset import ImageSet

_PIXELS = 3 * 32 * 32
_PAGE = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True, slots=True)
class Edition:
    """One of the two sets: its archive with the published md5, and what it holds: `records` per file,
    `label_bytes` per record, the last of which is the label used (CIFAR-100's first is the coarse one)."""

    name: str
    archive: Published
    folder: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    label_bytes: int
    classes: int


CIFAR10 = Edition(
    "cifar10",
    Published("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar-10-batches-bin",
    {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    {"train": 10_000, "test": 10_000},
    1,
    10,
)
CIFAR100 = Edition(
    "cifar100",
    Published("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    "cifar-100-binary",
    {"train": ("train.bin",), "test": ("test.bin",)},
    {"train": 50_000, "test": 10_000},
    2,
    100,
)


def read_cifar10(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """50,000 training or 10,000 test images 32x32x3. Raises JobError R401, R402."""
    return _read(CIFAR10, split, data_root)


def read_cifar100(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """50,000 training or 10,000 test images 32x32x3 with their fine labels. Raises JobError R401, R402."""
    return _read(CIFAR100, split, data_root)


def find_cifar10(split: str, data_root: Path | None) -> None:
    """Raises JobError R401 where its files aren't there."""
    _places(CIFAR10, split, data_root)


def find_cifar100(split: str, data_root: Path | None) -> None:
    """Raises JobError R401 where its files aren't there."""
    _places(CIFAR100, split, data_root)


def _read(edition: Edition, split: str, data_root: Path | None) -> ImageSet:
    parts = [
        parse(data, edition, edition.records[split], path) for path, data in _files(edition, split, data_root)
    ]
    images, labels = zip(*parts, strict=True)
    return ImageSet(np.concatenate(images), np.concatenate(labels), edition.classes)


def _files(edition: Edition, split: str, data_root: Path | None) -> Iterator[tuple[Path, bytes]]:
    for name, path in _places(edition, split, data_root).items():
        if path.name == edition.archive.name:
            yield path / name, member(path, f"{edition.folder}/{name}", edition.archive)
        else:
            yield path, contents(path, Published(name))


def _places(edition: Edition, split: str, data_root: Path | None) -> dict[str, Path]:
    """Where each file is: unpacked, which is quicker but has no published checksum, else in the archive."""
    folders = [] if data_root is None else [data_root / edition.folder, data_root]
    names, source = edition.files[split], f"{_PAGE}/{edition.archive.name}"
    if any(is_there(folder / names[0]) for folder in folders):
        return {name: find(Published(name), folders, dataset=edition.name, source=source) for name in names}
    archive = find(edition.archive, folders[1:], dataset=edition.name, source=source)
    return dict.fromkeys(names, archive)


def parse(data: bytes, edition: Edition, records: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 32, 32, 3) and labels int64 (n,) of one file; planes are stored red, green, blue."""
    width = edition.label_bytes + _PIXELS
    if len(data) != records * width:
        raise damaged(path, f"it has {len(data):,} bytes, {records:,} images have {records * width:,}")
    table = np.frombuffer(data, np.uint8).reshape(records, width)
    labels = table[:, edition.label_bytes - 1].astype(np.int64)
    if labels.max() >= edition.classes:
        raise damaged(path, f"it has a label {labels.max()}, the classes are 0 … {edition.classes - 1}")
    planes = table[:, edition.label_bytes :].reshape(records, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
