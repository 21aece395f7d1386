"""Laws, a compute budget and an FID -> optimum, loss and accuracy with intervals, as a screen and as JSON."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoloss.compiler.questions.answering import WIDE
from isoloss.dsl.vocabulary.quantity_text import (
    accuracy_text,
    count_text,
    decimal_text,
    flop_text,
    interval_text,
    shares_text,
    times_text,
)
from isoloss.errors import fault

if TYPE_CHECKING:
    from isoloss.compiler.laws.fitting.fitted import LawFit, Optimum
    from isoloss.compiler.laws.portfolio import Portfolio
    from isoloss.compiler.plan import Range
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic
    from isoloss.inputs.law_file import NamedLaw


@dataclass(frozen=True, slots=True)
class LawAnswer:
    """`asymptote` is the loss of unlimited N and D at this FID. `rule`: N -> FLOP per image; None: 7822 N."""

    laws: tuple[NamedLaw, ...]
    flops: float
    fid: float
    optimum: Optimum
    accuracy: Range | None
    asymptote: Range | None
    asymptote_accuracy: Range | None
    rule: Callable[[Any], Any] | None
    width: Mapping[str, float]  # what the variance of ln L* is made of, as shares
    warnings: tuple[Diagnostic, ...]

    @property
    def features(self) -> str | None:
        """The space that `fid` is a distance in; None: not known, or no law uses it."""
        return next((law.fit.features for law in self.laws if law.fit.features is not None), None)

    @property
    def status(self) -> str:
        """answered; wide, where the interval of N* spans more than a factor of 60; not determined."""
        size = self.optimum.params
        if self.optimum.loss is None or size is None:
            return "not determined"
        return "wide" if ends(size) is not None and size.high > WIDE * size.low else "answered"

    @property
    def reason(self) -> str | None:
        """Why it isn't plainly answered."""
        if self.status == "not determined":
            return (
                "; ".join(self.optimum.notes) or "the fit can't tell: a parameter it needs isn't identified"
            )
        if self.status == "wide" and self.optimum.params is not None:
            factor = self.optimum.params.high / self.optimum.params.low
            return f"the interval of N* spans a factor of {times_text(factor)}: the data hardly bound it"
        return None

    def to_json(self) -> dict[str, Any]:
        """The contract of `optimum --json`; intervals are null where none was estimated."""
        ranges = {
            "params": self.optimum.params,
            "images": self.optimum.images,
            "flops": self.optimum.flops,
            "loss": self.optimum.loss,
            "accuracy": self.accuracy,
        }
        return {
            "status": self.status,
            "reason": self.reason,
            **{name: _mid(value) for name, value in ranges.items()},
            "intervals": {name: ends(value) for name, value in ranges.items()},
            "laws": [law.name for law in self.laws],
            "fid": self.fid,
            "features": self.features,
            "exponents": {name: value.mid for name, value in self.optimum.exponents.items()},
            "asymptote": {
                "loss": _mid(self.asymptote),
                "loss_interval": ends(self.asymptote),
                "accuracy": _mid(self.asymptote_accuracy),
                "accuracy_interval": ends(self.asymptote_accuracy),
            },
            "width": dict(self.width),
            "flops_per_param_image": self.laws[0].flops_constant,
            "warnings": [
                {"code": d.code, "message": d.headline, "help": list(d.help)} for d in self.warnings
            ],
        }

    def screen(self) -> str:
        """The answer with intervals, one quantity a line."""
        names = " + ".join(law.name for law in self.laws)
        first = self.laws[0]
        other = f" @ {self.features}" if self.features not in (None, "inception") else ""
        quality = f", FID {self.fid:g}{other}" if any(law.fit.law.uses_fid for law in self.laws) else ""
        lines = [
            f"{names} at {flop_text(self.flops)}{quality}",
            f"  {first.flops_constant:.4g} FLOP per parameter and image ({first.constant_source})",
            "",
            f"  {'':<16}{'estimate':>13}   95% interval",
        ]
        for name, value, show in (
            ("params N*", self.optimum.params, count_text),
            ("images D*", self.optimum.images, count_text),
            ("loss L*", self.optimum.loss, decimal_text),
            ("accuracy", self.accuracy, accuracy_text),
            ("loss, no limit", self.asymptote, decimal_text),
            ("its accuracy", self.asymptote_accuracy, accuracy_text),
        ):
            lines.append(f"  {name:<16}{show(_mid(value)):>13}   {interval_text(ends(value), show)}")
        for name, exponent in self.optimum.exponents.items():
            grows = {"a": "N* ~ C^a", "b": "D* ~ C^b"}.get(name, "")
            lines.append(
                f"  {name:<16}{decimal_text(exponent.mid):>13}   {interval_text(ends(exponent))}   {grows}"
            )
        if self.width:
            lines.append(f"  {'width of L*':<16}{'':>13}   {shares_text(self.width)}")
        if self.reason is not None:
            lines += ["", f"  {self.status}: {self.reason}"]
        return "\n".join(line.rstrip() for line in lines)

    def line(self) -> str:
        """One line: for one law of several."""
        loss, accuracy = self.optimum.loss, self.accuracy
        return (
            f"{self.laws[0].name:<28} N* {count_text(_mid(self.optimum.params))}, "
            f"D* {count_text(_mid(self.optimum.images))}, loss {decimal_text(_mid(loss))} "
            f"({interval_text(ends(loss))}), accuracy {accuracy_text(_mid(accuracy))}"
        )


