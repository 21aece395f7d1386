"""Features of many images: made once, resumed, verified, and never all in memory; moments from users' files."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.quality import measures
from isoloss.runtime.quality.features import Floats, Space, pixels
from isoloss.runtime.quality.frechet import GROUPS, Reference, moments
from isoloss.runtime.quality.inception_weights import find_weights
from isoloss.runtime.quality.reference import from_file
from isoloss.runtime.quality.sets import PIECE, Pictures, cached, computed, kept

QUIET: Callable[[float], None] = lambda done: None  # noqa: E731
TRAIN = load({"kind": "digits"}, "train")


class Network:
    """A space that costs something: counts the images it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: np.ndarray) -> Floats:
        self.seen += len(images)
        return pixels(images)[:, :5].astype(np.float32).astype(np.float64)

    def space(self, identity: str = "weights 1") -> Space:
        return Space("counted", self, identity)


def many(count: int) -> Pictures:
    """Images that exist only while somebody looks."""
    digits = Pictures.of(TRAIN)
    return Pictures(count, lambda index: digits.take(index % len(TRAIN)), (count,))


def test_a_stopped_extraction_goes_on_where_it_was(tmp_path: Path) -> None:
    network = Network()

    def stop(done: float) -> None:
        if done > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        kept(network.space(), many(4 * PIECE + 7), tmp_path, stop)
    assert network.seen == 3 * PIECE
    found = kept(network.space(), many(4 * PIECE + 7), tmp_path, QUIET)
    assert network.seen == 4 * PIECE + 7
    everything = np.concatenate(list(found.pieces()))
    straight = computed(Network().space(), many(4 * PIECE + 7))
    np.testing.assert_array_equal(everything, straight.rows(np.arange(4 * PIECE + 7)))


