"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) from their published IDX files, gzipped or
not."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import Component
from isoloss.runtime.data.files import Published, contents, damaged, find, is_there
from isoloss.runtime.data.imageset import ImageSet

_IMAGES = {"train": 60_000, "test": 10_000}
_PREFIX = {"train": "train", "test": "t10k"}
#: Where Debian's package dataset-fashion-mnist puts the files.
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")

#: md5 of the gzipped files, as the authors publish them.
_MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
_FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True, slots=True)
class Edition:
    """One of the two sets: its folders below the data root, others that are looked into, md5 by file name."""

    name: str
    below: tuple[str, ...]
    elsewhere: tuple[Path, ...]
    md5: Mapping[str, str]
    source: str


MNIST = Edition(
    "mnist", ("mnist", "MNIST/raw"), (), _MNIST_MD5, "https://ossci-datasets.s3.amazonaws.com/mnist"
)
_FASHION_PAGE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_MNIST = Edition(
    "fashion_mnist",
    ("fashion-mnist", "FashionMNIST/raw"),
    (DEBIAN_FASHION,),
    _FASHION_MD5,
    f"{_FASHION_PAGE} (or `apt-get install dataset-fashion-mnist`)",
)


def read_mnist(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """60,000 training or 10,000 test images 28x28x1. Raises JobError R401, R402."""
    return _read(MNIST, split, data_root)


def read_fashion_mnist(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """60,000 training or 10,000 test images 28x28x1; Debian's dataset-fashion-mnist is found by itself.
    Raises JobError R401, R402."""
    return _read(FASHION_MNIST, split, data_root)


def find_mnist(split: str, data_root: Path | None) -> None:
    """Raises JobError R401 where its files aren't there."""
    _places(MNIST, split, data_root)


def find_fashion_mnist(split: str, data_root: Path | None) -> None:
    """Raises JobError R401 where its files aren't there."""
    _places(FASHION_MNIST, split, data_root)


def _places(edition: Edition, split: str, data_root: Path | None) -> list[tuple[Path, Published]]:
    """Where the images and the labels are, and what their bytes are checked against."""
    below = [] if data_root is None else [data_root / folder for folder in edition.below]
    folders = [*below, *edition.elsewhere]
    places = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{_PREFIX[split]}-{kind}-ubyte"
        # People unpack them; the unpacked edition has no published checksum.
        unpacked = any(is_there(folder / name) for folder in folders)
        file = Published(name) if unpacked else Published(f"{name}.gz", edition.md5[f"{name}.gz"])
        path = find(file, folders, dataset=edition.name, source=edition.source)
        # Debian packs the files anew: its checksums are dpkg's business.
        places.append((path, Published(file.name) if path.parent == DEBIAN_FASHION else file))
    return places


def _read(edition: Edition, split: str, data_root: Path | None) -> ImageSet:
    (images_path, image_file), (labels_path, label_file) = _places(edition, split, data_root)
    image_bytes, label_bytes = contents(images_path, image_file), contents(labels_path, label_file)
    images = parse(image_bytes, 3, images_path)
    labels = parse(label_bytes, 1, labels_path).astype(np.int64)
    for path, array in ((images_path, images), (labels_path, labels)):
        if len(array) != _IMAGES[split]:
            raise damaged(path, f"it has {len(array):,} entries, not {_IMAGES[split]:,}")
    if images.shape[1:] != (28, 28):
        raise damaged(images_path, f"its images are {images.shape[1]}x{images.shape[2]}, not 28x28")
    if labels.max() > 9:
        raise damaged(labels_path, f"it has a label {labels.max()}, the classes are 0 … 9")
    return ImageSet(images[..., np.newaxis], labels, 10)


def parse(data: bytes, dimensions: int, path: Path) -> NDArray[np.uint8]:
    """An IDX file of bytes: magic 0x0000 08 dimensions, big-endian sizes, values."""
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes((0, 0, 8, dimensions)):
        raise damaged(path, f"it is not an IDX file of bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    # Python's own product: numpy's would wrap around to what is there.
    if len(data) - head != prod(shape):
        raise damaged(path, f"its header promises {shape}, it holds {len(data) - head:,} values")
    # A copy: a view of the file's bytes could not be written to.
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape).copy()
