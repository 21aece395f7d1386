"""A denoiser in closed form: each class is a Gaussian mixture, whose noisy posterior mean is exact.

No network is trained, so the number of sampler steps alone decides how good the images are. Fitted on the
real training split. Pixels are in [0, 1]. Letters: B images, D pixels, K classes, M images per class, C
components."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from isoloss.runtime.data import ImageSet
from isoloss.runtime.errors import JobError

#: The fit's own seed: not the study's, so that studies with other seeds sample from the same denoiser.
FIT_SEED = 0


@dataclass(frozen=True, slots=True)
class MixtureDenoiser:
    """sum_c w_c [mu_c + L_c (L_c + sigma^2)^-1 (x - mu_c)], w_c ~ pi_c N(x; mu_c, L_c + sigma^2 I), per
    class.

    Covariances L_c = U diag(eigenvalues) U^T are kept by their eigenvectors: one rotation serves every
    sigma. All float64: log_weights (K, C), offsets (K, 1, C, D) = mu U, eigenvalues (K, 1, C, D), basis (K,
    D, C*D)."""

    log_weights: Tensor
    offsets: Tensor
    eigenvalues: Tensor
    basis: Tensor
    # Beyond 10 the unit pixel range is lost in the noise; below .002 a step is under half a grey level.
    sigma_min: float = 0.002
    sigma_max: float = 10.0
    pixels: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, weights_KC: Tensor, means_KCD: Tensor, covariances_KCDD: Tensor) -> MixtureDenoiser:
        """From the mixtures' own parameters, float64."""
        eigenvalues, vectors = torch.linalg.eigh(covariances_KCDD)
        classes, components, dimensions = means_KCD.shape
        offsets = torch.einsum("kci,kcij->kcj", means_KCD, vectors)
        basis = vectors.permute(0, 2, 1, 3).reshape(classes, dimensions, components * dimensions)
        return cls(weights_KC.log(), offsets[:, None], eigenvalues[:, None], basis.contiguous())

    @property
    def classes(self) -> int:
        return int(self.log_weights.shape[0])

    @property
    def dimensions(self) -> int:
        return int(self.basis.shape[1])

    def __call__(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> Tensor:
        # Tweedie's formula: the posterior mean is x + sigma^2 * score. Exact.
        return x_BD + sigma**2 * self.score(x_BD, sigma, y_B)[0]

    def score(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        """grad ln p(x; sigma | y) float64 (B, D), and ln p(x; sigma | y) float64 (B,)."""
        index_KM, filled_KM = _by_class(y_B, self.classes)
        if sigma.ndim:
            sigma = sigma[index_KM][..., None]  # (K, M, 1, 1)
        score_KMD, density_KM = self._score(x_BD[index_KM], sigma)
        if filled_KM is None:
            index, score, density = index_KM.flatten(), score_KMD.flatten(0, 1), density_KM.flatten()
        else:
            index, score, density = index_KM[filled_KM], score_KMD[filled_KM], density_KM[filled_KM]
        return torch.empty_like(x_BD).index_copy_(0, index, score), density.new_empty(len(x_BD)).index_copy_(
            0, index, density
        )

    def _score(self, x_KMD: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        classes, count, dimensions = x_KMD.shape
        # Rotate into each component's axes, where its noisy covariance is diagonal, and whiten there.
        # With one noise level for all images, whitening goes into the rotation: half the memory traffic.
        precision = (self.eigenvalues + sigma**2).rsqrt()
        basis, offsets = self.basis, self.offsets
        if not sigma.ndim:
            basis = basis * precision.view(classes, 1, -1)
            offsets = offsets * precision
        white = torch.baddbmm(offsets.view(classes, 1, -1), x_KMD, basis, beta=-1)
        white = white.view(classes, count, -1, dimensions)
        if sigma.ndim:
            white *= precision
        # Responsibilities w from the log of pi_c N(x; mu_c, L_c + sigma^2).
        log_density = precision.log().sum(-1) - 0.5 * torch.linalg.vector_norm(white, dim=-1).square_()
        log_density += self.log_weights[:, None]
        total = log_density.logsumexp(-1)
        white *= (log_density - total[..., None]).exp_()[..., None]
        if sigma.ndim:
            white *= precision
        # Back to pixels: -sum_c w_c U (L_c + sigma^2)^-1 U^T (x - mu_c).
        score = torch.bmm(white.view(classes, count, -1), basis.transpose(1, 2)).neg_()
        return score, total - 0.5 * dimensions * float(np.log(2 * np.pi))

    def to_uint8(self, x_BD: Tensor) -> Tensor:
        return (x_BD * 255.0).round().clamp(0, 255).to(torch.uint8)

    def to(self, device: str) -> MixtureDenoiser:
        tensors = {n: getattr(self, n).to(device) for n in ("log_weights", "offsets", "eigenvalues", "basis")}
        return replace(self, **tensors)


def _by_class(y_B: Tensor, classes: int) -> tuple[Tensor, Tensor | None]:
    """Positions of each class's images, (K, M); M is the largest class, and the mask says which entries are
    real (None: all are, as in a balanced block)."""
    counts = torch.bincount(y_B, minlength=classes)
    order = torch.argsort(y_B, stable=True)
    widest = int(counts.max())
    if bool((counts == widest).all()):
        return order.view(classes, widest), None
    filled = torch.arange(widest, device=y_B.device)[None] < counts[:, None]
    index = torch.zeros(classes, widest, dtype=torch.int64, device=y_B.device)
    index[filled] = order
    return index, filled


def fit_mixture(real: ImageSet, components: int, regularization: float) -> MixtureDenoiser:
    """Fit `components` full-covariance Gaussians per class to real images by EM (scikit-learn), with
    `regularization` added to the covariances' diagonals (variance of pixels in [0, 1]).

    Deterministic. Raises JobError R501 where a class has fewer images than components need."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    x = real.images.reshape(len(real), -1) / 255.0
    fits = []
    for label in range(real.classes):
        members = x[real.labels == label]
        if len(members) < 2 * components:
            raise JobError(
                "R501",
                f"{components} components can't be fitted to the {len(members)} images of class {label}",
                f"use at most {max(1, len(members) // 2)} components",
            )
        mixture = GaussianMixture(components, reg_covar=regularization, random_state=FIT_SEED)
        # One thread: sums in another order would move the last bits, and images must not depend on cores.
        with threadpool_limits(1):
            fits.append(mixture.fit(members))

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(f, name) for f in fits]))

    return MixtureDenoiser.of(stack("weights_"), stack("means_"), stack("covariances_"))
