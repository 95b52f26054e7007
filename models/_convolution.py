"""Convolution and pooling of batches (B, H, W, C), in the forms that XLA compiles well.

Padding is ((top, bottom), (left, right)); kernels are (h, w, C, D), of depthwise convolutions (h, w, 1, C).
docs/decisions.md has the measurements.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxplain.models._winograd import SIDES, winograd

Sides = tuple[tuple[int, int], tuple[int, int]]


def convolve(
    x: Array, kernel: Array, stride: int, padding: Sides, turned: bool = False, precision: str | None = None
) -> Array:
    """Convolution of (B, H, W, C) with (kh, kw, C, D): (B, h, w, D).

    With a `turned` kernel (kh, kw, D, C), it is flipped along height and width: this is the form of the gradient by x,
    which is written as an ordinary convolution, because the form that differentiation makes leaves the fast path of
    XLA's CPU backend inside loops. The precision is by default what `jax.default_matmul_precision` is here, and not
    where it is lowered.
    """
    precision = precision or jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    return _convolution.bind(x, kernel, stride=stride, padding=padding, turned=turned, precision=precision)


def _general(x, kernel, stride, padding, turned, precision=None):
    kernel = _turned(kernel) if turned else kernel
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout, precision=precision)


def _turned(kernel):
    """Flipped along height and width, its channels swapped, and kept so: XLA would undo it, and be slow in loops."""
    return lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))


def _on_cpu(x, kernel, stride, padding, turned, precision):
    del precision  # a CPU's products keep all digits
    return _form_on_cpu(x, kernel, stride, padding, turned)(x, kernel, stride, padding, turned)


def _form_on_cpu(x, kernel, stride, padding, turned):
    """The form that was measured to be the fastest on CPUs."""
    taps = kernel.shape[:2]
    height, width = ((x.shape[1 + a] + sum(padding[a]) - taps[a]) // stride + 1 for a in (0, 1))
    if x.dtype != jnp.float32:
        return _general
    if not turned and math.prod(kernel.shape[:3]) <= 64:
        return _by_patches
    # Seven taps along both axes would round too much; with few channels the transforms outweigh the products.
    filtered = all((tap, stride) in SIDES for tap in taps) and math.prod(taps) <= 9 and min(kernel.shape[2:]) > 32
    if filtered and min(height, width) >= 4 and len(x) * height * width >= 256:
        return winograd
    return _even


def _by_patches(x, kernel, stride, padding, turned):
    """One product of matrices for each image: all its windows, as rows, with the kernel, which is not turned."""
    del turned
    x = _pad(x, padding)
    h, w = ((x.shape[1 + axis] - kernel.shape[axis]) // stride + 1 for axis in (0, 1))

    def one(image):
        strips = jnp.concatenate([_strided(image, 1, j, w, stride) for j in range(kernel.shape[1])], axis=-1)
        strips = lax.optimization_barrier(strips)
        patches = jnp.concatenate([_strided(strips, 0, i, h, stride) for i in range(kernel.shape[0])], axis=-1)
        return patches @ kernel.reshape(-1, kernel.shape[-1])

    return lax.map(one, x)


def _even(x, kernel, stride, padding, turned):
    """The general form, with columns to spare where their number is odd: XLA's is up to seven times as slow there."""
    rows, (left, right) = padding
    width = (x.shape[2] + left + right - kernel.shape[1]) // stride + 1
    spare = -width % (8 if width > 64 else 2)
    return _general(x, kernel, stride, (rows, (left, right + spare * stride)), turned)[:, :, :width]


def _by_x(g, x, kernel, stride, padding, turned, precision):
    """The gradient g (B, h, w, D) spread apart by the stride, convolved with the kernel turned round."""
    shape = x.aval.shape
    if stride > 1 and not turned and kernel.shape[2] <= 4:
        return _by_x_in_blocks(g, kernel, shape, stride, padding, precision)
    reach = []
    for axis in (0, 1):
        low = kernel.shape[axis] - 1 - padding[axis][0]
        spread = (g.shape[1 + axis] - 1) * stride + 1
        reach.append((low, shape[1 + axis] - spread - low + kernel.shape[axis] - 1))
    if stride == 1:
        return convolve(g, kernel, 1, tuple(reach), not turned, precision)
    kernel = kernel if turned else _turned(kernel)
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        g, kernel, (1, 1), reach, lhs_dilation=(stride, stride), dimension_numbers=layout, precision=precision
    )


