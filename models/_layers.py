"""The few layers that the networks are made of, as Linen modules over batches (B, H, W, C).

Inference only. Padding is explicit: one number for all sides, or ((top, bottom), (left, right)). A convolution that its
network follows by BatchNorm is one layer with bias, into which the BatchNorm is folded, and has the BatchNorm's name.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax
from jax.typing import DTypeLike

from jaxplain.models._convolution import Sides, convolve, depthwise, max_pool

Padding = int | Sides


@functools.partial(jax.jit, static_argnums=(1, 2))  # since Linen traces an initialiser anew in every call
def _he_normal(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """Normal numbers of variance 2 / fan_in, the product of all axes but the last.

    They are drawn flat, which are the same numbers: XLA takes seconds to compile a draw of several axes.
    """
    deviation = jnp.sqrt(jnp.asarray(2 / math.prod(shape[:-1]), dtype))
    return deviation * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def parameter(module: nn.Module, name: str, draw: Callable[..., Array], shape: tuple[int, ...]) -> Array:
    """The module's parameter, if there is one of that shape; otherwise Linen's `param`, which draws it or raises.

    Linen alone would trace `draw` in every call, to compare shapes.
    """
    found = module.get_variable("params", name)
    return found if np.shape(found) == shape else module.param(name, draw, shape, jnp.float32)


def check_side(x: Array, smallest: int, network: str) -> None:
    """Raises ValueError for images (B, H, W, C) of which pooling would leave nothing."""
    if min(x.shape[1:3]) < smallest:
        height, width = x.shape[1:3]
        raise ValueError(
            f"The image has {height} x {width} pixels, but {network} needs at least {smallest} in height and width: "
            "enlarge it, as model.prepare does."
        )


class Conv(nn.Module):
    """Convolution with bias: (B, H, W, C) to (B, h, w, features). `groups` is 1, or C for a depthwise convolution.

    `before_bias`, a pure function, is applied to the convolution before its bias is added.
    """

    features: int
    size: int | tuple[int, int] = 1
    stride: int = 1
    padding: Padding = 0
    groups: int = 1
    before_bias: Callable[[Array], Array] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        if self.groups not in (1, x.shape[-1]):
            raise ValueError(f"groups is {self.groups}, but 1 or the number of channels, {x.shape[-1]}, is expected.")
        shape = (*size, x.shape[-1] // self.groups, self.features)
        if (taken := np.shape(self.get_variable("params", "kernel"))[2:3]) not in ((), shape[2:3]):
            raise ValueError(
                f"The number of channels is {shape[2]}, but the layer {'.'.join(self.path)} takes {taken[0]}: give the "
                "network an image as model.prepare makes it."
            )
        kernel = parameter(self, "kernel", _he_normal, shape)
        bias = parameter(self, "bias", nn.initializers.zeros, (self.features,))
        return _convolved(x, kernel, bias, self.stride, _both_sides(self.padding), self.before_bias)


class Dense(nn.Module):
    """x @ kernel + bias: (B, C) to (B, features)."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = parameter(self, "kernel", _he_normal, (x.shape[-1], self.features))
        bias = parameter(self, "bias", nn.initializers.zeros, (self.features,))
        return x @ kernel + bias[None]


class Relu(nn.Module):
    """max(x, 0), and min(., maximum) where there is one; a module so that it is a site."""

    maximum: float | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.relu(x) if self.maximum is None else clip(x, self.maximum)


class MaxPool(nn.Module):
    """The largest value in each window; (B, H, W, C) to (B, h, w, C)."""

    size: int
    stride: int
    padding: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return max_pool(x, self.size, self.stride, self.padding)


class GlobalMean(nn.Module):
    """The mean over positions; (B, H, W, C) to (B, 1, 1, C)."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return jnp.mean(x, axis=(1, 2), keepdims=True)


class AdaptiveMean(nn.Module):
    """The mean over size x size parts of about equal size, as torch's adaptive pooling divides them."""

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if x.shape[1:3] == (self.size, self.size):
            return x
        rows, columns = (jnp.asarray(_shares(length, self.size), x.dtype) for length in x.shape[1:3])
        return jnp.einsum("bhwc,ih,jw->bijc", x, rows, columns)


class Dropout(nn.Module):
    """Nothing, as dropout is in inference; torchvision has a module there, and so there is a site."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return x


class Chain(nn.Module):
    """Layers one after the other, named by the numbers from `first`."""

    layers: tuple[nn.Module, ...]
    first: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for number, layer in enumerate(self.layers, self.first):
            x = layer.copy(name=str(number))(x)
        return x


def through(x: Array, *layers: nn.Module) -> Array:
    """The layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def head(widths: tuple[int, ...], name: str | None = None) -> tuple[nn.Module, ...]:
    """What makes outputs of features: nothing, a dense layer, or a Chain of several with a ReLU between each two."""
    if len(widths) < 2:
        return tuple(Dense(width, name=name) for width in widths)
    hidden = [layer for width in widths[:-1] for layer in (Dense(width), Relu())]
    return (Chain((*hidden, Dense(widths[-1])), name=name),)


@functools.partial(jax.jit, static_argnums=(3, 4, 5), inline=True)
def _convolved(x, kernel, bias, stride, padding, before_bias):
    if kernel.shape[2] < x.shape[-1]:
        y = depthwise(x, kernel, stride, padding)
    elif kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
        y = x[:, ::stride, ::stride] @ kernel[0, 0]
    else:
        y = convolve(x, kernel, stride, padding)
    if before_bias is not None:
        y = before_bias(y)
    return y + bias[None, None, None]


@functools.partial(jax.jit, static_argnums=1, inline=True)
def clip(x: Array, maximum: float) -> Array:
    """min(max(x, 0), maximum), whose gradient is 0 at both ends, as torch's ReLU6 has it."""
    return jnp.where((x > 0) & (x < maximum), x, jnp.clip(lax.stop_gradient(x), 0, maximum))


def _shares(length, count):
    """(count, length): the weights of each part's mean."""
    parts = np.arange(count)
    starts, ends = parts * length // count, -(-(parts + 1) * length // count)
    inside = (np.arange(length) >= starts[:, None]) & (np.arange(length) < ends[:, None])
    return inside / inside.sum(axis=1, keepdims=True)


def _both_sides(padding):
    return ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
