"""A step's attack as one CUDA graph: its thousand kernels are launched at once.

A small network's kernels are shorter than their launches, and the attack has 20 of a step's 27 passes. The same kernels
run in the same order, so bits don't change, and a run may be stopped and resumed on either side of a capture. Random
numbers are drawn outside and copied in, as images and labels are; weights are read where they lie."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isoloss.runtime.noise import Noise

#: Images, labels, noise, clean logits if the attack wants them -> adversarial images.
Run = Callable[[Tensor, Tensor, Noise, Tensor | None], Tensor]

#: Most bytes that a graph may keep, and share of the device's memory: what an attack allocates stays allocated. One
#: that needs more has kernels that outlast their launches. Assumed.
MOST_BYTES, MOST_SHARE = 4 << 30, 0.1


class Captured:
    """A Run of a network on a CUDA device. New inputs' first call runs as it is, the second is captured, and from
    then on its graph runs."""

    def __init__(self, run: Run, network: nn.Module) -> None:
        self._run, self._network = run, network
        self._graphs: dict[Hashable, _Graph | None] = {}  # None: not worth it

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, noise: Noise, clean_BK: Tensor | None) -> Tensor:
        given = [each for each in (x_BCHW, y_B, clean_BK) if each is not None]
        key = self._key(given)
        if key in self._graphs:
            graph = self._graphs[key]
            if graph is None:
                return self._run(x_BCHW, y_B, noise, clean_BK)
            return graph(self._run, given, noise)
        device = x_BCHW.device
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        recorder = _Recorder(noise.rng, noise.offset, noise.total)
        result = self._run(x_BCHW, y_B, recorder, clean_BK)
        kept = torch.cuda.max_memory_allocated(device) - before
        most = min(MOST_BYTES, MOST_SHARE * torch.cuda.get_device_properties(device).total_memory)
        self._graphs[key] = _Graph(recorder.draws, given) if kept <= most else None
        return result

    def _key(self, given: list[Tensor]) -> Hashable:
        """What a graph has built in: forms of the inputs, the number format, the network's places in memory."""
        network = self._network
        tensors = [*network.parameters(), *network.buffers()]
        return (
            tuple((each.shape, each.stride(), each.dtype) for each in given),
            torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda"),
            tuple(tensor.data_ptr() for tensor in tensors),
        )


class _Graph:
    def __init__(self, draws: list[_Draw], given: list[Tensor]) -> None:
        self._draws = draws
        self._inputs = [torch.empty_like(each) for each in given]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Tensor | None = None

    def __call__(self, run: Run, given: list[Tensor], noise: Noise) -> Tensor:
        for place, each in zip(self._inputs, given, strict=True):
            place.copy_(each)
        for draw in self._draws:
            draw.again(noise)
        if self._graph is None:
            self._capture(run, noise)
        assert self._graph is not None
        assert self._result is not None
        self._graph.replay()
        return self._result.clone()

    def _capture(self, run: Run, noise: Noise) -> None:
        player = _Player(noise.rng, noise.offset, noise.total, iter([draw.place for draw in self._draws]))
        x, y, *clean = self._inputs
        graph = torch.cuda.CUDAGraph()
        dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
        # To free what is garbage by now may spoil a capture: graphs, events. Autocast's cache would lend a graph casts
        # of weights that were made outside, once, and the other way round. Other threads (NCCL's watchdog, one that
        # pins memory) may go on.
        with (
            _no_garbage(),
            torch.autocast("cuda", dtype, enabled=enabled, cache_enabled=False),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            self._result = run(x, y, player, clean[0] if clean else None)
        self._graph = graph


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Collected before, and not within."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Draw:
    """What was asked of the noise, and where a graph reads it."""

    method: Callable[[Noise, Tensor], Tensor]
    place: Tensor

    def again(self, noise: Noise) -> None:
        self.place.copy_(self.method(noise, self.place))


@dataclass(frozen=True, slots=True)
class _Recorder(Noise):
    """Notes every draw."""

    draws: list[_Draw] = field(default_factory=list)

    def uniform(self, like: Tensor) -> Tensor:
        return self._noted(Noise.uniform, like)

    def normal(self, like: Tensor) -> Tensor:
        return self._noted(Noise.normal, like)

    def _noted(self, method: Callable[[Noise, Tensor], Tensor], like: Tensor) -> Tensor:
        drawn = method(self, like)
        self.draws.append(_Draw(method, torch.empty_like(drawn)))
        return drawn


@dataclass(frozen=True, slots=True)
class _Player(Noise):
    """Gives the places of recorded draws, in their order."""

    places: Iterator[Tensor] = field(default_factory=lambda: iter(()))

    def uniform(self, like: Tensor) -> Tensor:
        return next(self.places)

    def normal(self, like: Tensor) -> Tensor:
        return next(self.places)
