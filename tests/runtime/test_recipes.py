"""The recipes beside TRADES and PGD-AT: each against a straight transcription of its published form, its cost
against what torch counts, and stopped runs against undisturbed ones."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.plan import TrainSpec
from isoloss.runtime import attacks, models
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.jobs import train
from isoloss.runtime.noise import Noise, noise_at
from isoloss.runtime.training import losses, optimizers, perturb
from isoloss.runtime.training.inner_attack import InnerAttack, Replay
from isoloss.runtime.training.schedule import setting_at
from tests.runtime.training_specs import DIGITS, TRADES, batchnorm, context, pgd, train_spec, trainer_of

torch.set_num_threads(1)

NATURAL = {"kind": "natural", "label_smoothing": 0, "entropy": 0}
NO_ATTACK = {"kind": "none"}
FGSM = {"kind": "fgsm", "norm": "linf", "eps": "3/20", "loss": "ce"}
RFGSM = {"kind": "rfgsm", "norm": "linf", "eps": "3/20", "alpha": "3/40", "loss": "ce"}
MART = {"kind": "mart", "beta": 5.0}
HALF = {"kind": "half", "weight": 0.3, "label_smoothing": 0, "entropy": 0}
AWP = {"kind": "awp", "gamma": 0.005, "warmup": 0.25}
ADAM = {
    "kind": "adam",
    "beta1": 0.9,
    "beta2": 0.999,
    "adam_eps": 1e-8,
    "weight_decay": 0,
    "exclude": "batchnorm",
}


class Fixed:
    """An adversary that gives stated images, and one to every second of them."""

    shares_clean = False

    def __init__(self, x_adversarial: Tensor, noise: Tensor | None = None) -> None:
        self.x, self.noise = x_adversarial, noise

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
        assert len(x_BCHW) == len(self.x)
        return self.x

    def gaussian(self, x_BCHW: Tensor) -> Tensor:
        assert self.noise is not None
        return self.noise

    def halved(self) -> Fixed:
        return Fixed(self.x[1::2])


def _batch() -> tuple[models.Network, Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    network = models.build({"kind": "cnn", "width": 2}, DIGITS)
    return network, torch.rand(16, 1, 8, 8), torch.rand(16, 1, 8, 8), torch.arange(16) % 10


# Straight transcriptions, from probabilities, image by image.


def _mart(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    clean, adversarial = network(x).softmax(1), network(x_adv).softmax(1)
    total = torch.zeros(())
    for p, q, label in zip(clean, adversarial, y.tolist(), strict=True):
        wrong = max(q[k] for k in range(10) if k != label)
        boosted = -q[label].log() - (1.0001 - wrong).log()
        total = total + boosted + 5 * (p * (p.log() - q.log())).sum() * (1 - p[label])
    return total / len(y)


def _half(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    mixed = torch.stack([x_adv[i] if i % 2 else x[i] for i in range(len(x))])
    p = network(mixed).softmax(1)
    each = [-p[i, label].log() for i, label in enumerate(y.tolist())]
    clean, adversarial = sum(each[0::2]), sum(each[1::2])
    m, k = len(x), len(x) // 2
    return (clean + 0.3 * adversarial) / (m - k + 0.3 * k)  # type: ignore[return-value]


def _noise(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    p = network(x + 0.08 * x_adv).softmax(1)  # x_adv stands for the noise here
    return -p[range(len(y)), y].log().mean()


def _entropy(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    p = network(x_adv).softmax(1)
    return -p[range(len(y)), y].log().mean() - 3 * (p * p.log()).sum(1).mean()


def _detached(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    p, q = network(x).softmax(1), network(x_adv).softmax(1)
    constant = p.detach()
    divergence = (constant * (constant.log() - q.log())).sum(1).mean()
    return -p[range(len(y)), y].log().mean() + 20 * divergence


TRANSCRIBED: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "mart": (MART, _mart),
    "half": (HALF, _half),
    "noise": ({"kind": "noise", "sigma": "2/25", "label_smoothing": 0, "entropy": 0}, _noise),
    "entropy": ({"kind": "pgd_at", "label_smoothing": 0, "entropy": 3}, _entropy),
    "trades, clean side detached": ({"kind": "trades", "beta": 20, "detach": True}, _detached),
}


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_losses_are_their_formulas(name: str) -> None:
    """Value and every weight's gradient, float32: equal to 1e-4 relative, 2e-5 absolute."""
    loss, straight = TRANSCRIBED[name]
    network, x, x_adv, y = _batch()
    results = []
    for compute in (
        lambda: straight(network, x, x_adv, y),
        lambda: losses.build(loss).training(network, x, y, Fixed(x_adv, x_adv)),
    ):
        network.zero_grad()
        value = compute()
        value.backward()
        results.append((value.detach(), [p.grad.clone() for p in network.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=0)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


def test_smoothing_and_entropy_are_the_same_in_rows_and_means() -> None:
    log_BK, y = torch.randn(12, 10).log_softmax(1), torch.arange(12) % 10
    term = losses.CrossEntropy(0.1, 4.5)
    torch.testing.assert_close(term.rows(log_BK, y).mean(), term.mean(log_BK, y))


def test_evaluations_report_mart_and_never_entropy() -> None:
    network, x, x_adv, y = _batch()
    clean, adversarial = network.eval()(x), network(x_adv)
    value = losses.build(MART).per_image(clean, adversarial, y).mean()
    torch.testing.assert_close(value, _mart(network, x, x_adv, y), rtol=1e-5, atol=0)
    plain = F.cross_entropy(adversarial, y, reduction="none")
    for loss in (HALF | {"entropy": 3}, {"kind": "natural", "entropy": 3}):
        torch.testing.assert_close(losses.build(loss).per_image(clean, adversarial, y), plain)


# Adversarial weight perturbation.


def _published_awp(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor, lr: float) -> list[Tensor]:
    """The published procedure by hand: one SGD step of a copy up the loss, the difference scaled per tensor to
    gamma times the tensor's norm, plain SGD at the moved weights, and back."""
    loss = losses.build(TRADES)
    proxy = copy.deepcopy(network)
    ascent = torch.optim.SGD(proxy.parameters(), lr=0.01)
    (-loss.training(proxy, x, y, Fixed(x_adv))).backward()
    ascent.step()
    moves = []
    for old, new in zip(network.parameters(), proxy.parameters(), strict=True):
        difference = new.detach() - old.detach()
        move = old.detach().norm() / (difference.norm() + 1e-20) * difference
        moves.append(0.005 * move if old.dim() > 1 else torch.zeros_like(move))
    for weight, move in zip(network.parameters(), moves, strict=True):
        weight.data += move
    step = torch.optim.SGD(network.parameters(), lr=lr)
    loss.training(network, x, y, Fixed(x_adv)).backward()
    step.step()
    return [weight.detach() - move for weight, move in zip(network.parameters(), moves, strict=True)]


def test_awp_is_the_published_procedure() -> None:
    """One step of the real trainer against the transcription: weights to 2e-5, and batch norm's running
    statistics, which the ascent must not move, to 1e-6."""
    plain = {"kind": "sgd", "momentum": 0, "nesterov": False, "weight_decay": 0, "exclude": "nothing"}
    spec = train_spec(
        4, 16, perturb=AWP | {"warmup": 0}, optimizer=plain, attack=pgd(2), schedule={"kind": "constant"}
    )
    trainer = trainer_of(spec)
    start = copy.deepcopy(trainer.network)
    trainer._prepare(0)
    (part,) = trainer._parts(0)
    x, y = part.x, part.y
    x_adv = part.adversary(x, y)
    start.set_momentum(1.0)
    wanted = _published_awp(start, x, x_adv, y, spec.recipe["lr"])
    trainer.step()
    for ours, theirs in zip(trainer.network.parameters(), wanted, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=2e-5)
    for ours, theirs in zip(trainer.network.batch_norms(), start.batch_norms(), strict=True):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-6)


def test_awp_waits_for_its_warm_up_and_leaves_no_trace() -> None:
    network, x, x_adv, y = _batch()
    awp = perturb.build(AWP, network, 100)
    assert awp is not None
    assert [awp.active(step) for step in (0, 24, 25, 99)] == [False, False, True, True]
    before = [p.detach().clone() for p in network.parameters()]
    awp.climb(losses.build(NATURAL).training(network, x, y, Fixed(x_adv)))
    awp.add()
    moved = [(p.detach() - b).norm() / b.norm() for p, b in zip(network.parameters(), before, strict=True)]
    assert [float(m) for m, b in zip(moved, before, strict=True) if b.dim() > 1] == pytest.approx(
        [0.005] * 5, rel=1e-3
    )
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True) if b.dim() <= 1)
    assert all(p.grad is None for p in network.parameters())
    awp.remove()
    for weight, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(weight.detach(), old, rtol=0, atol=1e-7)
    with pytest.raises(JobError) as caught:
        perturb.build({"kind": "sam"}, network, 10)
    assert caught.value.code == "R323"


