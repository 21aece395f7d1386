"""Attacks by what they must achieve: one table, every attack through the same questions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isoloss.runtime import attacks
from isoloss.runtime.attacks.base import input_gradient
from isoloss.runtime.attacks.objectives import OBJECTIVES
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import noise_at

torch.set_num_threads(1)


def _pgd(**more: object) -> dict[str, object]:
    base = {"kind": "pgd", "norm": "linf", "eps": "1/10", "step": "1/40", "steps": 10, "loss": "ce"}
    return base | {"restarts": 1, "start": "uniform"} | more


TABLE = {
    "pgd ce": _pgd(),
    "pgd kl": _pgd(loss="kl"),
    "pgd cw": _pgd(loss="cw"),
    "pgd restarts": _pgd(loss="cw", restarts=3),
    "pgd normal start": _pgd(loss="kl", start="normal"),
    "pgd from the image": _pgd(start="zero"),
    "pgd l2": _pgd(norm="l2", eps="6/10", step="1/10"),
    "pgd l2 cw restarts": _pgd(norm="l2", eps="6/10", step="1/10", loss="cw", restarts=2),
    "fgsm": {"kind": "fgsm", "norm": "linf", "eps": "1/10", "loss": "ce"},
    "fgsm l2": {"kind": "fgsm", "norm": "l2", "eps": "6/10", "loss": "ce"},
    "rfgsm": {"kind": "rfgsm", "norm": "linf", "eps": "1/10", "loss": "ce"},
}


class Weak(nn.Module):
    """Linear on 4x4 images, two classes: y = 1 where the mean exceeds one half. Every attack breaks it."""

    def forward(self, x: Tensor) -> Tensor:
        margin = (x.flatten(1).mean(1) - 0.5) * 20
        return torch.stack([-margin, margin, torch.full_like(margin, -9.0)], 1)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(5)
    y = torch.arange(32) % 2
    x = 0.5 + (y * 2 - 1)[:, None, None, None] * 0.05 + 0.1 * (torch.rand(32, 1, 4, 4, generator=rng) - 0.5)
    return x.clamp(0, 1), y


@pytest.mark.parametrize("spec", TABLE.values(), ids=TABLE)
def test_every_attack(spec: dict[str, object], images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    network = Weak().eval()
    attack = attacks.build(spec)
    adversarial = attack(network, x, y, noise_at(1))
    delta = (adversarial - x).flatten(1)
    size = delta.abs().amax(1) if spec["norm"] == "linf" else delta.norm(dim=1)
    assert size.max() <= attack.epsilon + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert not adversarial.requires_grad
    clean = (network(x).argmax(1) == y).float().mean()
    robust = (network(adversarial).argmax(1) == y).float().mean()
    assert clean > 0.9
    # KL grows away from the clean prediction on either side: where that is unsure, it may climb the wrong
    # one. R-FGSM spends half of its ball on a random direction.
    assert robust <= (0.7 if spec["loss"] == "kl" or spec["kind"] == "rfgsm" else 0.1)
    again = attack(network, x, y, noise_at(1))
    assert torch.equal(adversarial, again)


@pytest.mark.parametrize("spec", TABLE.values(), ids=TABLE)
def test_epsilon_zero_changes_nothing(spec: dict[str, object], images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    assert torch.equal(attacks.build(spec | {"eps": "0"})(Weak().eval(), x, y, noise_at(1)), x)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_written_gradients_are_autograds(name: str) -> None:
    """Seeds against autograd through each objective's own value, in float32: equal to 1e-6."""
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(16, 5, generator=rng, requires_grad=True)
    objective = OBJECTIVES[name]()
    objective.prepare(torch.arange(16) % 5, torch.randn(16, 5, generator=rng))
    (expected,) = torch.autograd.grad(objective.value(logits).sum(), logits)
    torch.testing.assert_close(objective.seed(logits.detach()), expected, rtol=0, atol=1e-6)


def test_an_attack_leaves_the_network_as_it_was(images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    attacks.build(TABLE["pgd ce"])(network, x, y, noise_at(1))
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_more_steps_are_no_weaker(images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    network = Weak().eval()
    loss = [
        -float(
            network(attacks.build(_pgd(steps=n, start="zero"))(network, x, y, noise_at(1)))[
                range(32), y
            ].mean()
        )
        for n in (1, 2, 4)
    ]
    assert loss == sorted(loss)


def test_restarts_keep_what_fooled_once() -> None:
    """A network that only every other try can fool: any success counts, not the last try."""
    tries = []

    class Moody(attacks.Attack):
        def run(self, network, x_BCHW, y_B, ball, noise, clean_BK):  # type: ignore[no-untyped-def]
            tries.append(1)
            return x_BCHW + (0.1 if len(tries) == 2 else -0.1)

        def score(self, logits_BK, y_B, clean_BK):  # type: ignore[no-untyped-def]
            return logits_BK.new_zeros(len(logits_BK))

    from isoloss.runtime.attacks.norms import NORMS

    x, y = torch.full((4, 1, 4, 4), 0.45), torch.zeros(4, dtype=torch.long)
    adversarial = Moody(NORMS["linf"], 0.2, restarts=4)(Weak().eval(), x, y, torch.Generator())
    assert len(tries) == 4
    assert (Weak()(adversarial).argmax(1) == 1).all()


def test_noise_of_a_slice_is_the_slice_of_the_noise() -> None:
    whole = noise_at(7, "attack", 640).uniform(torch.empty(8, 1, 4, 4))
    part = noise_at(7, "attack", 640, offset=2, total=8).uniform(torch.empty(3, 1, 4, 4))
    assert torch.equal(whole[2:5], part)
    assert not torch.equal(whole, noise_at(7, "attack", 704).uniform(torch.empty(8, 1, 4, 4)))


def test_the_input_gradient_is_the_networks() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    objective = OBJECTIVES["ce"]()
    objective.prepare(y, None)
    wanted = x.clone().requires_grad_()
    nn.functional.cross_entropy(network(wanted), y, reduction="sum").backward()
    torch.testing.assert_close(input_gradient(network, x, objective), wanted.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("change", [{"kind": "telepathy"}, {"norm": "l7"}, {"loss": "luck"}])
def test_unknown_words_are_job_errors(change: dict[str, str]) -> None:
    with pytest.raises(JobError) as caught:
        attacks.build(_pgd() | change)
    assert caught.value.code == "R313"
    assert "known:" in caught.value.help[0]
