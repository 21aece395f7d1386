"""Typed names of what is measured, and intervals. The compiler writes the same names: a test holds them
equal."""

from __future__ import annotations

import math
from typing import Any

from isoloss.compiler.plan import Component

#: 97.5 % quantile of the normal distribution.
Z = 1.959963984540054


def loss_name(loss: Component) -> str:
    """`trades(5)`, `mart(5)`, `pgd_at`, `natural`: what shapes training alone (label smoothing, entropy, a
    detached side, weights of a batch's halves, noise) is left out, it never enters an evaluation."""
    return f"{loss['kind']}({_number(loss['beta'])})" if "beta" in loss else str(loss["kind"])


def attack_name(attack: Component) -> str:
    """`pgd(40, cw, linf, 8/255)`, `autoattack(linf, 8/255)`, `clean` for no attack."""
    kind = attack["kind"]
    if kind == "none":
        return "clean"
    if kind == "pgd":
        return f"pgd({attack['steps']}, {attack['loss']}, {attack['norm']}, {_number(attack['eps'])})"
    if kind == "autoattack":
        return f"autoattack({attack['norm']}, {_number(attack['eps'])})"
    arguments = [_number(v) for name, v in attack.items() if name != "kind" and v is not None]
    return f"{kind}({', '.join(arguments)})" if arguments else str(kind)


def on_split(split: str) -> str:
    """What a metric's name ends in: nothing on the test split, ` on validation` on that."""
    return "" if split == "test" else f" on {split}"


def loss_metric(loss: Component, attack: Component, split: str = "test") -> str:
    """`loss trades(5) @ pgd(40, cw, linf, 8/255)`."""
    return f"loss {loss_name(loss)} @ {attack_name(attack)}{on_split(split)}"


def accuracy_metric(attack: Component, split: str = "test") -> str:
    """`accuracy @ pgd(40, cw, linf, 8/255)`."""
    return f"accuracy @ {attack_name(attack)}{on_split(split)}"


def wilson(successes: int, count: int) -> tuple[float, float, float]:
    """Share and its 95 % Wilson interval (Wilson 1927), each in [0, 1]; count >= 1."""
    share = successes / count
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # Rounding must not push an end past the share itself, nor out of [0, 1].
    return share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def mean_interval(total: float, total_squares: float, count: int) -> tuple[float, float, float]:
    """Mean and its 95 % normal interval from sums over `count` images."""
    mean = total / count
    variance = max(0.0, total_squares / count - mean**2) * count / max(1, count - 1)
    half = Z * math.sqrt(variance / count)
    return mean, mean - half, mean + half


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
