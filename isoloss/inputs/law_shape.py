"""The shape of a fit's JSON, checked before anything is made of it: files come from strangers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e50, le=1e50)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e50)]
Scale = Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)]
Ends = tuple[Number | None, Number | None]
PositiveEnds = tuple[Positive | None, Positive | None]
Count = Annotated[int, Field(ge=0, le=2**53)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Starts(_Shape):
    tried: Count
    share_at_best: Number | None


class _Domain(_Shape):
    params: PositiveEnds
    images: PositiveEnds
    flops: PositiveEnds
    fid: Ends
    work: PositiveEnds


class _Misfit(_Shape):
    model_config = ConfigDict(strict=True, extra="forbid")
    base: Scale
    drift: Scale
    quality: Scale
    shared: Scale
    size: Scale
    size_drift: Scale


class _State(_Shape):
    theta: list[Annotated[float, Field(allow_inf_nan=False, ge=-1e4, le=1e4)] | None]
    samples: str
    domain: _Domain
    misfit: _Misfit
    unidentified: list[str]
    notes: list[tuple[str, str, list[str]]]
    seed: Count
    settings: dict[str, Any]


class _Accuracy(_Shape):
    intercept: Number
    slope: Number
    covariance: tuple[Number, Number, Number] | None
    residual: Scale | None
    r2: Number
    count: Count | None
    points: Count
    loss_range: tuple[Number, Number] | None
    source: str = ""


class _Rule(_Shape):
    constant: Positive
    given: bool = False


class _Fit(_Shape):
    law: str
    status: str
    objective: Number | None
    residual_sigma: Scale | None
    starts: _Starts
    points: Count
    runs: Count
    r2: Number | None
    held_out: dict[str, Number | None] | None
    provenance: str = ""
    features: str | None = None
    state: _State
    accuracy: _Accuracy | None = None
    flops_rule: _Rule | None = None


class _Member(_Fit):
    weight: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]


class _Portfolio(_Shape):
    members: Annotated[list[_Member], Field(min_length=1, max_length=20)]


def check_shape(text: bytes, *, portfolio: bool = False) -> None:
    """Raises ValueError that names the first wrong place of a fit's JSON, or of a portfolio's."""
    try:
        (_Portfolio if portfolio else _Fit).model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"`{place}`: {first['msg'].lower()}") from None
