"""Accuracy against what the study sweeps: the attack's radius, a setting of training, the network's size; and robust
against clean accuracy. Figures of what varies, none of what doesn't.

Series are never merged across groups: a line is of networks that differ in its abscissa and their seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from isoloss.dsl.vocabulary.quantity_text import accuracy_text, count_text, flop_text, fraction_text
from isoloss.measured.groups import GroupRow, column_text, group_name, grouped
from isoloss.measured.rows import Row, hardest_evaluation, rows_of_plan, swept
from isoloss.report.gather import Material
from isoloss.report.html import figure, figures, section, text
from isoloss.report.svg import SHAPES, Axis, Figure, category

#: Lines that one figure can tell apart.
_MOST = 8
#: Abscissae whose values span factors, and how they are written.
_LOG: Mapping[str, Callable[[float], str]] = {
    "params": count_text,
    "images": count_text,
    "compute": flop_text,
}


def curves(material: Material) -> str:
    """Empty where the study varies nothing that a curve could show."""
    rows = [] if material.plan is None else rows_of_plan(material.plan, material.results)
    rows = [row for row in rows if row.metric == "accuracy"]
    if not rows:
        return ""
    drawn = [*_against_radius(rows), *_against_settings(rows), *_against_clean(rows)]
    return section("curves", "Curves", figures(drawn)) if drawn else ""


def _radius(attack: Mapping[str, Any]) -> float | None:
    """ε as a fraction of the pixel range; 0 without an attack, None for one that has no radius."""
    if attack.get("kind") == "none":
        return 0.0
    eps = attack.get("eps")
    return None if eps is None else float(Fraction(str(eps)))


def _against_radius(rows: Sequence[Row]) -> Iterable[str]:
    """One figure per attack that the study makes at several radii."""
    attacks: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        rest = tuple(sorted((k, str(v)) for k, v in row.attack.items() if k not in ("eps", "step")))
        if row.attack.get("kind") != "none" and _radius(row.attack) is not None:
            attacks.setdefault(rest, []).append(row)
    clean = [row for row in rows if row.attack.get("kind") == "none"]
    by = swept(rows)
    for mine in attacks.values():
        if len({_radius(row.attack) for row in mine}) < 2:
            continue
        kind = str(mine[0].attack["kind"])
        plot = _figure(
            f"accuracy against the radius of {kind}",
            Axis("radius ε of the test's attack", write=fraction_text),
        )
        lines: dict[str, list[tuple[float, GroupRow]]] = {}
        of = {row.evaluation: _radius(row.attack) for row in (*mine, *clean)}
        for group in grouped([*mine, *clean], by):
            at = of[group.evaluation]
            if at is not None:
                lines.setdefault(group_name(by, [group.columns[c] for c in by]) or "all", []).append(
                    (at, group)
                )
        left_out = _draw(plot, lines)
        told = f"Accuracy under {text(kind)} of growing radius; at 0 the images are clean.{left_out}"
        yield figure(plot.render(), told)


def _against_settings(rows: Sequence[Row]) -> Iterable[str]:
    """One figure per numeric column that the networks differ in, under the hardest evaluation."""
    hardest = hardest_evaluation(rows)
    mine = [row for row in rows if row.evaluation == hardest]
    by = swept(mine)
    numeric = [name for name in by if all(_is_number(row.column(name)) for row in mine)]
    if "model" in by and len({row.params for row in mine}) > 1:
        numeric.append("params")
    for name in numeric:
        others = [column for column in by if column not in (name, "model" if name == "params" else name)]
        write = _LOG.get(name, fraction_text)
        axis = Axis(
            "parameters N" if name == "params" else name, "log" if name in _LOG else "linear", write=write
        )
        plot = _figure(f"accuracy against {name}", axis)
        lines: dict[str, list[tuple[float, GroupRow]]] = {}
        for group in grouped(mine, [*others, name]):
            line = group_name(others, [group.columns[c] for c in others]) or hardest
            lines.setdefault(line, []).append((float(group.columns[name]), group))
        if max(map(len, lines.values()), default=0) < 2:
            continue
        left_out = _draw(plot, lines)
        yield figure(plot.render(), f"Accuracy under {text(hardest)} against {text(name)}.{left_out}")


def _against_clean(rows: Sequence[Row]) -> Iterable[str]:
    """Every group's robust accuracy above its clean one, where both are measured."""
    hardest = hardest_evaluation(rows)
    attacked = [row for row in rows if row.evaluation == hardest and row.attack.get("kind") != "none"]
    clean = [row for row in rows if row.observation.metric.endswith("@ clean") and row.evaluation != hardest]
    by = swept(rows)
    names = {row.evaluation for row in clean}
    if not attacked or len(names) != 1 or not by:
        return
    below = {_key(group, by): group for group in grouped(clean, by)}
    plot = _figure("robust against clean accuracy", Axis("clean accuracy", write=accuracy_text))
    pairs = [(below[_key(g, by)], g) for g in grouped(attacked, by) if _key(g, by) in below]
    if len(pairs) < 2:
        return
    plot.points(
        [c.value for c, _ in pairs],
        [r.value for _, r in pairs],
        category(0),
        lows=[(r.interval or (None, None))[0] for _, r in pairs],
        highs=[(r.interval or (None, None))[1] for _, r in pairs],
        tips=[f"{group_name(by, [r.columns[c] for c in by])}: {accuracy_text(r.value)}" for _, r in pairs],
    )
    yield figure(
        plot.render(), f"Accuracy under {text(hardest)} against clean accuracy, a marker for each group."
    )


def _key(group: GroupRow, by: Sequence[str]) -> tuple[str, ...]:
    return tuple(column_text(name, group.columns[name]) for name in by)


def _figure(title: str, axis: Axis) -> Figure:
    return Figure(
        title, axis, Axis("accuracy", write=accuracy_text, low=0.0), description=f"{title}, a line per group."
    )


def _draw(plot: Figure, lines: Mapping[str, Sequence[tuple[float, GroupRow]]]) -> str:
    """Draw the best lines, with intervals; returns what the caption says of the others."""
    ranked = sorted(lines, key=lambda name: -sum(g.value for _, g in lines[name]) / len(lines[name]))
    for i, name in enumerate(ranked[:_MOST]):
        points = sorted(lines[name], key=lambda point: point[0])
        xs, ys = [at for at, _ in points], [group.value for _, group in points]
        plot.line(xs, ys, category(i))
        plot.points(
            xs,
            ys,
            category(i),
            shape=SHAPES[i % len(SHAPES)],
            lows=[(group.interval or (None, None))[0] for _, group in points],
            highs=[(group.interval or (None, None))[1] for _, group in points],
            tips=[f"{name}: {accuracy_text(group.value)}" for _, group in points],
        )
        plot.legend.append((category(i), SHAPES[i % len(SHAPES)], name))
    return f" The best {_MOST} of {len(ranked)} groups." if len(ranked) > _MOST else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
