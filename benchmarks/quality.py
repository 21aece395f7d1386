"""Measures of generated images against other people's code, and what a job costs: `python benchmarks/quality.py`.

The peers are no dependencies of ours. Install them beside us, without what they would pull in and not among our
packages (one of them brings a package named `tests`), and run with `PYTHONPATH=peers`:
`pip install --no-deps --target peers torchmetrics==1.9.0 lightning-utilities torch-fidelity==0.4.0 tqdm`. Without
them the job's cost is printed alone. CPU time of one process, so that other work on the machine counts little."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import tempfile
import time
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isoloss.compiler.plan import Cost, FidSpec, Job, Origin
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import load
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import build as generator
from isoloss.runtime.jobs.fid import run
from isoloss.runtime.quality.features import Floats, build
from isoloss.runtime.quality.frechet import frechet_distance, moments
from isoloss.runtime.quality.inception import Inception, InceptionFeatures
from isoloss.runtime.quality.inception_weights import HEAD
from isoloss.runtime.quality.kernel_distance import kernel_distance
from isoloss.runtime.quality.neighbours import precision_recall

DIGITS = {"kind": "digits"}
IMAGES = 10_000


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def job(dataset: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> float:
    """CPU seconds of a whole fid job on pixels."""
    noop = lambda *_: None  # noqa: E731
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shard").mkdir()
        (folder / "out").mkdir()
        np.save(folder / "shard" / "images.npy", images)
        np.save(folder / "shard" / "labels.npy", labels)
        features = {"kind": "pixels", "images": len(images), "reference": None}
        spec = FidSpec(dataset, features, ("s",), len(images), 0)
        made = Job("f" * 20, "fid", "f", ("s",), spec, Origin(), Cost(), "ready", "")
        place = folder / "shard"
        context = JobContext(made, folder / "out", folder, {"s": place}, "cpu", 1, None, noop, noop)  # type: ignore[arg-type]
        return cpu(lambda: run(context))[1]


class Given(torch.nn.Module):
    """A feature extractor whose images are features already, for peers that insist on one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), -1)


def spaces() -> dict[str, tuple[Floats, Floats]]:
    """Features of the digits' two splits: pixels, and ResNet-18's of digits drawn four times as large."""
    train, test = load(DIGITS, "train+validation").images, load(DIGITS, "test").images[:897]
    large = [x.repeat(4, 1).repeat(4, 2) for x in (train, test)]
    pixels, network = build({"kind": "pixels"}), build({"kind": "resnet18"})
    return {
        "pixels": (pixels.extract(train), pixels.extract(test)),
        "resnet18": (network.extract(large[0]), network.extract(large[1])),
    }


def torchmetrics_fid(a: Floats, b: Floats) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    peer = FrechetInceptionDistance(feature=Given(a.shape[1]), normalize=True).set_dtype(torch.float64)
    for features, real in ((a, True), (b, False)):
        peer.update(torch.from_numpy(features).reshape(len(features), 1, 1, -1), real=real)
    return float(peer.compute())


def fidelity() -> Any:
    """torch-fidelity's modules by name, without its package's own imports (torchvision)."""
    spec = find_spec("torch_fidelity")
    assert spec is not None
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["torch_fidelity"] = package
    # Their utilities pull in data loaders for torchvision's datasets; the formulas need none of it.
    sys.modules["torch_fidelity.utils"] = types.ModuleType("utils")
    for name in (
        "create_feature_extractor", "extract_featuresdict_from_input_id_cached", "resolve_feature_extractor",
        "resolve_feature_layer_for_metric",
    ):  # fmt: skip
        setattr(sys.modules["torch_fidelity.utils"], name, None)
    return package


