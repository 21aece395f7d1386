"""Arrays -> PNG data URIs, by the standard library alone: the page's images without an imaging package."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type: grey, grey + alpha, RGB, RGBA


def data_uri(pixels_HWC: NDArray[np.uint8]) -> str:
    """`data:image/png;base64,…` of uint8 pixels (H, W, C), C in 1…4. Raises ValueError for another shape."""
    if pixels_HWC.ndim != 3 or pixels_HWC.shape[2] not in _COLOUR_TYPES or pixels_HWC.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 (H, W, 1 to 4), got {pixels_HWC.dtype} {pixels_HWC.shape}")
    height, width, channels = pixels_HWC.shape
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # each row begins with filter type 0
    rows[:, 1:] = pixels_HWC.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
