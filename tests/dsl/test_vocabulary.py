"""The one table: every row can be used as it says, the pages are current, and the surface is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.compiler.cost.architectures import FAMILIES as COUNTED
from isoloss.compiler.cost.devices import BUILT_IN as DEVICE_PROFILES
from isoloss.compiler.facts.datasets import SHAPES
from isoloss.compiler.facts.features import FEATURES
from isoloss.dsl import vocabulary
from isoloss.dsl.check.calls import default_text
from isoloss.dsl.check.defaults import parsed_default
from isoloss.dsl.check.scope import Bad, Scope
from isoloss.dsl.check.values import check_value
from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.editor import reference_pages as docs
from isoloss.dsl.editor.word_help import explain, words
from isoloss.dsl.load import load_study
from isoloss.dsl.vocabulary import BLOCKS, BUILT_IN, DEVICES, QUANTITIES, TYPES, Slot, Term, terms

SPAN = Span("", 1, 1, 1, 1)
SCOPE = Scope(
    Report(),
    declared={
        "generator": dict.fromkeys(["edm5", "edm7", "edm10", "edm20"], SPAN),
        "recipe": {"trades": SPAN},
        "evaluate": {"robust": SPAN},
        "grid": {"runs": SPAN},
        "fit": dict.fromkeys(["quality", "bottleneck"], SPAN),
    },
    context={"loss": "trades", "law": "approach2", "dataset": "cifar10"},
)
_PGD = next(term for term in BUILT_IN if term.name == "pgd")
SLOTS = [(row.name, slot) for row in (*BLOCKS.values(), *BUILT_IN) for slot in row.slots]


@pytest.mark.parametrize(("owner", "slot"), SLOTS, ids=lambda x: x if isinstance(x, str) else x.name)
def test_defaults_and_types_hold(owner: str, slot: Slot) -> None:
    assert slot.type in TYPES
    assert slot.doc.endswith("."), slot
    text = default_text(slot, SCOPE)
    if text is not None and not text.startswith("eps /"):
        report = Report()
        scope = Scope(report, context=SCOPE.context)
        assert not isinstance(check_value(slot, parsed_default(text), scope), Bad), report.diagnostics()


@pytest.mark.parametrize(("owner", "slot"), SLOTS, ids=lambda x: x if isinstance(x, str) else x.name)
def test_examples_are_right(owner: str, slot: Slot) -> None:
    if slot.form == "in" or slot.type == "evaluations":
        return  # lists: the examples of blocks and the codes' right examples use them
    report = Report()
    scope = Scope(report, declared=SCOPE.declared, context=SCOPE.context)
    assert not isinstance(check_value(slot, parsed_default(slot.example), scope), Bad), report.diagnostics()


@pytest.mark.parametrize("term", BUILT_IN, ids=lambda t: f"{t.family}-{t.name}")
def test_examples_of_terms_are_right(term: Term) -> None:
    report = Report()
    scope = Scope(report, context=SCOPE.context)
    slot = Slot(term.family, "call", "", term.example, family=term.family)
    assert not isinstance(check_value(slot, parsed_default(term.example), scope), Bad), report.diagnostics()


def test_the_rooms_agree() -> None:
    assert set(DEVICES) == set(DEVICE_PROFILES)
    assert {t.name for t in terms("model")} == set(COUNTED)
    assert {t.name for t in terms("dataset")} == set(SHAPES)
    assert {t.name for t in terms("feature space")} == set(FEATURES)


def test_pages_are_current() -> None:
    folder = docs.ROOT / "docs"
    assert (folder / "language.md").read_text(encoding="utf-8") == docs.language_page(), "run `make docs`"
    assert (folder / "diagnostics.md").read_text(encoding="utf-8") == docs.diagnostics_page(), (
        "run `make docs`"
    )


def test_every_word_is_explained() -> None:
    for word in words():
        assert explain(word), word
    assert explain("stesp") is None


def test_the_surface_is_frozen() -> None:
    """New surface is deliberate: add it here, and an example with it."""
    assert set(BLOCKS) == {
        "generator", "mix", "recipe", "evaluate", "grid", "budget", "device", "fit", "forecast", "allocate", "compare",
        "profile",
    }  # fmt: skip
    assert {f"{t.family} {t.name}" for t in BUILT_IN} == {
        "model wrn", "model cnn", "loss trades", "loss pgd_at", "loss mart", "loss lse", "loss half",
        "loss noise", "loss natural", "attack pgd", "attack fgsm", "attack rfgsm", "attack autoattack",
        "attack none", "perturb none", "perturb awp", "optimizer sgd", "optimizer adam", "schedule cosine",
        "schedule constant", "schedule step", "schedule linear", "schedule cooldown", "average ema", "average none",
        "augment none", "augment pad_crop_flip", "normalize none", "normalize mean_std", "normalize cifar10",
        "batchnorm batchnorm", "sampler edm", "sampler pfgmpp", "sampler dg", "denoiser mixture",
            "denoiser unet", "denoiser pretrained", "discriminator encoder",
        "dataset digits", "dataset cifar10", "dataset cifar100", "dataset svhn", "dataset mnist",
        "dataset fashion_mnist", "dataset squiggles", "feature space pixels", "feature space resnet18",
            "feature space inception",
    }  # fmt: skip
    assert set(QUANTITIES) == {
        "params", "images", "fid", "flops", "epochs", "seed", "model", "generator", "generator.images",
        "generator.fid", "recipe",
    }  # fmt: skip
    ours = [code for code in codes() if code[0] in "SNUVG"]
    numbers = {
        "S": [*range(101, 116), *range(120, 124)],
        "N": range(101, 115),
        "U": range(101, 107),
        "V": range(101, 121),
        "G": range(101, 117),
    }
    assert ours == [f"{stage}{number}" for stage, all_ in numbers.items() for number in all_]


def test_third_parties_extend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = Term("jsma", "attack", "Few pixels.", "jsma(eps = 0.1)", (_PGD.slot("eps") or SLOTS[0][1],))
    monkeypatch.setattr(vocabulary, "third_party", lambda: (attack,))
    path = tmp_path / "t.study"
    path.write_text("study t { dataset digits evaluate e { attack = jsma(eps = 8/255) } }")
    study, diagnostics = load_study(path)
    assert study is not None, diagnostics
    assert study.evaluations[0].attack.kind == "jsma"


def test_a_broken_package_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def load(self) -> None:
            raise RuntimeError("broken on import")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Broken()])
    vocabulary.third_party.cache_clear()
    try:
        assert vocabulary.third_party() == ()
    finally:
        vocabulary.third_party.cache_clear()
