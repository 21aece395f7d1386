"""load_study: the canonical file, profiles, overrides, imports, and mistakes all at once."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from isoloss.compiler.cells.expand import expand
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, render
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Call, Const, Devices, RunSet, Schedule, Study

EXAMPLE = Path(__file__).parents[2] / "examples" / "robustness_limits.study"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "test.study") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def fine(path: Path, profile: str | None = None, *overrides: str) -> Study:
    study, diagnostics = load_study(path, profile=profile, overrides=overrides)
    assert study is not None, render(diagnostics)
    assert diagnostics == []
    return study


def codes(found: list[Diagnostic]) -> list[str]:
    return [d.code for d in found]


# The canonical file.


def test_the_paper_has_232_cells() -> None:
    study = fine(EXAMPLE)
    cells, diagnostics = expand(study)
    assert len(cells) == 232
    assert diagnostics == []


def test_every_default_is_explicit() -> None:
    study = fine(EXAMPLE)
    (recipe,) = study.recipes
    assert recipe.attack == Call(
        "pgd",
        (
            ("norm", "linf"),
            ("eps", Fraction(8, 255)),
            ("step", Fraction(2, 255)),
            ("steps", 10),
            ("loss", "kl"),
            ("restarts", 1),
            ("start", "uniform"),
        ),
    )
    assert recipe.augment == Call("pad_crop_flip", (("pad", 4),))
    assert recipe.normalize == Call("cifar10")
    normed = (("attack", "train"), ("momentum", 0.01), ("first", 1.0), ("group", None))
    assert recipe.batchnorm == Call("batchnorm", normed)
    assert recipe.average == Call("ema", (("decay", 0.995), ("warmup", 0.025)))
    assert (recipe.clip, recipe.precision) == (None, "fp32")
    assert recipe.evaluate == Schedule("robust", 0.025)
    assert study.evaluations[0].attack.get("step") == Fraction(2, 255)
    assert study.budget.walltime_seconds == 12 * 3600
    assert (study.budget.price_per_device_hour, study.budget.currency) == (2.4, "USD")
    assert [e.name for e in study.allocations[0].evaluate] == ["robust", "autoattack"]
    assert study.fits[0].points == "curve"
    assert study.fits[1].to == RunSet("runs")


def test_the_laptop_profile_replaces_what_it_names() -> None:
    study = fine(EXAMPLE, "laptop")
    assert study.profile == "laptop"
    assert study.dataset == Call("digits")
    assert [g.name for g in study.generators] == ["mix4", "mix7", "mix20"]
    assert study.generators[0].fid is None
    assert study.generators[0].sampler.get("sigma_max") == 10.0
    assert study.allocations[0].generators == ("mix20",)
    assert study.recipes[0].attack.get("eps") == Fraction(3, 20)
    assert study.recipes[0].attack.get("step") == Fraction(3, 80)
    assert study.recipes[0].normalize == Call("none")
    assert study.recipes[0].batch == Const(64)
    assert study.budget.devices == Devices(2, "cpu")
    cells, diagnostics = expand(study)
    assert len(cells) == 4 * 3 * 4
    assert diagnostics == []


# Defaults that depend on where they are.

RECIPE = "recipe r {{ loss = {loss} attack = pgd(eps = 0.15) batch = 64 lr = 0.1 }}"


@pytest.mark.parametrize(("loss", "ascends"), [("trades()", "kl"), ("pgd_at()", "ce")])
def test_the_inner_loss_follows_the_recipe(write: Write, loss: str, ascends: str) -> None:
    study = fine(write(f"study t {{ dataset digits {RECIPE.format(loss=loss)} }}"))
    assert study.recipes[0].attack.get("loss") == ascends


def test_natural_training_needs_no_attack(write: Write) -> None:
    study = fine(write("study t { dataset digits recipe r { loss = natural() batch = 64 lr = 0.1 } }"))
    assert study.recipes[0].attack == Call("none")


def test_a_let_changes_no_default(write: Write) -> None:
    text = "study t {{ dataset digits let steps = 7 let eps = 0.9 {} }}".format(
        RECIPE.format(loss="trades()")
    )
    study = fine(write(text))
    assert study.recipes[0].attack.get("step") == Fraction(3, 80)


# Axes.

GRID = """study t {{
  dataset digits
  generator a {{ sampler = edm(steps = 4) }}
  generator b {{ sampler = edm(steps = 7) }}
  {recipe}
  grid runs {{ {axes} }}
}}"""


def axes_of(write: Write, axes: str) -> dict[tuple[str, ...], tuple[object, ...]]:
    study = fine(write(GRID.format(recipe=RECIPE.format(loss="trades()"), axes=axes)))
    return {axis.names: axis.values for axis in study.grids[0].axes}


def test_ranges_logarithms_and_zips(write: Write) -> None:
    axes = axes_of(
        write,
        "zip (batch, model) in [(64, cnn(1)), (128, cnn(2))] generator in [a, b]"
        " images in log(1k .. 100k, 3) seed in 1..3",
    )
    cnn1, cnn2 = (Call("cnn", (("width", w),)) for w in (1, 2))
    assert axes[("model", "batch")] == ((cnn1, 64), (cnn2, 128))
    assert axes[("images",)] == ((1000,), (10000,), (100000,))
    assert axes[("seed",)] == ((1,), (2,), (3,))
    assert axes[("recipe",)] == (("r",),)


def test_axes_come_in_one_order(write: Write) -> None:
    first = axes_of(write, "images = 4k model = cnn(1) generator = a")
    second = axes_of(write, "generator = a model = cnn(1) images = 4k")
    assert list(first.items()) == list(second.items())


# Overrides.


def test_overrides_are_checked_like_the_file() -> None:
    study = fine(EXAMPLE, None, "grid.runs.images=[5M, 10M]", "eps=4/255", "allocate.sota.overhead=5%")
    assert study.recipes[0].attack.get("step") == Fraction(1, 255)
    assert study.allocations[0].overhead == 0.05
    images = next(axis for axis in study.grids[0].axes if axis.names == ("images",))
    assert images.values == ((5_000_000,), (10_000_000,))
    study = fine(EXAMPLE, None, "recipe.trades.attack.steps=7", "recipe.trades.batch=512")
    assert study.recipes[0].attack.get("steps") == 7
    assert study.recipes[0].attack.get("norm") == "linf"


def test_an_override_of_a_default_call(write: Write) -> None:
    path = write("study t {{ dataset digits {} }}".format(RECIPE.format(loss="trades()")))
    study = fine(path, None, "recipe.r.optimizer.momentum=0.8", "dataset=cifar10")
    assert study.recipes[0].optimizer.get("momentum") == 0.8
    assert study.recipes[0].optimizer.get("nesterov") is True
    assert study.dataset == Call("cifar10")


@pytest.mark.parametrize(
    ("override", "code", "column"),
    [
        ("budget.compute=3 h", "U102", 16),
        ("budget.compuet=3 TFLOP", "N108", 8),
        ("grid.runs.images=[5M", "S103", 18),
        ("nothing=3", "N108", 1),
        ("images", "S123", 1),
        ("a b=3", "S123", 1),
        ("recipe.trades.attack.stesp=7", "N108", 22),
        ("generator.edm5.features.images=5k", "N108", 1),
    ],
)
def test_what_is_wrong_in_an_override_is_pointed_at(override: str, code: str, column: int) -> None:
    study, diagnostics = load_study(EXAMPLE, overrides=[override])
    assert study is None
    assert codes(diagnostics) == [code]
    span = diagnostics[0].span
    assert span is not None
    assert (span.file, span.line, span.column) == ("--set", 1, column)
    assert override in render(diagnostics)


# Imports and extension.

BASE = "study base {{ dataset digits {} budget {{ compute = 1 PFLOP }} }}".format(
    RECIPE.format(loss="trades()")
)


def test_a_study_extends_another(write: Write) -> None:
    write(BASE, "parts/base.study")
    study = fine(
        write(
            'import "parts/base.study"\nstudy mine extends base {\n  dataset cifar10\n'
            "  recipe.r.lr = 0.2\n  budget { compute = 2 PFLOP devices = 2 of cpu }\n}"
        )
    )
    assert study.name == "mine"
    assert study.dataset == Call("cifar10")
    assert study.recipes[0].lr == Const(Fraction(1, 5))
    assert study.budget.compute_flops == 2e15
    assert study.recipes[0].origin.file.endswith("base.study")


@pytest.mark.parametrize(
    "path", ["../base.study", "/etc/passwd", "a/../../base.study", "a\\\\..\\\\b.study", ""]
)
def test_imports_stay_below_the_study(write: Write, path: str) -> None:
    write(BASE, "base.study")
    study, diagnostics = load_study(write(f'import "{path}"\nstudy t extends base {{ }}', "inner/test.study"))
    assert study is None
    assert codes(diagnostics) == ["S120"]


def test_a_link_does_not_lead_out(write: Write, tmp_path: Path) -> None:
    outside = write(BASE, "base.study")
    path = write('import "link.study"\nstudy t extends base { }', "inner/test.study")
    (tmp_path / "inner" / "link.study").symlink_to(outside)
    assert codes(load_study(path)[1]) == ["S120"]


def test_circles_end(write: Write) -> None:
    write('import "a.study"\nstudy b { dataset digits }', "b.study")
    path = write('import "b.study"\nstudy a extends b { dataset digits }', "a.study")
    assert codes(load_study(path)[1]) == ["S121"]


def test_a_missing_import_is_pointed_at(write: Write) -> None:
    _, diagnostics = load_study(write('import "no.study"\nstudy t extends no { }'))
    assert codes(diagnostics) == ["S111"]
    assert diagnostics[0].span is not None


# Mistakes.


def test_the_designs_message(write: Write) -> None:
    lines = [
        "study limits {",
        "  dataset cifar10",
        *[""] * 11,
        "    attack = pgd(norm = linf, eps = 8 h, steps = 10)",
    ]
    lines[12] = "  evaluate robust {"
    path = write("\n".join([*lines, "  }", "}"]), "limits.study")
    _, diagnostics = load_study(path)
    assert render(diagnostics).replace(str(path), "limits.study") == (
        "error[U102]: `eps` is a fraction of the pixel range, found a time\n"
        "  --> limits.study:14:37\n"
        "14 |     attack = pgd(norm = linf, eps = 8 h, steps = 10)\n"
        "   |                                     ^^^ time\n"
        "   = help: write it as a fraction: `eps = 8/255`"
    )


def test_an_unknown_profile(write: Write) -> None:
    _, diagnostics = load_study(EXAMPLE, profile="latpop")
    assert codes(diagnostics) == ["N111"]
    assert "`laptop` is close" in diagnostics[0].help[0]


def test_a_byte_order_mark_and_carriage_returns_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "windows.study"
    path.write_bytes(b"\xef\xbb\xbfstudy t {\r\n  dataset digits\r\n}\r\n")
    fine(path)


def test_order_of_declarations_is_irrelevant(write: Write) -> None:
    parts = [
        "dataset digits",
        "let eps = 0.15",
        "evaluate e { attack = pgd(eps = eps) }",
        RECIPE.format(loss="trades()"),
        "generator g { sampler = edm(steps = 4) }",
        "grid runs { model = cnn(1) generator = g images = 4k }",
        "fit f { law = approach2 }",
        "allocate a { law = f compute = 1 TFLOP generator = g }",
    ]
    one = fine(write("study t {\n" + "\n".join(parts) + "\n}"))
    other = fine(write("study t {\n" + "\n".join(reversed(parts)) + "\n}"))
    assert one == other


def test_more_than_a_value_is_told_so() -> None:
    _, diagnostics = load_study(EXAMPLE, overrides=["grid.runs.images=[5M] grid.runs.seed=[0]"])
    assert [d.code for d in diagnostics] == ["S102"]
    assert "expected nothing more" in diagnostics[0].help


@pytest.mark.parametrize(("number", "instead"), [(".5", "0.5"), ("5.", "5.0")])
def test_a_number_without_a_digit_before_or_after_its_point(number: str, instead: str) -> None:
    _, diagnostics = load_study(EXAMPLE, overrides=[f"recipe.trades.lr={number}"])
    assert [d.code for d in diagnostics] == ["S102"]
    assert diagnostics[0].help == (f"write `{instead}`",)


def test_a_dataset_in_quotes_is_told_the_form_that_is_read(write: Write) -> None:
    _, [found] = load_study(write('study tiny { dataset "digits" }'))
    assert (found.code, found.help) == ("U101", ("for example `dataset cifar10`",))
