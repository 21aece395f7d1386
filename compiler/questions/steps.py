"""A chosen run -> a cell of whole steps: batch and learning rate by its recipe's rules. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.cells.rules import Rule
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.jobs.factory import JobFactory
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.questions.buildable_networks import Network
from isoloss.compiler.questions.objectives import MOST_IMAGES, Chosen, Offer
from isoloss.dsl.study.study import Allocate, Call, Const, Value


class Steps:
    """The rules of one allocation's recipe."""

    def __init__(self, question: Allocate, factory: JobFactory) -> None:
        self.question, self.factory = question, factory
        self.recipe = factory.variants[question.recipe].recipe
        self.epoch_images = shape(factory.dataset).epoch_images
        # A checked study's allocations have recipes with both.
        batch, lr = self.recipe.batch, self.recipe.lr
        assert batch is not None
        assert lr is not None
        self._batch, self._lr = Rule(batch), Rule(lr)

    def cell(self, chosen: Chosen, *, up: bool) -> Cell | int | None:
        """The run in whole steps, rounded up or down; the batch where not even one step is bought; None where a
        rule has no value."""
        network, offer = chosen.network, chosen.offer
        quantities = self._quantities(network, offer, max(1, int(chosen.images)))
        batch, lr = _number(self._batch(quantities).value), _number(self._lr(quantities).value)
        if batch is None or lr is None:
            return None
        steps = math.ceil(chosen.images / batch - 1e-9) if up else int(chosen.images / batch)
        if self.question.compete:
            steps = min(steps, int(min(offer.unique, MOST_IMAGES) / batch))
        if steps < 1:
            return int(batch)
        return Cell(
            grid=self.question.name,
            model=_call(network),
            generator=offer.name,
            variant=self.factory.variants[self.question.recipe],
            images=steps * int(batch),
            seed=self.question.seed,
            batch=int(batch),
            lr=float(lr),
            train_steps=steps,
            steps_per_epoch=-(-self.epoch_images // int(batch)),
            params=network.params,
            flops_per_image=network.flops_per_image,
            fid=offer.fid,
            provisional=False,
            origin=self.question.origin,
        )

    def batches(self, networks: Sequence[Network]) -> Callable[[Offer, Floats], Floats]:
        """(offer, images [n]) -> batch of each network [n]; nan where the rule has no value."""
        if isinstance(self.recipe.batch, Const):
            constant = _number(self.recipe.batch.value)
            return lambda offer, images: np.full(len(networks), math.nan if constant is None else constant)

        def batch(offer: Offer, images: Floats) -> Floats:
            found = []
            for network, count in zip(networks, images, strict=True):
                known = _number(self._batch(self._quantities(network, offer, max(1, int(count)))).value)
                found.append(math.nan if known is None else known)
            return np.array(found)

        return batch

    def _quantities(self, network: Network, offer: Offer, images: int) -> dict[str, Value]:
        return {
            "model": _call(network),
            "generator": offer.name,
            "recipe": self.question.recipe,
            "images": images,
            "params": network.params,
            "fid": offer.fid,
            "flops": images * network.flops_per_image,
            "seed": self.question.seed,
            "epochs": images / self.epoch_images,
            "generator.fid": offer.fid,
            "generator.images": self.factory.supply(offer.name).unique,
        }


def _call(network: Network) -> Call:
    arguments = tuple((name, value) for name, value in network.model.items() if name != "kind")
    return Call(network.model["kind"], arguments)


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float | Fraction) else None
