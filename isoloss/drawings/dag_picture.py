"""A plan's DAG as an SVG, without Graphviz: jobs in layers, equal ones grouped until the picture is readable.

Plan -> Boxes -> text. Three jobs are drawn as three boxes, three thousand as a few dozen groups with counts.
Pure: same plan, same bytes. Layout: layers by longest path, order within a layer by barycentres."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from isoloss.compiler.plan import KINDS, Job, Plan, component_text
from isoloss.compiler.plans.dag import graph
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: More boxes than this in one layer can't be read on a page.
READABLE = 24

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 290, 40, 90, 14, 24
_FILL = {"done": "#d9ead3", "ready": "#fff2cc", "provisional": "#eeeeee"}
_WORD = {"done": "done", "ready": "ready", "provisional": "waits for results"}


@dataclass(frozen=True, slots=True)
class Box:
    """One job or a group of jobs alike. `needs` are keys of boxes."""

    key: str
    title: str
    detail: str
    states: Mapping[str, int]
    layer: int
    needs: tuple[tuple[str, int], ...]


_Key = Callable[[Job], Hashable]
#: From fine to coarse; the first one that is readable is taken.
_KEYS: tuple[_Key, ...] = (
    lambda job: job.id,
    lambda job: (job.kind, _owner(job), job.facts.generator, _model(job), job.facts.evaluation),
    lambda job: (job.kind, _owner(job), job.facts.generator, job.facts.evaluation),
    lambda job: (job.kind, _owner(job), job.facts.evaluation),
    lambda job: (job.kind,),
)


def _owner(job: Job) -> str:
    return job.facts.allocation or job.facts.grid or ""


def _model(job: Job) -> str:
    model = getattr(job.spec, "model", None)
    return component_text(model) if model is not None else ""


def boxes(plan: Plan) -> list[Box]:
    """The finest readable grouping, layered: needs stand in an earlier layer than their users."""
    for key in _KEYS:
        made = _group(plan.jobs, key)
        widths: dict[int, int] = {}
        for box in made:
            widths[box.layer] = widths.get(box.layer, 0) + 1
        if max(widths.values(), default=0) <= READABLE:
            return made
    return made


def _group(jobs: Sequence[Job], key: _Key) -> list[Box]:
    import networkx

    of_job = {job.id: str(key(job)) for job in jobs}
    members: dict[str, list[Job]] = {}
    for job in jobs:
        members.setdefault(of_job[job.id], []).append(job)
    quotient: Any = networkx.DiGraph()
    quotient.add_nodes_from(members)
    counts: dict[tuple[str, str], int] = {}
    for need, user in graph(jobs).edges:
        pair = of_job[need], of_job[user]
        if pair[0] != pair[1]:
            counts[pair] = counts.get(pair, 0) + 1
    quotient.add_edges_from(counts)
    # A coarse grouping may tie two groups both ways; then layers come from kinds alone.
    if networkx.is_directed_acyclic_graph(quotient):
        layer = {k: i for i, ks in enumerate(networkx.topological_generations(quotient)) for k in ks}
    else:
        rank = {kind: place for place, kind in enumerate(KINDS)}
        layer = {k: rank[group[0].kind] for k, group in members.items()}
    needs: dict[str, list[tuple[str, int]]] = {}
    for (need, user), count in counts.items():
        needs.setdefault(user, []).append((need, count))
    return [_box(k, group, layer[k], tuple(needs.get(k, ()))) for k, group in members.items()]


def _box(key: str, group: Sequence[Job], layer: int, needs: tuple[tuple[str, int], ...]) -> Box:
    states: dict[str, int] = {}
    for job in group:
        states[job.state] = states.get(job.state, 0) + 1
    flops = sum((job.cost.flops or 0.0) + job.cost.evaluation_flops for job in group)
    unknown = any(job.cost.unknown for job in group)
    cost = "not estimated" if unknown and not flops else flop_text(flops)
    first = group[0]
    if len(group) == 1:
        return Box(key, f"{first.kind} {first.name}", cost, states, layer, needs)
    what = [_owner(first), *sorted({_model(j) for j in group} - {""})[:1], first.facts.generator or ""]
    if len({_model(j) for j in group}) > 1:
        what[1] = f"{len({_model(j) for j in group})} networks"
    if len({j.facts.generator for j in group}) > 1:
        what[-1] = f"{len({j.facts.generator for j in group})} generators"
    if first.facts.evaluation:
        what.append(first.facts.evaluation)
    title = f"{len(group):,} × {first.kind}"
    return Box(key, title, f"{' · '.join(w for w in what if w)}: {cost}", states, layer, needs)


def draw(plan: Plan) -> str:
    """The picture as SVG text."""
    made = boxes(plan)
    place = _arrange(made)
    layers = max((box.layer for box in made), default=0) + 1
    tallest = max((y for _, y in place.values()), default=0)
    width = 2 * _MARGIN + layers * _WIDTH + (layers - 1) * _GAP_X
    height = _MARGIN + tallest + _HEIGHT + 64
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(str(plan.study.get('name', 'plan')))}: {len(plan.jobs)} jobs</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for box in made:
        lines.extend(_edges(box, place))
    for box in made:
        lines.extend(_node(box, place[box.key]))
    return "\n".join([*lines, *_legend(height), "</svg>", ""])


def _arrange(made: Sequence[Box]) -> dict[str, tuple[int, int]]:
    """Upper left corners. Three sweeps of barycentres untangle what declaration order doesn't."""
    layers: dict[int, list[Box]] = {}
    for box in made:
        layers.setdefault(box.layer, []).append(box)
    rank = {box.key: float(i) for boxes_ in layers.values() for i, box in enumerate(boxes_)}
    for _ in range(3):
        for number in sorted(layers):
            order = {box.key: i for i, box in enumerate(layers[number])}
            layers[number].sort(key=lambda box: (_centre(box, rank, order), order[box.key]))
            rank.update({box.key: float(i) for i, box in enumerate(layers[number])})
    tallest = max((len(boxes_) for boxes_ in layers.values()), default=0)
    place = {}
    for number, boxes_ in layers.items():
        # Short layers stand in the middle of tall ones.
        offset = (tallest - len(boxes_)) * (_HEIGHT + _GAP_Y) // 2
        for i, box in enumerate(boxes_):
            x = _MARGIN + number * (_WIDTH + _GAP_X)
            place[box.key] = x, _MARGIN + offset + i * (_HEIGHT + _GAP_Y)
    return place


