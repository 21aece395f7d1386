"""Count layers as a network is walked: parameters, multiply-accumulates, activations.

FLOPs are 2 x multiply-accumulates of convolutions and linear layers, exact, the convention of torch's
FlopCounterMode and of DeepSpeed's profiler; batch norm, activations and pooling count zero."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """`params` is N: all trainable weights, batch norm's affine and the head included. `forward_flops` is for
    one image. `convolution_outputs` is the number of elements that convolutions write for one image; those of
    shortcuts, which are added to others and not kept, don't count. `written` counts them, as the time that memory
    takes goes by all values that layers write."""

    params: int
    forward_flops: float
    convolution_outputs: int
    written: int
    layers: int


class Tally:
    """Walk a network in order; `height` and `width` follow the image through strides."""

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        self.params = 0
        self.macs = 0
        self.outputs = 0
        self.written = 0
        self.layers = 0

    def convolution(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        """A bias-free convolution padded to SAME: ceil(size / stride)."""
        self.height = -(-self.height // stride)
        self.width = -(-self.width // stride)
        self.branch(inputs, outputs, kernel)
        self.outputs += outputs * self.height * self.width

    def branch(self, inputs: int, outputs: int, kernel: int, bias: bool = False) -> None:
        """A convolution whose output has the size the image has now: a shortcut beside a strided one."""
        weights = kernel * kernel * inputs * outputs
        self.params += weights + bias * outputs
        self.macs += weights * self.height * self.width
        self.written += outputs * self.height * self.width
        self.layers += 1

    def batchnorm(self, channels: int) -> None:
        self.params += 2 * channels

    def linear(self, inputs: int, outputs: int, bias: bool = True) -> None:
        """Adding a bias counts zero FLOPs, as in torch's counter."""
        self.params += inputs * outputs + bias * outputs
        self.macs += inputs * outputs
        self.layers += 1

    def result(self) -> Architecture:
        return Architecture(self.params, 2.0 * self.macs, self.outputs, self.written, self.layers)
