"""Can a study's images have the networks that its generators ask for? Study -> diagnostics.

Runs where cells are expanded, before anything is priced. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.cost.architectures.unet import count_unet, network_of
from isoloss.compiler.cost.devices import LACKING
from isoloss.compiler.facts.components import component
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Call, Generator, Study

_SIZES = "each level after the first halves the image; its channels are `channels` times its multiplier"


def check_networks(study: Study) -> Iterator[Diagnostic]:
    """G111: a network that can't be built; B115: one that is to be trained in a number format that the budget's
    devices don't have. Raises KeyError for a dataset without a shape."""
    dataset, device = component(study.dataset), study.budget.devices.kind
    lacking = LACKING.get(device, frozenset())
    seen: set[Call] = set()
    for generator in study.generators:
        for call, kind in _asked(generator):
            if call in seen:
                continue
            seen.add(call)
            number = dict(call.arguments).get("precision")
            if number in lacking:
                headline = f"the `{call.kind}` of `{generator.name}` trains in {number}, which `{device}` doesn't have"
                helps = (
                    "write `precision = fp32`, which is another experiment, or name devices that have it",
                )
                yield Diagnostic("B115", headline, generator.origin.span, help=helps)
            try:
                count_unet(network_of(component(call), kind, 0), dataset)
            except ValueError as error:
                headline = f"no `{call.kind}` for generator `{generator.name}`: {error}"
                yield Diagnostic("G111", headline, generator.origin.span, help=(_SIZES,))


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
