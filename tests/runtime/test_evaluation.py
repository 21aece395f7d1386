"""Evaluations of tiny real networks: what an attack may do, what counts as robust, and what alarms ring."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isoloss.compiler.plan import Component, Cost, EvaluateSpec, Facts, Job, Observation, Origin, job_id
from isoloss.runtime import attacks
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.errors import JobError
from isoloss.runtime.evaluation import autoattack as aa
from isoloss.runtime.evaluation.alarms import attack_alarms, network_alarms
from isoloss.runtime.evaluation.intervals import mean, share
from isoloss.runtime.evaluation.samples import choose, montage, png
from isoloss.runtime.evaluation.scoring import Subject, Verdicts, attack_all, perturbation, verify
from isoloss.runtime.jobs.evaluate import run
from isoloss.runtime.models import build

torch.set_num_threads(1)

DIGITS, CNN = {"kind": "digits"}, {"kind": "cnn", "width": 4}
TRADES = {"kind": "trades", "beta": 5.0, "label_smoothing": 0.1}


def pgd(eps: float | str, steps: int = 10, **more: object) -> dict[str, object]:
    step = 0.25 * (0.15 if isinstance(eps, str) else eps)
    fixed = {"kind": "pgd", "norm": "linf", "loss": "cw", "restarts": 1, "start": "uniform"}
    return {**fixed, "eps": eps, "step": step, "steps": steps, **more}


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A cnn(4) trained naturally for 150 steps on real digits: good on clean images, weak under attack."""
    torch.manual_seed(0)
    network, data = build(CNN, DIGITS), load(DIGITS, "train")
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    y, optimizer = torch.from_numpy(data.labels), torch.optim.Adam(network.parameters(), 0.01)
    for step in range(150):
        rows = torch.arange(step * 64, step * 64 + 64) % len(y)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def subject(trained: nn.Module) -> Subject:
    return Subject.of(trained, load(DIGITS, "test").take(slice(0, 300)))


@pytest.fixture
def evaluate(trained: nn.Module, tmp_path: Path) -> Callable[..., tuple[tuple[Observation, ...], Path]]:
    """Run the job on the trained network as a worker would."""
    folder = tmp_path / "train"
    folder.mkdir()
    torch.save({"live": trained.state_dict(), "average": None}, folder / "weights.pt")

    class Log:
        def __call__(self, metric: str, value: float, step: int) -> None: ...
        def flush(self) -> None: ...

    def go(attack: Component, images: int | None = 100, loss: Component = TRADES, split: str = "test"):  # type: ignore[no-untyped-def]
        spec = EvaluateSpec(DIGITS, "t", CNN, {"kind": "none"}, attack, loss, "average", split, images, 1)
        facts = Facts(params=2382, images=9600, flops_per_image=1e6, fid=0.07)
        job = Job(job_id(spec), "evaluate", "e", ("t",), spec, Origin(), Cost(), "ready", "", facts)
        output, work = tmp_path / job.id, tmp_path / f"work-{job.id}"
        output.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        context = JobContext(job, output, work, {"t": folder}, "cpu", 1, None, Log(), lambda fraction: None)
        return run(context), output

    return go


def values(observations: tuple[Observation, ...]) -> dict[str, float]:
    return {o.metric: o.value for o in observations}


