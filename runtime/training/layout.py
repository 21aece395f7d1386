"""A batch on its devices: batch, batch-norm group, processes, a placement -> which images pass where and when.

Whole groups lie on a process, or a group on whole processes; a pass has whole groups. Then statistics, attacks
and gradients are those of the batch passed at once, up to the order of sums. What can't be laid out so is
refused, because it would be another experiment: R319 by the number of processes, R324 by the micro-batch,
R326 by the stage of ZeRO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from isoloss.runtime.context import Placement
from isoloss.runtime.errors import JobError

#: In the order in which they cost least. ZeRO is none of it: the state that it partitions is a few per cent of memory.
ADVICE = (
    "use more devices, which share the batch and keep its statistics",
    "or `precision = bf16`, or `batchnorm(group = N)` for a stated smaller group: other experiments both",
)
#: Highest stage that leaves weights whole on every device.
HIGHEST_STAGE = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """What a training is estimated to need on a device, in bytes: whatever the batch, and per image that
    passes; and what the device has."""

    state: float
    per_image: float
    available: float

    def fitting(self) -> int:
        """Images that pass at once within it."""
        return max(0, int((self.available - self.state) / max(1.0, self.per_image)))


@dataclass(frozen=True, slots=True)
class Layout:
    """`rank` of `world_size` processes; `micro_batch` images pass at a time, in groups of `group`."""

    batch: int
    group: int
    rank: int
    world_size: int
    micro_batch: int
    zero_stage: int = 0

    @property
    def share(self) -> int:
        """Images of each batch on this process."""
        return self.batch // self.world_size

    @property
    def passes(self) -> int:
        return self.share // self.micro_batch

    @property
    def groups(self) -> int:
        """Batch-norm groups of a pass on this process."""
        return max(1, self.micro_batch // self.group)

    @property
    def ranks_of_group(self) -> tuple[int, ...]:
        """The processes that hold this one's group together."""
        width = max(1, self.group // self.share)
        first = self.rank // width * width
        return tuple(range(first, first + width))

    def rows(self) -> Iterator[tuple[int, int]]:
        """[start, stop) in the batch of each pass of this process."""
        offset = self.rank * self.share
        for number in range(self.passes):
            yield offset + number * self.micro_batch, offset + (number + 1) * self.micro_batch

    def smaller(self, at_most: int | None = None) -> Layout | None:
        """The same maths in passes of fewer images (at most so many, where that can be); None: there is
        none."""
        sizes = [
            size for size in micro_batches(self.batch, self.group, self.world_size) if size < self.micro_batch
        ]
        if not sizes:
            return None
        limit = self.micro_batch if at_most is None else at_most
        return replace(self, micro_batch=max((s for s in sizes if s <= limit), default=sizes[0]))

    def told(self) -> dict[str, int]:
        """For the record of a run."""
        return {"processes": self.world_size, "micro_batch": self.micro_batch, "zero_stage": self.zero_stage}


def micro_batches(batch: int, group: int, world_size: int) -> list[int]:
    """Images that a pass may have, ascending."""
    share = batch // world_size
    if group >= share:
        return [share]
    groups = share // group
    return [group * n for n in range(1, groups + 1) if groups % n == 0]


def world_sizes(batch: int, group: int, highest: int) -> list[int]:
    """Numbers of processes that can share a batch of such groups, up to `highest`."""
    return [n for n in range(1, highest + 1) if batch % n == 0 and _whole(batch // n, group)]


def _whole(share: int, group: int) -> bool:
    return share % group == 0 if group <= share else group % share == 0


def lay_out(
    batch: int, group: int, rank: int, world_size: int, placement: Placement, memory: Memory | None = None
) -> Layout:
    """Where the placement leaves it open: the largest micro-batch that is estimated to fit (the smallest
    there is, if none), and ZeRO only where state alone doesn't fit. Raises JobError R319, R324, R326."""
    _check_world(batch, group, world_size)
    stage = _stage(placement, memory, world_size)
    sizes = micro_batches(batch, group, world_size)
    if placement.micro_batch is not None:
        if placement.micro_batch not in sizes:
            raise _refused(placement.micro_batch, batch, group, world_size, sizes)
        size = placement.micro_batch
    else:
        fitting = sizes[-1] if memory is None else memory.fitting()
        size = max((s for s in sizes if s <= fitting), default=sizes[0])
    return Layout(batch, group, rank, world_size, size, stage)


def _check_world(batch: int, group: int, world_size: int) -> None:
    if batch % group:
        raise ValueError(f"group must divide the batch of {batch}, got {group}")
    near = ", ".join(map(str, world_sizes(batch, group, max(2 * world_size, 8))))
    if batch % world_size:
        raise JobError(
            "R319", f"a batch of {batch} can't be shared equally by {world_size} processes",
            f"numbers of processes that can: {near}",
        )  # fmt: skip
    if not _whole(batch // world_size, group):
        raise JobError(
            "R319",
            f"batch-norm groups of {group} can't be laid on {world_size} processes of {batch // world_size} images",
            f"numbers of processes that can share them: {near}",
        )


def _stage(placement: Placement, memory: Memory | None, world_size: int) -> int:
    stage = placement.zero_stage
    if stage is None:
        return HIGHEST_STAGE if memory is not None and world_size > 1 and memory.fitting() == 0 else 0
    if stage not in range(HIGHEST_STAGE + 1):
        raise JobError(
            "R326", f"ZeRO stage {stage} is not for adversarial training",
            "it takes weights apart between passes, where attacks, averages and perturbations of the weights read "
            "them whole; input gradients are proven equal at stages 0, 1 and 2 only",
            f"use stage {HIGHEST_STAGE}: weights are a few per cent of the memory, activations the rest",
        )  # fmt: skip
    return stage


def _refused(size: int, batch: int, group: int, world_size: int, sizes: list[int]) -> JobError:
    share = batch // world_size
    listed = ", ".join(map(str, sizes))
    if size < group:
        why = f"a micro-batch of {size} is smaller than the batch-norm group of {group}"
        if sizes == [share]:
            return JobError("R324", f"{why}: its statistics would be of fewer images", *ADVICE)
        return JobError(
            "R324", f"{why}: its statistics would be of fewer images", f"sizes that fit: {listed}"
        )
    return JobError(
        "R324", f"{share} images per process are no whole number of micro-batches of {size} with groups of {group}",
        f"sizes that fit: {listed}",
    )  # fmt: skip
