"""Feature spaces: what a Fréchet distance is a distance in. A row of the language each, typed: distances and
constants of one space are never used with another."""

from __future__ import annotations

from isoloss.dsl.vocabulary.row import Slot, Term

#: The name under which everybody has the weights: those of 2015, ported to PyTorch.
INCEPTION_FILE = '"pt_inception-2015-12-05-6726825d.pth"'


def _images(default: str, source: str) -> Slot:
    return Slot(
        "images", "integer", "Generated images that are measured, the first so many: distances fall with more.",
        default, default, dimension="images", low="2", high="1e7", source=source,
    )  # fmt: skip


_REFERENCE = Slot(
    "reference", "file", "Moments of real images for the distance, a `.npz` with `mu` and `sigma` below the data root; "
    "`none`: measured on the training split.", '"cifar10-32x32.npz"', "none", absent="none", source="ours",
)  # fmt: skip

FEATURES = (
    Term(
        "pixels",
        "feature space",
        "The pixels in [0, 1], for small images. Distances are named `fid @ pixels`: no FID of the papers.",
        "pixels",
        (_images("10k", "ours"), _REFERENCE),
        "ours",
    ),
    Term(
        "resnet18",
        "feature space",
        "512 pooled features of the CIFAR-10 ResNet-18 that pyautoattack ships, for 32×32 images. Distances are named "
        "`fd @ resnet18` (FD-ResNet18), never FID.",
        "resnet18",
        (_images("10k", "ours"), _REFERENCE),
        "ours; weights of pyautoattack 0.2.0",
    ),
    Term(
        "inception",
        "feature space",
        "2,048 pooled features of the Inception-v3 of 2015: the FID of the papers. Its weights are a file of the "
        "user's below the data root.",
        f"inception(weights = {INCEPTION_FILE})",
        (
            Slot("weights", "file", "State dict of the network in its PyTorch port.", INCEPTION_FILE, INCEPTION_FILE,
                 source="Heusel et al. 2017, arXiv:1706.08500"),
            Slot("sha256", "digest", "SHA-256 that the weights file must have; `none`: any file with this network's "
                 "tensors, and a note where it isn't the published one.",
                 '"6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"', "none", absent="none",
                 source="ours"),
            _images("50k", "Heusel et al. 2017; Karras et al. 2022"),
            _REFERENCE,
        ),
        "Szegedy et al. 2016, arXiv:1512.00567",
    ),
)  # fmt: skip
