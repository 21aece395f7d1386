"""A WideResNet as an attack sees it while its weights stand still: logits, and the gradient in the images with
the backward pass written out, so that autograd records nothing and every layer keeps one tensor.

Equal to the network up to rounding, in fewer operations:
- eval mode: a block's second batch norm is folded into its first convolution, the scale of the first one into
  that convolution's backward weights. The norms of raw inputs stay, as residual sums come before them.
- what a stride of 2 needs as padding is written around the activations, not copied there.
- the stem's gradient, 16 channels to 1 or 3, is taken for four neighbouring pixels at once: vector units are
  16 numbers wide. The same sums in the same order.
- on a CPU, eval mode goes through a batch in parts whose activations stay in the cache (train mode can't: its
  statistics span the batch).
- of a `fused` network a block is compiled: what lies between two products is one kernel.

Measured by benchmarks/train_step.py. Under autocast convolutions and activations are bfloat16; images,
statistics, logits and the gradient given back are float32. Letters as in network.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.runtime.models.batchnorm import EPS, BatchNorm, Kept
from isoloss.runtime.models.network import compiler

if TYPE_CHECKING:
    from isoloss.runtime.models.wrn import Block, WideResNet

#: Bytes of kept activations that a part of a batch may have on a CPU, about a last-level cache (32 MB here):
#: 32 images of WRN-16-2 at a time are 1.1 times as fast as 64 (measured).
CACHE_BYTES = 32 << 20

Seed = Callable[[Tensor, slice], Tensor]
silu_backward = torch.ops.aten.silu_backward


class WideResNetView:
    """Made for one state of the weights; under the autocast that its calls will be under."""

    def __init__(self, network: WideResNet, training: bool) -> None:
        self._device = network.head.weight.device.type
        self._normalize = network.normalize
        dtype = torch.float32
        if torch.is_autocast_enabled(self._device):
            dtype = torch.get_autocast_dtype(self._device)
        self._training, self._dtype = training, dtype
        self._stem = _cast(network.stem.weight, dtype)
        self._stem_back = _StemBack(self._stem, network.shape.height, network.shape.width)
        self._blocks = [_Block(block, training, dtype, network.fused) for block in network.blocks]
        self._block_forward, self._block_backward = _passes(network.fused)
        self._norm = _norm(network.norm, training, dtype)
        self._head = network.head.weight.detach(), network.head.bias.detach()
        self._image_bytes = dtype.itemsize * network.hidden_size()

    @torch.no_grad()
    def __call__(self, x_BCHW: Tensor) -> Tensor:
        with torch.autocast(self._device, enabled=False):
            return torch.cat([self._forward(x_BCHW[rows], []) for rows in self._parts(len(x_BCHW))])

    @torch.no_grad()
    def input_gradient(self, x_BCHW: Tensor, seed: Seed) -> Tensor:
        """d sum(loss) / d x, where `seed` gives d loss / d logits (B, K) from logits and their rows."""
        with torch.autocast(self._device, enabled=False):
            return torch.cat([self._gradient(x_BCHW, seed, rows) for rows in self._parts(len(x_BCHW))])

    def _parts(self, images: int) -> Iterator[slice]:
        parts = 1
        if self._device == "cpu" and not self._training:
            parts = -(-images // max(8, CACHE_BYTES // self._image_bytes))
        size = -(-images // parts)
        for start in range(0, images, size):
            yield slice(start, min(start + size, images))

    def _forward(self, x_BCHW: Tensor, kept: list[_Saved]) -> Tensor:
        x = self._normalize(x_BCHW).to(self._dtype, memory_format=torch.channels_last)
        x = F.conv2d(x, self._stem, None, 1, 1)
        for block in self._blocks:
            x, saved = self._block_forward(block, x)
            kept.append(saved)
        u, saved = self._norm.forward(x)
        kept.append((u, saved))
        pooled = F.silu(u).mean((2, 3), dtype=torch.float32)
        return torch.addmm(self._head[1], pooled, self._head[0].t())

    def _gradient(self, x_BCHW: Tensor, seed: Seed, rows: slice) -> Tensor:
        kept: list[_Saved] = []
        logits = self._forward(x_BCHW[rows], kept)
        u, saved = kept.pop()
        g = seed(logits, rows) @ (self._head[0] / u[0, 0].numel())
        g = silu_backward(g.to(u.dtype)[:, :, None, None].expand_as(u), u)
        g = self._norm.scaled(self._norm.backward(g, saved)).to(u.dtype)
        for block in reversed(self._blocks):
            g = self._block_backward(block, g, kept.pop())
        g = self._stem_back(g).float()
        return g / self._normalize.std if self._normalize.active else g


#: What a backward pass needs of its forward pass: tensors, and what norms keep.
_Saved = tuple[Any, ...]


class _Block:
    """`fused`: written without changes in place, which a compiler would have to take back."""

    def __init__(self, block: Block, training: bool, dtype: torch.dtype, fused: bool) -> None:
        self._fused = fused
        self._norm1 = _norm(block.norm1, training, dtype)
        self._norm2 = _norm(block.norm2, training, dtype) if training else None
        weight1, self._shift = block.conv1.weight.detach(), None
        if not training:
            scale, shift = block.norm2.affine()
            weight1, self._shift = weight1 * scale[:, None, None, None], shift.to(dtype)
        self._stride = block.conv1.stride[0]
        self._conv1, self._conv2 = _cast(weight1, dtype), _cast(block.conv2.weight, dtype)
        # What the backward pass multiplies with: also by the scale of norm1, which comes right after.
        self._back1 = _cast(self._norm1.scaled(weight1), dtype)
        self._shortcut = self._back = None
        if block.shortcut is not None:
            self._shortcut = _cast(block.shortcut.weight, dtype)
            self._back = _cast(self._norm1.scaled(block.shortcut.weight.detach()), dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, _Saved]:
        u, saved1 = self._norm1.forward(x)
        if self._stride == 1:
            a = F.silu(u)
            h = F.conv2d(a, self._conv1, self._shift, 1, 1)
        else:
            padded, a = _padded_silu(u, self._stride, self._fused)
            h = F.conv2d(padded, self._conv1, self._shift, self._stride)
        saved2 = None
        if self._norm2 is not None:
            h, saved2 = self._norm2.forward(h)
        out = F.conv2d(F.silu(h), self._conv2, None, 1, 1)
        out = out.add_(x if self._shortcut is None else F.conv2d(a, self._shortcut, None, self._stride))
        return out, (u, saved1, h, saved2)

    def backward(self, g: Tensor, kept: _Saved) -> Tensor:
        u, saved1, h, saved2 = kept
        inner = F.conv_transpose2d(g, self._conv2, None, 1, 1)
        if self._fused:
            inner = silu_backward(inner, h)
        else:
            silu_backward.grad_input(inner, h, grad_input=inner)
        if self._norm2 is not None:
            inner = self._norm2.backward(inner, saved2)
        if self._stride == 1:
            inner = F.conv_transpose2d(inner, self._back1, None, 1, 1)
        else:
            inner = _cropped(F.conv_transpose2d(inner, self._back1, None, self._stride), u, self._stride)
        if self._back is None:
            through = self._norm1.backward(silu_backward(inner, u), saved1)
            return g + through if self._fused else g.add_(through)
        # A 1x1 convolution of stride s reads every s-th pixel and nothing else.
        inner[:, :, :: self._stride, :: self._stride] += F.conv_transpose2d(g, self._back)
        return self._norm1.backward(silu_backward(inner, u), saved1)


@cache
def _passes(fused: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Of a block, forward and backward. Compiled once per form of block, not per block."""
    if not fused:
        return _Block.forward, _Block.backward
    compiled = compiler()
    return compiled(_Block.forward, dynamic=False), compiled(_Block.backward, dynamic=False)


