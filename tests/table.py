"""The table of explainers: a new one is one row here, and test_conformance.py puts every row through every property.

An oracle computes the row's map in numpy, as literally as its paper states it, from `backprop(x, replace)`, which
returns (outputs, activations, gradients) of a tiny net, and the name of the layer. `lacks` names the properties that a
row does not have, with the reason; that it really lacks them is tested too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxplain as jp


class Row(NamedTuple):
    name: str
    explain: Callable[..., Any]
    oracle: Callable[..., Any]
    options: dict[str, Any] = {}
    layer: bool = False
    lacks: dict[str, str] = {}


NOT_LINEAR = {"linear_in_target": "the gradient enters through an absolute value, a rectifier or a quotient"}
CLASS_AGNOSTIC = {"linear_in_target": "the target plays no part"}
KEY = jax.random.key(3)


def _gradient(backprop, x, layer):
    return backprop(x)[2]["x"]


def _saliency(backprop, x, layer):
    return np.abs(backprop(x)[2]["x"]).max(-1)


def _gradient_times_input(backprop, x, layer):
    return x * backprop(x)[2]["x"]


def _integrated(points, weights, baseline=0.0):
    def oracle(backprop, x, layer):
        gradients = [backprop(baseline + t * (x - baseline))[2]["x"] for t in points]
        return (x - baseline) * sum(w * g for w, g in zip(weights, gradients, strict=True))

    return oracle


def _integrated_at_layer(backprop, x, layer):
    a = backprop(x)[1][layer]
    inner = [backprop(x, {layer: t * a})[2][layer] for t in (0, 0.25, 0.5, 0.75, 1)]
    return a * (0.5 * inner[0] + inner[1] + inner[2] + inner[3] + 0.5 * inner[4]) / 4


def _cam(weigh):
    def oracle(backprop, x, layer):
        _, activations, gradients = backprop(x)
        a, g = activations[layer], gradients[layer]
        heat = np.zeros(a.shape[:2])
        for c in range(a.shape[-1]):
            heat += weigh(a[..., c], g[..., c]) * a[..., c]
        return heat

    return oracle


def _plus_plus(a, g):
    alpha = np.zeros_like(g)
    np.divide(g**2, 2 * g**2 + g**3 * a.sum() + 1e-6, out=alpha, where=g > 0)
    return (alpha * np.maximum(g, 0)).sum()


def _eigen(backprop, x, layer):
    a = backprop(x)[1][layer]
    rows = a.reshape(-1, a.shape[-1])
    rows = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    direction = vectors[:, np.argmax(values)]
    return (rows @ direction * (1 if direction.sum() >= 0 else -1)).reshape(a.shape[:2])


def _smooth(backprop, x, layer):
    noise = [np.asarray(jax.random.normal(key, x.shape)) for key in jax.random.split(KEY, 5)]
    return sum(backprop(x + 0.3 * n)[2]["x"] for n in noise) / 5


LEGENDRE_3 = ([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5], [5 / 18, 8 / 18, 5 / 18])
SIMPLE = jp.cam(lambda activation, gradient: gradient**2)

TABLE = (
    Row("gradient", jp.gradient, _gradient),
    Row("saliency", jp.saliency, _saliency, lacks=NOT_LINEAR),
    Row("gradient_times_input", jp.gradient_times_input, _gradient_times_input),
    Row("integrated_gradients", jp.integrated_gradients, _integrated(*LEGENDRE_3), {"steps": 3}),
    Row("integrated_gradients_chunked", jp.integrated_gradients, _integrated(*LEGENDRE_3), {"steps": 3, "chunk": 2}),
    Row(
        "integrated_gradients_from_grey",
        jp.integrated_gradients,
        _integrated((0, 0.5), (0.5, 0.5), 0.5),
        {"steps": 2, "rule": "left", "baseline": np.full((6, 6, 3), 0.5, np.float32)},
    ),
    Row(
        "integrated_gradients_at_layer",
        jp.integrated_gradients,
        _integrated_at_layer,
        {"steps": 5, "rule": "trapezoid"},
        layer=True,
    ),
    Row("grad_cam", jp.grad_cam, _cam(lambda a, g: g.mean()), layer=True),
    Row("grad_cam_plus_plus", jp.grad_cam_plus_plus, _cam(_plus_plus), layer=True, lacks=NOT_LINEAR),
    Row("xgrad_cam", jp.xgrad_cam, _cam(lambda a, g: (g * a).sum() / (a.sum() + 1e-7)), layer=True),
    Row("hires_cam", jp.hires_cam, _cam(lambda a, g: g), layer=True),
    Row("layer_cam", jp.layer_cam, _cam(lambda a, g: np.maximum(g, 0)), layer=True, lacks=NOT_LINEAR),
    Row("cam", SIMPLE, _cam(lambda a, g: g**2), layer=True, lacks=NOT_LINEAR),
    Row("eigen_cam", jp.eigen_cam, _eigen, layer=True, lacks=CLASS_AGNOSTIC),
    Row("smooth", jp.smooth(jp.gradient, draws=5, sigma=0.3), _smooth, {"key": KEY}),
    Row("smooth_chunked", jp.smooth(jp.gradient, draws=5, sigma=0.3, chunk=2), _smooth, {"key": KEY}),
)
