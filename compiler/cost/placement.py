"""How a job that is too large for one device can lie on several: the cheapest way that changes nothing, or advice.

In: what it needs (memory.py), a device's memory, how many there are. Out: a Placement, None where one device
holds it as it is. Pure. Devices share a batch and a pass has whole batch-norm groups, so that a placement never
changes what is computed; what would is advice, in the order of what it costs (assumed): more devices, bf16,
checkpointing, then ZeRO, which partitions state and state is little."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.cost.job_memory import Need
from isoloss.compiler.plan import Placement
from isoloss.dsl.vocabulary.quantity_text import bytes_text

#: Share of a device's memory that may be planned with: allocators leave holes (assumed).
USABLE = 0.9
#: Bytes per image that bf16 leaves of fp32's, and checkpointing every block (one tensor per block in place of
#: six; assumed a quarter with what one block needs while it is recomputed).
BF16_SHARE, CHECKPOINT_SHARE = 0.5, 0.25


def place(needed: Need, device_bytes: float, devices: int, *, bf16: bool = False) -> Placement | None:
    """On the fewest devices that hold it, with the largest passes that fit. Where no number of them does, on all
    of them, with advice."""
    usable = USABLE * device_bytes
    if needed.whole <= usable:
        return None
    counts = list(world_sizes(needed.batch, needed.group, devices if needed.shared else 1))
    for count in counts:
        sizes = [m for m in micro_batches(needed.batch, needed.group, count) if needed.on(count, m) <= usable]
        if sizes:
            return Placement(count, max(sizes), 0, needed.on(count, max(sizes)), True)
    most = counts[-1]
    smallest = micro_batches(needed.batch, needed.group, most)[0]
    zero = needed.on(most, smallest, zero=True)
    if most > 1 and zero <= usable:
        return Placement(most, smallest, 2, zero, True)
    said = tuple(_advice(needed, most, smallest, usable, bf16))
    return Placement(most, smallest, 0, needed.on(most, smallest), False, said)


def _advice(needed: Need, count: int, images: int, usable: float, bf16: bool) -> Iterator[str]:
    """What would make it smaller, each with what it leaves; all but the first and last make it another job."""
    if not needed.shared:
        yield "a device with more memory"
        return
    here = needed.on(count, images)
    numbers = world_sizes(needed.batch, needed.group, needed.batch)
    enough = next((n for n in numbers if _least(needed, n) <= usable), None)
    if enough is not None:
        yield f"{enough} devices hold it: {bytes_text(_least(needed, enough))} on each"
    if not bf16:
        halved = needed.state + BF16_SHARE * needed.per_image * images
        yield f"`precision = bf16`, another experiment: {bytes_text(halved)} on each of {count}"
    if needed.group > 1:
        yield f"`batchnorm(group = …)` smaller than {needed.group}, another experiment: fewer images pass at once"
    kept = needed.state + CHECKPOINT_SHARE * needed.per_image * images
    yield f"checkpointing of activations, which is not built here: about {bytes_text(kept)}"
    saved = here - needed.on(count, images, zero=True)
    yield f"ZeRO-2 saves {bytes_text(saved)} of {bytes_text(here)}: {saved / here:.1%}"


def _least(needed: Need, count: int) -> float:
    return needed.on(count, micro_batches(needed.batch, needed.group, count)[0])


def micro_batches(batch: int, group: int, devices: int) -> list[int]:
    """Images that a pass may have on each of so many devices, ascending: whole groups, or a device's share of
    one."""
    share = batch // devices
    if group >= share:
        return [share]
    groups = share // group
    return [group * n for n in range(1, groups + 1) if groups % n == 0]


def world_sizes(batch: int, group: int, highest: int) -> Iterator[int]:
    """Numbers of devices that can share a batch of such groups, up to `highest`, ascending."""
    for count in range(1, highest + 1):
        share = batch // count
        if batch % count == 0 and (share % group == 0 if group <= share else group % share == 0):
            yield count
