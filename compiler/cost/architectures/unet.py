"""Diffusion U-Nets counted in plain Python: a network Component and a dataset -> parameters and FLOPs.

The shape of DDPM++ and NCSN++ (Song et al., arXiv:2011.13456) as EDM trains them (Karras et al., arXiv:2206.00364),
and its encoder alone with a head: our discriminator. Walks the same levels as runtime/generators/unet.py; a test holds
both equal, and equal to torch's own counts.

A network Component has kind (`unet` or `encoder`), channels, multipliers, blocks, attention (resolutions, or None),
form (`ddpmpp` or `ncsnpp`), dropout and condition (numbers that describe an augmentation: 0 or 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoloss.compiler.cost.architectures.tally import Architecture, Tally
from isoloss.compiler.facts.datasets import DatasetShape, shape

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component

#: Settings of a network; what else the call that names it says is how it is trained.
NETWORK = ("channels", "multipliers", "blocks", "attention", "dropout", "form")
#: Numbers that tell a network how a training image was augmented: mirrored, flipped, scaled, turned (2), stretched
#: (2), moved (2).
CONDITION = 9
#: Width of the embedding of noise level and class, in `channels`.
EMBEDDING = 4
#: Group norm: 32 groups, of at least 4 channels each.
MOST_GROUPS, LEAST_GROUP = 32, 4


def network_of(asked: Component, kind: str, condition: int) -> Component:
    """The network that a call of the language asks for."""
    return {"kind": kind, **{name: asked[name] for name in NETWORK}, "condition": condition}


def count_unet(network: Component, dataset: Component) -> Architecture:
    """Of one network on one dataset's images. Raises KeyError for a dataset without a row, ValueError, with
    what to change, for a network that its images don't allow."""
    return _Walk(network, shape(dataset)).count()


class _Walk:
    """One count: the image's way through encoder and decoder, or encoder and head."""

    def __init__(self, network: Component, pixels: DatasetShape) -> None:
        self.pixels = pixels
        self.channels = int(network["channels"])
        self.multipliers: Sequence[int] = network["multipliers"]
        self.blocks = int(network["blocks"])
        self.attention = frozenset(network["attention"] or ())
        self.smooth = network["form"] == "ncsnpp"
        self.condition = int(network["condition"])
        self.whole = network["kind"] == "unet"
        self.tally = Tally(pixels.height, pixels.width)
        halvings = len(self.multipliers) - 1
        if pixels.height % 2**halvings or pixels.width % 2**halvings:
            raise ValueError(
                f"images of {pixels.height}x{pixels.width} can't be halved {halvings} times: give fewer "
                f"`multipliers`, at most {_halvings(pixels) + 1}"
            )

    def count(self) -> Architecture:
        skips = self._encoder()
        if self.whole:
            self._decoder(skips)
        else:
            self._norm(skips[-1])
            self.tally.linear(skips[-1], 1)
        self._embedding()
        return self.tally.result()

    def _embedding(self) -> None:
        """The maps of noise level, class and augmentation into what every block is told."""
        noise = self.channels * (2 if self.smooth else 1)
        wide = EMBEDDING * self.channels
        self.tally.linear(self.pixels.classes, noise)
        if self.condition:
            self.tally.linear(self.condition, noise, bias=False)
        self.tally.linear(noise, wide)
        self.tally.linear(wide, wide)

    def _encoder(self) -> list[int]:
        """Channels of what each stage leaves for the decoder, in order."""
        self.tally.branch(self.pixels.channels, self.channels, 3, bias=True)
        now, beside, skips = self.channels, self.pixels.channels, [self.channels]
        for level, multiplier in enumerate(self.multipliers):
            if level:
                self._halve(now, beside)
                beside = now
                skips.append(now)
            for _ in range(self.blocks):
                self._block(now, self.channels * multiplier, attends=self._attends())
                now = self.channels * multiplier
                skips.append(now)
        return skips

    def _halve(self, now: int, beside: int) -> None:
        """A block at half the size; in NCSN++ a convolution of the smaller image beside it, added to it."""
        large = self.tally.height, self.tally.width
        self.tally.height, self.tally.width = large[0] // 2, large[1] // 2
        self._block(now, now, resampled=True)
        if self.smooth:
            small = self.tally.height, self.tally.width
            # Convolved on a margin of one pixel, then filtered and halved.
            self.tally.height, self.tally.width = large[0] + 2, large[1] + 2
            self.tally.branch(beside, now, 3, bias=True)
            self.tally.height, self.tally.width = small
            self._filter(now)

    def _decoder(self, skips: list[int]) -> None:
        now = skips[-1]
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            if level == len(self.multipliers) - 1:
                self._block(now, now, attends=True)
                self._block(now, now)
            else:
                self.tally.height, self.tally.width = 2 * self.tally.height, 2 * self.tally.width
                self._block(now, now, resampled=True, up=True)
            for index in range(self.blocks + 1):
                wide = self.channels * multiplier
                attends = index == self.blocks and self._attends()
                self._block(now + skips.pop(), wide, attends=attends)
                now = wide
        self._norm(now)
        self.tally.branch(now, self.pixels.channels, 3, bias=True)

    def _attends(self) -> bool:
        return self.tally.height in self.attention

    def _block(
        self, inputs: int, outputs: int, *, attends: bool = False, resampled: bool = False, up: bool = False
    ) -> None:
        """Norm, convolution, embedding, norm, convolution, beside a shortcut; then attention. The image has the
        size that it leaves with."""
        tally = self.tally
        self._norm(inputs)
        for _ in range(2 * resampled * self.smooth):  # what is convolved and its shortcut
            self._filter(inputs, up=up)
        tally.branch(inputs, outputs, 3, bias=True)
        tally.linear(EMBEDDING * self.channels, outputs)
        self._norm(outputs)
        tally.branch(outputs, outputs, 3, bias=True)
        if resampled or inputs != outputs:
            tally.branch(inputs, outputs, 1, bias=True)
        if attends:
            self._norm(outputs)
            tally.branch(outputs, 3 * outputs, 1, bias=True)
            # Queries by keys, weights by values.
            tally.macs += 2 * outputs * (tally.height * tally.width) ** 2
            tally.written += (tally.height * tally.width) ** 2
            tally.branch(outputs, outputs, 1, bias=True)

    def _filter(self, channels: int, up: bool = False) -> None:
        """NCSN++'s 4x4 resampling filter, each channel by itself: no parameters. Counted where it reads (up) or
        writes (down), as torch does."""
        places = self.tally.height * self.tally.width // (4 if up else 1)
        self.tally.macs += 16 * channels * places

    def _norm(self, channels: int) -> None:
        groups = min(MOST_GROUPS, channels // LEAST_GROUP)
        if groups < 1 or channels % groups:
            raise ValueError(
                f"{channels} channels can't be normalised in {max(1, groups)} groups: "
                f"give `channels` a multiple of {MOST_GROUPS if channels >= 128 else LEAST_GROUP}"
            )
        self.tally.batchnorm(channels)


def _halvings(pixels: DatasetShape) -> int:
    """How often its images can be halved."""
    return min((size & -size).bit_length() - 1 for size in (pixels.height, pixels.width))
