"""Job ids of many specs at once: the bytes of `plan.job_id`, put together from parts that specs share.

A hundred thousand specs hold a dozen recipes and models: each is written once. Equal to `plan.job_id` for
every
spec (a test holds it). Pure."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from operator import attrgetter

import orjson

from isoloss.compiler.plan import KIND_VERSIONS, EvaluateSpec, FidSpec, GenerateSpec, Spec, TrainSpec

#: orjson sorts the keys of mappings, not the fields of dataclasses: those stand as they are declared.
_FIELDS = {
    spec: (attrgetter(*(f.name for f in fields(spec))), tuple(f'"{f.name}":'.encode() for f in fields(spec)))
    for spec in (GenerateSpec, FidSpec, TrainSpec, EvaluateSpec)
}


class Identity:
    """Remembers the JSON of Components by object: they are shared and never changed while it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, bytes]] = {}
        self._prefix = {kind: f'["{kind}",{version},{{'.encode() for kind, version in KIND_VERSIONS.items()}

    def id(self, kind: str, spec: Spec) -> str:
        """20 hex digits, the same as `plan.job_id(kind, spec)`."""
        parts, remembered = [], self._known
        values, keys = _FIELDS[type(spec)]
        for key, value in zip(keys, values(spec), strict=True):
            if type(value) is int:
                parts.append(key + b"%d" % value)
                continue
            known = remembered.get(id(value)) if type(value) is dict else None
            parts.append(key + (known[1] if known is not None else self._json(value)))
        text = self._prefix[kind] + b",".join(parts) + b"}]"
        return hashlib.sha256(text).hexdigest()[:20]

    def _json(self, value: object) -> bytes:
        if not isinstance(value, dict):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        self._known[id(value)] = value, text
        return text
