"""Each field of the vocabulary: an edit changes the ids of exactly the jobs that depend on it.

Every study has two chains of generator, recipe and grid. Edits are made in the first; what each field touches there
is written down below, and a field of the vocabulary without a line fails. The second chain must never move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from isoloss.compiler.plan import Plan
from isoloss.compiler.plans.diff import diff
from isoloss.compiler.plans.explain_job import explain
from isoloss.dsl.vocabulary import ROWS
from tests.compiler.studies import plan_of, study_of_text

BASE = {
    "dataset": "dataset digits",
    "generator": "generator one { sampler = edm(steps = 3) denoiser = mixture(components = 4) images = 100k }",
    "second": "generator two { sampler = edm(steps = 9) denoiser = mixture(components = 4) images = 100k }",
    "recipe": "recipe first { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 2) batch = 32 lr = 0.1 }",
    "other": "recipe other { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 3) batch = 32 lr = 0.1 }",
    "evaluate": "evaluate robust { attack = pgd(eps = 0.15, steps = 5) }",
    "clean": "evaluate clean { attack = none }",
    "grid": "grid runs { model in [cnn(1)] generator in [one] images in [4k] recipe = first }",
    "rest": "grid rest { model in [cnn(1)] generator in [two] images in [4k] recipe = other }",
    "budget": "budget { devices = 1 of cpu }",
    "fit": "fit law { law = chinchilla to = runs resamples = 20 }",
    "forecast": "forecast more { law = law fid = 0 compute = 1 PFLOP }",
    "allocate": "allocate best { law = law compute = 1 GFLOP generator = one recipe = first evaluate = [robust] }",
}
MADE, MEASURED, RUN, TESTED = (
    {"generate", "fid", "train", "evaluate"},
    {"fid"},
    {"train", "evaluate"},
    {"evaluate"},
)
NONE: set[str] = set()

_MIXED = {
    "mix": "mix half { generator = one real = 1/2 }",
    "grid": "grid runs { model in [cnn(1)] generator in [half] images in [4k] recipe = first }",
}
_FILES = 'generator one { from = "made/*.npz" fid = 3 images = 50k }'


@dataclass(frozen=True)
class Edit:
    """`after` in place of the block's base text, or of `before`; `touches`: kinds of the first chain's jobs that are
    other jobs then. `more`: parts that both studies have."""

    after: str
    touches: set[str]
    before: str | None = None
    more: tuple[tuple[str, str], ...] = ()


def generator(settings: str) -> str:
    return f"generator one {{ {settings} }}"


def recipe(setting: str) -> str:
    return BASE["recipe"].removesuffix("}") + setting + " }"


def grid(**changed: str) -> str:
    terms = {
        "model": "in [cnn(1)]",
        "generator": "in [one]",
        "images": "in [4k]",
        "recipe": "= first",
        **changed,
    }
    return "grid runs { " + " ".join(f"{name} {value}" for name, value in terms.items()) + " }"


def equal_compute(compute: str) -> str:
    return grid(compute=f"in [{compute}]").replace("images in [4k] ", "")


def mix(setting: str) -> Edit:
    return Edit(setting, NONE, _MIXED["mix"], (("grid", _MIXED["grid"]),))


def of_mix(setting: str, touches: set[str]) -> Edit:
    return Edit(setting, touches, _MIXED["mix"], (("grid", _MIXED["grid"]),))


def fit(setting: str) -> Edit:
    return Edit(f"fit law {{ {setting} }}", NONE)


def compare(settings: str) -> Edit:
    widths = (("grid", grid(model="in [cnn(1), cnn(2)]")),)
    over = "" if "over" in settings else "over = runs"
    return Edit(
        f"compare widths {{ by = model {over} {settings} }}",
        NONE,
        "compare widths { over = runs by = model }",
        widths,
    )


def device(settings: str) -> Edit:
    return Edit(f"device mine {{ {settings} }}", NONE, "device mine { memory = 24 GB fp32 = 82 TFLOP/s }")


_MADE_BY = "sampler = edm(steps = 3) denoiser = mixture(components = 4)"

#: (block, field) -> an edit of it.
EDITS: dict[tuple[str, str], Edit] = {
    ("generator", "from"): Edit(
        'generator one { from = "more/*.npz" fid = 3 images = 50k }', RUN | {"import"}, _FILES
    ),
    ("generator", "sampler"): Edit(
        generator(_MADE_BY.replace("steps = 3", "steps = 4") + " images = 100k"), MADE
    ),
    ("generator", "denoiser"): Edit(
        generator(_MADE_BY.replace("components = 4", "components = 5") + " images = 100k"), MADE
    ),
    ("generator", "fid"): Edit(generator(f"{_MADE_BY} images = 100k fid = 2"), NONE),
    ("generator", "features"): Edit(
        generator(f"{_MADE_BY} images = 100k features = pixels(images = 5000)"), MEASURED
    ),
    # It is a bound: the first 4k images of more are the same.
    ("generator", "images"): Edit(generator(f"{_MADE_BY} images = 200k"), NONE),
    ("generator", "passes"): Edit(generator(f"{_MADE_BY} images = 100k passes = 3"), NONE),
    ("generator", "sha256"): Edit(
        f'generator one {{ from = "made/*.npz" fid = 3 images = 50k sha256 = "{"0123456789abcdef" * 4}" }}',
        RUN | {"import"},
        _FILES,
    ),
    ("generator", "licence"): Edit(
        'generator one { from = "made/*.npz" fid = 3 images = 50k licence = "CC BY 4.0" }', NONE, _FILES
    ),
    ("mix", "generator"): of_mix("mix half { generator = two real = 1/2 }", RUN | MEASURED),
    ("mix", "real"): of_mix("mix half { generator = one real = 1/4 }", RUN | MEASURED),
    ("mix", "fid"): mix("mix half { generator = one real = 1/2 fid = 2 }"),
    ("mix", "features"): of_mix(
        "mix half { generator = one real = 1/2 features = pixels(images = 500) }", MEASURED
    ),
    ("recipe", "loss"): Edit(BASE["recipe"].replace("beta = 5", "beta = 3"), RUN),
    ("recipe", "attack"): Edit(
        "recipe first { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 4) batch = 32 lr = 0.1 }",
        RUN,
    ),
    ("recipe", "perturb"): Edit(recipe("perturb = awp"), RUN),
    ("recipe", "optimizer"): Edit(recipe("optimizer = sgd(momentum = 0.5)"), RUN),
    ("recipe", "schedule"): Edit(recipe("schedule = cosine(warmup = 20%)"), RUN),
    ("recipe", "average"): Edit(recipe("average = ema(decay = 0.9)"), RUN),
    ("recipe", "batch"): Edit(
        "recipe first { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 2) batch = 64 lr = 0.1 }",
        RUN,
    ),
    ("recipe", "lr"): Edit(
        "recipe first { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 2) batch = 32 lr = 0.2 }",
        RUN,
    ),
    ("recipe", "augment"): Edit(recipe("augment = pad_crop_flip(pad = 1)"), RUN),
    ("recipe", "normalize"): Edit(recipe("normalize = cifar10"), RUN),
    ("recipe", "batchnorm"): Edit(recipe("batchnorm = batchnorm(group = 8)"), RUN),
    ("recipe", "clip"): Edit(recipe("clip = 2"), RUN),
    ("recipe", "precision"): Edit(recipe("precision = bf16"), RUN),
    ("recipe", "evaluate"): Edit(recipe("evaluate = robust at every 50%"), RUN),
    ("evaluate", "attack"): Edit("evaluate robust { attack = pgd(eps = 0.15, steps = 6) }", TESTED),
    ("evaluate", "weights"): Edit(
        "evaluate robust { attack = pgd(eps = 0.15, steps = 5) weights = live }", TESTED
    ),
    ("evaluate", "split"): Edit(
        "evaluate robust { attack = pgd(eps = 0.15, steps = 5) split = validation }", TESTED
    ),
    ("evaluate", "images"): Edit(
        "evaluate robust { attack = pgd(eps = 0.15, steps = 5) images = 50 }", TESTED
    ),
    ("grid", "model"): Edit(grid(model="in [cnn(2)]"), RUN),
    ("grid", "generator"): Edit(grid(generator="in [two]"), RUN),
    ("grid", "images"): Edit(grid(images="in [8k]"), RUN),
    ("grid", "compute"): Edit(equal_compute("0.3 GFLOP"), RUN, equal_compute("0.2 GFLOP")),
    ("compare", "over"): compare("over = (runs where seed == 0)"),
    ("compare", "by"): Edit(
        "compare widths { over = runs by = recipe }",
        NONE,
        "compare widths { over = runs by = model }",
        (("grid", grid(model="in [cnn(1), cnn(2)]", recipe="in [first, other]")),),
    ),
    ("compare", "evaluate"): Edit(
        "compare widths { over = runs by = model evaluate = clean }",
        NONE,
        "compare widths { over = runs by = model evaluate = robust }",
        compare("").more,
    ),
    ("compare", "metric"): compare("metric = loss"),
    ("compare", "within"): compare("within = 1%"),
    ("grid", "recipe"): Edit(grid(recipe="= other"), RUN),
    ("grid", "seed"): Edit(grid(seed="in [1]"), RUN),
    ("grid", "batch"): Edit(grid(batch="in [64]"), RUN),
    ("grid", "lr"): Edit(grid(lr="in [0.3]"), RUN),
    ("device", "memory"): device("memory = 48 GB fp32 = 82 TFLOP/s"),
    ("device", "fp32"): device("memory = 24 GB fp32 = 90 TFLOP/s"),
    ("device", "tf32"): device("memory = 24 GB fp32 = 82 TFLOP/s tf32 = 90 TFLOP/s"),
    ("device", "bf16"): device("memory = 24 GB fp32 = 82 TFLOP/s bf16 = 165 TFLOP/s"),
    ("device", "bandwidth"): device("memory = 24 GB fp32 = 82 TFLOP/s bandwidth = 1 TB/s"),
    ("device", "watts"): device("memory = 24 GB fp32 = 82 TFLOP/s watts = 450"),
    ("device", "price"): device("memory = 24 GB fp32 = 82 TFLOP/s price = 1 USD/h"),
    ("budget", "compute"): Edit("budget { devices = 1 of cpu compute = 1 PFLOP }", NONE),
    ("budget", "devices"): Edit("budget { devices = 4 of h100 }", NONE),
    ("budget", "walltime"): Edit("budget { devices = 1 of cpu walltime = 3 h }", NONE),
    ("budget", "price"): Edit("budget { devices = 1 of cpu price = 2 USD/h }", NONE),
    ("budget", "transfer"): Edit("budget { devices = 1 of cpu transfer = 0.09 USD/GB }", NONE),
    ("budget", "storage"): Edit("budget { devices = 1 of cpu storage = 5 GB }", NONE),
    ("budget", "choose"): Edit("budget { devices = 1 of cpu choose = cheapest }", NONE),
    ("budget", "pin"): Edit(
        "budget { devices = 1 of cpu compute = 1 PFLOP pin = (runs where seed == 0) }", NONE
    ),
    ("fit", "law"): fit("law = approach3 to = runs resamples = 20"),
    ("fit", "to"): fit("law = chinchilla to = rest resamples = 20"),
    ("fit", "base"): Edit(
        "fit law { law = approach2 to = runs base = (runs where seed == 0) resamples = 20 }",
        NONE,
        "fit law { law = approach2 to = runs resamples = 20 }",
    ),
    ("fit", "quality"): Edit(
        "fit law { law = approach2 to = runs base = runs quality = rest resamples = 20 }",
        NONE,
        "fit law { law = approach2 to = runs resamples = 20 }",
    ),
    ("fit", "per"): fit("law = chinchilla to = runs resamples = 20 per = generator"),
    ("fit", "evaluate"): fit("law = chinchilla to = runs resamples = 20 evaluate = clean"),
    ("fit", "metric"): fit("law = chinchilla to = runs resamples = 20 metric = accuracy"),
    ("fit", "x"): Edit(
        "fit law { law = powerlaw to = runs resamples = 20 x = params }",
        NONE,
        "fit law { law = powerlaw to = runs resamples = 20 }",
    ),
    ("fit", "points"): fit("law = chinchilla to = runs resamples = 20 points = final"),
    ("fit", "floor"): fit("law = chinchilla to = runs resamples = 20 floor = 0.6"),
    ("fit", "delta"): fit("law = chinchilla to = runs resamples = 20 delta = 1e-2"),
    ("fit", "errors"): fit("law = chinchilla to = runs resamples = 20 errors = correlated"),
    ("fit", "resamples"): fit("law = chinchilla to = runs resamples = 30"),
    ("forecast", "law"): Edit(
        "forecast more { law = again fid = 0 compute = 1 PFLOP }",
        NONE,
        more=(("again", "fit again { law = approach3 to = runs resamples = 20 }"),),
    ),
    ("forecast", "fid"): Edit("forecast more { law = law fid = 1 compute = 1 PFLOP }", NONE),
    ("forecast", "features"): Edit(
        "forecast more { law = law fid = 0 features = pixels compute = 1 PFLOP }", NONE
    ),
    ("forecast", "generator"): Edit("forecast more { law = law generator = one compute = 1 PFLOP }", NONE),
    ("forecast", "compute"): Edit("forecast more { law = law fid = 0 compute = 2 PFLOP }", NONE),
    ("forecast", "within"): Edit("forecast more { law = law fid = 0 compute = 1 PFLOP within = 2% }", NONE),
}
_ALLOCATE = {
    "law": "law",
    "compute": "1 GFLOP",
    "generator": "one",
    "recipe": "first",
    "evaluate": "[robust]",
}


def _allocation(**changed: str | None) -> Edit:
    terms = {name: value for name, value in {**_ALLOCATE, **changed}.items() if value is not None}
    bound = terms.pop("overhead", None)
    text = " ".join(f"{name} = {value}" for name, value in terms.items())
    return Edit(f"allocate best {{ {text}{f' overhead <= {bound}' if bound else ''} }}", NONE)


# Before its law is known it asks for no job; test_allocations.py has the edits of one whose law is.
EDITS |= {
    ("allocate", name): _allocation(**changed)
    for name, changed in {
        "compute": {"compute": "2 GFLOP"},
        "accuracy": {"compute": None, "accuracy": "50%"},
        "time": {"compute": None, "time": "1 h"},
        "generator": {"generator": "two"},
        "family": {"family": "cnn"},
        "recipe": {"recipe": "other"},
        "overhead": {"overhead": "10%"},
        "evaluate": {"evaluate": "[clean]"},
        "seed": {"seed": "3"},
    }.items()
}
EDITS["allocate", "law"] = Edit(
    _allocation(law="again").after,
    NONE,
    more=(("again", "fit again { law = approach3 to = runs resamples = 20 }"),),
)


def test_every_field_of_the_vocabulary_says_what_it_touches() -> None:
    assert set(EDITS) == {(row.name, slot.name) for row in ROWS for slot in row.slots}


def planned(folder: Path, parts: dict[str, str]) -> Plan:
    lines = {**BASE, **parts}
    return plan_of(study_of_text(folder, "study small {\n" + "\n".join(lines.values()) + "\n}\n"))


def second_chain(plan: Plan) -> set[str]:
    """Jobs of the second grid and of its generator."""
    return {job.id for job in plan.jobs if job.name.startswith(("rest/", "two/"))}


@pytest.mark.parametrize(("block", "field"), EDITS, ids=[f"{b}.{f}" for b, f in EDITS])
def test_an_edit_changes_exactly_the_jobs_that_depend_on_it(tmp_path: Path, block: str, field: str) -> None:
    edit = EDITS[block, field]
    shared = dict(edit.more)
    before = planned(tmp_path, {**shared, **({} if edit.before is None else {block: edit.before})})
    after = planned(tmp_path, {**shared, block: edit.after})
    known = {job.id for job in before.jobs}
    changed = {job.name for job in after.jobs if job.id not in known}
    second = () if block == "evaluate" else second_chain(after)
    meant = [job for job in after.jobs if job.kind in edit.touches and job.id not in second]
    if block == "evaluate":
        meant = [job for job in meant if job.name.endswith("/robust")]
    assert changed == {job.name for job in meant}
    assert {job.kind for job in meant} == edit.touches


COSMETIC = {
    "comment": {"dataset": "dataset digits  # of eight by eight pixels"},
    "blanks": {
        "recipe": "recipe  first {\n\n loss=trades(5) attack = pgd( eps=0.15 , steps=2 )\n batch=32\n\n lr=0.1 }"
    },
    "order": {"generator": BASE["second"], "second": BASE["generator"]},
    "constant": {
        "dataset": "dataset digits\nlet size = 0.15",
        "evaluate": "evaluate robust { attack = pgd(eps = size, steps = 5) }",
    },
    "unit": {"grid": BASE["grid"].replace("4k", "4000")},
    "default": {
        "evaluate": "evaluate robust { attack = pgd(eps = 0.15, steps = 5) weights = average split = test }"
    },
    "renamed": {"fit": BASE["fit"], "clean": "evaluate plain { attack = none }"},
}


@pytest.mark.parametrize("what", COSMETIC)
def test_cosmetic_edits_change_no_id(tmp_path: Path, what: str) -> None:
    before, after = planned(tmp_path, {}), planned(tmp_path, COSMETIC[what])
    assert {job.id for job in before.jobs} == {job.id for job in after.jobs}


def test_what_makes_jobs_others_is_named_without_their_inputs_ids(tmp_path: Path) -> None:
    """Of a mix of guided images, whose networks, shards, training and distance name each other by id."""
    guided = (
        "generator one {{ sampler = dg(steps = 3) denoiser = unet(images = 10k, lr = {}) images = 100k }}"
    )
    one, other = (planned(tmp_path, {**_MIXED, "generator": guided.format(lr)}) for lr in ("1e-3", "2e-3"))
    found = diff(one, other)
    kinds = {new.kind for _, new in found.replaced}
    assert kinds == {"denoiser", "discriminator", "generate", "fid", "train", "evaluate"}
    assert [(change.field, change.jobs) for change in found.fields] == [("recipe.lr", 1)]


def test_digests_of_files_are_no_jobs(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    plan = planned(tmp_path, {"generator": EDITS["generator", "sha256"].after})
    (job,) = (job for job in plan.jobs if job.kind == "import")
    assert explain(plan, job).identity["sha256"] == digest
