"""Two tiny nets whose every value can be computed by hand, each in JAX and, literally, in numpy.

`ridge` has a convolution, a ReLU and a mean over positions: activations are never negative and every layer is a cut.
`branch` has a strided convolution, a side branch that a shortcut by-passes, and a dense layer on all positions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxplain.net import untouched

SIDE, CLASSES = 6, 5


class Tiny(NamedTuple):
    """A net's function of its parameters, the same in numpy with its gradients, and the layer that tests look at."""

    name: str
    apply: Callable[..., Any]
    backprop: Callable[..., Any]
    shapes: dict[str, tuple[int, ...]]
    layer: str


def params(tiny: Tiny, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in tiny.shapes.items()}


def net(tiny: Tiny, values: dict[str, np.ndarray]):
    return Partial(tiny.apply, jax.tree.map(jnp.asarray, values))


def images(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, 3)).astype(np.float32)


def targets(count: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, CLASSES)).astype(np.float32)


def _conv(x, kernel, stride, padding):
    pads = ((padding, padding), (padding, padding))
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x[None], kernel, (stride, stride), pads, dimension_numbers=layout)[0]


def _apply_ridge(p, x, site=untouched):
    a = site("conv", _conv(x, p["kernel"], 1, 0) + p["bias"][None, None])
    a = site("relu", jnp.maximum(a, 0))
    a = site("pool", jnp.mean(a, axis=(0, 1)))
    return site("dense", a @ p["dense"] + p["offset"])


def _apply_branch(p, x, site=untouched):
    a = site("stem", _conv(x, p["kernel"], 2, 1) + p["bias"][None, None])
    a = site("act", jnp.tanh(a))
    b = site("side", jnp.tanh(a @ p["side"]))
    a = site("sum", a + b)
    return site("dense", a.ravel() @ p["dense"] + p["offset"])


def numpy_conv(x, kernel, stride, padding):
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    h, w = ((x.shape[axis] - kernel.shape[axis]) // stride + 1 for axis in (0, 1))
    out = np.zeros((h, w, kernel.shape[3]))
    for i in range(h):
        for j in range(w):
            window = x[i * stride : i * stride + kernel.shape[0], j * stride : j * stride + kernel.shape[1]]
            out[i, j] = np.einsum("hwc,hwcd->d", window, kernel)
    return out


def numpy_conv_by_x(g, x, kernel, stride, padding):
    dx = np.zeros((x.shape[0] + 2 * padding, x.shape[1] + 2 * padding, x.shape[2]))
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            dx[i * stride : i * stride + kernel.shape[0], j * stride : j * stride + kernel.shape[1]] += kernel @ g[i, j]
    return dx[padding : padding + x.shape[0], padding : padding + x.shape[1]]


def _replaced(found, replace, name, value):
    found[name] = np.asarray(replace.get(name, value), np.float64)
    return found[name]


def _backprop_ridge(p, x, target, replace=()):
    p = {name: value.astype(np.float64) for name, value in p.items()}
    a, replace = {}, dict(replace)
    conv = _replaced(a, replace, "conv", numpy_conv(x, p["kernel"], 1, 0) + p["bias"])
    relu = _replaced(a, replace, "relu", np.maximum(conv, 0))
    pool = _replaced(a, replace, "pool", relu.mean((0, 1)))
    outputs = pool @ p["dense"] + p["offset"]
    g = {"dense": target, "pool": p["dense"] @ target}
    g["relu"] = np.broadcast_to(g["pool"], relu.shape) / (relu.shape[0] * relu.shape[1])
    g["conv"] = g["relu"] * (conv > 0)
    g["x"] = numpy_conv_by_x(g["conv"], x, p["kernel"], 1, 0)
    return outputs, a, g


def _backprop_branch(p, x, target, replace=()):
    p = {name: value.astype(np.float64) for name, value in p.items()}
    a, replace = {}, dict(replace)
    stem = _replaced(a, replace, "stem", numpy_conv(x, p["kernel"], 2, 1) + p["bias"])
    act = _replaced(a, replace, "act", np.tanh(stem))
    side = _replaced(a, replace, "side", np.tanh(act @ p["side"]))
    total = _replaced(a, replace, "sum", act + side)
    outputs = total.ravel() @ p["dense"] + p["offset"]
    g = {"dense": target, "sum": (p["dense"] @ target).reshape(total.shape)}
    g["side"] = g["sum"]
    g["act"] = g["sum"] + (g["side"] * (1 - side**2)) @ p["side"].T
    g["stem"] = g["act"] * (1 - act**2)
    g["x"] = numpy_conv_by_x(g["stem"], x, p["kernel"], 2, 1)
    return outputs, a, g


RIDGE = Tiny(
    "ridge",
    _apply_ridge,
    _backprop_ridge,
    {"kernel": (3, 3, 3, 4), "bias": (4,), "dense": (4, CLASSES), "offset": (CLASSES,)},
    "relu",
)
BRANCH = Tiny(
    "branch",
    _apply_branch,
    _backprop_branch,
    {"kernel": (3, 3, 3, 4), "bias": (4,), "side": (4, 4), "dense": (3 * 3 * 4, CLASSES), "offset": (CLASSES,)},
    "side",
)
TINY = (RIDGE, BRANCH)