def _centre(box: Box, rank: Mapping[str, float], order: Mapping[str, int]) -> float:
    if not box.needs:
        return float(order[box.key])
    return sum(rank[need] for need, _ in box.needs) / len(box.needs)


def _edges(box: Box, place: Mapping[str, tuple[int, int]]) -> list[str]:
    x, y = place[box.key]
    lines = []
    for need, count in box.needs:
        from_x, from_y = place[need][0] + _WIDTH, place[need][1] + _HEIGHT // 2
        to_x, to_y = x, y + _HEIGHT // 2
        middle = (from_x + to_x) // 2
        weight = 1 if count == 1 else min(4, 1 + len(str(count)))
        lines.append(
            f'<path d="M{from_x} {from_y} C{middle} {from_y} {middle} {to_y} {to_x} {to_y}" '
            f'fill="none" stroke="#888888" stroke-width="{weight}" stroke-opacity="0.55"/>'
        )
    return lines


def _node(box: Box, corner: tuple[int, int]) -> list[str]:
    x, y = corner
    # Waiting beats ready beats done: a group is as far as its last job.
    state = next(s for s in ("provisional", "ready", "done") if s in box.states)
    tip = ", ".join(f"{n} {_WORD[s]}" for s, n in box.states.items())
    return [
        f"<g><title>{escape(f'{box.title} · {box.detail} · {tip}')}</title>",
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
        f'fill="{_FILL[state]}" stroke="#555555"/>',
        f'<text x="{x + 10}" y="{y + 17}" font-weight="600">{escape(_cut(box.title))}</text>',
        f'<text x="{x + 10}" y="{y + 32}" font-size="10.5" fill="#333333">'
        f"{escape(_cut(box.detail, 50))}</text>",
        "</g>",
    ]


def _legend(height: int) -> list[str]:
    lines = []
    for i, (state, fill) in enumerate(_FILL.items()):
        x, y = _MARGIN + i * 170, height - 34
        lines.append(f'<rect x="{x}" y="{y}" width="16" height="16" rx="3" fill="{fill}" stroke="#555555"/>')
        lines.append(f'<text x="{x + 22}" y="{y + 13}">{_WORD[state]}</text>')
    return lines


def _cut(text: str, room: int = 40) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
