"""Measure a machine's speed: a kind of device -> Calibration, which `isoloss calibrate` keeps in a store.

Jobs of two small built-in studies are compiled like any, run by the local executor, and their seconds fitted
(compiler/cost/learning.py). Plans read it back through plans/stored_profile.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.compiler.plan import DeviceProfile, Job
from isoloss.plans.planning import compile_loaded, load
from isoloss.plans.stored_profile import FORMAT

if TYPE_CHECKING:
    from isoloss.compiler.cost.learning import Timed
    from isoloss.runtime.executors.base import Watcher
    from isoloss.runtime.executors.calibration import Machine


_RECIPE = """
  recipe {name} {{
    loss = trades(beta = 5)   attack = pgd(norm = linf, eps = {eps}, step = {eps} / 4, steps = 10)
    batch = {batch}   lr = 0.1   {more}
  }}"""
#: The quickstart's kinds of jobs, shorter: the same networks and batches, two evaluations each. Generators of three
#: sizes: making few images goes slower, for the fit of the mixture.
_DIGITS = """study calibrate {{
  dataset digits
  generator short {{ sampler = edm(steps = 3)    denoiser = mixture(components = 4)   images = 10k }}
  generator long  {{ sampler = edm(steps = 20)   denoiser = mixture(components = 4)   images = 4k }}
  generator more  {{ sampler = edm(steps = 20)   denoiser = mixture(components = 4)   images = 10k }}
{recipes}
  evaluate robust {{ attack = pgd(norm = linf, eps = 0.15, steps = 40, loss = cw) }}
  grid a {{ model in [{models}]   generator = long    images = {small}   recipe = small }}
  grid b {{ model in [{models}]   generator = short   images = {large}   recipe = large }}
  grid c {{ model = {model}   generator = more   images = {small}   recipe = small }}
  grid wide {{ model = {wide}   generator = short   images = {few}   recipe = small }}
  budget {{ devices = {devices}   choose = all }}
}}"""
_GRID = """
  grid {recipe} {{ model in [{models}]   generator = made_up   images in [{images}]   recipe = {recipe} }}"""
#: Wide residual networks at 32 x 32, on made-up images: no data set is needed to time them.
_CIFAR = """study calibrate {{
  dataset cifar10
  generator made_up {{ sampler = edm(steps = 5)   fid = 1   images = 10k }}
{recipes}
{grids}
  budget {{ devices = {devices}   choose = all }}
}}"""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A measured profile, the machine it was measured on, the timed jobs, and the profile's error on them."""

    profile: DeviceProfile
    machine: Machine
    slots: int
    timed: tuple[Timed, ...]
    accuracy: dict[str, Any]

    def to_json(self) -> bytes:
        """profile.json: keys sorted, two-space indent."""
        import orjson

        data = {"format": FORMAT, **asdict(self)}
        return orjson.dumps(
            data, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )


def studies_of(kind: str, count: int) -> list[tuple[Job, ...]]:
    """The jobs of the built-in studies for `count` devices of a kind, compiled: digits, then 32 x 32."""
    cpu = kind == "cpu"
    devices = f"{count} of {kind}"
    inside = "evaluate = robust at every 50%"
    batches = (32, 64) if cpu else (64, 256)
    digits = _DIGITS.format(
        recipes="".join(
            _RECIPE.format(name=name, eps=0.15, batch=batch, more=inside)
            for name, batch in zip(("small", "large"), batches, strict=True)
        ),
        models="cnn(1), cnn(2), cnn(4), cnn(8), cnn(16)" if cpu else "cnn(4), cnn(16)",
        model="cnn(1)" if cpu else "cnn(4)",
        wide="wrn(10, 1)" if cpu else "wrn(16, 4)",
        few="256" if cpu else "4k",
        small="1k" if cpu else "4k",
        large="3k" if cpu else "10k",
        devices=devices,
    )
    # On GPUs bf16 is another machine; a CPU's is left to its jobs, for the thirty seconds that this may take.
    recipes = {"small": (8, ""), "large": (16, "")}
    if not cpu:
        recipes = {"small": (128, ""), "large": (512, ""), "half": (512, "precision = bf16")}
    models = "wrn(10, 1), wrn(10, 2)" if cpu else "wrn(10, 2), wrn(16, 4), wrn(28, 4)"
    images = "48" if cpu else "2048, 6144"
    cifar = _CIFAR.format(
        recipes="".join(
            _RECIPE.format(name=name, eps="8/255", batch=batch, more=more)
            for name, (batch, more) in recipes.items()
        ),
        grids="".join(_GRID.format(recipe=name, models=models, images=images) for name in recipes),
        devices=devices,
    )
    return [_compiled(digits), _compiled(cifar)]


def _compiled(text: str) -> tuple[Job, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibrate.study"
        path.write_text(text, encoding="utf-8")
        study, _ = load(str(path), None, ())
    return compile_loaded(study, ())[0].jobs


def calibrate(
    kind: str, watch: Watcher, expect: Callable[[Sequence[Job], int], None] = lambda jobs, done: None
) -> Calibration:
    """Run the calibration on this machine. Raises JobError where it can't run."""
    from isoloss.compiler.cost.devices import BUILT_IN
    from isoloss.compiler.cost.learning import accuracy, learn
    from isoloss.runtime.executors.calibration import device_count, measure, this_machine

    count = device_count(kind)
    digits, cifar = studies_of(kind, count)
    made_up = [job for job in cifar if job.kind == "generate"]
    jobs = [*digits, *(job for job in cifar if job.kind == "train")]
    expect(jobs, 0)
    measured = measure(jobs, kind, watch, stand_ins=made_up)
    timed = tuple(timed_job(job, measured.seconds[job.id]) for job in jobs)
    machine = this_machine()
    if measured.accelerator:
        machine = replace(machine, accelerator=measured.accelerator)
    at_once = f"{measured.slots} at once" if measured.slots > 1 else "one at a time"
    provenance = f"measured by `isoloss calibrate`: {len(timed)} jobs, {at_once}, on {machine.host}, "
    provenance += measured.accelerator or machine.cpu
    profile = replace(learn(BUILT_IN[kind], timed, "calibration"), provenance=provenance)
    return Calibration(profile, machine, measured.slots, timed, accuracy(profile, timed))


def timed_job(job: Job, seconds: float) -> Timed:
    """A finished job as a point of the fit. Families and number formats are kept apart: they run on other kernels."""
    from isoloss.compiler.cost.flops import parts
    from isoloss.compiler.cost.learning import Timed
    from isoloss.compiler.cost.price import amounts

    return Timed(job.name, amounts(job.spec, parts(job.spec)), seconds)
