"""Our names in MLflow's alphabet: metrics, params, where the tracking store is.

Pure, and without MLflow."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PARAM_LENGTH = 500
_LISTED = 4


def tracking_uri(store: Path) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the store (absolute, so that it holds from any folder)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store.absolute() / 'mlflow.db'}"


def own_database(store: Path, uri: str) -> bool:
    """Is `uri` the database in the store, which has nobody else's rows?"""
    return uri == f"sqlite:///{store.absolute() / 'mlflow.db'}"


def state_file(store: Path, uri: str) -> Path:
    """Where a store keeps how far MLflow at `uri` is. The URI may hold a password: only its digest is
    written."""
    return store / "tracking" / f"{hashlib.sha256(uri.encode()).hexdigest()[:12]}.json"


def metric_name(metric: str) -> str:
    """MLflow allows letters, digits and _-. :/ and groups its charts at slashes:
    "loss trades(5) @ pgd(40, cw, linf, 8/255)" becomes "loss trades 5 at pgd 40 cw linf 8-255"."""
    text = metric.replace("@", " at ").replace("/", "-")
    return " ".join(re.sub(r"[^\w\-. :]", " ", text).split())[:250]


def flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A spec as MLflow params: dotted names, values as text, long lists told by their ends."""
    for key, value in spec.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        else:
            text = _listed(value) if isinstance(value, list | tuple) else str(value)
            yield name[:250], text if len(text) <= _PARAM_LENGTH else text[:_PARAM_LENGTH] + "…"


def _listed(values: Sequence[Any]) -> str:
    """Of a long list how many, the first and the last: a column of job ids would only be in the way; all of them
    are in result.json."""
    if len(values) <= _LISTED:
        return ", ".join(map(str, values))
    return f"{len(values)}: {values[0]} … {values[-1]}"
