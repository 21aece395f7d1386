"""The candidates as arrays: where they lie, what they cost, and the misfit that neighbours share.

In: cells and their costs. Out: `Pool`, and the low-rank features of its misfit GP. Pure.
Legend: N parameters, D images, q = ln(1 + FID)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.design.choice import Candidate
from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs, Ints
from isoloss.compiler.laws.fitting.neighbours import alike, coordinates_of

#: Directions of the GP with less than this share of its variance are left to the noise.
NEGLIGIBLE = 1e-3
#: The GP is expanded on so many points at most, spread over the pool (Nystrom).
ANCHORS = 160
#: Coordinates of what has no end: so many length scales away, nothing is shared.
FAR = 1e3
#: Generators whose FID is not measured yet are assumed to lie evenly in this range of ln(1 + FID), in the
#: order of their declaration: .1 to 9 in FID.
UNKNOWN_QUALITY = (0.1, 2.3)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Candidates [n]. `x`: where their laws are evaluated. `own` FLOPs of their own jobs; `shared` FLOPs of
    each job that several need [s]; `users` per shared job: the candidates that need it; `needs` the
    reverse. `fids` by generator, `assumed` names those of them that are not known yet."""

    x: Inputs
    own: Floats
    shared: Floats
    users: tuple[Ints, ...]
    needs: tuple[tuple[int, ...], ...]
    fids: Mapping[str, float]
    assumed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.own)

    @property
    def coordinates(self) -> Floats:
        """[n, 3], in length scales of the GP."""
        return coordinates_of(self.x)

    @classmethod
    def of(cls, cells: Sequence[Cell], candidates: Sequence[Candidate], generators: Sequence[str]) -> Pool:
        """`generators` in the order of their declaration. One cell per candidate, in the same order."""
        known = {c.generator: c.fid for c in cells if c.fid is not None}
        unknown = [g for g in generators if g not in known]
        spread = np.expm1(np.linspace(*UNKNOWN_QUALITY, max(2, len(unknown)))[::-1])
        fids = {**known, **{g: float(fid) for g, fid in zip(unknown, spread, strict=False)}}
        x = Inputs.of([c.params for c in cells], [c.drawn for c in cells], [fids[c.generator] for c in cells])
        ids = {id: flops for each in candidates for id, flops in each.shared}
        number = {id: k for k, id in enumerate(ids)}
        needs = tuple(tuple(number[id] for id, _ in each.shared) for each in candidates)
        users: list[list[int]] = [[] for _ in ids]
        for i, mine in enumerate(needs):
            for k in mine:
                users[k].append(i)
        return cls(
            x=x,
            own=np.array([c.flops for c in candidates]),
            shared=np.array(list(ids.values())),
            users=tuple(np.array(u, dtype=np.int64) for u in users),
            needs=needs,
            fids=fids,
            assumed=tuple(g for g in unknown if any(c.generator == g for c in cells)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Smooth:
    """The misfit as a squared-exponential GP of unit variance in low rank: features @ features.T ~ K. What
    replicates of one cell share, and neighbours mostly. `anchors` [a, 3], `basis` [a, m]."""

    anchors: Floats
    basis: Floats

    @classmethod
    def over(cls, coordinates: Floats) -> Smooth:
        """Expanded over these points [n, 3]."""
        anchors = coordinates[spread_out(np.unique(coordinates, axis=0, return_index=True)[1], coordinates)]
        values, vectors = np.linalg.eigh(alike(anchors, anchors))
        keep = values > NEGLIGIBLE * len(anchors)
        basis = vectors[:, keep] / np.sqrt(values[keep])
        # Signs of eigenvectors are the solver's mood: fix them, so that equal inputs give equal bytes.
        basis = basis * np.where(
            basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])] < 0, -1.0, 1.0
        )
        return cls(anchors, basis)

    @property
    def size(self) -> int:
        """m."""
        return int(self.basis.shape[1])

    def __call__(self, x: Inputs) -> Floats:
        """Features [k, m] of these points; a point without end in N or D shares nothing with the pool."""
        at = np.nan_to_num(coordinates_of(x), nan=FAR, posinf=FAR, neginf=-FAR)
        return np.asarray(alike(at, self.anchors) @ self.basis)


def spread_out(rows: Ints, coordinates: Floats, most: int = ANCHORS) -> Ints:
    """Up to `most` of these rows, each farthest from those before it."""
    if len(rows) <= most:
        return rows
    points = coordinates[rows]
    chosen = [int(np.argmin(np.sum((points - points.mean(axis=0)) ** 2, axis=1)))]
    far = np.sum((points - points[chosen[0]]) ** 2, axis=1)
    while len(chosen) < most:
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
    return np.asarray(rows[np.array(chosen)])


def cost_rule(cells: Sequence[Cell]) -> FlopsPerImage:
    """N -> FLOP per image, from the cells: its ratio to N interpolated in ln N, constant beyond."""
    ratio = {c.params: c.flops_per_image / c.params for c in cells}
    sizes = np.array(sorted(ratio))
    levels = np.array([ratio[int(n)] for n in sizes])

    def rule(params: Floats) -> Floats:
        N = np.asarray(params, dtype=np.float64)
        return np.asarray(N * np.interp(np.log(N), np.log(sizes), levels))

    return rule
