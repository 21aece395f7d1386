"""How to read the report: what each figure shows, what is counted how, what is assumed."""

from __future__ import annotations

from collections import Counter

from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import section, text
from isoloss.report.views import DRAWN_RESAMPLES


def method(material: Material) -> str:
    items = [
        ("Loss", _loss(material)),
        ("Accuracy", _accuracy(material)),
        ("Test images", _images(material)),
        (
            "N and D",
            "N counts all trainable weights, batch-norm and head included. D counts training images "
            "drawn, with repeats.",
        ),
        (
            "FLOPs",
            "The rule count: forward-equivalent passes of the loss and its attack × forward FLOPs of the "
            "network × images "
            "drawn, whatever faster kernels may execute.",
        ),
        (
            "Intervals",
            "95 %, of time and money 90 %. An interval of a measurement covers the sampling of test images, not the "
            "choice of seed; "
            "one seed per cell unless the job table shows more.",
        ),
        (
            "Figures",
            "Law curves are the predictions of the plan’s own fits. Their bands hold the fit’s "
            "uncertainty (refits to "
            "resampled runs), the law’s misfit on runs it was not fitted to, growing beyond the data, and "
            "the test "
            f"set’s sampling error; drawn from the first {DRAWN_RESAMPLES} resamples, while numbers in "
            "text and tables "
            "use all. N*(C) and D*(C) minimise a law’s loss at a compute; isoLoss lines join equal "
            "predicted loss. "
            "The loss–accuracy line is a robust straight line through finished grid runs; that it goes on "
            "straight "
            "beyond them is assumed.",
        ),
        (
            "Time",
            "Wall time of a job's process over all its attempts, start-up included; planned times come "
            "from the plan's "
            "device profile and, once jobs have finished, from their measured speed.",
        ),
    ]
    body = "".join(f"<h3>{text(title)}</h3><p>{content}</p>" for title, content in items)
    return section("method", "Method notes", body)


def _loss(material: Material) -> str:
    if material.loss_metric is None:
        return "No loss has been measured yet."
    others = sorted(
        {o.metric for o in material.observations if o.metric.startswith("loss ")} - {material.loss_metric}
    )
    rest = f" Also measured, not drawn: {text('; '.join(others))}." if others else ""
    return (
        f"Figures show <code>{text(material.loss_metric)}</code>: the loss before the @, on adversarial "
        "images made by the "
        "attack after it; for <code>trades(β)</code> that is cross-entropy of the clean image (no label "
        "smoothing) plus "
        "β times the KL divergence from the clean to the attacked prediction, averaged over test "
        f"images.{rest}"
    )


def _accuracy(material: Material) -> str:
    metrics = Counter(o.metric for o in material.observations if o.metric.startswith("accuracy "))
    if not metrics:
        return "No accuracy has been measured yet."
    names = ", ".join(f"<code>{text(m)}</code>" for m in sorted(metrics))
    return (
        f"Measured: {names}. Robust accuracy is the share of test images that keep their right label "
        "under the attack; "
        "a stronger attack can only lower it. Accuracies under different attacks are never mixed in one "
        "figure."
    )


def _images(material: Material) -> str:
    counts = Counter(o.count for o in material.observations if o.kind == "evaluate" and o.count is not None)
    if not counts:
        return "How many test images are behind a value is not recorded in these observations."
    said = ", ".join(
        f"{number_html.data(n, 'plain')} ({times} values)" for n, times in sorted(counts.items())
    )
    held = any(o.metric.endswith(" on validation") for o in material.observations)
    more = ", or where a measure says so of the training images held out for validation" if held else ""
    return (
        f"Images behind each evaluated value: {said}. They are of the test split{more}; no generator and no "
        "network was trained on them."
    )
