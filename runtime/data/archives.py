"""Community archives of generated images (.npz) -> one shuffled, memory-mapped shard with a manifest.

In: the parts of a published set, as they were downloaded. Out: a folder with `images.npy`, `labels.npy` and
`manifest.json`, whole or not there at all. Memory stays constant: archives are streamed, never unpacked, and
nothing in them is run (no pickles).

Published sets are ordered by class (`reference`: Wang et al. 2023), so that a prefix would lack classes:
images are permuted here, once, and every prefix is a sample."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.runtime import disk
from isoloss.runtime.arrays import mapped
from isoloss.runtime.data.shards import IMAGES, LABELS, Shards, open_shards
from isoloss.runtime.errors import JobError

MANIFEST, FORMAT = "manifest.json", "isoloss.images/1"
#: Names under which published archives keep images and labels.
IMAGE_KEYS, LABEL_KEYS = ("image", "images", "samples", "arr_0"), ("label", "labels", "arr_1")
_CHUNK_BYTES = 16 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Part:
    """One archive: its checked labels int64 (n,), where its images are, and its SHA-256."""

    path: Path
    key: str
    shape: tuple[int, ...]
    labels: NDArray[np.int64]
    sha256: str


def import_archives(
    paths: Sequence[Path], output: Path, classes: int, seed: int, facts: Mapping[str, Any] | None = None
) -> Shards:
    """Read all parts of a set, in order, permute it by `seed` and write it to the folder `output`.

    `facts` go into the manifest as they are: generator, steps, FID, licence. Raises JobError: R401 a part is
    missing, R404 a part is no such archive or `output` exists, R406 a part is there twice."""
    if output.exists():
        raise JobError("R404", f"{output} exists already", "name a new folder")
    parts = [_open_part(path, classes) for path in paths]
    if len({part.sha256 for part in parts}) != len(parts):
        raise JobError("R406", "a part is there twice: its images would count as more than they are")
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) != 1:
        raise JobError("R404", f"the parts hold images of different shapes: {sorted(shapes)}")
    draft = output.with_name(f".{output.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _write(parts, draft, seed, {"facts": dict(facts or {}), "classes": classes})
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return open_set(output)


def open_set(folder: Path, *, verify: bool = False) -> Shards:
    """An imported set, memory-mapped. `verify` reads every byte and compares it with the manifest.

    Raises JobError R401 (no manifest), R402 (not what the manifest says) and those of `open_shards`."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        count, classes, sums = manifest["count"], manifest["classes"], manifest["sha256"]
    except FileNotFoundError:
        raise JobError("R401", f"{folder} has no {MANIFEST}", "import the archives again") from None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise JobError("R402", f"{folder / MANIFEST} is damaged", "import the archives again") from error
    shards = open_shards([folder], count, classes)
    if len(shards.parts[0][1]) != count:
        raise JobError("R402", f"{folder} holds other images than its manifest says", "import them again")
    for name, expected in sums.items() if verify else ():
        if name not in (IMAGES, LABELS) or disk.sha256(folder / name) != expected:
            raise JobError("R402", f"{folder / name} is not what its manifest says", "import it again")
    return shards


def _write(parts: Sequence[Part], folder: Path, seed: int, about: Mapping[str, Any]) -> None:
    count = sum(len(part.labels) for part in parts)
    shape = (count, *parts[0].shape[1:])
    images = mapped(folder / IMAGES, np.uint8, shape)
    # place[i]: where image i of the published order goes.
    place = np.random.Generator(np.random.Philox(seed)).permutation(count)
    labels, done = np.empty(count, np.int64), 0
    for part in parts:
        labels[place[done : done + len(part.labels)]] = part.labels
        for chunk in _stream_images(part):
            images[place[done : done + len(chunk)]] = chunk
            done += len(chunk)
    images.flush()
    np.save(folder / LABELS, labels, allow_pickle=False)
    manifest = {
        "format": FORMAT,
        "count": count,
        "shape": list(shape[1:]),
        "shuffle_seed": seed,
        "parts": [{"name": part.path.name, "sha256": part.sha256} for part in parts],
        "sha256": {name: disk.sha256(folder / name) for name in (IMAGES, LABELS)},
        **about,
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    disk.replace(folder / MANIFEST, orjson.dumps(manifest, option=options))


def _open_part(path: Path, classes: int) -> Part:
    """Check an archive's form and read its labels; its images stay where they are."""
    if not path.is_file():
        raise JobError("R401", f"missing: {path}", "fetch all parts of the set")
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        key = next((k for k in IMAGE_KEYS if f"{k}.npy" in names), None)
        label_key = next((k for k in LABEL_KEYS if f"{k}.npy" in names), None)
        if key is None or label_key is None:
            raise _wrong(path, f"it has {sorted(names)}, not `image` and `label`")
        with archive.open(f"{key}.npy") as file:
            shape, dtype = _header(file, path)
        if dtype != np.uint8 or len(shape) != 4:
            raise _wrong(path, f"its images are {dtype} {shape}, not uint8 (n, H, W, C)")
        with archive.open(f"{label_key}.npy") as file:
            label_shape, label_dtype = _header(file, path)
            values = np.frombuffer(_exactly(file, label_shape, label_dtype), label_dtype).reshape(label_shape)
    labels = class_indices(values, classes, path)
    if len(labels) != shape[0]:
        raise _wrong(path, f"it has {shape[0]:,} images and {len(labels):,} labels")
    return Part(path, key, shape, labels, disk.sha256(path))


def class_indices(values: NDArray[Any], classes: int, path: Path) -> NDArray[np.int64]:
    """Labels int64 (n,) from whole numbers (n,) or (n, 1), or from one-hot rows (n, classes) of any number
    type.

    Raises JobError R404 for anything else."""
    if values.ndim == 2 and values.shape[1] == classes:
        if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            raise _wrong(path, "its label rows are not one-hot")
        return values.argmax(1).astype(np.int64)
    if values.shape not in ((values.size,), (values.size, 1)) or values.dtype.kind not in "iu":
        raise _wrong(path, f"its labels are {values.dtype} {values.shape}, not whole numbers (n,)")
    labels = values.reshape(-1).astype(np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise _wrong(path, f"its labels go from {labels.min()} to {labels.max()}, not 0 … {classes - 1}")
    return labels


def _stream_images(part: Part) -> Iterator[NDArray[np.uint8]]:
    """Images of a part in order, a few megabytes at a time. The archive's own CRC is checked at its end."""
    row_bytes = int(np.prod(part.shape[1:]))
    rows = max(1, _CHUNK_BYTES // row_bytes)
    with _reading(part.path), zipfile.ZipFile(part.path) as archive, archive.open(f"{part.key}.npy") as file:
        _header(file, part.path)
        for start in range(0, part.shape[0], rows):
            shape = (min(rows, part.shape[0] - start), *part.shape[1:])
            yield np.frombuffer(_exactly(file, shape, np.dtype(np.uint8)), np.uint8).reshape(shape)
        if file.read(1):
            raise _wrong(part.path, "its images go on after their end")


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise _wrong(path, "it holds Python objects, which can run code when they are read")
    if fortran and len(shape) > 1:
        raise _wrong(path, "its arrays are stored by columns; save them in C order")
    return shape, dtype


def _exactly(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    wanted = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    data = file.read(wanted)
    if len(data) != wanted:
        raise EOFError(f"{wanted - len(data):,} bytes are missing")
    return data


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise _wrong(path, f"{error}") from error


def _wrong(path: Path, reason: str) -> JobError:
    return JobError("R404", f"{path} is not an archive of images: {reason}", "fetch or save it again")
