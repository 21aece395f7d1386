"""Answer the study's forecasts from its fitted laws. In: the background of answers. Out: Answers, and diagnostics.

Pure. Allocations, which also ask for jobs, are in allocations.py."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.compiler.observed.study_fits import Fitted
from isoloss.compiler.plan import Answer, Range
from isoloss.compiler.questions.answering import (
    Answering,
    answer,
    complete,
    is_wide,
    made_of,
    predictions,
    predictor,
    progress,
    reach,
    tidy,
)
from isoloss.compiler.questions.buildable_networks import per_image_rule
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Forecast


class Forecasts:
    """Answers in declaration order; `problems` are those that miss their tolerance."""

    def __init__(self, background: Answering) -> None:
        self.background = background
        self.problems: list[Diagnostic] = []

    def answers(self) -> list[Answer]:
        return [self._forecast(question) for question in self.background.study.forecasts]

    def _forecast(self, question: Forecast) -> Answer:
        laws = self.background.laws(question.laws, question.generator)
        notes = progress(laws)
        fid = question.fid if question.fid is not None else self.background.fid(question.generator)
        law, final = predictor(laws), complete(laws)
        if law is None or fid is None:
            if fid is None:
                notes.append(f"waits for the fid of `{question.generator}`")
            status = "not determined" if final and fid is not None else "pending"
            return answer(question, "forecast", status, {}, notes)
        recipe = self._recipe_of(laws)
        networks = self.background.networks(recipe) if recipe else ()
        rule = per_image_rule(networks) if networks else None
        optimum = law.optimum(question.compute_flops, fid, rule)
        notes.extend(optimum.notes)
        values = {
            "params": tidy(optimum.params),
            "images": tidy(optimum.images),
            "flops": tidy(optimum.flops),
            **predictions(laws, optimum.loss),
        }
        notes.extend(made_of(law, optimum.params, optimum.images, fid))
        notes.extend(reach(laws, question.compute_flops, optimum.params, optimum.images, values["loss"]))
        missed = self._tolerance(question, values, final, notes)
        known = values["loss"] or values["accuracy"]
        status = "not determined" if final else "pending"
        if final and known:
            status = "wide" if missed or is_wide(values["params"], notes) else "answered"
        return answer(question, "forecast", status, values, notes)

    def _tolerance(
        self, question: Forecast, values: dict[str, Range | None], final: bool, notes: list[str]
    ) -> bool:
        """Whether the answer is wider than asked."""
        loss = values["loss"] or values["accuracy"]
        if question.within is None:
            return False
        if loss is None:
            if final:
                notes.append("the interval is not estimated: whether it is narrow enough is not known")
            return final
        width = (loss.high - loss.low) / 2 / loss.mid
        if width <= question.within:
            notes.append(f"half-width {width:.2%}, within the wanted {question.within:.2%}")
            return False
        notes.append(f"half-width {width:.2%}, wanted {question.within:.2%}")
        if final:
            headline = f"forecast `{question.name}` is known to {width:.2%}, not within {question.within:.2%}"
            helps = ("more runs nearer to its compute, more seeds, or a wider `within`",)
            self.problems.append(
                Diagnostic("L504", headline, question.origin.span, help=helps, severity="warning")
            )
        return True

    def _recipe_of(self, laws: Sequence[Fitted]) -> str | None:
        """The recipe whose cost per image counts for a forecast: the one of the grid that the law is fitted
        to."""
        grids = {f.declared.to.grid for f in laws}
        return next((c.recipe for c in self.background.cells if c.grid in grids), None)
