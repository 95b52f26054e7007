"""Convolution and pooling of batches (B, H, W, C), in the forms that XLA compiles well.

Padding is ((top, bottom), (left, right)); kernels are (h, w, C, D), of depthwise convolutions (h, w, 1, C).
docs/decisions.md has the measurements.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

Sides = tuple[tuple[int, int], tuple[int, int]]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, kernel: Array, stride: int, padding: Sides) -> Array:
    """Convolution of (B, H, W, C) with (kh, kw, C, D): (B, h, w, D).

    Its gradient by x is written as an ordinary convolution: the form that differentiation makes leaves the fast path of
    XLA's CPU backend inside loops. So it has no forward-mode derivative.
    """
    return _convolve(x, kernel, stride, padding)


def _general(x, kernel, stride, padding):
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def _plain(x, kernel, stride, padding):
    general = functools.partial(_general, stride=stride, padding=padding)
    on_cpu = _form_on_cpu(x.shape, kernel.shape, stride, padding)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=general) if on_cpu else general(x, kernel)


def _form_on_cpu(shape, kernel_shape, stride, padding):
    """The form that was measured to be faster than the general one on CPUs, or None."""
    sides = [(shape[1 + axis] + sum(padding[axis]) - kernel_shape[axis]) // stride + 1 for axis in (0, 1)]
    if kernel_shape[:2] != (3, 3) or min(map(min, padding)) < 0:
        return None
    if stride == 1 and min(sides) >= 14 and max(sides) <= 64:
        return functools.partial(winograd, padding=padding)
    if max(sides) <= 7:
        return functools.partial(_over_window, stride=stride, padding=padding, product=jnp.matmul)
    return None


def winograd(x: Array, kernel: Array, padding: Sides) -> Array:
    """3x3 convolution with stride 1 by tiles of 2x2 outputs: 16 products of matrices instead of 36.

    Winograd's F(2x2, 3x3): the input's 4x4 tiles and the kernel are transformed along both axes, multiplied element by
    element, which is a matrix product over channels, and transformed back.

    Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
    """
    (top, bottom), (left, right) = padding
    height, width = x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2
    rows, columns = -(-height // 2), -(-width // 2)
    x = jnp.pad(x, ((0, 0), (top, bottom + height % 2), (left, right + width % 2), (0, 0)))
    kernels = [_kernel_side(row) for row in _kernel_side(kernel)]
    products = [
        [tile @ kernels[i][j] for j, tile in enumerate(_input_side(row, 2, columns))]
        for i, row in enumerate(_input_side(x, 1, rows))
    ]
    pairs = [_output_side(column) for column in zip(*products, strict=True)]
    quads = [_output_side(row) for row in zip(*pairs, strict=True)]
    y = jnp.stack([jnp.stack(quad, axis=3) for quad in quads], axis=2)
    return y.reshape(x.shape[0], 2 * rows, 2 * columns, -1)[:, :height, :width]


def _kernel_side(k):
    return k[0], (k[0] + k[1] + k[2]) / 2, (k[0] - k[1] + k[2]) / 2, k[2]


def _input_side(x, axis, count):
    a, b, c, d = (_strided(x, axis, start, count, 2) for start in range(4))
    return a - c, b + c, c - b, b - d


def _output_side(m):
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _forward(x, kernel, stride, padding):
    return _plain(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, saved, g):
    x, kernel = saved
    (by_kernel,) = jax.linear_transpose(lambda kernel: _general(x, kernel, stride, padding), kernel)(g)
    return _by_x(g, kernel, x.shape, stride, padding), by_kernel


def _by_x(g, kernel, shape, stride, padding):
    """The gradient g (B, h, w, D) spread apart by the stride, convolved with the kernel turned round."""
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    reach = []
    for axis in (0, 1):
        low = kernel.shape[axis] - 1 - padding[axis][0]
        spread = (g.shape[1 + axis] - 1) * stride + 1
        reach.append((low, shape[1 + axis] - spread - low + kernel.shape[axis] - 1))
    if stride == 1:
        return _plain(g, turned, 1, tuple(reach))
    return lax.conv_general_dilated(g, turned, (1, 1), reach, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT)


_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2, 3))
_convolve.defvjp(_forward, _backward)


@functools.partial(jax.jit, static_argnums=(2, 3), inline=True)
def depthwise(x: Array, kernel: Array, stride: int, padding: Sides) -> Array:
    """Each channel of (B, H, W, C) with its own window of (kh, kw, 1, C), as a sum of shifted products."""
    return _over_window(x, kernel, stride, padding, lambda shifted, k: shifted * k[None, None])


def _over_window(x, kernel, stride, padding, product):
    """The sum over the window of product(x shifted to that place, the kernel there)."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    h, w = ((x.shape[1 + axis] - kernel.shape[axis]) // stride + 1 for axis in (0, 1))
    products = (
        product(_strided(_strided(x, 1, i, h, stride), 2, j, w, stride), kernel[i, j])
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
        x = sum(_strided(x, axis, start, length, 1) for start in range(3))
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