FULL = """
import errno, pathlib, sys
from tests.runtime.test_feature_sets import PIECE, QUIET, Network, kept, many
try:
    kept(Network().space(), many(50 * PIECE), pathlib.Path(sys.argv[1]), QUIET)
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_full_disk_is_an_error_and_no_death(tmp_path: Path) -> None:
    """A tmpfs of 256 KiB for features of 1 MB: a page that it has no room for would kill the process (SIGBUS)."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        child = subprocess.run(
            [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (child.returncode, child.stdout) == (0, "ENOSPC\n"), child.stderr


def test_real_images_are_looked_at_once_per_contents(tmp_path: Path) -> None:
    network, cache = Network(), tmp_path / "cache"

    def ask(images: ImageSet, number: int, identity: str = "weights 1") -> Floats:
        found = cached(network.space(identity), images, cache, tmp_path / f"job{number}", QUIET)
        return found.rows(np.arange(found.count))

    first = ask(TRAIN, 1)
    np.testing.assert_array_equal(ask(TRAIN, 2), first)
    assert network.seen == len(TRAIN), "the second job found them"
    # Other images, or another network, are another thing.
    ask(TRAIN.take(slice(0, 100)), 3)
    ask(TRAIN, 4, "weights 2")
    assert network.seen == 2 * len(TRAIN) + 100
    # A damaged file is not believed.
    for folder in cache.iterdir():
        with (folder / "features.npy").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\xff")
    np.testing.assert_array_equal(ask(TRAIN, 5), first)
    assert network.seen == 3 * len(TRAIN) + 100
    np.testing.assert_array_equal(ask(TRAIN, 6), first)
    assert network.seen == 3 * len(TRAIN) + 100, "the damaged one was replaced"


def test_a_mix_is_spread_over_its_parts() -> None:
    """Every part has its share of both kinds, in order, and all together have each once."""
    test = load({"kind": "digits"}, "test")
    both = Pictures.of(test).and_then(Pictures.of(TRAIN.take(slice(0, 100))))
    assert both.count == 1000
    parts = both.spread(10)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert [((part < 900).sum(), (part >= 900).sum()) for part in parts] == [(90, 10)] * 10
    few = np.concatenate(both.spread(10, most=100))
    assert ((few < 900).sum(), (few >= 900).sum()) == (90, 10)
    assert few[few < 900].tolist() == list(range(90)), "the first ones of each"
    images, labels = both.take(np.array([950, 3, 0]))
    np.testing.assert_array_equal(images, [TRAIN.images[50], test.images[3], test.images[0]])
    np.testing.assert_array_equal(labels, [TRAIN.labels[50], test.labels[3], test.labels[0]])


def test_pixels_are_not_kept(tmp_path: Path) -> None:
    found = cached(Space("pixels", pixels), TRAIN, tmp_path / "cache", tmp_path / "work", QUIET)
    np.testing.assert_array_equal(found.rows(np.arange(9)), pixels(TRAIN.images[:9]))
    assert not list(tmp_path.iterdir())


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = Space("broken", lambda images: np.full((len(images), 3), np.nan), "weights 1")
    for make in (lambda: kept(broken, many(10), tmp_path, QUIET), lambda: computed(broken, many(10))):
        with pytest.raises(JobError) as refused:
            make().rows(np.arange(10))
        assert refused.value.code == "R523"


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """200,000 digits as float64 are 100 MB."""
    reference = Reference(moments(pixels(TRAIN.images)))
    space = Space("pixels", pixels)
    tracemalloc.start()
    try:
        groups = many(200_000).spread(GROUPS)
        found = measures.distance("pixels", computed(space, many(200_000)), groups, reference)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.measured.count == 200_000
    # Copies of the training images: no distance, but for a divisor of n - 1.
    assert found.measured.value < 1e-5
    assert peak < 10e6


# Moments in a file.


def npz(folder: Path, **arrays: object) -> str:
    np.savez(folder / "m.npz", **arrays)  # type: ignore[arg-type]
    return "m.npz"


def test_moments_of_a_file_are_the_same_reference(tmp_path: Path) -> None:
    known = moments(pixels(TRAIN.images))
    name = npz(tmp_path, mu=known.mean, sigma=known.covariance, images=897)
    other = moments(pixels(load({"kind": "digits"}, "test").images))
    found = from_file(name, tmp_path, 64, "pixels")
    assert found.distance(other) == Reference(known).distance(other)


MEAN, COVARIANCE = np.zeros(4), np.eye(4)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mu": MEAN}, "it has no array 'sigma"),
        ({"mu": np.zeros(2048), "sigma": np.eye(2048)[:, :9]}, "statistics of another space"),
        ({"mu": np.zeros(5), "sigma": np.eye(5)}, "statistics of another space"),
        ({"mu": MEAN, "sigma": np.full((4, 4), np.inf)}, "no finite numbers"),
        ({"mu": MEAN, "sigma": COVARIANCE + np.triu(np.ones((4, 4)))}, "not symmetric"),
        ({"mu": MEAN, "sigma": -COVARIANCE}, "no covariance"),
        ({"mu": np.array([None] * 4), "sigma": COVARIANCE}, "no `.npz` of numbers"),
        ({"mu": np.array(["a"] * 4), "sigma": COVARIANCE}, "no `.npz` of numbers"),
        ({"mu": MEAN + 1j, "sigma": COVARIANCE}, "no `.npz` of numbers"),
    ],
)
def test_other_files_are_refused(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        from_file(npz(tmp_path, **arrays), tmp_path, 4, "pixels")
    assert refused.value.code == "R522"
    assert said in refused.value.message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"mu = 3"])
def test_files_that_are_no_archives_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(JobError) as refused:
        from_file("m.npz", tmp_path, 4, "pixels")
    assert refused.value.code == "R522"


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "m.npz", mu=rng.random(16), sigma=rng.random((16, 16)))
    whole = (tmp_path / "m.npz").read_bytes()
    for place in range(400, len(whole) - 400, 40):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "m.npz").write_bytes(changed)
        with pytest.raises(JobError) as refused:
            from_file("m.npz", tmp_path, 16, "pixels")
        assert refused.value.code == "R522"


@pytest.mark.parametrize("name", ["../m.npz", "link.npz"])
def test_a_name_that_leaves_the_root_is_refused(name: str, tmp_path: Path) -> None:
    """A study's names are checked before; a plan can come from anywhere."""
    root = tmp_path / "root"
    root.mkdir()
    npz(tmp_path, mu=MEAN, sigma=COVARIANCE)
    (root / "link.npz").symlink_to(tmp_path / "m.npz")
    for read in (lambda: from_file(name, root, 4, "pixels"), lambda: find_weights(name, root)):
        with pytest.raises(JobError) as refused:
            read()
        assert refused.value.code == "R407"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        from_file("m.npz", tmp_path, 4, "pixels")
    assert refused.value.code == "R401"
    assert "m.npz" in refused.value.message
