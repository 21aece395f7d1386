"""A few images of an evaluation, to look at: clean, attacked, what they are and what the network said.

In: the evaluated set. Out: `samples.npz` (float32, for a perturbation does not survive 8 bits) and
`samples.png`."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.evaluation.scoring import Verdicts

NUM_SAMPLES = 16
#: Pixels of the montage per pixel of an 8x8 image; larger images are enlarged less.
_CELL_PIXELS = 64


def choose(verdicts: Verdicts, count: int = NUM_SAMPLES) -> Tensor:
    """Positions int64 of images to show: half that the attack fooled and half that withstood, as far as there
    are, in the order of the test set; what is missing of one kind is filled with the others."""
    fooled = torch.nonzero(verdicts.right & ~verdicts.robust).flatten()
    robust = torch.nonzero(verdicts.robust).flatten()
    wrong = torch.nonzero(~verdicts.right).flatten()
    half = count // 2
    first = torch.cat([fooled[:half], robust[:half]])
    rest = torch.cat([fooled[half:], robust[half:], wrong])
    return torch.cat([first, rest])[:count].sort().values


def save_samples(folder: Path, x_nCHW: Tensor, adversarial_nCHW: Tensor, verdicts: Verdicts) -> None:
    """Write `samples.npz`: `clean`, `attacked` float32 (16, H, W, C) in [0, 1]; `labels`, `predictions` (of
    the attacked), `clean_predictions` int64 (16,); and `samples.png`: clean above attacked above the
    difference."""
    index = choose(verdicts)
    clean = x_nCHW[index].permute(0, 2, 3, 1).numpy()
    attacked = adversarial_nCHW[index].permute(0, 2, 3, 1).numpy()
    np.savez(
        folder / "samples.npz",
        clean=clean,
        attacked=attacked,
        labels=verdicts.labels[index].numpy(),
        clean_predictions=verdicts.clean[index].numpy(),
        predictions=verdicts.attacked[index].numpy(),
    )
    # The difference around grey, stretched so that the largest touches black or white.
    delta = attacked - clean
    stretched = 0.5 + 0.5 * delta / max(float(np.abs(delta).max()), 1e-12)
    (folder / "samples.png").write_bytes(png(montage([clean, attacked, stretched])))


def montage(rows: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Rows of images (n, H, W, C) in [0, 1] as one picture uint8 (H', W', 3), pixels enlarged, white gaps."""
    scale = max(1, _CELL_PIXELS // rows[0].shape[1])
    lines = []
    for row in rows:
        big = (np.clip(row, 0, 1) * 255).round().astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
        if big.shape[3] == 1:
            big = big.repeat(3, 3)
        framed = np.pad(big, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
        lines.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(lines, axis=0)


def png(picture_HWC: NDArray[np.uint8]) -> bytes:
    """A PNG file of an RGB picture uint8 (H, W, 3) (ISO 15948: 8 bits, no filter, one IDAT)."""
    height, width, _ = picture_HWC.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture_HWC.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