def answer(laws: Sequence[NamedLaw], flops: float, fid: float) -> LawAnswer:
    """Ask one law, or a portfolio of several; where none has an answer it is not determined, and L212 says why."""
    from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER
    from isoloss.compiler.laws.lint import lint_extrapolation, lint_fit, lint_rounded, lints
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic
    from isoloss.inputs.law_file import model_of

    constants = {round(math.log(law.flops_constant), 2) for law in laws}
    if len(constants) > 1:
        listed = ", ".join(f"{law.name}: {law.flops_constant:.4g}" for law in laws)
        raise fault(
            "L215",
            f"the laws count FLOPs differently: {listed} per parameter and image",
            "a budget means another run under each; fit both to tables with the same rule",
        )
    plain = laws[0].flops_constant == FLOPS_PER_IMAGE_AND_PARAMETER
    rule = None if plain else laws[0].flops_per_image
    model = model_of(laws)
    optimum = model.optimum(flops, fid, rule)
    asymptote = model.limits(fid).asymptote
    line = next((law.accuracy for law in laws if law.accuracy is not None), None)
    groups = [
        lint_extrapolation(flops, law.fit) + lint_fit(law.fit) + lint_rounded(law.fit.parameters)
        for law in laws
    ]
    if optimum.loss is None:
        reasons = optimum.notes or ("the fit can't tell: a parameter it needs isn't identified",)
        headline = f"no optimum at {flop_text(flops)} and FID {fid:g}"
        groups.insert(0, [Diagnostic("L212", headline, help=tuple(reasons), severity="warning")])
    return LawAnswer(
        laws=tuple(laws),
        flops=flops,
        fid=fid,
        optimum=optimum,
        accuracy=None if line is None or optimum.loss is None else _accuracy(line, optimum.loss),
        asymptote=asymptote,
        asymptote_accuracy=None if line is None or asymptote is None else _accuracy(line, asymptote),
        rule=rule,
        width=_width(model, optimum, fid),
        warnings=tuple(lints(*groups)),
    )


def _width(model: LawFit | Portfolio, optimum: Optimum, fid: float) -> Mapping[str, float]:
    from isoloss.compiler.laws.arrays import Inputs
    from isoloss.compiler.laws.portfolio import width_shares

    if optimum.params is None or optimum.images is None:
        return {}
    return width_shares(model, Inputs.of(optimum.params.mid, optimum.images.mid, fid))


def fid_for(laws: Sequence[NamedLaw], stated: str | None) -> float:
    """The FID a question is about: as stated; else the only one a law was fitted at; else 0, real data.

    Raises UserError L218 where it is a distance in another feature space than a law was fitted in, or the laws
    are of different spaces themselves."""
    from isoloss.compiler.plan import frechet_metric
    from isoloss.inputs.arguments import fid_value

    spaces = dict.fromkeys(law.fit.features for law in laws if law.fit.features is not None)
    if len(spaces) > 1:
        listed = ", ".join(
            f"{law.name}: `{frechet_metric(law.fit.features)}`" for law in laws if law.fit.features
        )
        help = "one quality has another number in each: ask each law by itself"
        raise fault("L218", f"the laws are fitted in different feature spaces: {listed}", help)
    if stated is not None:
        value, space = fid_value(stated)
        other = next((law for law in laws if law.fit.features not in (None, space)), None)
        if value and other is not None and other.fit.features is not None:
            theirs = frechet_metric(other.fit.features)
            raise fault(
                "L218",
                f"`--fid {stated}` is a `{frechet_metric(space)}`, {other.name} is fitted to `{theirs}`",
                f"state the quality in the law's space: `--fid '… @ {other.fit.features}'`",
                "`--fid 0` is real data in every space",
            )
        return value
    for law in laws:
        low, high = law.fit.domain.fid
        if law.fit.law.uses_fid and "epsilon" in law.fit.unidentified and low == high:
            return low
    return 0.0


def show_warnings(warnings: Sequence[Diagnostic]) -> None:
    """Print warnings after the answer, on the same stream, so that no number is read without them."""
    from isoloss.dsl.diagnostics.diagnostic import render

    if warnings:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n" + render(warnings, colour=colour))


def ends(value: Range | None) -> list[float] | None:
    """[low, high], or None where no interval was estimated."""
    if value is None or math.isnan(value.low) or math.isnan(value.high):
        return None
    return [value.low, value.high]


def _mid(value: Range | None) -> float | None:
    return None if value is None else value.mid


def _accuracy(line: Any, loss: Range) -> Range:
    """Accuracy at a loss; without an interval where the loss has none."""
    from isoloss.compiler.plan import Range as PlanRange

    if ends(loss) is None:
        mid = line.value(loss.mid)
        return PlanRange(math.nan, mid, math.nan)
    found: Range = line.predict(loss)
    return found
