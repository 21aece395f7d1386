"""The network of a trained denoiser: a U-Net of DDPM++'s or NCSN++'s shape, told noise level, class and
augmentation; and the encoder alone with a head, our discriminator.

Shapes: Song et al., arXiv:2011.13456; Karras et al., arXiv:2206.00364. compiler/cost/architectures/unet.py
counts the same levels. Letters: B images, C channels, H rows, W columns, A numbers of an augmentation, E embedding."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.generators.unet_parts import (
    NEAR_ZERO,
    SUM_SCALE,
    Block,
    FourierEmbedding,
    PositionalEmbedding,
    Resample,
    convolution,
    group_norm,
    linear,
)
from isoloss.runtime.models.network import Shape

#: Width of the embedding, in `channels`.
EMBEDDING = 4


class Settings:
    """A network Component, read once."""

    def __init__(self, network: Component) -> None:
        self.channels = int(network["channels"])
        self.multipliers = tuple(int(m) for m in network["multipliers"])
        self.blocks = int(network["blocks"])
        self.attention = frozenset(int(r) for r in network["attention"] or ())
        self.dropout = exact(network["dropout"])
        self.smooth = network["form"] == "ncsnpp"
        self.condition = int(network["condition"])
        self.embedding = EMBEDDING * self.channels

    def block(self, inputs: int, outputs: int, attends: bool = False) -> Block:
        return Block(inputs, outputs, self.embedding, self.dropout, attends=attends)

    def resampling(self, channels: int, up: bool) -> Block:
        return Block(channels, channels, self.embedding, self.dropout, resample=Resample(up, self.smooth))


class Embedding(nn.Module):
    """Noise level (B,), class int64 (B,) and augmentation (B, A) or None -> (B, E)."""

    def __init__(self, settings: Settings, classes: int) -> None:
        super().__init__()
        noise = settings.channels * (2 if settings.smooth else 1)
        self.noise = FourierEmbedding(noise) if settings.smooth else PositionalEmbedding(noise)
        self.classes = classes
        self.label = linear(classes, noise)
        self.augment = linear(settings.condition, noise, bias=False) if settings.condition else None
        self.layer0 = linear(noise, settings.embedding)
        self.layer1 = linear(settings.embedding, settings.embedding)

    def forward(self, noise_B: Tensor, y_B: Tensor, augment_BA: Tensor | None) -> Tensor:
        chosen = F.one_hot(y_B, self.classes).to(noise_B.dtype)
        # Each class's row has the variance of a whole layer's output.
        e = self.noise(noise_B) + self.label(chosen * sqrt(self.classes))
        if self.augment is not None and augment_BA is not None:
            e = e + self.augment(augment_BA)
        return F.silu(self.layer1(F.silu(self.layer0(e))))


class EncoderLevel(nn.Module):
    """One resolution on the way down. `enter` halves what came from above (None at the top); `residual`, in
    NCSN++, convolves and halves the image beside it."""

    def __init__(
        self, settings: Settings, top: bool, now: int, beside: int, outputs: int, attends: bool
    ) -> None:
        super().__init__()
        self.enter = None if top else settings.resampling(now, up=False)
        self.residual = None if top or not settings.smooth else SmallerImage(beside, now)
        widths = [now] + [outputs] * settings.blocks
        self.blocks = nn.ModuleList(
            settings.block(inputs, outputs, attends) for inputs, outputs in pairwise(widths)
        )


class SmallerImage(nn.Module):
    """A convolution whose output is filtered and halved at once."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, 3)
        self.resample = Resample(up=False, smooth=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Padded for convolution and filter together, so that the filter sees no edge of its own.
        x = F.conv2d(x_BCHW, self.conv.weight, padding=2)
        return self.resample(x, padding=0) + self.conv.bias[:, None, None]


class Encoder(nn.Module):
    """An image -> what every stage leaves, top first."""

    def __init__(self, settings: Settings, shape: Shape) -> None:
        super().__init__()
        self.stem = convolution(shape.channels, settings.channels, 3)
        self.levels = nn.ModuleList()
        now, beside = settings.channels, shape.channels
        self.widths = [now]
        for level, multiplier in enumerate(settings.multipliers):
            outputs, top = settings.channels * multiplier, level == 0
            attends = shape.height >> level in settings.attention
            self.levels.append(EncoderLevel(settings, top, now, beside, outputs, attends))
            self.widths += [] if top else [now]
            beside = beside if top else now
            self.widths += [outputs] * settings.blocks
            now = outputs

    def forward(self, x_BCHW: Tensor, e_BE: Tensor) -> list[Tensor]:
        beside, x = x_BCHW, self.stem(x_BCHW)
        stages = [x]
        for level in self.levels:
            if level.enter is not None:
                x = level.enter(x, e_BE)
                if level.residual is not None:
                    x = beside = (x + level.residual(beside)) * SUM_SCALE
                stages.append(x)
            for block in level.blocks:
                x = block(x, e_BE)
                stages.append(x)
        return stages


class DecoderLevel(nn.Module):
    """One resolution on the way up: `middle` at the bottom, `enter` doubles elsewhere; each block reads one
    stage of the encoder besides."""

    def __init__(
        self, settings: Settings, bottom: bool, now: int, skips: list[int], outputs: int, attends: bool
    ) -> None:
        super().__init__()
        pair = (settings.block(now, now, attends=True), settings.block(now, now)) if bottom else ()
        self.middle = nn.ModuleList(pair)
        self.enter = None if bottom else settings.resampling(now, up=True)
        self.blocks = nn.ModuleList()
        for index in range(settings.blocks + 1):
            last = index == settings.blocks
            self.blocks.append(settings.block(now + skips.pop(), outputs, attends and last))
            now = outputs


class UNet(nn.Module):
    """F(x, c_noise, y, augmentation) of EDM's preconditioning: float32 (B, C, H, W) in and out."""

    def __init__(self, network: Component, shape: Shape) -> None:
        super().__init__()
        settings = Settings(network)
        self.embedding = Embedding(settings, shape.classes)
        self.encoder = Encoder(settings, shape)
        skips = list(self.encoder.widths)
        now, levels = skips[-1], []
        for level, multiplier in reversed(list(enumerate(settings.multipliers))):
            outputs, bottom = settings.channels * multiplier, level == len(settings.multipliers) - 1
            attends = shape.height >> level in settings.attention
            levels.append(DecoderLevel(settings, bottom, now, skips, outputs, attends))
            now = outputs
        self.decoder = nn.ModuleList(levels)  # bottom first
        self.out_norm = group_norm(now)
        self.out = convolution(now, shape.channels, 3, NEAR_ZERO)

    def forward(
        self, x_BCHW: Tensor, noise_B: Tensor, y_B: Tensor, augment_BA: Tensor | None = None
    ) -> Tensor:
        e_BE = self.embedding(noise_B, y_B, augment_BA)
        stages = self.encoder(x_BCHW, e_BE)
        x = stages[-1]
        for level in self.decoder:
            if level.enter is not None:
                x = level.enter(x, e_BE)
            for block in level.middle:
                x = block(x, e_BE)
            for block in level.blocks:
                x = block(torch.cat([x, stages.pop()], dim=1), e_BE)
        return self.out(F.silu(self.out_norm(x)))


#: Times in [0, 1] are told to a positional embedding as steps of a thousand, what its periods are made for.
TIME_STEPS = 1000.0


class Judge(nn.Module):
    """A discriminator: the encoder, a mean over the smallest image, one logit of P(real), (B,)."""

    def __init__(self, network: Component, shape: Shape) -> None:
        super().__init__()
        settings = Settings(network)
        self.time_scale = 1.0 if settings.smooth else TIME_STEPS
        self.embedding = Embedding(settings, shape.classes)
        self.encoder = Encoder(settings, shape)
        self.out_norm = group_norm(self.encoder.widths[-1])
        self.out = linear(self.encoder.widths[-1], 1)

    def forward(self, x_BCHW: Tensor, time_B: Tensor, y_B: Tensor) -> Tensor:
        """Images in variance-preserving space at times in [0, 1]."""
        last = self.encoder(x_BCHW, self.embedding(time_B * self.time_scale, y_B, None))[-1]
        return self.out(F.silu(self.out_norm(last)).mean(dim=(2, 3))).squeeze(1)