def _pads(size: int, stride: int) -> tuple[int, int]:
    """Rows before and after `size` that a 3x3 convolution with SAME padding reads (see wrn.pad_same)."""
    total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
    return total // 2, total - total // 2


def _padded_silu(u: Tensor, stride: int, fused: bool) -> tuple[Tensor, Tensor]:
    """silu(u) with a border of zeros for a stride, and itself: unless fused a view of its inside."""
    (top, bottom), (left, right) = _pads(u.shape[2], stride), _pads(u.shape[3], stride)
    if fused:
        activated = F.silu(u)
        return F.pad(activated, (left, right, top, bottom)), activated
    height, width = u.shape[2] + top + bottom, u.shape[3] + left + right
    shape = (*u.shape[:2], height, width)
    padded = torch.empty(shape, dtype=u.dtype, device=u.device, memory_format=torch.channels_last)
    for border in (padded[:, :, :top], padded[:, :, height - bottom :]):
        border.zero_()
    for border in (padded[..., :left], padded[..., width - right :]):
        border.zero_()
    inside = padded[:, :, top : height - bottom, left : width - right]
    torch.ops.aten.silu.out(u, out=inside)
    return padded, inside


def _cropped(padded: Tensor, like: Tensor, stride: int) -> Tensor:
    """The inside of a padded gradient. What no output pixel reads has none: the border is then short."""
    (top, _), (left, _) = _pads(like.shape[2], stride), _pads(like.shape[3], stride)
    return padded[:, :, top : top + like.shape[2], left : left + like.shape[3]]


