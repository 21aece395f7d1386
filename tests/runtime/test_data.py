"""Readers of published files, on files of the published form made here; splits; shards."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isoloss.compiler.facts.datasets import SHAPES
from isoloss.runtime.data import DATASETS, SPLITS, ImageSet, cifar, idx, load, svhn
from isoloss.runtime.data.digits import DIGESTS
from isoloss.runtime.data.files import Published, contents
from isoloss.runtime.data.imageset import order_by_digest
from isoloss.runtime.data.rows import Rows
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators.squiggles.images import SPLIT_IMAGES

RNG = np.random.default_rng(0)


def code_of(call: object) -> str:
    with pytest.raises(JobError) as refused:
        call()  # type: ignore[operator]
    assert refused.value.help or refused.value.code in ("R404", "R405", "R406")
    return refused.value.code


def test_digits_are_the_published_ones_and_split_for_ever() -> None:
    train, test = load({"kind": "digits"}, "train+validation"), load({"kind": "digits"}, "test")
    assert (len(train), len(test)) == (897, 900)
    assert {"train": train.digest(), "test": test.digest()} == DIGESTS
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
    assert train.images.max() == 255
    # All classes on both sides, in no order.
    assert np.bincount(test.labels).min() > 60
    assert (np.diff(test.labels) < 0).mean() > 0.3


def test_digits_keep_the_published_pixels() -> None:
    from sklearn.datasets import load_digits

    published = load_digits()
    ours = {image.tobytes(): label for split in SPLITS[:3] for image, label in _pairs(split)}
    assert len(ours) == 1797
    for image, label in zip(published.images, published.target, strict=True):
        assert ours[np.round(image * (255 / 16)).astype(np.uint8).tobytes()] == label


def _pairs(split: str) -> list[tuple[np.ndarray, int]]:
    data = load({"kind": "digits"}, split)
    return list(zip(data.images, data.labels.tolist(), strict=True))


#: Of the digits held out: another slice would be another experiment.
VALIDATION_DIGEST = "968555e8b90e3396985cc019e109a4d4301145e327c86b519b53a7f769e83d48"


def test_validation_is_a_part_of_training_that_the_rest_lacks() -> None:
    whole, rest, held = (
        load({"kind": "digits"}, split) for split in ("train+validation", "train", "validation")
    )
    assert len(rest) + len(held) == len(whole)
    assert (len(rest), len(held)) == (800, 97)
    both = {image.tobytes() for image in rest.images} & {image.tobytes() for image in held.images}
    assert not both
    assert held.digest() == VALIDATION_DIGEST
    assert np.bincount(held.labels, minlength=10).min() >= 4


def test_cifar_holds_out_1024_by_their_digests(tmp_path: Path) -> None:
    data, images, labels = cifar_file(10_000, 1, 10)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        # The same images in other places: a record moved is held out or trained on as before.
        records = np.roll(np.frombuffer(data, np.uint8).reshape(10_000, -1), number * 1000, axis=0)
        (folder / f"data_batch_{number}.bin").write_bytes(records.tobytes())
    whole, rest, held = (
        load({"kind": "cifar10"}, split, tmp_path) for split in ("train+validation", "train", "validation")
    )
    assert (len(whole), len(rest), len(held)) == (50_000, 48_976, 1_024)
    np.testing.assert_array_equal(whole.images[1000:1100], images[:100])
    np.testing.assert_array_equal(whole.labels[1000:1100], labels[:100])
    # Each image is there five times, and its copies are on one side but for those at the cut.
    both = {image.tobytes() for image in held.images} & {image.tobytes() for image in rest.images}
    assert len(both) <= 1
    assert len(load({"kind": "cifar10"}, "train", tmp_path, limit=7)) == 7


def test_the_shuffle_is_by_contents() -> None:
    images = RNG.integers(0, 256, (20, 2, 2, 1), dtype=np.uint8)
    order = order_by_digest(images, b"salt")
    assert sorted(order.tolist()) == list(range(20))
    turned = order_by_digest(images[::-1].copy(), b"salt")
    np.testing.assert_array_equal(images[::-1][turned], images[order])
    assert order_by_digest(images, b"other").tolist() != order.tolist()


def test_compiler_and_runtime_agree_on_every_dataset_the_language_has() -> None:
    for name, shape in SHAPES.items():
        row = DATASETS[name]
        assert row.shape == (shape.height, shape.width, shape.channels), name
        assert row.classes == shape.classes
        assert row.validation == shape.validation_images
        assert row.makes == (shape.train_images is None)


def test_the_compilers_counts_are_those_of_the_splits() -> None:
    digits, pictures = SHAPES["digits"], SHAPES["squiggles"]
    for split, count in (("train", digits.train_images), ("validation", 97), ("test", digits.test_images)):
        assert len(load({"kind": "digits"}, split)) == count
    for name in ("cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"):
        shape = SHAPES[name]
        assert shape.epoch_images == (shape.train_images or 0) + shape.validation_images
    assert SPLIT_IMAGES["validation"] == pictures.validation_images
    assert SPLIT_IMAGES["test"] == pictures.test_images
    assert SPLIT_IMAGES["train"] == pictures.epoch_images


def test_an_unknown_dataset_and_an_unknown_split_are_refused() -> None:
    assert code_of(lambda: load({"kind": "imagenet"}, "train")) == "R403"
    with pytest.raises(ValueError, match="split"):
        load({"kind": "digits"}, "all")


def test_an_imageset_is_uint8_and_labelled() -> None:
    with pytest.raises(ValueError, match="uint8"):
        ImageSet(np.zeros((1, 8, 8, 1)), np.zeros(1, np.int64), 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels"):
        ImageSet(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(2, np.int64), 10)


# CIFAR


def cifar_file(records: int, label_bytes: int, classes: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    images = RNG.integers(0, 256, (records, 32, 32, 3), dtype=np.uint8)
    labels = RNG.integers(0, classes, (records, label_bytes), dtype=np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(records, -1)
    return np.concatenate([labels, planes], 1).tobytes(), images, labels[:, -1]


@pytest.mark.parametrize(("edition", "label_bytes"), [(cifar.CIFAR10, 1), (cifar.CIFAR100, 2)])
def test_cifar_records_are_read_as_published(edition: cifar.Edition, label_bytes: int) -> None:
    data, images, labels = cifar_file(7, label_bytes, edition.classes)
    found, found_labels = cifar.parse(data, edition, 7, Path("x.bin"))
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(found_labels, labels)
    assert code_of(lambda: cifar.parse(data[:-1], edition, 7, Path("x.bin"))) == "R402"
    wrong = bytes([255]) * label_bytes + data[label_bytes:]
    assert code_of(lambda: cifar.parse(wrong, edition, 7, Path("x.bin"))) == "R402"


def test_cifar10_is_found_below_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, images, labels = cifar_file(10_000, 1, 10)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(data)
    test = load({"kind": "cifar10"}, "test", tmp_path)
    np.testing.assert_array_equal(test.images, images)
    np.testing.assert_array_equal(test.labels, labels)
    monkeypatch.setenv("ISOLOSS_DATA", str(tmp_path))
    assert load({"kind": "cifar10"}, "test").digest() == test.digest()


def test_cifar10_is_read_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, images, _ = cifar_file(10_000, 1, 10)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=0) as archive:
        info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(packed.getvalue())
    # Not the authors' checksum.
    assert code_of(lambda: load({"kind": "cifar10"}, "test", tmp_path)) == "R402"
    trusted = replace(cifar.CIFAR10, archive=Published(path.name, hashlib.md5(packed.getvalue()).hexdigest()))
    monkeypatch.setattr(cifar, "CIFAR10", trusted)
    np.testing.assert_array_equal(load({"kind": "cifar10"}, "test", tmp_path).images, images)
    assert code_of(lambda: load({"kind": "cifar10"}, "train", tmp_path)) == "R402"
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name], "something was unpacked"


def test_missing_files_say_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISOLOSS_DATA", raising=False)
    monkeypatch.setattr(idx, "DEBIAN_FASHION", tmp_path / "no-debian")
    for name in ("cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"):
        for root in (None, tmp_path):
            with pytest.raises(JobError) as refused:
                load({"kind": name}, "train", root)
            assert refused.value.code == "R401"
            assert "http" in " ".join(refused.value.help)
        assert str(tmp_path) in " ".join(refused.value.help)


# MNIST


def idx_file(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_files_are_read_as_published() -> None:
    array = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(idx.parse(idx_file(array), 3, Path("x")), array)
    # 2^64 values are 0, where a product is kept in 64 bits.
    endless = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 4)
    for broken in (idx_file(array)[:-1], idx_file(array)[:10], b"", idx_file(array[0]), endless):
        assert code_of(lambda broken=broken: idx.parse(broken, 3, Path("x"))) == "R402"


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_from_packed_and_from_unpacked_files(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "_IMAGES", {"test": 6})
    images = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.arange(6, dtype=np.uint8)
    (tmp_path / "mnist").mkdir()
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data, name = idx_file(array), f"t10k-{kind}-ubyte"
        if packed:
            name, data = f"{name}.gz", gzip.compress(data)
            monkeypatch.setitem(idx._MNIST_MD5, name, hashlib.md5(data).hexdigest())
        (tmp_path / "mnist" / name).write_bytes(data)
    found = load({"kind": "mnist"}, "test", tmp_path)
    np.testing.assert_array_equal(found.images[..., 0], images)
    np.testing.assert_array_equal(found.labels, labels)
    if packed:
        monkeypatch.setitem(idx._MNIST_MD5, "t10k-labels-idx1-ubyte.gz", "0" * 32)
        assert code_of(lambda: load({"kind": "mnist"}, "test", tmp_path)) == "R402"


def test_a_broken_archive_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"hello" * 100)[:-9])
    assert code_of(lambda: contents(path, Published("x.gz"))) == "R402"


@pytest.mark.skipif(not idx.DEBIAN_FASHION.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_is_found_by_itself() -> None:
    test = load({"kind": "fashion_mnist"}, "test")
    assert test.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(test.labels).tolist() == [1000] * 10


# SVHN


def test_svhn_is_read_as_published(tmp_path: Path) -> None:
    from scipy.io import savemat

    images = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(
        tmp_path / "x.mat", {"X": images, "y": np.array([[1], [10], [9], [3]], np.uint8)}, do_compression=True
    )
    found = svhn.parse(tmp_path / "x.mat", 4)
    np.testing.assert_array_equal(found.images[2], images[..., 2])
    # Ten stands for zero.
    assert found.labels.tolist() == [1, 0, 9, 3]
    assert code_of(lambda: svhn.parse(tmp_path / "x.mat", 5)) == "R402"
    whole = (tmp_path / "x.mat").read_bytes()
    for cut in (50, 200, len(whole) // 2):
        (tmp_path / "cut.mat").write_bytes(whole[:cut])
        assert code_of(lambda: svhn.parse(tmp_path / "cut.mat", 4)) == "R402"


# Shards


def write_shard(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    images = RNG.integers(0, 256, (10, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(10, dtype=np.int64)
    return [
        write_shard(tmp_path / "a", images[:6], labels[:6]),
        write_shard(tmp_path / "b", images[6:], labels[6:]),
    ]


def test_shards_are_one_sequence(shards: list[Path]) -> None:
    together = open_shards(shards, 9, classes=10)
    assert len(together) == 9
    images, labels = together.first(9)
    assert labels.tolist() == list(range(9))
    np.testing.assert_array_equal(images[8], np.load(shards[1] / "images.npy")[2])
    with pytest.raises(IndexError):
        together.first(10)


def test_rows_are_read_wherever_they_lie(shards: list[Path]) -> None:
    mapped = [np.load(folder / "images.npy", mmap_mode="r") for folder in shards]
    whole = np.concatenate(mapped)
    # A slice of a map, an array in memory, a map: the first file's rows 2 … 5, all ten, the second's four.
    rows = Rows([mapped[0][2:], whole, mapped[1]])
    together = np.concatenate([whole[2:6], whole, whole[6:]])
    assert len(rows) == len(together) == 18
    for start in range(18):
        found = np.empty_like(together[start:])
        rows.read(start, found)
        np.testing.assert_array_equal(found, together[start:])
    os.truncate(shards[1] / "images.npy", 140)
    with pytest.raises(JobError) as error:
        rows.read(14, np.empty_like(together[14:]))
    assert error.value.code == "R404"


def test_a_manifest_is_compared_with_what_lies_beside_it(shards: list[Path]) -> None:
    said = {"format": "isoloss.images/1", "count": 6, "shape": [4, 4, 1], "classes": 10}
    for change in ({}, {"count": 5}, {"shape": [4, 4, 3]}, {"classes": 11}, {"format": "x"}):
        (shards[0] / "manifest.json").write_text(json.dumps(said | change))
        if change:
            assert code_of(lambda: open_shards(shards, 9, classes=10)) == "R402"
        else:
            assert len(open_shards(shards, 9, classes=10)) == 9


def test_wrong_shards_are_refused(shards: list[Path], tmp_path: Path) -> None:
    images, labels = np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int64)
    assert code_of(lambda: open_shards(shards, 11)) == "R405"
    assert code_of(lambda: open_shards([shards[0], shards[0]], 8)) == "R406"
    assert code_of(lambda: open_shards([tmp_path / "none"], 1)) == "R401"
    wrong = {
        "floats": (images / 2, labels),
        "flat": (images.reshape(3, -1), labels),
        "labels": (images, labels[:2]),
        "small-labels": (images, labels.astype(np.int32)),
        "classes": (images, labels + 10),
        "objects": (np.array([{}, {}, {}], dtype=object), labels),
    }
    for name, pair in wrong.items():
        folder = write_shard(tmp_path / name, *pair)
        assert code_of(lambda folder=folder: open_shards([folder], 3, classes=10)) == "R404", name
    other = write_shard(tmp_path / "other", np.zeros((3, 5, 5, 1), np.uint8), labels)
    assert code_of(lambda: open_shards([shards[0], other], 8)) == "R404"
    (shards[0] / "images.npy").write_bytes(b"\x93NUMPY cut off")
    assert code_of(lambda: open_shards(shards, 9)) == "R404"
