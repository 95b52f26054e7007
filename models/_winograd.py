"""Convolutions with fewer multiplications: Winograd's minimal filtering, along each axis by itself.

A tile of the input is transformed, multiplied by the transformed kernel element by element, which is a matrix product
over channels for each element, and transformed back. So a 3x3 convolution takes 16 products of matrices for each 2x2
outputs instead of 36, and 25 with stride 2; seven taps take 9 for three outputs instead of 21. Rounding errors stay
below 1e-5 of the largest value.

Winograd, "Arithmetic Complexity of Computations", 1980; Lavin, Gray, "Fast Algorithms for Convolutional Neural
Networks", 2015.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Padding = tuple[tuple[int, int], tuple[int, int]]
Transform = Callable[[Sequence[Array]], Sequence[Array]]

_AT_ONCE = 450e6  # bytes of transformed tiles that are worked on at a time; a loop over fewer images takes longer


class Side(NamedTuple):
    """How one axis is filtered: tiles of `window` inputs, `step` apart, give `outputs` outputs each.

    The outputs are from_products(p), where p[i] = of_input(tile)[i] * of_kernel(kernel)[i].
    """

    window: int
    step: int
    outputs: int
    of_input: Transform
    of_kernel: Transform
    from_products: Transform


def interpolated(taps: int, outputs: int, points: Sequence[float]) -> Side:
    """The filter with stride 1 by the values of polynomials at points, taps + outputs - 2 of them, and at infinity.

    With few and small points rounding errors are small.
    """
    others = [[q for q in points if q != p] for p in points]
    of_input = [[*np.poly(roots)[::-1], 0] for roots in others] + [np.poly(points)[::-1]]
    scales = [np.prod(np.subtract(p, roots)) for p, roots in zip(points, others, strict=True)]
    of_kernel = [[p**k / scale for k in range(taps)] for p, scale in zip(points, scales, strict=True)]
    from_products = [[p**k for k in range(outputs)] for p in points]
    return Side(
        window=taps + outputs - 1,
        step=outputs,
        outputs=outputs,
        of_input=_combinations(of_input),
        of_kernel=_combinations([*of_kernel, np.eye(taps)[-1]]),
        from_products=_combinations(np.transpose([*from_products, np.eye(outputs)[-1]])),
    )


def _combinations(matrix):
    """The function from arrays to their sums with each row's coefficients."""
    rows = [[float(c) for c in row] for row in matrix]

    def of(arrays):
        return [reduce(add, [c * a for c, a in zip(row, arrays, strict=True) if c]) for row in rows]

    return of


# By the number of taps and the stride. With stride 2, the taps 0 and 2 are a filter of two taps on every other input.
SIDES = {
    (1, 1): Side(1, 1, 1, lambda x: x, lambda k: k, lambda p: p),
    (3, 1): interpolated(3, 2, (0.0, 1.0, -1.0)),
    (7, 1): interpolated(7, 3, (1 / 4, -1 / 4, 2 / 3, -2 / 3, 1.0, -1.0, 2.0, -2.0)),
    (3, 2): Side(
        window=5,
        step=4,
        outputs=2,
        of_input=lambda x: (x[0] - x[2], x[2], x[4] - x[2], x[1], x[3]),
        of_kernel=lambda k: (k[0], k[0] + k[2], k[2], k[1], k[1]),
        from_products=lambda p: (p[0] + p[1] + p[3], p[1] + p[2] + p[4]),
    ),
}


def winograd(x: Array, kernel: Array, stride: int, padding: Padding, turned: bool) -> Array:
    """Convolution of (B, H, W, C) with (kh, kw, C, D): (B, h, w, D), for the taps and strides of SIDES.

    A `turned` kernel is (kh, kw, D, C) and flipped along height and width; swapping its channels would take longer than
    the products. Images are worked on together unless their tiles would need too much memory.
    """
    rows, columns = (SIDES[taps, stride] for taps in kernel.shape[:2])
    sizes = [(x.shape[1 + a] + sum(padding[a]) - kernel.shape[a]) // stride + 1 for a in (0, 1)]
    counts = [-(-size // side.outputs) for size, side in zip(sizes, (rows, columns), strict=True)]
    kernel = kernel[::-1, ::-1] if turned else kernel
    kernels = [columns.of_kernel(list(row)) for row in rows.of_kernel(list(kernel))]
    x = _padded(x, [low for low, _ in padding], (rows, columns), counts)

    def filtered(x):
        products = [
            columns.from_products(
                [
                    _product(tile, k, turned)
                    for tile, k in zip(columns.of_input(_windows(row, 2, columns)), ks, strict=True)
                ]
            )
            for row, ks in zip(rows.of_input(_windows(x, 1, rows)), kernels, strict=True)
        ]
        tiles = zip(*(rows.from_products(column) for column in zip(*products, strict=True)), strict=True)
        y = jnp.stack([jnp.stack(row, axis=3) for row in tiles], axis=2)
        y = y.reshape(x.shape[0], counts[0] * rows.outputs, counts[1] * columns.outputs, -1)
        return y[:, : sizes[0], : sizes[1]]

    elements = len(kernels) * len(kernels[0]) * counts[0] * counts[1] * sum(kernel.shape[2:])
    return _in_chunks(filtered, x, int(_AT_ONCE // (elements * x.dtype.itemsize)))


def _product(tile, kernel, turned):
    return lax.dot_general(tile, kernel, (((tile.ndim - 1,), (int(turned),)), ((), ())))


def _padded(x, low, sides, counts):
    """x so that its windows are whole: with `low` zeros before, and what is missing after it, on both axes."""
    high = [
        (count - 1) * side.step + side.window - before - length
        for count, side, before, length in zip(counts, sides, low, x.shape[1:3], strict=True)
    ]
    (top, left), (bottom, right) = low, high
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _windows(x, axis, side):
    """The first, second, ... elements of all windows along an axis."""
    end = x.shape[axis] - side.window + 1
    return [lax.slice_in_dim(x, i, i + end, side.step, axis) for i in range(side.window)]


def _in_chunks(f, x, most):
    """f(x), computed for up to `most` images at a time, at least one."""
    chunks = -(-len(x) // max(most, 1))
    if chunks <= 1:
        return f(x)
    return lax.map(lambda image: f(image[None])[0], x, batch_size=-(-len(x) // chunks))
