"""The compiler's tables against the runtime's classes: the same names, the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoloss.compiler.cost import flops as cost_of_quality
from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.cost.architectures import FAMILIES, count
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.facts.datasets import SHAPES
from isoloss.compiler.facts.features import FEATURES, IMAGES_PER_FEATURE, dimensions
from isoloss.compiler.plan import accuracy_metric, loss_metric
from isoloss.dsl.vocabulary import DEVICES, terms
from isoloss.runtime.attacks import ATTACKS
from isoloss.runtime.data import DATASETS
from isoloss.runtime.jobs import fid
from isoloss.runtime.models import build
from isoloss.runtime.quality import features as spaces
from isoloss.runtime.quality.measures import PAIRWISE
from isoloss.runtime.quality.resnet18 import Resnet18
from isoloss.runtime.training import losses
from isoloss.runtime.training.optimizers import OPTIMIZERS
from isoloss.runtime.training.perturb import PERTURBS
from isoloss.runtime.training.schedule import SCHEDULES

torch.set_num_threads(1)

MODELS = [
    ({"kind": "wrn", "depth": 16, "width": 1}, "cifar10"),
    ({"kind": "wrn", "depth": 28, "width": 4}, "cifar10"),
    ({"kind": "wrn", "depth": 82, "width": 16}, "cifar10"),
    ({"kind": "wrn", "depth": 10, "width": 2}, "digits"),
    ({"kind": "wrn", "depth": 16, "width": 2}, "mnist"),
    ({"kind": "cnn", "width": 1}, "digits"),
    ({"kind": "cnn", "width": 8}, "digits"),
    ({"kind": "cnn", "width": 5}, "cifar10"),
]


@pytest.mark.parametrize(("model", "dataset"), MODELS, ids=lambda v: str(v))
def test_counts_equal_torchs_own(model: dict[str, object], dataset: str) -> None:
    with torch.device("meta"):
        network = build(model, {"kind": dataset})
    counted = count(model, {"kind": dataset})
    assert sum(p.numel() for p in network.parameters()) == counted.params
    shape = SHAPES[dataset]
    images = torch.empty((2, shape.channels, shape.height, shape.width), device="meta")
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    assert counter.get_total_flops() == 2 * counted.forward_flops


def test_tables_have_the_same_rows() -> None:
    assert set(cost_rule.OUTER_PASSES) == set(losses.LOSSES)
    assert set(FAMILIES) <= {term.name for term in terms("model")}
    assert {term.name for term in terms("loss")} == set(cost_rule.OUTER_PASSES)
    assert set(cost_rule.PERTURBED_PASSES) == set(cost_rule.OUTER_PASSES)
    assert (
        {term.name for term in terms("attack")} - {"autoattack"} == set(ATTACKS) == set(cost_rule.GRADIENTS)
    )
    assert {term.name for term in terms("optimizer")} == set(OPTIMIZERS)
    assert {term.name for term in terms("schedule")} == set(SCHEDULES)
    assert {term.name for term in terms("perturb")} == set(PERTURBS) == set(cost_rule.PERTURBS)
    assert {term.name for term in terms("dataset")} <= set(SHAPES)
    assert {term.name for term in terms("feature space")} == set(FEATURES) == set(spaces.FEATURES)
    assert cost_of_quality.PAIRWISE_IMAGES == PAIRWISE
    assert fid.IMAGES_PER_FEATURE == IMAGES_PER_FEATURE
    assert set(DEVICES) == set(BUILT_IN)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_shapes_are_those_of_the_readers(name: str) -> None:
    row, shape = DATASETS[name], SHAPES[name]
    assert row.shape == (shape.height, shape.width, shape.channels)
    assert row.classes == shape.classes


def test_feature_spaces_are_as_large_and_as_dear_as_the_table_says() -> None:
    """Inception's row is counted beside its network, in test_inception.py."""
    images = torch.zeros((1, 32, 32, 3), dtype=torch.uint8).numpy()
    with FlopCounterMode(display=False) as counter:
        found = Resnet18().features(images)
    assert counter.get_total_flops() == FEATURES["resnet18"].forward_flops
    assert found.shape[1] == FEATURES["resnet18"].dimensions
    assert dimensions({"kind": "pixels"}, {"kind": "cifar10"}) == spaces.pixels(images).shape[1] == 3072
    assert dimensions({"kind": "clip"}, {"kind": "cifar10"}) is None


PGD = {"kind": "pgd", "restarts": 1, "start": "uniform"}


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        ({"kind": "none"}, "clean"),
        (
            {"kind": "autoattack", "norm": "linf", "eps": "8/255", "version": "standard"},
            "autoattack(linf, 8/255)",
        ),
        (
            PGD | {"norm": "linf", "eps": "8/255", "step": "2/255", "steps": 40, "loss": "cw"},
            "pgd(40, cw, linf, 8/255)",
        ),
        ({"kind": "fgsm", "norm": "linf", "eps": "8/255", "loss": "ce"}, "fgsm(linf, 8/255, ce)"),
        (PGD | {"norm": "l2", "eps": 0.5, "step": 0.1, "steps": 7, "loss": "ce"}, "pgd(7, ce, l2, 0.5)"),
    ],
)
def test_names_of_accuracies(attack: dict[str, object], name: str) -> None:
    assert accuracy_metric(attack) == f"accuracy @ {name}"
    assert accuracy_metric(attack, "validation") == f"accuracy @ {name} on validation"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ({"kind": "trades", "beta": 5.0}, "trades(5)"),
        ({"kind": "trades", "beta": 2.5}, "trades(2.5)"),
        ({"kind": "pgd_at"}, "pgd_at"),
        ({"kind": "half", "weight": 0.3, "label_smoothing": 0.0, "entropy": 3.0}, "half"),
    ],
)
def test_names_of_losses(loss: dict[str, object], name: str) -> None:
    assert loss_metric(loss, {"kind": "none"}) == f"loss {name} @ clean"