def _by_x_in_blocks(g, kernel, shape, stride, padding, precision):
    """The same for few channels. With its blocks of stride x stride as channels x is convolved with stride 1."""
    kh, kw, channels, _ = kernel.shape
    rows, columns = -(-kh // stride), -(-kw // stride)
    blocks = jnp.pad(kernel, ((0, rows * stride - kh), (0, columns * stride - kw), (0, 0), (0, 0)))
    blocks = blocks.reshape(rows, stride, columns, stride, channels, -1).swapaxes(1, 2)
    blocks = blocks.reshape(rows, columns, stride**2 * channels, -1)
    y = convolve(g, blocks, 1, ((rows - 1, rows - 1), (columns - 1, columns - 1)), True, precision)
    height, width = y.shape[1] * stride, y.shape[2] * stride
    y = y.reshape(*y.shape[:3], stride, stride, channels).swapaxes(2, 3).reshape(-1, height, width, channels)
    (top, _), (left, _) = padding
    return _pad(y, ((-top, shape[1] + top - height), (-left, shape[2] + left - width)))


def _pad(x, padding):
    """Rows and columns of zeros around x, or fewer rows and columns where padding is negative."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)))


def _by_kernel(g, x, kernel, stride, padding, turned, precision):
    shape = jax.ShapeDtypeStruct(kernel.aval.shape, kernel.aval.dtype)
    return jax.linear_transpose(lambda kernel: _general(x, kernel, stride, padding, turned, precision), shape)(g)[0]


def _result(*operands, **how):
    return jax.make_jaxpr(functools.partial(_general, **how))(*operands).out_avals[0]


def _over_images(operands, axes, **how):
    """Under vmap, a batch of batches is one larger batch: the best form depends on the number of images."""
    (x, kernel), (axis, kernels) = operands, axes
    if kernels is not None:
        return jax.vmap(functools.partial(_general, **how), axes)(x, kernel), 0
    x = jnp.moveaxis(x, axis, 0)
    y = convolve(x.reshape(-1, *x.shape[2:]), kernel, **how)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


# A primitive of its own, because it has to be linear in x for forward and reverse mode, and see its batch under vmap.
_convolution = Primitive("convolution")
_jitted = functools.partial(jax.jit, static_argnames=("stride", "padding", "turned", "precision"))
_convolution.def_impl(_jitted(convolve))
_convolution.def_abstract_eval(_result)
mlir.register_lowering(_convolution, mlir.lower_fun(_general, multiple_results=False))
# jitted, so that each shape is traced once and not for every program
mlir.register_lowering(_convolution, mlir.lower_fun(_jitted(_on_cpu), multiple_results=False), platform="cpu")
ad.defbilinear(_convolution, _by_x, _by_kernel)
batching.primitive_batchers[_convolution] = _over_images


@functools.partial(jax.jit, static_argnums=(2, 3), inline=True)
def depthwise(x: Array, kernel: Array, stride: int, padding: Sides) -> Array:
    """Each channel of (B, H, W, C) with its own window of (kh, kw, 1, C), as a sum of shifted products."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    h, w = ((x.shape[1 + axis] - kernel.shape[axis]) // stride + 1 for axis in (0, 1))
    products = (
        _strided(_strided(x, 1, i, h, stride), 2, j, w, stride) * kernel[i, j][None, None]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    return functools.reduce(jnp.add, products)


@functools.partial(jax.jit, static_argnums=(1, 2, 3), inline=True)
def max_pool(x: Array, size: int, stride: int, padding: int) -> Array:
    """The largest value in each window of (B, H, W, C), as maxima of strided slices."""
    sides = (padding, padding, 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), [(0, 0, 0), sides, sides, (0, 0, 0)])
    return _largest(_largest(x, 2, size, stride), 1, size, stride)


@functools.partial(jax.jit, inline=True)
def mean_pool(x: Array) -> Array:
    """The mean over 3x3 around each position of (B, H, W, C), zeros outside the image counted."""
    for axis in (1, 2):
        length = x.shape[axis]
        x = jnp.pad(x, [(int(a == axis), int(a == axis)) for a in range(x.ndim)])
        x = functools.reduce(jnp.add, (_strided(x, axis, start, length, 1) for start in range(3)))
    return x / 9


def _strided(x, axis, start, count, stride):
    return lax.slice_in_dim(x, start, start + (count - 1) * stride + 1, stride, axis)


def _largest(x, axis, size, stride):
    """The maximum over windows along one axis; of equal values the first gets the gradient, as in torch."""
    count = (x.shape[axis] - size) // stride + 1
    best = _strided(x, axis, 0, count, stride)
    for start in range(1, size):
        other = _strided(x, axis, start, count, stride)
        best = jnp.where(other > best, other, best)
    return best
