"""Job ids of many specs at once: the bytes of `plan.job_id`, put together from parts that specs share.

A hundred thousand specs hold a dozen recipes and models: each is written once. Equal to `plan.job_id` for
every
spec (a test holds it). Pure."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from operator import attrgetter

import orjson

from isoloss.compiler.plan import KINDS, EvaluateSpec, Spec, TrainSpec

#: orjson sorts the keys of mappings, not the fields of dataclasses: those stand as they are declared.
_FIELDS = {
    row.spec: (
        attrgetter(*(f.name for f in fields(row.spec))),
        tuple(f'"{f.name}":'.encode() for f in fields(row.spec)),
    )
    for row in KINDS.values()
}


class Identity:
    """Remembers the JSON of Components by object: they are shared and never changed while it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, bytes]] = {}
        self._written: dict[tuple[object, ...], tuple[Spec, list[bytes]]] = {}
        self._prefix = {row.spec: f'["{kind}",{row.version},{{'.encode() for kind, row in KINDS.items()}

    def id(self, spec: Spec) -> str:
        """20 hex digits, the same as `plan.job_id(spec)`."""
        if type(spec) is TrainSpec:
            return hashlib.sha256(self._train(spec)).hexdigest()[:20]
        if type(spec) is EvaluateSpec:
            return hashlib.sha256(self._evaluate(spec)).hexdigest()[:20]
        parts, remembered = [], self._known
        values, keys = _FIELDS[type(spec)]
        for key, value in zip(keys, values(spec), strict=True):
            if type(value) is int:
                parts.append(key + b"%d" % value)
                continue
            known = remembered.get(id(value)) if type(value) is dict else None
            parts.append(key + (known[1] if known is not None else self._json(value)))
        text = self._prefix[type(spec)] + b",".join(parts) + b"}]"
        return hashlib.sha256(text).hexdigest()[:20]

    def _train(self, spec: TrainSpec) -> bytes:
        """A training's bytes: seeds of one cell share all but the seed, written once."""
        shared = (
            id(spec.dataset), id(spec.model), id(spec.data), id(spec.recipe), id(spec.evaluation),
            id(spec.numerics), spec.train_steps, spec.steps_per_epoch,
        )  # fmt: skip
        known = self._written.get(shared) or self._write(spec, shared, (b'"seed":',))
        before, after = known[1]
        return before + b"%d" % spec.seed + after

    def _evaluate(self, spec: EvaluateSpec) -> bytes:
        """An evaluation's bytes: those of one model and attack share all but the network and the seed."""
        shared = (
            id(spec.dataset), id(spec.model), id(spec.normalize), id(spec.attack), id(spec.loss), spec.weights,
            spec.images,
        )  # fmt: skip
        known = self._written.get(shared) or self._write(spec, shared, (b'"network":', b'"seed":'))
        before, between, after = known[1]
        return before + self._json(spec.network) + between + b"%d" % spec.seed + after

    def _write(
        self, spec: Spec, shared: tuple[object, ...], varying: tuple[bytes, ...]
    ) -> tuple[Spec, list[bytes]]:
        """The bytes between the varying fields' values. The spec is kept with them, so that the ids of its
        Components stay theirs."""
        values, keys = _FIELDS[type(spec)]
        pieces, text = [], self._prefix[type(spec)]
        for index, (key, value) in enumerate(zip(keys, values(spec), strict=True)):
            text += (b"," if index else b"") + key
            if key in varying:
                pieces.append(text)
                text = b""
            else:
                text += self._json(value)
        known = self._written[shared] = spec, [*pieces, text + b"}]"]
        return known

    def _json(self, value: object) -> bytes:
        if not isinstance(value, dict):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        self._known[id(value)] = value, text
        return text
