"""Did-you-mean: a wrong word and the allowed ones -> help lines.

Known short and long forms come first: edit distance would turn `epsilon` into `steps`."""

from __future__ import annotations

from collections.abc import Iterable

#: What people write -> what we call it.
ALIASES = {
    "epsilon": "eps",
    "eps_max": "eps",
    "radius": "eps",
    "alpha": "step",
    "step_size": "step",
    "stepsize": "step",
    "num_steps": "steps",
    "iterations": "steps",
    "iters": "steps",
    "n_steps": "steps",
    "learning_rate": "lr",
    "learningrate": "lr",
    "batch_size": "batch",
    "batchsize": "batch",
    "bs": "batch",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "flops": "compute",
    "gpus": "devices",
    "gpu": "devices",
    "device": "devices",
    "time": "walltime",
    "cost": "price",
    "network": "model",
    "models": "model",
    "arch": "model",
    "architecture": "model",
    "data": "images",
    "samples": "images",
    "seeds": "seed",
    "linfinity": "linf",
    "l_inf": "linf",
    "Linf": "linf",
    "inf": "linf",
    "L2": "l2",
    "wideresnet": "wrn",
    "wide_resnet": "wrn",
    "WRN": "wrn",
    "cross_entropy": "ce",
    "adv": "pgd_at",
    "madry": "pgd_at",
    "aa": "autoattack",
    "cifar": "cifar10",
    "chinchilla2": "approach2",
    "evaluation": "evaluate",
    "eval": "evaluate",
    "experiment": "grid",
    "sweep": "grid",
    "train": "recipe",
    "training": "recipe",
    "norm_type": "norm",
    "smoothing": "label_smoothing",
    "regularisation": "regularization",
    "normalise": "normalize",
    "optimiser": "optimizer",
    "scheduler": "schedule",
    "averaging": "average",
    "augmentation": "augment",
    "hours": "h",
    "hour": "h",
    "hr": "h",
    "minutes": "min",
    "minute": "min",
    "seconds": "s",
    "sec": "s",
    "days": "d",
    "day": "d",
    "FLOPs": "FLOP",
    "FLOPS": "FLOP",
    "TFLOPs": "TFLOP",
    "PFLOPs": "PFLOP",
    "KB": "kB",
    "dollars": "USD",
}


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word that was probably meant, or None."""
    words = list(allowed)
    for candidate in (ALIASES.get(word), ALIASES.get(word.lower()), word.lower()):
        if candidate in words:
            return candidate
    # Only a wrong word pays for its import.
    from difflib import get_close_matches

    close = get_close_matches(word, words, n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, allowed: Iterable[str], none: str = "nothing is declared here") -> str:
    """One help line: the close word, and always everything that is allowed."""
    words = list(dict.fromkeys(allowed))
    if not words:
        return none
    listed = ", ".join(f"`{w}`" for w in words)
    close = nearest(word, words)
    return f"`{close}` is close; allowed: {listed}" if close else f"allowed: {listed}"
