"""What a law form is: names of parameters, log-prediction, Jacobian, starts, bounds, closed-form optimum.

A form holds theta [..., p] in its own, unbounded as far as possible, parametrisation (log A, log B, ...); the
papers' names and units appear only through `to_paper` and `from_paper`. Leading axes of theta are a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs


class Law(ABC):
    """One form. Subclasses are stateless; `registry.LAWS` holds one instance of each.

    A third party's form needs `name`, `parameters`, `log_prediction`, `jacobian`, `starts` and `bounds`."""

    name: ClassVar[str]
    #: Paper names in the order of theta.
    parameters: ClassVar[tuple[str, ...]]
    #: Of these, the ones that theta holds as natural logs.
    logs: ClassVar[frozenset[str]] = frozenset()
    #: Positions in theta of log coefficients, which data may push to zero.
    coefficients: ClassVar[tuple[int, ...]] = ()
    uses_fid: ClassVar[bool] = False
    #: Needs the images column beside params to mean something; False for a power law in one abscissa.
    two_dimensional: ClassVar[bool] = True
    #: False for laws of the compute frontier (approach1), which predict no single run.
    pointwise: ClassVar[bool] = True
    #: Defaults of the published protocol: one point per run, its fraction floor.
    points_rule: ClassVar[str] = "best"
    floor: ClassVar[float] = 0.5

    @abstractmethod
    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        """ln L [..., n] at theta [..., p] and points [n]. nan where the law needs a fid that is unknown."""

    @abstractmethod
    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        """d ln L / d theta, [..., n, p]."""

    @abstractmethod
    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        """Starting points [s, p], best guess first, for log losses `y` [n] and weights [n]."""

    @abstractmethod
    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        """Lower and upper bounds [p] of theta for data like these. Equal bounds fix a parameter."""

    def local(self, theta: Floats, x: Inputs) -> tuple[Floats, Floats, Callable[[Floats], Floats] | None]:
        """At theta [b, p]: ln L [b, n], its Jacobian [b, p, n], and a function from weights [b, n] to the
        weighted sum of Hessians of ln L [b, p, p]; None where a form has no second derivatives, and the
        engine goes on with Gauss-Newton."""
        return self.log_prediction(theta, x), np.moveaxis(self.jacobian(theta, x), -1, -2), None

    def penalty(self, theta: Floats) -> tuple[Floats, Floats] | None:
        """What is known of theta [b, p] beside the data, as residuals of log loss [b, m] and their Jacobian [b, m, p],
        each of which counts as one run's; None: nothing."""
        return None

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        """Parameters these points can't determine: name -> (theta value they are fixed at, reason)."""
        return {}

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        """The same points about their mean, and T [p, p] with theta = T @ theta_centred. Identity by default:
        centring turns a condition number of 6e6 into one of hundreds where a form allows it."""
        return x, np.eye(len(self.parameters))

    def closed_form_lnN(self, theta: Floats, ln_compute: Floats, fid: float) -> Floats | None:
        """ln N* [...] where ln_compute = ln(C / k) and N D = C / k. None: no closed form, search."""
        return None

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        """a and b of N* ~ C^a, D* ~ C^b, [...] each; empty where they are no constants of the form."""
        return {}

    def to_paper(self, theta: Floats) -> dict[str, Floats]:
        """Parameters [...] in the papers' FID = 0 form."""
        values = {}
        for i, name in enumerate(self.parameters):
            values[name] = np.exp(theta[..., i]) if name in self.logs else theta[..., i]
        return values

    def from_paper(self, values: Mapping[str, float]) -> Floats:
        """theta [p] from the papers' parameters. Raises KeyError for a missing one, ValueError for one that
        is held as a log and not above 0."""
        theta = np.empty(len(self.parameters))
        for i, name in enumerate(self.parameters):
            value = float(values[name])
            if name in self.logs and not value > 0:
                raise ValueError(f"parameter `{name}` of {self.name} must be above 0, got {value:g}")
            theta[i] = np.log(value) if name in self.logs else value
        return theta


def log_sum(terms: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
    """ln sum exp of the terms, and each term's share of the sum (the softmax)."""
    peak = terms[0]
    for t in terms[1:]:
        peak = np.maximum(peak, t)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    shares = [np.exp(t - peak) for t in terms]
    total = shares[0].copy()
    for s in shares[1:]:
        total += s
    # At the limit of a law without a floor every term is zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        for s in shares:
            s /= total
        return peak + np.log(total), shares


class TermLaw(Law):
    """A loss that is a sum of exp(affine) terms: ln L = logsumexp_k(intercept_k + sum_j slope_j feature_j).

    Each parameter belongs to one term, so the Jacobian is the term's share times the feature. The engine
    knows this shape and turns its Hessians into matrix products."""

    #: For each parameter: the term it belongs to.
    term_of: ClassVar[tuple[int, ...]]
    #: The parameter that is each term's intercept.
    intercepts: ClassVar[tuple[int, ...]]

    def __init_subclass__(cls) -> None:
        cls.coefficients = cls.intercepts

    #: (lower, upper) of each slope, by name.
    slope_bounds: ClassVar[Mapping[str, tuple[float, float]]]

    @abstractmethod
    def features(self, x: Inputs) -> list[Floats]:
        """One array [n] per parameter: 1 for intercepts, -ln N for alpha, q for epsilon and zeta, ..."""

    def terms(self, theta: Floats, x: Inputs) -> list[Floats]:
        """Logs of the terms, each [..., n]."""
        sums: list[Floats | None] = [None] * len(self.intercepts)
        for j, feature in enumerate(self.features(x)):
            part = theta[..., j, None] * feature
            k = self.term_of[j]
            have = sums[k]
            sums[k] = part if have is None else have + part
        return [s for s in sums if s is not None]

    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        return log_sum(self.terms(theta, x))[0]

    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        _, shares = log_sum(self.terms(theta, x))
        columns = [shares[self.term_of[j]] * f for j, f in enumerate(self.features(x))]
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        """Slopes as declared; at the middle of the data (x is centred) a term may lie e^14 below the smallest
        loss, which is as good as none, or e^4 above the largest."""
        p = len(self.parameters)
        lower, upper = np.empty(p), np.empty(p)
        for j, name in enumerate(self.parameters):
            if j not in self.intercepts:
                lower[j], upper[j] = self.slope_bounds[name]
        for j in self.intercepts:
            lower[j], upper[j] = y.min() - 14.0, y.max() + 4.0
        return lower, upper
