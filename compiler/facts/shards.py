"""A generator's images as shards, so that a longer run reuses what a shorter one had made.

[0, 10k), [10k, 20k), [20k, 40k), [40k, 80k), ... until a shard has a million images; then a million each, so that
100M images are about a hundred jobs that spread over devices. Cut at the generator's limit. Image i depends on
(seed, i) alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

FIRST = 10_000
LARGEST = 1_000_000
#: Where shards stop doubling: each has LARGEST from here on.
DOUBLED = 1_280_000


def first(limit: int | None) -> int:
    """Images of the first shard, which discriminators learn from."""
    return FIRST if limit is None else min(FIRST, limit)


def shards(images: int, limit: int | None) -> Iterator[tuple[int, int]]:
    """The (start, stop) pairs that hold the first `images` images. Requires images <= limit where there is
    one."""
    start, stop = 0, FIRST
    while start < images:
        yield start, min(stop, limit) if limit is not None else stop
        start, stop = stop, stop + min(stop, LARGEST)
