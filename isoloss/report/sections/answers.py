"""What was asked and what is answered so far: plan.answers -> sentences, cards, tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.compiler.plan import Answer, Range
from isoloss.dsl.vocabulary.quantity_text import count_text, time_text
from isoloss.measured.groups import pair_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import facts, note, section, state, text

#: How a value of an answer is called on the page.
#: Status of an answer -> how its badge looks.
_TONES = {"answered": "good", "wide": "wait", "pending": "wait", "not determined": "bad"}
LABELS = {"params": "N*", "images": "D*", "flops": "compute", "loss": "loss", "accuracy": "robust accuracy"}


def answers(material: Material) -> str:
    """The opening section: one paragraph, then a card per question."""
    plan = material.plan
    if plan is None:
        return section(
            "answers",
            "Answers",
            "<p>No plan is kept in this store, so no question is known.</p>",
            _tiles(material),
        )
    asked = [a for a in plan.answers if a.kind != "fit"]
    sentences = " ".join(_sentence(a, material) for a in asked)
    opening = f"<p>{_opening(material)} {sentences}</p>"
    cards = "".join(_card(a, material) for a in asked)
    return section(
        "answers", "Answers", opening, _tiles(material), f'<div class="cards">{cards}</div>' if cards else ""
    )


def declared(material: Material, kind: str, name: str) -> Mapping[str, Any]:
    """The declaration behind an answer in the plan's study: {} where the study JSON has none of that name."""
    if material.plan is None:
        return {}
    parts = {"forecast": "forecasts", "allocate": "allocations", "fit": "fits", "compare": "comparisons"}
    return next((item for item in material.declarations(parts[kind]) if item.get("name") == name), {})


def verdict(answer: Answer, quantity: str = "loss") -> tuple[str, str]:
    """(words, tone) on a forecast that was measured: inside or outside its 95 % interval."""
    expected, found = answer.values.get(quantity), answer.measured.get(quantity)
    if found is None:
        return "not yet measured", "wait"
    if expected is None:
        return "measured, was not forecast", "wait"
    if expected.low <= found.mid <= expected.high:
        return "inside its interval", "good"
    return "outside its interval", "bad"


def _opening(material: Material) -> str:
    plan = material.plan
    assert plan is not None
    trained = sum(1 for j in plan.jobs if j.kind == "train" and material.state(j) == "done")
    total = sum(1 for j in plan.jobs if j.kind == "train")
    dataset = plan.study.get("dataset") or {}
    kind = (dataset.get("call") or dataset.get("kind")) if isinstance(dataset, Mapping) else None
    on = f" on {text(kind)}" if kind else ""
    name = text(plan.study.get("name", "the study"))
    generators = len(material.generators)
    sources = f", with training images from {generators} generators" if generators > 1 else ""
    done = f"{trained} of {total} planned trainings are done."
    if not plan.study.get("fits"):
        return f"The study <strong>{name}</strong> trains networks{on}{sources}, and compares them. {done}"
    return (
        f"The study <strong>{name}</strong> trains networks against adversarial examples{on}{sources}, "
        "and asks how the "
        f"adversarial loss falls with network size N, training images D and their quality (FID). {done}"
    )


def _sentence(answer: Answer, material: Material) -> str:
    if answer.kind == "compare":
        return _comparison_sentence(answer, material)
    asked = f"<em>{text(answer.name)}</em> {_asks(answer, material)}"
    if answer.status not in ("answered", "wide"):
        why = f" ({text(answer.notes[0])})" if answer.notes else ""
        word = "the answer is still pending" if answer.status == "pending" else "this data can’t answer it"
        return f"{asked}: {word}{why}."
    loss, accuracy = answer.values.get("loss"), answer.values.get("accuracy")
    said = f"{asked}: the forecast loss is {number_html.interval(loss, 'loss')}"
    if accuracy is not None:
        said += f", robust accuracy {number_html.interval(accuracy, 'accuracy')}"
    if answer.kind == "allocate":
        measured = answer.measured.get("loss")
        if measured is None:
            return f"{said}; its network has not been measured yet."
        found = number_html.interval(measured, "loss")
        return f"{said}; the trained network measured {found}, <strong>{verdict(answer)[0]}</strong>."
    return said + "."