def test_the_job_measures_what_a_plain_loop_measures(evaluate, trained: nn.Module) -> None:  # type: ignore[no-untyped-def]
    observations, output = evaluate(pgd("3/20", steps=40))
    found = values(observations)
    name = "pgd(40, cw, linf, 3/20)"
    assert list(found) == ["accuracy @ clean", f"accuracy @ {name}", f"loss trades(5) @ {name}"]
    # The saved evidence, judged anew.
    with np.load(output / "verdicts.npz", allow_pickle=False) as saved:
        evidence = dict(saved)
    data = load(DIGITS, "test").take(slice(0, 100))
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    clean = trained(x).log_softmax(1).detach()
    assert found["accuracy @ clean"] == float((clean.argmax(1).numpy() == data.labels).mean())
    robust = (evidence["clean_predictions"] == data.labels) & (
        evidence["attacked_predictions"] == data.labels
    )
    assert found[f"accuracy @ {name}"] == pytest.approx(robust.mean())
    assert found[f"loss trades(5) @ {name}"] == pytest.approx(evidence["loss"].mean(), rel=1e-6)
    with np.load(output / "samples.npz", allow_pickle=False) as saved:
        samples = dict(saved)
    attacked = trained(torch.from_numpy(samples["attacked"]).permute(0, 3, 1, 2)).log_softmax(1).detach()
    before = trained(torch.from_numpy(samples["clean"]).permute(0, 3, 1, 2)).log_softmax(1).detach()
    np.testing.assert_array_equal(samples["predictions"], attacked.argmax(1).numpy())
    np.testing.assert_array_equal(samples["clean_predictions"], before.argmax(1).numpy())
    assert np.abs(samples["attacked"] - samples["clean"]).max() <= 0.15 + 1e-6
    assert evidence["linf"].max() <= 0.15 + 1e-6
    # Without smoothing: cross-entropy of the clean image plus 5 KL(clean || attacked).
    rows = [
        int(np.flatnonzero((data.images / np.float32(255) == s).all((1, 2, 3)))[0]) for s in samples["clean"]
    ]
    divergence = (before.exp() * (before - attacked)).sum(1)
    expected = -before[torch.arange(16), torch.from_numpy(samples["labels"])] + 5 * divergence
    np.testing.assert_allclose(evidence["loss"][rows], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_observations_say_which_run_they_belong_to(evaluate) -> None:  # type: ignore[no-untyped-def]
    observations, output = evaluate(pgd(0.15))
    for seen in observations:
        assert (seen.run, seen.params, seen.images, seen.fid) == ("t", 2382, 9600, 0.07)
        assert (seen.flops, seen.fraction, seen.count) == (9.6e9, 1.0, 100)
        assert seen.low <= seen.value <= seen.high
        assert seen.low < seen.high
    record = orjson.loads((output / "evaluation.json").read_bytes())
    assert record["metrics"]["accuracy @ clean"]["value"] == observations[0].value
    assert (output / "samples.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_an_attack_of_size_zero_changes_nothing(evaluate) -> None:  # type: ignore[no-untyped-def]
    found = values(evaluate(pgd(0.0, step=0.01))[0])
    attacked, clean = evaluate(pgd(0.0, step=0.01))[0], values(evaluate({"kind": "none"})[0])
    assert values(attacked) == found
    assert found["accuracy @ pgd(10, cw, linf, 0)"] == found["accuracy @ clean"] == clean["accuracy @ clean"]
    assert found["loss trades(5) @ pgd(10, cw, linf, 0)"] == pytest.approx(
        clean["loss trades(5) @ clean"], rel=1e-6
    )
    assert list(clean) == ["accuracy @ clean", "loss trades(5) @ clean"]


def test_larger_perturbations_do_more_harm(subject: Subject) -> None:
    robust, losses = [], []
    for eps in (0.0, 0.05, 0.15, 0.4):
        adversarial = attack_all(subject, attacks.build(pgd(eps, step=max(eps, 0.01) / 4, loss="ce")), seed=0)
        logits = subject.logits(adversarial)
        robust.append(float((logits.argmax(1) == subject.y).float().mean()))
        losses.append(float(nn.functional.cross_entropy(logits, subject.y)))
    assert robust == sorted(robust, reverse=True)
    assert losses == sorted(losses)
    assert robust[0] > 0.8 > 0.1 > robust[-1]


def test_an_attack_cannot_repair_a_mistake() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    verdicts = Verdicts(
        labels, clean=torch.tensor([0, 1, 0, 0]), attacked=torch.tensor([0, 0, 2, 0]), loss=None
    )
    assert verdicts.robust.tolist() == [True, False, False, False]


def test_a_killed_evaluation_goes_on_at_its_batch(subject: Subject, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(fraction: float) -> None:
        raise KilledError

    attack = attacks.build(pgd(0.15))
    whole = attack_all(subject, attack, seed=3)
    with pytest.raises(KilledError):
        attack_all(subject, attack, 3, tmp_path, kill)
    told: list[float] = []
    resumed = attack_all(subject, attack, 3, tmp_path, told.append)
    assert told == [1.0], "the first of two batches was attacked again"
    assert torch.equal(resumed, whole)


def test_verify_refuses_what_left_ball_or_range(subject: Subject) -> None:
    x = subject.x[:4]
    verify(x, (x + 0.1).clamp(0, 1), "linf", 0.1)
    outside = {"ball": (x + 0.11).clamp(0, 1), "range": x - 0.05, "numbers": x * torch.nan}
    for adversarial in outside.values():
        with pytest.raises(JobError) as refused:
            verify(x, adversarial, "linf", 0.1)
        assert refused.value.code == "R505"
    delta = torch.zeros_like(x)
    delta[:, 0, 0, :2] = torch.tensor([0.3, 0.4])
    assert perturbation(x, x + delta, "l2").tolist() == pytest.approx([0.5] * 4, rel=1e-5)


def test_validation_images_are_named_by_their_split(evaluate, trained: nn.Module) -> None:  # type: ignore[no-untyped-def]
    observations, output = evaluate({"kind": "none"}, None, split="validation")
    data = load(DIGITS, "validation")
    logits = trained(torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255)
    right = float((logits.argmax(1).numpy() == data.labels).mean())
    assert values(observations)["accuracy @ clean on validation"] == right
    assert {o.count for o in observations} == {97}
    assert all(o.metric.endswith(" on validation") for o in observations)
    assert orjson.loads((output / "evaluation.json").read_bytes())["split"] == "validation"


def test_more_test_images_than_there_are_is_an_error(evaluate) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(JobError) as refused:
        evaluate(pgd(0.15), images=901)
    assert refused.value.code == "R405"


class Masked(nn.Module):
    """A sound network behind a rounding of its input: no gradient comes through."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x * 8).round() / 8)


class Random(Masked):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x + 0.05 * torch.randn_like(x))


class Probabilities(Masked):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).softmax(1)


def alarms(network: nn.Module, attack: Component) -> list[str]:
    subject = Subject.of(network, load(DIGITS, "test").take(slice(0, 128)))
    adversarial = attack_all(subject, attacks.build(attack), seed=0)
    return [*network_alarms(subject), *attack_alarms(subject, adversarial, attack, seed=0)]


def test_no_alarm_rings_for_a_plain_network(trained: nn.Module) -> None:
    assert alarms(trained, pgd(0.15, steps=40)) == []


def test_alarms_ring_for_masked_gradients(trained: nn.Module) -> None:
    found = " | ".join(alarms(Masked(trained), pgd(0.15, start="zero")))
    assert "gradient is zero at 100%" in found
    assert "does not raise the loss" in found
    assert "noise beats the gradient" in found
    assert "survive a perturbation of half the pixel range" in found


def test_alarms_ring_for_random_outputs_and_for_probabilities(trained: nn.Module) -> None:
    assert "alarm: outputs are random" in alarms(Random(trained), pgd(0.15))
    assert "alarm: outputs look like probabilities, not logits" in alarms(Probabilities(trained), pgd(0.15))


def test_an_alarm_rings_when_one_step_beats_many(subject: Subject) -> None:
    attack = pgd(0.15)
    useless = subject.x.clone()
    assert "alarm: one step beats many" in list(attack_alarms(subject, useless, attack, seed=0))


# AutoAttack, on images few enough for a test.


@pytest.fixture(scope="module")
def fragile(trained: nn.Module) -> Subject:
    return Subject.of(trained, load(DIGITS, "test").take(slice(0, 12)))


AUTOATTACK = {"kind": "autoattack", "norm": "linf", "eps": 0.1, "version": "standard"}


def short_suite(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """The suite's own attacks, fewer of them and with fewer queries: the suite is the package's business."""
    whole = aa._suite

    def shorter(*arguments):  # type: ignore[no-untyped-def]
        suite = whole(*arguments)
        suite.attacks_to_run, suite.square.n_queries = names, 50
        return suite

    monkeypatch.setattr(aa, "_suite", shorter)


def test_autoattack_touches_only_what_it_breaks(fragile: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    short_suite(monkeypatch, ["apgd-ce", "square"])
    broken = aa.autoattack(fragile, AUTOATTACK, seed=0)
    right = fragile.logits(fragile.x).argmax(1) == fragile.y
    assert not (broken.robust & ~right).any()
    same = (broken.adversarial == fragile.x).flatten(1).all(1)
    assert torch.equal(same, ~right | broken.robust), (
        "an image was moved that was wrong before, or not broken"
    )
    judged = fragile.logits(broken.adversarial).argmax(1) == fragile.y
    assert torch.equal(judged & right, broken.robust)
    verify(fragile.x, broken.adversarial, "linf", 0.1)
    shares = [share for _, share in broken.stages]
    assert [name for name, _ in broken.stages] == ["apgd-ce", "square"]
    assert shares[0] >= shares[1] == float(broken.robust.double().mean())
    assert 0 < broken.robust.sum() < right.sum(), "nothing or everything broke: choose another eps"


def test_autoattack_resumed_is_autoattack_uninterrupted(
    fragile: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short_suite(monkeypatch, ["apgd-ce", "square"])
    monkeypatch.setattr(aa, "EVALUATION_BATCH", 5)
    whole = aa.autoattack(fragile, AUTOATTACK, seed=4)
    saved, record = [0], aa._State.record

    def dies(self, *arguments):  # type: ignore[no-untyped-def]
        record(self, *arguments)
        saved[0] += 1
        if saved[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(aa._State, "record", dies)
    with pytest.raises(KeyboardInterrupt):
        aa.autoattack(fragile, AUTOATTACK, seed=4, work=tmp_path)
    resumed = aa.autoattack(fragile, AUTOATTACK, seed=4, work=tmp_path)
    assert torch.equal(resumed.adversarial, whole.adversarial)
    assert resumed.stages == whole.stages


def test_our_stages_find_what_one_call_of_the_package_finds(
    fragile: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_suite(monkeypatch, ["apgd-ce", "square"])
    ours = aa.autoattack(fragile, AUTOATTACK, seed=2)
    suite = aa._suite(fragile, AUTOATTACK, 2)
    with aa._quiet_log(), torch.random.fork_rng():
        theirs, _ = suite.run_standard_evaluation(fragile.x, fragile.y, batch_size=aa.EVALUATION_BATCH)
    assert torch.equal(ours.adversarial, theirs)


def test_autoattack_prints_nothing_and_leaves_the_random_state(
    fragile: Subject, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    short_suite(monkeypatch, ["apgd-ce"])
    noisy = Subject(Probabilities(fragile.network), fragile.x, fragile.y, 10)
    before = torch.random.get_rng_state()
    broken = aa.autoattack(noisy, AUTOATTACK, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert any("probability distribution" in warning for warning in broken.warnings)
    assert capfd.readouterr() == ("", "")


def test_autoattack_observes_no_loss(evaluate, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    short_suite(monkeypatch, ["apgd-ce"])
    observations, output = evaluate({**AUTOATTACK, "eps": "1/10"}, images=12)
    assert [o.metric for o in observations] == ["accuracy @ clean", "accuracy @ autoattack(linf, 1/10)"]
    record = orjson.loads((output / "evaluation.json").read_bytes())
    assert record["stages"] == {"apgd-ce": observations[1].value}


@pytest.mark.parametrize("change", [{"norm": "l7"}, {"version": "fast"}])
def test_autoattack_refuses_what_it_is_not_defined_for(fragile: Subject, change: dict[str, str]) -> None:
    with pytest.raises(JobError) as refused:
        aa.autoattack(fragile, {**AUTOATTACK, **change}, seed=0)
    assert refused.value.code == "R504"
    three = Subject(fragile.network, fragile.x, fragile.y, classes=3)
    with pytest.raises(JobError):
        aa.autoattack(three, AUTOATTACK, seed=0)


# Intervals and pictures.


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_set_of_shares_the_score_test_keeps(case: tuple[int, int]) -> None:
    hits, count = case
    found = share(np.arange(count) < hits)
    assert 0 <= found.low <= found.value == hits / count <= found.high <= 1
    for end in (found.low, found.high):
        # At an end inside (0, 1), |share - end| is 1.96 standard errors under that end.
        if 1e-9 < end < 1 - 1e-9:
            error = math.sqrt(end * (1 - end) / count)
            assert abs(found.value - end) == pytest.approx(1.959963984540054 * error, rel=1e-6)


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [(m := mean(rng.exponential(size=400))).low <= 1 <= m.high for _ in range(1000)]
    assert 0.92 < np.mean(covered) < 0.98


def test_samples_show_both_what_broke_and_what_held() -> None:
    labels = torch.zeros(60, dtype=torch.int64)
    attacked = torch.tensor([1] * 5 + [0] * 55)
    chosen = choose(Verdicts(labels, labels, attacked, None))
    assert len(chosen) == 16
    assert (attacked[chosen] == 1).sum() == 5
    assert len(choose(Verdicts(labels[:3], labels[:3], labels[:3], None))) == 3


def test_a_png_reads_back_as_it_was() -> None:
    image_module = pytest.importorskip("PIL.Image")
    import io

    picture = montage([np.random.default_rng(0).random((3, 8, 8, 1), dtype=np.float32)])
    assert picture.shape == (68, 204, 3)
    np.testing.assert_array_equal(np.asarray(image_module.open(io.BytesIO(png(picture)))), picture)


def test_subjects_are_frozen_and_keep_pixels_exact() -> None:
    images = ImageSet(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1), np.zeros(1, np.int64), 10)
    subject = Subject.of(build(CNN, DIGITS), images)
    assert not subject.network.training
    assert not any(p.requires_grad for p in subject.network.parameters())
    assert torch.equal(
        (subject.x * 255).round().to(torch.uint8).flatten(), torch.arange(64, dtype=torch.uint8)
    )