class _StemBack:
    """The stem's gradient in its input. On even sizes for 2x2 pixels at once: a 4x4 convolution of stride 2
    to four times the channels."""

    def __init__(self, weight: Tensor, height: int, width: int) -> None:
        self._weight, self._four = weight, None
        if height % 2 or width % 2:
            return
        flipped = weight.flip(2, 3).transpose(0, 1)  # (C, 16, 3, 3)
        four = weight.new_zeros(2, 2, *flipped.shape[:2], 4, 4)
        for i in range(2):
            for j in range(2):
                four[i, j, :, :, i : i + 3, j : j + 3] = flipped
        self._four = four.flatten(0, 2).contiguous(memory_format=torch.channels_last)

    def __call__(self, g: Tensor) -> Tensor:
        if self._four is None:
            return F.conv_transpose2d(g, self._weight, None, 1, 1)
        out = F.conv2d(g, self._four, None, 2, 1).permute(0, 2, 3, 1)
        images, rows, columns, _ = out.shape
        pixels = out.view(images, rows, columns, 2, 2, -1).permute(0, 1, 3, 2, 4, 5)
        return pixels.reshape(images, 2 * rows, 2 * columns, -1).permute(0, 3, 1, 2)


class _Running:
    """Eval mode. `backward` leaves the scale out: it is in the weights that come before it (`scaled`)."""

    def __init__(self, norm: BatchNorm, dtype: torch.dtype) -> None:
        self._norm, self._dtype = norm, dtype
        scale, shift = norm.affine()
        self._scale, self._shift = scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        if self._dtype == torch.float32:
            return torch.addcmul(self._shift, x, self._scale), None
        # bfloat16 activations, float32 statistics: rounded once.
        n = self._norm
        return F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, False, 0.0, EPS), None

    def backward(self, g: Tensor, saved: object) -> Tensor:
        return g

    def scaled(self, weight: Tensor) -> Tensor:
        """A convolution's weight (out, in, ...) or a gradient (B, C, H, W) times the scale of the channels."""
        return weight * self._scale


class _OfBatch:
    """Train mode, running statistics untouched."""

    def __init__(self, norm: BatchNorm) -> None:
        self._norm = norm

    def forward(self, x: Tensor) -> tuple[Tensor, Kept]:
        return self._norm.normalize(x)

    def backward(self, g: Tensor, saved: object) -> Tensor:
        assert isinstance(saved, Kept)
        return self._norm.input_gradient(g, saved)

    def scaled(self, weight: Tensor) -> Tensor:
        return weight


def _norm(norm: BatchNorm, training: bool, dtype: torch.dtype) -> _Running | _OfBatch:
    return _OfBatch(norm) if training else _Running(norm, dtype)


def _cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
