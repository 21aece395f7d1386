"""Community archives: every published form is read, every broken one refused, and nothing is half there."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pytest

from isoloss.runtime.data import archives
from isoloss.runtime.data.archives import import_archives, open_set
from isoloss.runtime.errors import JobError

RNG = np.random.default_rng(0)
#: Ordered by class, as published.
LABELS = np.repeat(np.arange(4), 10)
PICTURES = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
ONE_HOT = np.eye(4)[LABELS]


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def pairs(images: np.ndarray, labels: np.ndarray) -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


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
    found = import_archives([save(tmp_path / "set.npz", **arrays)], tmp_path / "out", classes=4, seed=0)
    images, labels = found.first(40)
    assert pairs(images, labels) == pairs(PICTURES, LABELS)
    assert open_set(tmp_path / "out", verify=True).images == 40


def test_parts_are_one_set_and_a_prefix_has_every_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several chunks per part.
    monkeypatch.setattr(archives, "_CHUNK_BYTES", 7 * PICTURES[0].nbytes)
    parts = [
        save(tmp_path / "p1.npz", image=PICTURES[:25], label=LABELS[:25]),
        save(tmp_path / "p2.npz", image=PICTURES[25:], label=ONE_HOT[25:]),
    ]
    found = import_archives(parts, tmp_path / "out", 4, seed=5, facts={"fid": 1.82, "licence": "CC BY"})
    images, labels = found.first(40)
    assert pairs(images, labels) == pairs(PICTURES, LABELS)
    assert set(labels[:20].tolist()) == {0, 1, 2, 3}
    manifest = orjson.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["facts"] == {"fid": 1.82, "licence": "CC BY"}
    assert [part["name"] for part in manifest["parts"]] == ["p1.npz", "p2.npz"]
    again = import_archives(parts, tmp_path / "again", 4, seed=5).first(40)
    np.testing.assert_array_equal(again[0], images)
    other = import_archives(parts, tmp_path / "other", 4, seed=6).first(40)
    assert (other[1] != labels).any()


def refused(paths: list[Path], output: Path) -> str:
    with pytest.raises(JobError) as error:
        import_archives(paths, output, classes=4, seed=0)
    assert not output.exists() or (output / "manifest.json").exists(), "something is half there"
    assert not list(output.parent.glob(".*")), "a draft was left"
    return error.value.code


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": PICTURES},
        {"image": PICTURES / 255, "label": LABELS},
        {"image": PICTURES.reshape(40, -1), "label": LABELS},
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


def test_a_pickle_in_an_archive_never_runs(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "ran",))

    bomb = np.empty(1, dtype=object)
    bomb[0] = Bomb()
    save(tmp_path / "set.npz", image=bomb, label=LABELS)
    assert refused([tmp_path / "set.npz"], tmp_path / "out") == "R404"
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb()))
    assert refused([tmp_path / "raw.npz"], tmp_path / "out") == "R404"
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


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", image=PICTURES, label=LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped.npy", b"x")
        archive.writestr("/tmp/escaped-isoloss.npy", b"x")
    before = {p.name for p in tmp_path.parent.iterdir()}
    import_archives([path], tmp_path / "out", 4, seed=0)
    assert {p.name for p in tmp_path.parent.iterdir()} == before
    assert not Path("/tmp/escaped-isoloss.npy").exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "images.npy",
        "labels.npy",
        "manifest.json",
    ]


def test_missing_and_repeated_parts_are_refused(tmp_path: Path) -> None:
    part = save(tmp_path / "a.npz", image=PICTURES, label=LABELS)
    (tmp_path / "b.npz").write_bytes(part.read_bytes())
    assert refused([part, tmp_path / "none.npz"], tmp_path / "out") == "R401"
    assert refused([part, tmp_path / "b.npz"], tmp_path / "out") == "R406"
    small = save(tmp_path / "c.npz", image=PICTURES[:, :4], label=LABELS)
    assert refused([part, small], tmp_path / "out") == "R404"
    import_archives([part], tmp_path / "out", 4, seed=0)
    assert refused([part], tmp_path / "out") == "R404"


def test_the_manifest_is_checked_on_read(tmp_path: Path) -> None:
    import_archives([save(tmp_path / "a.npz", image=PICTURES, label=LABELS)], tmp_path / "out", 4, seed=0)
    images = tmp_path / "out" / "images.npy"
    data = bytearray(images.read_bytes())
    data[-1] ^= 1
    images.write_bytes(data)
    with pytest.raises(JobError) as error:
        open_set(tmp_path / "out", verify=True)
    assert error.value.code == "R402"
    (tmp_path / "out" / "manifest.json").write_text("{}")
    with pytest.raises(JobError) as error:
        open_set(tmp_path / "out")
    assert error.value.code == "R402"
    with pytest.raises(JobError) as error:
        open_set(tmp_path)
    assert error.value.code == "R401"