def test_a_replay_attacks_once() -> None:
    network, x, _, y = _batch()
    network.train()
    inner = InnerAttack(attacks.build(RFGSM), network, "train")
    inner.noise = noise_at(1, "attack", 0, total=16)
    once = Replay(inner)
    assert torch.equal(once(x, y), once(x, y))
    assert not torch.equal(inner(x, y), inner(x, y))
    assert torch.equal(once.halved()(x[1::2], y[1::2]), once.halved()(x[1::2], y[1::2]))
    assert torch.equal(once.gaussian(x), once.gaussian(x))


# Costs.


class _NoModules:
    """In place of the counter's own bookkeeping per module, which can't follow gradients of inputs."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


COSTS = [
    (TRADES, pgd(3), NO_ATTACK, 13),
    ({"kind": "pgd_at"}, FGSM, NO_ATTACK, 5),
    ({"kind": "pgd_at"}, RFGSM, NO_ATTACK, 5),
    (MART, pgd(3, "ce"), NO_ATTACK, 12),
    (HALF, FGSM, NO_ATTACK, 4),
    (HALF, pgd(3, "ce"), NO_ATTACK, 6),
    ({"kind": "noise", "sigma": 0.08}, NO_ATTACK, NO_ATTACK, 3),
    (NATURAL, NO_ATTACK, NO_ATTACK, 3),
    (TRADES, pgd(3), AWP, 13 + 0.75 * 6),
    (MART, pgd(3, "ce"), AWP, 12 + 0.75 * 6),
    (HALF, FGSM, AWP, 4 + 0.75 * 3),
]


@pytest.mark.parametrize(("loss", "attack", "weights", "passes"), COSTS)
def test_the_cost_rule_is_what_torch_counts(loss: Any, attack: Any, weights: Any, passes: float) -> None:
    """Floating-point operations of a step by torch's counter, on a network whose stem weighs little: within
    2 % (the rule charges an input gradient of the stem to clean passes too). AWP: three active steps and
    one that is not, by its warm-up of a quarter."""
    model = {"kind": "wrn", "depth": 10, "width": 4}
    assert cost_rule.passes(loss, attack, weights) == pytest.approx(passes)
    torch.manual_seed(0)
    network = models.build(model, DIGITS).train()
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    built, attacker, awp = losses.build(loss), attacks.build(attack), perturb.build(weights, network, 4)

    class Plain(Fixed):
        def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
            return attacker(lambda image: network(image), x_BCHW, y_B, noise_at(0))

        def halved(self) -> Fixed:
            return self

    def step(active: bool) -> float:
        adversary: losses.Adversary = Plain(x, x)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        with counter:
            if active and awp is not None:
                adversary = Replay(adversary)
                awp.climb(built.training(network, x, y, adversary))
                awp.add()
            built.training(network, x, y, adversary).backward()
        if awp is not None:
            awp.remove()
        return counter.get_total_flops() / len(x) / count(model, DIGITS).forward_flops

    found = step(True) if awp is None else (step(False) + 3 * step(True)) / 4
    assert found == pytest.approx(passes, rel=0.02)


# Schedules and optimisers.


def _rates(schedule: dict[str, Any], steps: int = 200) -> list[float]:
    return [setting_at(schedule, 0.1, step, steps, 10).lr for step in range(steps)]


def test_steps_are_torchs_multi_step() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150], gamma=0.1)
    for rate in _rates({"kind": "step", "milestones": [0.5, 0.75], "factor": 0.1}):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        theirs.step()


def test_lines_and_cooldowns() -> None:
    assert _rates({"kind": "constant"}) == [0.1] * 200
    line = _rates({"kind": "linear", "end": 0.1, "warmup": 0.1})
    assert line[0] == pytest.approx(0.1 / 20)
    assert max(line) == line[19 + 1] == pytest.approx(0.1)
    assert line[-1] == pytest.approx(0.1 * (0.1 + 0.9 * 1 / 180))
    assert all(a > b for a, b in itertools.pairwise(line[20:]))
    cool = _rates({"kind": "cooldown", "fraction": 0.2, "warmup": 0})
    assert cool[:161] == [pytest.approx(0.1)] * 161
    assert cool[180] == pytest.approx(0.05)
    assert cool[-1] == pytest.approx(0.1 / 40)
    longer = _rates({"kind": "cooldown", "fraction": 0.1, "warmup": 0.05}, 400)
    short = _rates({"kind": "cooldown", "fraction": 0.2, "warmup": 0.1}, 200)
    assert longer[:160] == pytest.approx(short[:160])  # runs of different length share their beginning
    for edge in ({"kind": "linear", "end": 0, "warmup": 1}, {"kind": "cooldown", "fraction": 0, "warmup": 1}):
        assert all(0 < rate <= 0.1 for rate in _rates(edge))


@pytest.mark.parametrize(("exclude", "spared"), [("batchnorm", 8), ("batchnorm_and_bias", 9), ("nothing", 0)])
def test_what_decay_spares(exclude: str, spared: int) -> None:
    """cnn(2): four batch norms of two tensors, and the bias of the head."""
    network = models.build({"kind": "cnn", "width": 2}, DIGITS)
    for optimizer in (ADAM | {"weight_decay": 1e-3}, train_spec().recipe["optimizer"]):
        groups = optimizers.make_optimizer({**optimizer, "exclude": exclude}, network, 0.1).param_groups
        assert sum(len(g["params"]) for g in groups if g["weight_decay"] == 0) == spared
        assert sum(len(g["params"]) for g in groups) == len(list(network.parameters()))


# Noise of every second image.


def test_every_second_image_has_its_noise_wherever_it_is() -> None:
    """One process of 16 images, or two of 8: images 1, 3, 5, … get the same noise."""
    x = torch.zeros(8, 3)

    def draw(offset: int, rows: int) -> Tensor:
        noise = noise_at(1, "attack", 0, offset=offset, total=16)
        assert isinstance(noise, Noise)
        return noise.thinned().normal(x[:rows])

    assert torch.equal(draw(0, 8), torch.cat([draw(0, 4), draw(8, 4)]))


# Exactly once.

RESUMED = {
    "awp under trades": {"perturb": AWP},
    "mart, awp, steps": {
        "loss": MART, "attack": pgd(2, "ce", start="normal"), "perturb": AWP,
        "batchnorm": batchnorm("eval", "1/10"),
        "schedule": {"kind": "step", "milestones": [0.5, 0.75], "factor": 0.1},
    },
    "half, rfgsm, adam, line": {
        "loss": HALF | {"entropy": 3.0}, "attack": RFGSM, "optimizer": ADAM, "lr": 0.001,
        "schedule": {"kind": "linear", "end": 0, "warmup": 0.25}, "perturb": AWP,
    },
    "noise, awp, cooldown, adam cycled": {
        "loss": {"kind": "noise", "sigma": "2/25", "label_smoothing": 0, "entropy": 0}, "attack": NO_ATTACK,
        "perturb": AWP, "schedule": {"kind": "cooldown", "fraction": 0.5, "warmup": 0},
    },
    "fgsm, adam with cycled momentum": {
        "loss": {"kind": "pgd_at", "label_smoothing": 0, "entropy": 0}, "attack": FGSM, "optimizer": ADAM,
        "schedule": {"kind": "cosine", "warmup": "1/4", "per": "step", "cycle_momentum": True}, "lr": 0.002,
    },
}  # fmt: skip


def _outcome(spec: TrainSpec, folder: Path, stop_after: int) -> dict[str, Tensor]:
    """Live weights after a run that was stopped every so many steps."""
    for _ in range(20):
        asked: list[int] = []

        def stopping(asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) == stop_after

        try:
            train.run(context(spec, folder, stopping=stopping))
            break
        except Stopped:
            torch.manual_seed(len(asked))  # whatever happens between must not matter
    saved = torch.load(folder / "output" / "weights.pt", weights_only=True)
    return saved["live"] | {f"average {k}": v for k, v in saved["average"].items()}


@pytest.mark.parametrize("name", RESUMED)
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, name: str) -> None:
    spec = train_spec(6, 16, **RESUMED[name])
    whole, parts = _outcome(spec, tmp_path / "whole", 99), _outcome(spec, tmp_path / "parts", 2)
    assert all(torch.equal(tensor, parts[key]) for key, tensor in whole.items())
    assert all(torch.isfinite(tensor).all() for tensor in whole.values())
    fresh = trainer_of(spec)
    assert any(not torch.equal(v, whole[k]) for k, v in fresh.network.state_dict().items())
