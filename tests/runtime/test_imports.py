"""Files of images: every published form is read, every broken one refused, and nothing is half there."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.compiler.plan import Cost, Facts, ImportSpec, Job, Origin, job_id
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import parts, shuffle
from isoloss.runtime.data.below import files_below
from isoloss.runtime.data.importing import Wanted, import_files
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.data.shuffle import Order
from isoloss.runtime.errors import JobError
from isoloss.runtime.jobs import import_
from tests.runtime.training_specs import Log

RNG = np.random.default_rng(0)
#: Ordered by class, as published.
LABELS = np.repeat(np.arange(4), 10)
PICTURES = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
ONE_HOT = np.eye(4)[LABELS]
WANTED = Wanted((6, 5, 3), 4)


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def pairs(images: np.ndarray, labels: np.ndarray) -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def imported(
    paths: list[Path], folder: Path, wanted: Wanted = WANTED, **facts: Any
) -> tuple[np.ndarray, np.ndarray]:
    """All images of an import into `folder`, whose work folder is left empty."""
    work = folder.with_name(f"{folder.name}.work")
    for each in (folder, work):
        each.mkdir()
    count, _ = import_files(paths, paths[0].parent, wanted, folder, work, facts)
    assert not list(work.iterdir())
    return open_shards([folder], count, wanted.classes).first(count)


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": PICTURES, "label": LABELS},
        {"image": PICTURES, "label": LABELS.astype(np.uint8)},
        {"samples": PICTURES, "label": ONE_HOT},
        {"images": PICTURES, "labels": LABELS[:, None]},
        {"arr_0": PICTURES, "arr_1": ONE_HOT.astype(np.float32)},
    ],
)
def test_every_published_form_is_read(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    found = imported([save(tmp_path / "set.npz", **arrays)], tmp_path / "out")
    assert pairs(*found) == pairs(PICTURES, LABELS)
    assert (np.diff(found[1]) < 0).any(), "still in the order of classes"


def test_grey_images_may_lack_their_channel(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", image=PICTURES[..., 0], label=LABELS)
    found = imported([path], tmp_path / "out", Wanted((6, 5, 1), 4))
    assert pairs(*found) == pairs(PICTURES[..., :1], LABELS)


def test_parts_are_one_set_and_a_prefix_has_every_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several chunks per part, several buckets.
    monkeypatch.setattr(parts, "CHUNK_BYTES", 7 * PICTURES[0].nbytes)
    monkeypatch.setattr(shuffle, "BUCKET_BYTES", 11 * (PICTURES[0].nbytes + 16))
    files = [
        save(tmp_path / "p1.npz", image=PICTURES[:25], label=LABELS[:25]),
        save(tmp_path / "p2.npz", image=PICTURES[25:], label=ONE_HOT[25:]),
    ]
    images, labels = imported(files, tmp_path / "out", replace(WANTED, seed=5), fid=1.82, licence="CC BY")
    assert pairs(images, labels) == pairs(PICTURES, LABELS)
    assert set(labels[:20].tolist()) == {0, 1, 2, 3}
    manifest = orjson.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["facts"] == {"fid": 1.82, "licence": "CC BY"}
    assert [(p["name"], p["count"]) for p in manifest["parts"]] == [("p1.npz", 25), ("p2.npz", 15)]
    for part, path in zip(manifest["parts"], files, strict=True):
        assert part["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, digest in manifest["sha256"].items():
        assert digest == hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
    # However it is cut into chunks and buckets, the order is the seed's.
    monkeypatch.undo()
    np.testing.assert_array_equal(imported(files, tmp_path / "again", replace(WANTED, seed=5))[0], images)
    other = imported(files, tmp_path / "other", replace(WANTED, seed=6))
    assert (other[1] != labels).any()


def test_some_of_a_set_are_the_first_of_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "BUCKET_BYTES", 4 * (PICTURES[0].nbytes + 16))
    path = save(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    whole, _ = imported([path], tmp_path / "whole")
    some, labels = imported([path], tmp_path / "some", replace(WANTED, images=13))
    np.testing.assert_array_equal(some, whole[:13])
    assert len(labels) == 13


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(0, 2**32), st.integers(1, 30))
def test_an_order_is_a_permutation_however_it_is_asked_for(count: int, seed: int, step: int) -> None:
    order = Order(count, count, seed)
    asked = [order.places(start, min(count, start + step)) for start in range(0, count, step)]
    places = np.concatenate(asked)
    assert sorted(places.tolist()) == list(range(count))
    np.testing.assert_array_equal(places, order.places(0, count))


# What is refused.


def refused(paths: list[Path], folder: Path, wanted: Wanted = WANTED) -> str:
    with pytest.raises(JobError) as error:
        imported(paths, folder, wanted)
    assert not (folder / "manifest.json").exists(), "something half there looks whole"
    assert error.value.help or error.value.code in ("R402", "R404")
    return error.value.code


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": PICTURES},
        {"image": PICTURES / 255, "label": LABELS},
        {"image": PICTURES.reshape(40, -1), "label": LABELS},
        {"image": PICTURES.transpose(0, 3, 1, 2).copy(), "label": LABELS},
        {"image": PICTURES[:, :5], "label": LABELS},
        {"image": PICTURES, "label": LABELS[:-1]},
        {"image": PICTURES, "label": LABELS + 1},
        {"image": PICTURES, "label": LABELS - 1},
        {"image": PICTURES, "label": LABELS * 1.0},
        {"image": PICTURES, "label": ONE_HOT * 0.9},
        {"image": PICTURES, "label": np.array(3)},
        {"image": np.asfortranarray(PICTURES), "label": LABELS},
        {"image": PICTURES, "label": np.array([{}] * 40, dtype=object)},
    ],
)
def test_other_forms_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert refused([save(tmp_path / "set.npz", **arrays)], tmp_path / "out") == "R404"


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros_like(PICTURES), LABELS),
        (np.full_like(PICTURES, 7), LABELS),
        ((PICTURES / 255).round().astype(np.uint8), LABELS),
        (PICTURES, np.full_like(LABELS, 2)),
    ],
    ids=["black", "constant", "0 and 1 of 255", "one label"],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    assert refused([save(tmp_path / "a.npz", image=images, label=labels)], tmp_path / "out") == "R409"


def test_classes_without_an_image_are_an_alarm(tmp_path: Path) -> None:
    """Dark images are no fault, nor is a class more or less."""
    path = save(tmp_path / "a.npz", image=PICTURES // 50, label=np.where(LABELS == 3, 0, LABELS))
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    count, alarms = import_files([path], tmp_path, WANTED, tmp_path / "out", tmp_path / "work")
    assert (count, alarms) == (40, ("alarm: no image of 1 of 4 classes: 3",))


def test_a_pickle_in_an_archive_never_runs(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "ran",))

    bomb = np.empty(1, dtype=object)
    bomb[0] = Bomb()
    save(tmp_path / "set.npz", image=bomb, label=LABELS)
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb()))
    assert refused([tmp_path / "raw.npz"], tmp_path / "out2") == "R404"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 500, -300, -1])
def test_a_truncated_archive_is_refused(keep: int, tmp_path: Path) -> None:
    whole = save(tmp_path / "set.npz", image=PICTURES, label=LABELS).read_bytes()
    (tmp_path / "set.npz").write_bytes(whole[:keep])
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    data = bytearray((tmp_path / "set.npz").read_bytes())
    data[1000] ^= 1
    (tmp_path / "set.npz").write_bytes(data)
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"


def test_an_array_that_promises_more_than_it_has_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    header = tmp_path / "header"
    with header.open("wb") as file:
        shape = (10**12, 6, 5, 3)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    np.save(tmp_path / "labels.npy", LABELS)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("image.npy", header.read_bytes() + PICTURES.tobytes())
        archive.write(tmp_path / "labels.npy", "label.npy")
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"
    assert not list((tmp_path / "out").iterdir())


def header(text: str) -> bytes:
    """An array file that starts with these words."""
    words = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words


#: numpy reads a header as an expression of Python.
BAD_HEADERS = [
    header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**30}, 6, 5, 3)}}"),
    header("{'descr': '|u1', 'fortran_order': False, 'shape': (-40, -6, 5, 3)}"),
    header("{'descr': '|u1', 1: False, 'shape': (40, 6, 5, 3)}"),
    header("(" * 9000),
    header("-" * 9000 + "1"),
]


@pytest.mark.parametrize("content", BAD_HEADERS)
def test_a_header_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", LABELS)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("image.npy", content)
        archive.write(tmp_path / "labels.npy", "label.npy")
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"
    folder = tmp_path / "shard"
    folder.mkdir()
    (folder / "images.npy").write_bytes(content)
    with pytest.raises(JobError) as error:
        open_shards([folder], 1)
    assert error.value.code == "R404"


def test_a_size_that_wraps_around_is_refused(tmp_path: Path) -> None:
    """2^62 images of 4 numbers are 2^64 bytes: 0, where a product is kept in 64 bits."""
    shape = "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %s)}"
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("image.npy", header(shape % (2**62, "2, 2, 1")))
        archive.writestr("label.npy", header(shape % (2**62, "4")))
    assert refused([tmp_path / "set.npz"], tmp_path / "out", Wanted((2, 2, 1), 4)) == "R404"


def test_an_archive_in_place_of_an_array_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "set.npz", image=PICTURES).rename(tmp_path / "images.npy")
    with pytest.raises(JobError) as error:
        open_shards([tmp_path], 1)
    assert error.value.code == "R404"


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped.npy", b"x")
        archive.writestr("/tmp/escaped-isoloss.npy", b"x")
    before = {p.name for p in tmp_path.parent.iterdir()}
    imported([path], tmp_path / "out")
    assert {p.name for p in tmp_path.parent.iterdir()} == before
    assert not Path("/tmp/escaped-isoloss.npy").exists()
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == ["images.npy", "labels.npy", "manifest.json"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    np.save(tmp_path / "other.npy", PICTURES[::-1])
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "other.npy", "image.npy")
    assert refused([path], tmp_path / "out") == "R404"


def test_fewer_images_another_checksum_and_the_same_file_twice(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    assert refused([path], tmp_path / "a", replace(WANTED, images=41)) == "R405"
    assert refused([path], tmp_path / "b", replace(WANTED, sha256=("0" * 64,))) == "R402"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert refused([path], tmp_path / "c", replace(WANTED, sha256=(digest, digest))) == "R402"
    (tmp_path / "copy.npz").write_bytes(path.read_bytes())
    assert refused([path, tmp_path / "copy.npz"], tmp_path / "d") == "R406"
    np.savez_compressed(tmp_path / "packed.npz", image=PICTURES, label=LABELS)
    assert refused([path, tmp_path / "packed.npz"], tmp_path / "p") == "R406"
    empty = save(tmp_path / "empty.npz", image=PICTURES[:0], label=LABELS[:0])
    assert refused([empty], tmp_path / "e") == "R405"
    assert len(imported([path], tmp_path / "f", replace(WANTED, sha256=(digest,)))[1]) == 40


# HDF5 and folders of ours.


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def test_hdf5_is_read_as_bartoldson_keeps_it(tmp_path: Path) -> None:
    first = hdf5(tmp_path / "shard0.h5", image=PICTURES[:20], label=LABELS[:20].astype(np.uint8))
    second = hdf5(tmp_path / "shard1.h5", image=PICTURES[20:], label=LABELS[20:].astype(np.uint8))
    found = imported([first, second], tmp_path / "out")
    assert pairs(*found) == pairs(PICTURES, LABELS)


def virtual(file: Any, source: str) -> None:
    layout = h5py.VirtualLayout(PICTURES.shape, np.uint8)
    layout[:] = h5py.VirtualSource(source, "image", PICTURES.shape)
    file.create_virtual_dataset("image", layout)


def raw(file: Any, source: str) -> None:
    file.create_dataset("image", PICTURES.shape, np.uint8, external=[(source, 0, PICTURES.nbytes)])


def link(file: Any, source: str) -> None:
    file["image"] = h5py.ExternalLink(source, "image")


def soft_link(file: Any, source: str) -> None:
    file["there"], file["image"] = h5py.ExternalLink(source, "/"), h5py.SoftLink("/there/image")


@pytest.mark.parametrize("kind", [virtual, raw, link, soft_link])
@pytest.mark.parametrize("source", ["../secret.h5", "beside.h5", "root/secret.h5"])
def test_hdf5_put_together_of_other_files_is_refused(
    kind: Callable[[Any, str], None], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file below the root may itself lead out of it, and names of raw storage are looked up from where the process
    stands."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    hdf5(tmp_path / "secret.h5", image=PICTURES)
    hdf5(root / "secret.h5", image=PICTURES)
    with h5py.File(root / "beside.h5", "w") as file:
        link(file, "../secret.h5")
    with h5py.File(root / "set.h5", "w") as file:
        kind(file, source)
        file["label"] = LABELS
    assert refused([root / "set.h5"], tmp_path / "out") == "R407"


def test_what_is_no_hdf5_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    assert refused([tmp_path / "text.h5"], tmp_path / "a") == "R404"
    words = hdf5(tmp_path / "words.h5", image=["a", "b"], label=[0, 1])
    assert refused([words], tmp_path / "b") == "R404"
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        file["image/0"], file["label"] = PICTURES, LABELS
    assert refused([tmp_path / "groups.h5"], tmp_path / "c") == "R404"


@pytest.mark.parametrize("name", ["image", "label"])
def test_an_hdf5_array_without_a_shape_is_refused(name: str, tmp_path: Path) -> None:
    arrays = {"image": PICTURES, "label": LABELS, name: h5py.Empty("u1")}
    assert refused([hdf5(tmp_path / "a.h5", **arrays)], tmp_path / "out") == "R404"


def test_without_h5py_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hdf5(tmp_path / "a.h5", image=PICTURES, label=LABELS)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(JobError) as error:
        imported([path], tmp_path / "out")
    assert error.value.code == "R408"
    assert "isoloss[hdf5]" in error.value.help[0]


def test_a_folder_of_ours_is_imported_and_every_byte_compared(tmp_path: Path) -> None:
    imported([save(tmp_path / "set.npz", image=PICTURES, label=LABELS)], tmp_path / "ours", licence="CC BY")
    found = imported([tmp_path / "ours"], tmp_path / "out")
    assert pairs(*found) == pairs(PICTURES, LABELS)
    manifest = orjson.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["parts"][0]["facts"] == {"licence": "CC BY"}
    images = tmp_path / "ours" / "images.npy"
    data = bytearray(images.read_bytes())
    data[-1] ^= 1
    images.write_bytes(data)
    assert refused([tmp_path / "ours"], tmp_path / "a") == "R402"
    (tmp_path / "ours" / "manifest.json").write_text("{}")
    assert refused([tmp_path / "ours"], tmp_path / "b") == "R402"


# Where files may lie.


def test_patterns_find_files_below_the_root_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "wang").mkdir()
    for name in ("b.npz", "a.npz", "c.txt"):
        (tmp_path / "wang" / name).touch()
    assert [p.name for p in files_below(tmp_path, "wang/*.npz")] == ["a.npz", "b.npz"]


@pytest.mark.parametrize("pattern", ["../x.npz", "/etc/passwd", "a/../../x", "a\\b", "", " "])
def test_patterns_that_lead_outside_are_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as error:
        files_below(tmp_path, pattern)
    assert error.value.code == "R407"


def test_links_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.npz").touch()
    (tmp_path / "root" / "a.npz").symlink_to(tmp_path / "secret.npz")
    with pytest.raises(JobError) as error:
        files_below(tmp_path / "root", "*.npz")
    assert error.value.code == "R407"
    (tmp_path / "root" / "a.npz").unlink()
    (tmp_path / "root" / "b.npz").touch()
    (tmp_path / "root" / "c.npz").symlink_to("b.npz")
    assert len(files_below(tmp_path / "root", "*.npz")) == 2
    os.mkfifo(tmp_path / "root" / "pipe.npz")
    assert len(files_below(tmp_path / "root", "*.npz")) == 2


def test_nothing_found_says_where_to_put_it(tmp_path: Path) -> None:
    for root in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(JobError) as error:
            files_below(root, "wang/*.npz")
        assert error.value.code == "R401"
        assert "--data" in " ".join(error.value.help)


# The job.


def context_of(spec: ImportSpec, root: Path, folder: Path) -> JobContext:
    facts = Facts(generator="wang", fid=1.8, licence="CC BY-NC-SA 4.0")
    job = Job(job_id(spec), "import", "wang/files", (), spec, Origin(), Cost(), "ready", "a test", facts)
    for name in ("output", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return JobContext(
        job, folder / "output", folder / "work", {}, "cpu", 1, root, Log(), lambda fraction: None
    )


def test_the_job_writes_a_shard_that_says_what_it_is(tmp_path: Path) -> None:
    digits = RNG.integers(0, 256, (50, 8, 8), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    save(tmp_path / "data" / "made.npz", image=digits, label=np.arange(50) % 10)
    spec = ImportSpec({"kind": "digits"}, "*.npz", (), 40, 0)
    (seen,) = import_.run(context_of(spec, tmp_path / "data", tmp_path / "job"))
    assert (seen.kind, seen.metric, seen.value) == ("import", "images", 40.0)
    shards = open_shards([tmp_path / "job" / "output"], 40, 10)
    assert shards.shape == (8, 8, 1)
    manifest = orjson.loads((tmp_path / "job" / "output" / "manifest.json").read_bytes())
    assert manifest["facts"]["licence"] == "CC BY-NC-SA 4.0"
    assert manifest["images_in_files"] == 50
    assert not list((tmp_path / "job" / "work").iterdir())


def test_the_job_keeps_nothing_of_files_that_are_refused(tmp_path: Path) -> None:
    """The fault is in the labels of the last image, when all others have been written somewhere."""
    digits = RNG.integers(0, 256, (50, 8, 8), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    save(tmp_path / "data" / "made.npz", image=digits, label=np.append(np.arange(49) % 10, 10))
    with pytest.raises(JobError):
        import_.run(
            context_of(
                ImportSpec({"kind": "digits"}, "*.npz", (), 40, 0), tmp_path / "data", tmp_path / "job"
            )
        )
    assert not list((tmp_path / "job" / "work").iterdir())
    assert not (tmp_path / "job" / "output" / "manifest.json").exists()
