"""What answers to forecasts and allocations share: the laws behind a question, FIDs, networks, what is said of them.

In: a study, its Fitteds, cells, knowledge. Pure. Used by questions.py and allocations.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoloss.compiler import plan
from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.jobs.factory import JobFactory
from isoloss.compiler.laws.accuracy import AccuracyFit
from isoloss.compiler.laws.arrays import Inputs
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.portfolio import Portfolio, width_shares
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.observed.study_fits import Fitted, known_range
from isoloss.compiler.plan import Answer, Range
from isoloss.compiler.questions.buildable_networks import Network, buildable
from isoloss.dsl.study.study import Allocate, Forecast, Study
from isoloss.dsl.vocabulary.quantity_text import shares_text

#: An interval of N* that spans more than this, end over end, is said to be wide.
WIDE = 60.0
#: Times the largest run from which on a question is called an extrapolation; as lint L308.
FAR = 10.0


class Answering:
    """The background of every answer of a study."""

    def __init__(
        self,
        study: Study,
        fitted: Sequence[Fitted],
        cells: Sequence[Cell],
        knowledge: Knowledge,
        factory: JobFactory,
    ) -> None:
        self.study = study
        self.fitted = fitted
        self.cells = cells
        self.knowledge = knowledge
        self.factory = factory
        self._networks: dict[tuple[str, tuple[str, ...]], tuple[Network, ...]] = {}

    def laws(self, names: Sequence[str], generator: str | None) -> list[Fitted]:
        """The fits of a question; of those made per generator its own, or else the first."""
        chosen = []
        for name in names:
            mine = [f for f in self.fitted if f.declared.name == name]
            matching = [f for f in mine if f.generator in (None, generator)]
            chosen.extend(matching or mine[:1])
        return chosen

    def fid(self, generator: str | None) -> float | None:
        """Stated or measured; None: not known yet."""
        if generator is None:
            return None
        declared = self.factory.generators[generator]
        if declared.fid is not None:
            return declared.fid
        job = self.factory.fid(generator)
        return self.knowledge.fid(job.id) if job is not None else None

    def networks(self, recipe: str, families: tuple[str, ...] = ()) -> tuple[Network, ...]:
        """What could be built, of these families or those of the grids, priced under a recipe."""
        key = recipe, families
        if key not in self._networks:
            chosen = self.factory.variants[recipe].recipe
            models = list(
                {id(m): m for m in (self.factory.component(cell.model) for cell in self.cells)}.values()
            )
            self._networks[key] = (
                buildable(
                    models,
                    self.factory.dataset,
                    self.factory.component(chosen.loss),
                    self.factory.component(chosen.attack),
                    self.factory.component(chosen.perturb),
                    families,
                )
                if models
                else ()
            )
        return self._networks[key]


def predictor(laws: Sequence[Fitted]) -> LawFit | Portfolio | None:
    """The law, or the portfolio, of the fits that can be used."""
    usable = [f.fit for f in laws if f.fit is not None and f.fit.usable]
    if not usable:
        return None
    return usable[0] if len(usable) == 1 else Portfolio(usable)


def complete(laws: Sequence[Fitted]) -> bool:
    """Whether these laws will never move again."""
    return bool(laws) and all(f.complete for f in laws)


def progress(laws: Sequence[Fitted]) -> list[str]:
    """How far the runs are that each law is fitted to."""
    return [
        f"{f.name}: {f.finished} of {f.runs} runs finished"
        + (f", status {f.fit.status.value}" if f.fit is not None else "")
        for f in laws
    ]


def of_error(laws: Sequence[Fitted]) -> bool:
    """Whether the laws are of the error, 1 - accuracy, in place of a loss."""
    return any(f.declared.metric == "accuracy" for f in laws)


def accuracy_line(laws: Sequence[Fitted]) -> AccuracyFit | None:
    """The line from loss to accuracy of the first law that has one."""
    return next((f.accuracy for f in laws if f.accuracy is not None), None)


def accuracy_at(laws: Sequence[Fitted], loss: Range | None) -> Range | None:
    """The accuracy that goes with a predicted loss, by the line of the finished runs; None without one."""
    line = accuracy_line(laws)
    if line is None or loss is None or not math.isfinite(loss.low + loss.high):
        return None
    return tidy(line.predict(loss))


def predictions(laws: Sequence[Fitted], predicted: Range | None) -> dict[str, Range | None]:
    """`loss` and `accuracy` of a predicted value: laws of the error speak of 1 - accuracy and state no loss."""
    if of_error(laws):
        turned = (
            None if predicted is None else Range(1 - predicted.high, 1 - predicted.mid, 1 - predicted.low)
        )
        return {"loss": None, "accuracy": None if turned is None else tidy(turned)}
    return {"loss": tidy(predicted), "accuracy": accuracy_at(laws, predicted)}


def is_wide(params: Range | None, notes: list[str]) -> bool:
    """Whether an interval of N* tells hardly anything; said in a note if so."""
    if params is None or not params.high > WIDE * params.low:
        return False
    notes.append(
        f"wide: the interval of N* spans a factor of {params.high / params.low:.3g}: the data hardly bound it"
    )
    return True


def made_of(law: LawFit | Portfolio, params: Range | None, images: Range | None, fid: float) -> list[str]:
    """What the width of a predicted loss is made of."""
    if params is None or images is None:
        return []
    shares = width_shares(law, Inputs.of(params.mid, images.mid, fid))
    return [f"its width: {shares_text(shares)}"] if shares else []


def reach(
    laws: Sequence[Fitted], flops: float, params: Range | None, images: Range | None, loss: Range | None
) -> list[str]:
    """How far a question reaches beyond what its laws and their line of accuracy were fitted to."""
    notes = []
    domains = [f.fit.domain for f in laws if f.fit is not None and f.fit.usable]
    asked = {
        "flops": flops,
        "params": None if params is None else params.mid,
        "images": None if images is None else images.mid,
    }
    for name, value in asked.items():
        largest = max((getattr(domain, name)[1] for domain in domains), default=math.nan)
        if value is not None and value > FAR * largest:
            what = "compute" if name == "flops" else name
            times = f"{value / largest:.3g} times the {what} of the largest run"
            notes.append(f"extrapolates to {times}: nothing measured says that its law holds there")
    line = accuracy_line(laws)
    if line is not None and loss is not None and line.loss_range is not None and line.beyond(loss.mid):
        low, high = line.loss_range
        notes.append(f"accuracy is read beyond the losses it was seen at, {low:.4g} to {high:.4g}")
    return notes


def tidy(value: Range | None) -> Range | None:
    """Ten digits; None where a part isn't a number."""
    return None if value is None else known_range(value.low, value.mid, value.high)


def answer(
    question: Forecast | Allocate,
    kind: str,
    status: str,
    values: dict[str, Range | None],
    notes: Sequence[str],
    job: str | None = None,
    measured: dict[str, Range | None] | None = None,
) -> Answer:
    """An Answer with every quantity named, None where not estimated."""
    origin = plan.Origin(question.origin.file, question.origin.line, question.origin.column)
    empty = dict.fromkeys(("params", "images", "flops", "loss", "accuracy"))
    return Answer(
        question.name,
        kind,  # type: ignore[arg-type]
        status,  # type: ignore[arg-type]
        tuple(question.laws),
        values or empty,
        tuple(notes),
        origin,
        job,
        measured or {},
    )
