"""A study's generator -> the sampler and denoiser Components of its images, and the jobs that train their networks.

In: a Generator of the study. Out: Components, and specs of denoiser and discriminator jobs, handed to whoever makes
jobs of them. Networks trained alike are one job, whatever generators follow them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isoloss.compiler.cost.architectures.unet import CONDITION, NETWORK, network_of
from isoloss.compiler.facts.components import Components
from isoloss.compiler.facts.shards import first
from isoloss.compiler.plan import Component, DenoiserSpec, DiscriminatorSpec, GenerateSpec, Spec
from isoloss.dsl.study.study import Generator

#: Images are the study's data, not its randomness: one seed for all, so that seeds of a grid share them.
GENERATION_SEED = 0
#: Stands where a study states no denoiser: its images come from published files.
UNSTATED: Component = {"kind": "none"}
#: By `precision`. fp32 is as the published trainings (arXiv:2206.00364's code turns TF32 off).
NUMERICS: Mapping[str, Component] = {
    number: {"dtype": "bf16" if number == "bf16" else "fp32", "tf32": number == "tf32", "deterministic": True}
    for number in ("fp32", "tf32", "bf16")
}

#: Makes a job of a spec, the ids that it needs and a name, "generator/what it is": its id.
Make = Callable[[Spec, tuple[str, ...], str], str]
#: A sampler or denoiser, and the ids of the jobs that it needs.
Made = tuple[Component, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Followed:
    """What a generator's images are made by, and the jobs that it needs."""

    sampler: Component
    denoiser: Component
    needs: tuple[str, ...]


class Diffusion:
    """Made once per compile; remembers each generator."""

    def __init__(self, dataset: Component, components: Components, make: Make) -> None:
        self.dataset, self._component, self._make = dataset, components, make
        self._known: dict[str, Followed] = {}
        # Equal Components are one object: prices are looked up by it.
        self._denoisers: dict[tuple[str, str], Made] = {}
        self._samplers: dict[tuple[str, str, int], Made] = {}

    def of(self, generator: Generator) -> Followed:
        known = self._known.get(generator.name)
        if known is None:
            known = self._known[generator.name] = self._follow(generator)
        return known

    def _follow(self, generator: Generator) -> Followed:
        assert generator.sampler is not None
        sampler = self._component(generator.sampler)
        if generator.denoiser is None:
            return Followed(sampler, UNSTATED, ())
        name = generator.name
        denoiser, trained = self._denoiser(self._component(generator.denoiser), kernel_of(sampler), name)
        if sampler["kind"] != "dg":
            return Followed(sampler, denoiser, trained)
        images = first(generator.images)
        guided, judged = self._guided(sampler, denoiser, images, trained, name)
        return Followed(guided, denoiser, (*trained, *judged))

    def _denoiser(self, asked: Component, kernel: Component, name: str) -> Made:
        key = repr(asked), repr(kernel)
        if key not in self._denoisers:
            self._denoisers[key] = self._trained(asked, kernel, name)
        return self._denoisers[key]

    def _trained(self, asked: Component, kernel: Component, name: str) -> Made:
        if asked["kind"] == "pretrained":
            about = {name: asked[name] for name in ("kind", "file", "sha256")}
            return {**about, "network": network_of(asked, "unet", CONDITION)}, ()
        if asked["kind"] != "unet":
            return asked, ()
        network = network_of(asked, "unet", CONDITION if asked["augment"] else 0)
        recipe = rest_of(asked)
        steps = max(1, round(recipe.pop("images") / recipe["batch"]))
        seed, numerics = recipe.pop("seed"), NUMERICS[recipe.pop("precision")]
        spec = DenoiserSpec(self.dataset, network, kernel, recipe, steps, seed, numerics)
        id = self._make(spec, (), f"{name}/denoiser")
        return {"kind": "unet", "job": id, "network": network}, (id,)

    def _guided(
        self, sampler: Component, denoiser: Component, images: int, trained: tuple[str, ...], name: str
    ) -> Made:
        key = repr(sampler), repr(denoiser), images
        if key not in self._samplers:
            self._samplers[key] = self._judged(sampler, denoiser, images, trained, name)
        return self._samplers[key]

    def _judged(
        self, sampler: Component, denoiser: Component, images: int, trained: tuple[str, ...], name: str
    ) -> Made:
        """The sampler with its discriminator, which learns from the first shard of the unguided one."""
        asked = sampler["discriminator"]
        spec = GenerateSpec(self.dataset, unguided(sampler), denoiser, 0, images, GENERATION_SEED)
        base = self._make(spec, trained, f"{name}/unguided")
        network = network_of(asked, "encoder", 0)
        recipe = rest_of(asked)
        steps = max(1, round(recipe.pop("images") / recipe["batch"]))
        seed, numerics = recipe.pop("seed"), NUMERICS[recipe.pop("precision")]
        judge = DiscriminatorSpec(self.dataset, network, (base,), images, recipe, steps, seed, numerics)
        id = self._make(judge, (base,), f"{name}/discriminator")
        return {**sampler, "discriminator": {"kind": "encoder", "job": id, "network": network}}, (id,)


def kernel_of(sampler: Component) -> Component:
    """The noise that a sampler's denoiser has to be trained under."""
    if sampler["kind"] == "pfgmpp":
        return {"kind": "pfgmpp", "dimension": sampler["dimension"]}
    return {"kind": "edm"}


def unguided(sampler: Component) -> Component:
    """`edm` with the schedule of a guided sampler: what its discriminator learns to tell from real images."""
    schedule = {name: sampler[name] for name in ("steps", "sigma_min", "sigma_max", "rho")}
    return {
        "kind": "edm", **schedule, "churn": 0.0, "churn_min": 0.0, "churn_max": None, "churn_noise": 1.0,
    }  # fmt: skip


def rest_of(asked: Component) -> dict[str, Any]:
    """A call's settings that are not its network's."""
    return {name: value for name, value in asked.items() if name not in ("kind", *NETWORK)}