def against_peers() -> None:
    fidelity()
    from torch_fidelity.metric_kid import kernel_poly, mmd2
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    def their_kid(a: Floats, b: Floats) -> float:
        kernel = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
        across = kernel_poly(a, b, **kernel)
        return float(mmd2(kernel_poly(a, a, **kernel), across, kernel_poly(b, b, **kernel)))

    for name, (a, b) in spaces().items():
        theirs, slow = cpu(lambda a=a, b=b: torchmetrics_fid(a, b))
        ours, quick = cpu(lambda a=a, b=b: frechet_distance(moments(b), moments(a)))
        print(f"FID @ {name:9} ours {ours:.9g}, torchmetrics {theirs:.9g}: {off(ours, theirs)}; "
              f"{1e3 * quick:.1f} ms against {1e3 * slow:.1f} ms")  # fmt: skip
        theirs, slow = cpu(lambda a=a, b=b: their_kid(b, a))
        ours, quick = cpu(lambda a=a, b=b: kernel_distance(b, a))
        print(f"KID @ {name:9} ours {ours:.9g}, torch-fidelity {theirs:.9g}: {off(ours, theirs)}; "
              f"{1e3 * quick:.1f} ms against {1e3 * slow:.1f} ms")  # fmt: skip
        both = [torch.from_numpy(x) for x in (b, a)]
        (precision, recall), slow = cpu(lambda both=both: calculate_precision_recall_full(*both))
        found, quick = cpu(lambda a=a, b=b: precision_recall(b, a))
        print(f"P, R @ {name:8} ours {found.precision.value:.6f} {found.recall.value:.6f}, torch-fidelity "
              f"{precision:.6f} {recall:.6f}; {1e3 * quick:.1f} ms against {1e3 * slow:.1f} ms")  # fmt: skip
    inception()


def off(ours: float, theirs: float) -> str:
    return f"{abs(ours / theirs - 1):.1e} apart"


def inception() -> None:
    """The network on drawn weights: none are shipped."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    weights = {n: t.clone() for n, t in Inception().state_dict().items() if "num_batches" not in n}
    for name, tensor in weights.items():
        if ".bn." not in name:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        elif not name.endswith(("weight", "running_var")):
            tensor.normal_(std=0.1)
    with tempfile.TemporaryDirectory() as folder:
        torch.save({**weights, **{n: torch.zeros(s) for n, s in HEAD.items()}}, Path(folder) / "w.pth")
        peer = FeatureExtractorInceptionV3("inception", ["2048"], str(Path(folder) / "w.pth"))
    counters = {n: torch.tensor(0) for n in Inception().state_dict() if "num_batches" in n}
    ours = InceptionFeatures({**weights, **counters})
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    peer(batch[:1]), ours(images[:1])  # thread pools start outside the measurement
    theirs, slow = cpu(lambda: peer(batch)[0].numpy())
    found, quick = cpu(lambda: ours(images))
    apart = float(np.abs(found - theirs).max())
    print(f"Inception-v3, drawn weights: largest difference {apart:.1e} of {np.abs(theirs).max():.2f}; "
          f"{quick / len(images):.2f} s an image against {slow / len(images):.2f} s")  # fmt: skip


def main() -> None:
    sampler = {"kind": "edm", "steps": 20, "sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0}
    images, labels = generator(DIGITS, sampler, {"kind": "mixture", "components": 4}, seed=0).images(
        0, IMAGES
    )
    job(DIGITS, images[:1000], labels[:1000])  # libraries load outside the measurement
    seconds = min(job(DIGITS, images, labels) for _ in range(3))
    print(f"fid job of {IMAGES:,} digits: {seconds:.2f} CPU s")
    try:
        held = load({"kind": "fashion_mnist"}, "test")
        seconds = job({"kind": "fashion_mnist"}, held.images, held.labels)
        print(f"fid job of {len(held):,} images of Fashion-MNIST, 784 pixels: {seconds:.1f} CPU s")
    except JobError as missing:
        print(f"Fashion-MNIST not measured: {missing.message}")
    if find_spec("torchmetrics") and find_spec("torch_fidelity"):
        against_peers()
    else:
        print("peers not installed; see the first lines of this file")


if __name__ == "__main__":
    main()
