"""Read a published pickle of weights as data. Nothing in it is run.

In: a .pkl written by NVIDIA's persistence wrapper, which carries source code to be executed when it is unpickled. Out:
plain containers, numbers, tensors, and `Captured` objects: the class by its name and the state, never the code. Every
name that a pickle asks for is looked up in one table; what isn't there is refused, whatever it is."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoloss.runtime.errors import JobError, first_line

#: Numbers that numpy pickles as scalars.
_NUMBERS = {code: np.dtype(code) for code in ("f4", "f8", "i4", "i8", "u1", "b1")}


class _RefusedError(Exception):
    """The pickle asks for what no weights need."""


@dataclass(frozen=True, slots=True)
class Captured:
    """An object of a class that is not made here: its class's name and its state."""

    name: str
    state: Mapping[str, Any]

    def children(self) -> Mapping[str, Any]:
        """Modules below a module."""
        return _mapping(self.state.get("_modules"))

    def tensors(self) -> dict[str, Tensor]:
        """Its own parameters and buffers; those that are None left out."""
        both = {**_mapping(self.state.get("_parameters")), **_mapping(self.state.get("_buffers"))}
        return {name: value for name, value in both.items() if isinstance(value, Tensor)}


def _mapping(value: Any) -> dict[str, Any]:
    """What a module keeps by name; nothing where a file has something else in its place."""
    return dict(value) if isinstance(value, Mapping) else {}


def read(path: Path) -> Any:
    """The pickle's content. Raises JobError R511: no pickle, damaged, or asking for anything but weights."""
    try:
        with path.open("rb") as file:
            return _Reader(file).load()
    except FileNotFoundError:
        raise JobError("R511", f"no file {path}", "name the .pkl as it was downloaded") from None
    except _RefusedError as error:
        raise JobError(
            "R511", f"{path} was refused: {error}",
            "a file of weights holds tensors, numbers and the names of their classes; nothing in this one was run",
        ) from error  # fmt: skip
    except RecursionError as error:
        raise JobError("R511", f"{path} was refused: it is nested too deeply") from error
    except Exception as error:
        # A pickle can fail in any way that its bytes like; none of them is ours.
        raise JobError(
            "R511", f"{path} can't be read as a pickle of weights: {first_line(error)}", "fetch it again"
        ) from error


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._table = _table()

    def find_class(self, module: str, name: str) -> Any:
        found = self._table.get((module, name))
        if found is None:
            raise _RefusedError(f"it asks for `{module}.{name}`")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError("it asks for an object outside of itself")


@dataclass(frozen=True, slots=True)
class _Call:
    """A function that a pickle may call. Frozen: a pickle can set attributes of what it is given."""

    run: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments)


def _table() -> dict[tuple[str, str], Any]:
    """What a pickle's names mean. Made anew for each file, classes included, so that none leaves a trace."""

    class Module:
        """torch's containers of modules, which pickle themselves by their class."""

        def __setstate__(self, state: Any) -> None:
            self.state = dict(state)

    class Dict(dict):  # type: ignore[type-arg]
        """A dictionary with another name."""

    class Number:
        """numpy's dtype of a scalar."""

        def __init__(self, code: str, *more: Any) -> None:
            if code not in _NUMBERS:
                raise _RefusedError(f"it holds numpy's `{code}`")
            self.dtype = _NUMBERS[code]

        def __setstate__(self, state: Any) -> None:
            """Byte order and flags: those of every machine that wrote such files."""

    def scalar(number: Number, data: bytes) -> Any:
        return np.frombuffer(data, number.dtype)[0].item()

    def capture(meta: Any) -> Captured:
        """The wrapper: {type, version, module_src, class_name, state}. The source is dropped, unread."""
        return Captured(str(meta["class_name"]), dict(meta["state"]))

    table: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Dict,
        ("dnnlib.util", "EasyDict"): Dict,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(capture),
        ("torch.storage", "_load_from_bytes"): _Call(_storage),
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
        ("torch._utils", "_rebuild_parameter"): _Call(lambda tensor, *more: tensor),
        ("torch.nn.modules.container", "ModuleDict"): Module,
        ("torch.nn.modules.container", "ModuleList"): Module,
        ("numpy", "dtype"): Number,
        ("builtins", "set"): set,
    }
    table |= {(m, "scalar"): _Call(scalar) for m in ("numpy.core.multiarray", "numpy._core.multiarray")}
    return table


def _storage(data: bytes) -> Tensor:
    """A tensor's numbers, flat: torch saved them as a file within the file, which torch's own guarded reader
    opens."""
    try:
        stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # torch's own words advise to load it with its code.
        raise _RefusedError("a tensor in it holds more than numbers, or is damaged") from None
    return torch.empty(0, dtype=stored.dtype).set_(stored)


def _tensor(flat: Any, offset: int, size: Any, stride: Any, *more: Any) -> Tensor:
    if not isinstance(flat, Tensor):
        raise _RefusedError("it makes a tensor of what is no storage")
    # A stride of 0 would make any size of one number.
    if prod(size) > flat.numel():
        raise _RefusedError("it makes a tensor of more numbers than it holds")
    # Raises RuntimeError where the shape leaves the storage.
    return torch.as_strided(flat, tuple(size), tuple(stride), offset).clone()
