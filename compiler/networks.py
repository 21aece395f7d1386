"""Can a study's images have the networks that its generators ask for? Study -> what can't be built, and why.

Runs where cells are expanded, before anything is priced. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.architectures.unet import count_unet, network_of
from isoloss.compiler.components import component
from isoloss.dsl.study import Call, Generator, Origin, Study


def bad_networks(study: Study) -> Iterator[tuple[Origin, str]]:
    """(where the generator stands, a headline) for each network that can't be built. Raises KeyError for a
    dataset without a shape."""
    dataset = component(study.dataset)
    seen: set[Call] = set()
    for generator in study.generators:
        for call, kind in _asked(generator):
            if call in seen:
                continue
            seen.add(call)
            try:
                count_unet(network_of(component(call), kind, 0), dataset)
            except ValueError as error:
                yield generator.origin, f"no `{call.kind}` for generator `{generator.name}`: {error}"


def _asked(generator: Generator) -> Iterator[tuple[Call, str]]:
    """Calls that ask for a network, and its kind."""
    if generator.denoiser is None or generator.sampler is None:
        return
    if generator.denoiser.kind in ("unet", "pretrained"):
        yield generator.denoiser, "unet"
    if generator.sampler.kind == "dg":
        judge = generator.sampler.get("discriminator")
        assert isinstance(judge, Call)
        yield judge, "encoder"
