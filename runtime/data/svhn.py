"""SVHN, cropped digits (Netzer et al. 2011), from its published MATLAB files. Label 10 is the digit 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isoloss.compiler.plan import Component
from isoloss.runtime.data.files import Published, contents, damaged, find
from isoloss.runtime.data.imageset import ImageSet

_IMAGES = {"train": 73_257, "test": 26_032}
_MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}


def read_svhn(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """73,257 training or 26,032 test images 32x32x3. Raises JobError R401, R402."""
    path = find_svhn(split, data_root)
    contents(path, _file(split))
    return parse(path, _IMAGES[split])


def find_svhn(split: str, data_root: Path | None) -> Path:
    """Raises JobError R401 where its file isn't there."""
    folders = [] if data_root is None else [data_root / "svhn", data_root]
    return find(_file(split), folders, dataset="svhn", source="http://ufldl.stanford.edu/housenumbers")


def _file(split: str) -> Published:
    return Published(f"{split}_32x32.mat", _MD5[split])


def parse(path: Path, count: int) -> ImageSet:
    """`X` uint8 (32, 32, 3, n) and `y` (n, 1) in 1 … 10 of a MATLAB 5 file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        # Numbers only: neither MATLAB's objects nor its functions are built.
        found = loadmat(path, variable_names=("X", "y"), verify_compressed_data_integrity=True)
        pixels, labels = found["X"], found["y"].reshape(-1).astype(np.int64)
    except (MatReadError, OSError, ValueError, TypeError, KeyError, NotImplementedError, EOFError) as error:
        raise damaged(path, f"it is not the published MATLAB file ({error})") from error
    except Exception as error:  # zlib.error, struct.error, IndexError: whatever a cut-off stream provokes
        raise damaged(path, f"it breaks off ({type(error).__name__})") from error
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, count) or labels.shape != (count,):
        raise damaged(path, f"it holds {pixels.dtype} {pixels.shape}, not uint8 (32, 32, 3, {count})")
    if labels.min() < 1 or labels.max() > 10:
        raise damaged(path, "it has labels outside 1 … 10")
    return ImageSet(np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)), labels % 10, 10)