def _comparison_sentence(answer: Answer, material: Material) -> str:
    """Which pairs are told apart, and which are not."""
    by = text(declared(material, "compare", answer.name).get("by", "group"))
    asked = f"<em>{text(answer.name)}</em> asks which {by} is better under {text(answer.evaluation)}"
    if answer.status != "answered":
        return f"{asked}: {text(answer.notes[0]) if answer.notes else 'not known yet'}."
    told = [pair_text(pair, str(answer.metric)) for pair in answer.pairs if pair.verdict != "open"]
    open_ones = sum(pair.verdict == "open" for pair in answer.pairs)
    rest = f"{open_ones} of {len(answer.pairs)} pairs are open" if open_ones else "no pair is open"
    return f"{asked}: {text('; '.join([*told, rest]))}."


def _asks(answer: Answer, material: Material) -> str:
    """The question in words, to follow its name."""
    declaration = declared(material, answer.kind, answer.name)
    compute = declaration.get("compute_flops")
    flops = number_html.data(float(compute), "flops") if isinstance(compute, int | float) else "its compute"
    source = ""
    generators = declaration.get("generators") or [declaration.get("generator")]
    if generators[0]:
        source = f" with images of {' or '.join(text(name) for name in generators)}"
    elif declaration.get("fid") is not None:
        source = f" at FID {text(declaration['fid'])}"
    if answer.kind == "forecast":
        return f"asks what {flops} of training buy{source}"
    if isinstance(accuracy := declaration.get("accuracy"), int | float):
        return f"asks for, and trains, the cheapest network of {accuracy:.1%} accuracy{source}"
    if isinstance(seconds := declaration.get("time_seconds"), int | float):
        return f"asks for, and trains, the best network within {time_text(seconds)}{source}"
    return f"asks for, and trains, the best network for {flops}{source}"


def _card(answer: Answer, material: Material) -> str:
    tone = _TONES[answer.status]
    words = "answered, wider than asked" if answer.status == "wide" else answer.status
    badge = state(words, tone)
    if answer.measured.get("loss") is not None:
        badge += " " + state(*verdict(answer))
    rows = [("law", text(" and ".join(answer.laws)))] if answer.laws else []
    rows += [(LABELS.get(q, q), number_html.interval(v, q)) for q, v in _ordered(answer.values)]
    rows += [
        (f"measured {LABELS.get(q, q)}", number_html.interval(v, q)) for q, v in _ordered(answer.measured)
    ]
    rows += [(f"{pair.a} vs {pair.b}", text(pair_text(pair, str(answer.metric)))) for pair in answer.pairs]
    notes = "".join(note(text(n)) for n in answer.notes)
    job = (
        f'<p class="note">job <a href="#job-{text(answer.job)}" class="id">{text(answer.job)}</a></p>'
        if answer.job
        else ""
    )
    title = f"{text(answer.kind)} {text(answer.name)}"
    return f'<div class="card"><h3>{title}<span>{badge}</span></h3>{facts(rows)}{notes}{job}</div>'


def _ordered(values: Mapping[str, Range | None]) -> list[tuple[str, Range | None]]:
    order = {q: i for i, q in enumerate(LABELS)}
    return sorted(values.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))


def _tiles(material: Material) -> str:
    """A few numbers at a glance, all counted from the store."""
    tiles = []
    if material.plan is not None:
        done = sum(material.state(j) == "done" for j in material.plan.jobs)
        tiles.append((f"{done} of {len(material.plan.jobs)}", "jobs done"))
    tiles.append((str(len(material.runs)), "networks measured"))
    metric = material.loss_metric
    ends = [(p.value, run) for run in material.runs if metric and (p := run.final(metric))]
    if ends:
        best, run = min(ends, key=lambda e: e[0])
        tiles.append(
            (
                number_html.data(best, "loss"),
                f"lowest final loss, N = {count_text(run.params)}, D = {count_text(run.images)}",
            )
        )
    spent = [r.facts.flops_per_image * r.images for r in material.runs if r.facts.flops_per_image]
    if spent:
        tiles.append((number_html.data(sum(spent), "flops"), "spent on training (rule count)"))
    seconds = [s for job in material.results if (s := material.seconds(job)) is not None]
    if seconds:
        tiles.append((number_html.data(sum(seconds), "seconds"), "of job time"))
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{b}</b><span>{s}</span></div>' for b, s in tiles)
        + "</div>"
    )
