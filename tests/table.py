"""The table of explainers: a new one is one row here, and test_conformance.py puts every row through every property.

An oracle computes the row's map in numpy, as literally as its paper states it, from `backprop(x, replace, target)`,
which returns (outputs, activations, gradients) of a tiny net, and the name of the layer; the gradient of the score by
the outputs is the target. A row of `one_class` is for targets that are one class. `lacks` names the properties that a
row does not have, with the reason; that it really lacks them is tested too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from nets import CLASSES, SIDE
from skimage.transform import resize

import jaxplain as jp
from jaxplain.explain import Concept


class Row(NamedTuple):
    name: str
    explain: Callable[..., Any]
    oracle: Callable[..., Any]
    options: dict[str, Any] = {}
    layer: bool = False
    one_class: bool = False
    lacks: dict[str, str] = {}


NOT_LINEAR = {"linear_in_target": "the gradient enters through an absolute value, a rectifier or a quotient"}
AMONG_RIVALS = {"linear_in_target": "what is kept depends on the other classes"}
RATIO = {"linear_in_target": "weights are a quotient or a softmax of scores"}
CLASS_AGNOSTIC = {"linear_in_target": "the target plays no part"}
KEY = jax.random.key(3)
# directions, the last of all negative parts, and the last but one not recognised
_DRAWN = np.random.default_rng(5).normal(size=(8, 4)).astype(np.float32)
CONCEPTS = Concept(
    np.concatenate([_DRAWN[:-1], -abs(_DRAWN[-1:])]),  # pyright: ignore[reportArgumentType] numpy does here
    low=np.array([0.05, 0.1, 0, 0.02, 0.1, 0.3, 0.6, 0.1], np.float32),  # pyright: ignore[reportArgumentType] numpy does here
    high=np.array([1, 0.8, 2, 1.5, 0.4, 0.9, 0.5, 0.7], np.float32),  # pyright: ignore[reportArgumentType] numpy does here
)
QUARTERS = np.kron(np.arange(4).reshape(2, 2), np.ones((3, 3), int))
SEGMENTS = {"segments": QUARTERS, "num_segments": 4}
REFERENCE = np.array([0.7, -0.2, 1.1, 0.4], np.float32)


def _gradient(backprop, x, layer):
    return backprop(x)[2]["x"]


def _saliency(backprop, x, layer):
    return np.abs(backprop(x)[2]["x"]).max(-1)


def _positive_saliency(backprop, x, layer):
    return np.maximum(backprop(x)[2]["x"], 0).max(-1)


def _negative_saliency(backprop, x, layer):
    return np.maximum(-backprop(x)[2]["x"], 0).max(-1)


def _without(loses, reduce):
    """The authors' loop over classes, which sets to 0 what loses against a rival."""

    def oracle(backprop, x, layer):
        gradients = backprop(x)[2]
        kept = gradients["x"].copy()
        for j in range(CLASSES):
            if j != np.argmax(gradients["dense"]):
                kept[loses(kept, backprop(x, target=np.eye(CLASSES)[j])[2]["x"])] = 0
        return reduce(kept)

    return oracle


def _elements(kept):
    return kept


def _over_channels(kept):
    return np.abs(kept).max(-1)


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


def _score(backprop, x, replace=()):
    outputs, _, gradients = backprop(x, replace)
    return outputs @ gradients["dense"]


def _score_cam(backprop, x, layer):
    a, scores = backprop(x)[1][layer], []
    for c in range(a.shape[-1]):
        mask = a[..., c]
        for axis in (0, 1):
            n = a.shape[axis]
            places = (np.arange(SIDE) + 0.5) * n / SIDE - 0.5
            mask = np.apply_along_axis(lambda row: np.interp(places, np.arange(n), row), axis, mask)  # noqa: B023
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        scores.append(_score(backprop, x * mask[..., None]))
    return a @ (np.exp(scores) / np.exp(scores).sum())


def _ablation_cam(backprop, x, layer):
    a, whole, heat = backprop(x)[1][layer], _score(backprop, x), 0
    for c in range(a.shape[-1]):
        ablated = a.copy()
        ablated[..., c] = 0
        heat += (whole - _score(backprop, x, {layer: ablated})) / whole * a[..., c]
    return heat


def _occlusion(window, stride, fill):
    def oracle(backprop, x, layer):
        drops, counts = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
        for i in range(0, SIDE - window + stride, stride):
            for j in range(0, SIDE - window + stride, stride):
                hidden = x.copy()
                hidden[i : i + window, j : j + window] = fill
                drops[i : i + window, j : j + window] += _score(backprop, x) - _score(backprop, hidden)
                counts[i : i + window, j : j + window] += 1
        return drops / np.maximum(counts, 1)

    return oracle


def rise_masks(key, size, samples, cells, keep):
    """RISE's masks (samples, H, W), as its authors make them, from jaxplain's random grids and shifts."""
    cell = [int(np.ceil(length / cells)) for length in size]
    for one in jax.random.split(key, samples):
        grid, *shifts = jax.random.split(one, 3)
        mask = np.asarray(jax.random.bernoulli(grid, keep, (cells, cells)), np.float64)
        large = resize(mask, [(cells + 1) * c for c in cell], order=1, mode="reflect", anti_aliasing=False)
        top, left = (int(jax.random.randint(k, (), 0, c)) for k, c in zip(shifts, cell, strict=True))
        yield large[top : top + size[0], left : left + size[1]]


def _rise(samples, cells, keep, fill):
    def oracle(backprop, x, layer):
        heat = np.zeros(x.shape[:2])
        for mask in rise_masks(KEY, x.shape[:2], samples, cells, keep):
            weight = mask[..., None]
            heat += _score(backprop, x * weight + fill * (1 - weight)) * mask
        return heat / (samples * keep)

    return oracle


def _lime(segments, samples, width, alpha):
    def oracle(backprop, x, layer):
        count = segments.max() + 1
        means = np.stack([x[segments == s].mean(0) for s in range(count)])[segments]
        seen = np.asarray(jax.random.bernoulli(KEY, 0.5, (samples, count)), np.float64)
        seen[0] = 1
        scores = [_score(backprop, np.where(s[segments][..., None] == 1, x, means)) for s in seen]
        cosine = seen.sum(1) / np.maximum(np.sqrt(seen.sum(1) * count), 1e-9)
        weights = np.exp(-((1 - cosine) ** 2) / (2 * width**2))
        features = np.column_stack([seen, np.ones(samples)])
        penalty = alpha * np.diag([1.0] * count + [0])
        normal = features.T @ (weights[:, None] * features) + penalty
        return np.linalg.solve(normal, features.T @ (weights * scores))[:-1][segments]

    return oracle


def _concept_maps(a):
    maps = []
    for v, low, high in zip(*CONCEPTS, strict=True):
        response = np.maximum((v * a).sum(-1), 0)
        maps.append(np.clip((response - low) / (high - low), 0, 1) if high > low else np.zeros(a.shape[:2]))
    return maps


def _concept_map(backprop, x, layer):
    return np.stack(_concept_maps(backprop(x)[1][layer]))


def _concept_attribution(points, weights):
    """The document's equations for one target and for its opposite."""

    def oracle(backprop, x, layer):
        outputs, activations, gradients = backprop(x)
        a, values = activations[layer], np.zeros((2, len(CONCEPTS.low)))
        gains = outputs - backprop(x, {layer: 0 * a})[0]
        for row, target in enumerate((gradients["dense"], -gradients["dense"])):
            path = [backprop(x, {layer: t * a}, target)[2][layer] for t in points]
            positive = np.maximum(sum(w * g for w, g in zip(weights, path, strict=True)) * a, 0)
            share = max(target @ gains, 0) / gains.max()
            scaled = positive / (positive.sum() + 1e-7) * share
            for k, heat in enumerate(_concept_maps(a)):
                masked, seen = ((b * heat[..., None]).sum((0, 1)) for b in (scaled, a))
                u = np.maximum(CONCEPTS.direction[k] * np.where(seen < 0, -1, 1), 0)
                values[row, k] = (u / max(u.max(), 1e-30)) @ masked
        return values

    return oracle


def _per_segment(weigh, rectify):
    """Means in QUARTERS of the map at the image's size, with half-pixel centres."""

    def oracle(backprop, x, layer):
        small = _cam(weigh)(backprop, x, layer)
        heat = np.asarray(resize(small, x.shape[:2], order=1, mode="edge", anti_aliasing=False))
        heat = np.maximum(heat, 0) if rectify else heat
        means = np.array([heat[k == QUARTERS].mean() for k in range(4)])
        return means[QUARTERS]

    return oracle


def _fam(backprop, x, layer):
    """Cosine contributions, min-max normalised, as weights of the channels."""
    a = backprop(x)[1][layer]
    q = a.mean((0, 1))
    k = q * REFERENCE / (np.linalg.norm(q) * np.linalg.norm(REFERENCE))
    weights = (k - k.min()) / (k.max() - k.min())
    return sum(weights[c] * a[..., c] for c in range(len(k)))


def _channel_map(backprop, x, layer):
    return sum(REFERENCE[c] * backprop(x)[1][layer][..., c] for c in range(len(REFERENCE)))


def _smooth(backprop, x, layer):
    noise = [np.asarray(jax.random.normal(key, x.shape)) for key in jax.random.split(KEY, 5)]
    return sum(backprop(x + 0.3 * n)[2]["x"] for n in noise) / 5


def _filter_weights(backprop, x, layer):
    _, activations, gradients = backprop(x)
    a, g = activations[layer], gradients[layer]
    w = np.where((a > 0) & (g > 0), g, 0).mean((0, 1))
    return 100 * w / w.sum() if w.sum() > 0 else w


def _features(backprop, x, layer):
    """The document's steps for four channels: of four that are kept, the two that are nearest are one cluster."""
    a, p = backprop(x)[1][layer], _filter_weights(backprop, x, layer)
    kept = [c for c in range(4) if p[c] > 89.6 / 4]
    clusters = [kept] if kept else []
    if len(kept) == 4:
        rows = [(a[..., c] - a[..., c].min()) / np.ptp(a[..., c]) for c in kept]
        pairs = [(i, j) for i in range(4) for j in range(i)]
        near = min(pairs, key=lambda pair: ((rows[pair[0]] - rows[pair[1]]) ** 2).sum())
        clusters = [list(near), *([c] for c in kept if c not in near)]
    weights = [sum(p[c] for c in cluster) for cluster in clusters]
    order = sorted(range(len(clusters)), key=lambda k: -weights[k])
    least = max(max(weights) / 3, np.mean(weights) / 2) if weights else 0
    maps = np.zeros((8, *a.shape[:2]))
    for place, k in enumerate(k for k in order if weights[k] >= least):
        heat = np.sum([p[c] * a[..., c] for c in clusters[k]], axis=0)
        maps[place] = weights[k] * (heat - heat.min()) / np.ptp(heat) if np.ptp(heat) else 0
    return maps


LEGENDRE_3 = ([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5], [5 / 18, 8 / 18, 5 / 18])
SIMPLE = jp.cam(lambda activation, gradient: gradient**2)


def _concept_maps_of(net, x, target, *, layer):
    return jp.concept_map(net, x, layer=layer, concept=CONCEPTS)


def _concept_values_of(net, x, target, **options):
    targets = jnp.stack([target, -target])
    return jp.over_classes(jp.concept_attribution)(net, x, targets, concepts=CONCEPTS, **options).values


def _fam_of(net, x, target, *, layer):
    return jp.fam(net, x, REFERENCE, layer=layer)


def _channel_map_of(net, x, target, *, layer):
    return jp.channel_map(net, x, REFERENCE, layer=layer)


def _filter_weights_of(net, x, target, *, layer):
    return jp.filter_weights(net, x, target, layers=layer)[layer]


def _features_of(net, x, target, *, layer):
    found = jp.layer_features(net, x, target, layers=layer, key=KEY, clustering="kmeans")[layer]
    return found.weights[:, None, None] * found.maps


TABLE = (
    Row("gradient", jp.gradient, _gradient),
    Row("saliency", jp.saliency, _saliency, lacks=NOT_LINEAR),
    Row("positive_saliency", jp.positive_saliency, _positive_saliency, lacks=NOT_LINEAR),
    Row("negative_saliency", jp.negative_saliency, _negative_saliency, lacks=NOT_LINEAR),
    Row(
        "active_saliency",
        jp.active_saliency,
        _without(np.less_equal, _over_channels),
        {"chunk": 2},
        one_class=True,
        lacks=AMONG_RIVALS,
    ),
    Row(
        "inactive_saliency",
        jp.inactive_saliency,
        _without(np.greater_equal, _over_channels),
        {"chunk": 2},
        one_class=True,
        lacks=AMONG_RIVALS,
    ),
    Row("active", jp.active(jp.gradient), _without(np.less_equal, _elements), one_class=True, lacks=AMONG_RIVALS),
    Row(
        "inactive", jp.inactive(jp.gradient), _without(np.greater_equal, _elements), one_class=True, lacks=AMONG_RIVALS
    ),
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
        {"steps": 4, "rule": "trapezoid"},
        layer=True,
    ),
    Row("grad_cam", jp.grad_cam, _cam(lambda a, g: g.mean()), layer=True),
    Row("grad_cam_plus_plus", jp.grad_cam_plus_plus, _cam(_plus_plus), layer=True, lacks=NOT_LINEAR),
    Row("xgrad_cam", jp.xgrad_cam, _cam(lambda a, g: (g * a).sum() / (a.sum() + 1e-7)), layer=True),
    Row("hires_cam", jp.hires_cam, _cam(lambda a, g: g), layer=True),
    Row("layer_cam", jp.layer_cam, _cam(lambda a, g: np.maximum(g, 0)), layer=True, lacks=NOT_LINEAR),
    Row("cam", SIMPLE, _cam(lambda a, g: g**2), layer=True, lacks=NOT_LINEAR),
    Row("eigen_cam", jp.eigen_cam, _eigen, layer=True, lacks=CLASS_AGNOSTIC),
    Row("score_cam", jp.score_cam, _score_cam, {"chunk": 3}, layer=True, lacks=RATIO),
    Row("ablation_cam", jp.ablation_cam, _ablation_cam, {"chunk": 3}, layer=True, lacks=RATIO),
    Row(
        "occlusion",
        jp.occlusion,
        _occlusion(3, 2, (0.1, -0.2, 0.3)),
        {"window": 3, "stride": 2, "fill": np.array((0.1, -0.2, 0.3), np.float32), "chunk": 4},
    ),
    Row(
        "rise",
        jp.rise,
        _rise(6, 4, 0.7, 0.2),
        {"key": KEY, "samples": 6, "cells": 4, "keep": 0.7, "fill": 0.2, "chunk": 4},
    ),
    Row(
        "lime",
        jp.lime,
        _lime(QUARTERS, 12, 0.25, 0.5),
        {"key": KEY, "segments": QUARTERS, "num_segments": 4, "samples": 12, "alpha": 0.5, "chunk": 5},
    ),
    Row("concept_map", _concept_maps_of, _concept_map, layer=True, lacks=CLASS_AGNOSTIC),
    Row(
        "concept_attribution",
        _concept_values_of,
        _concept_attribution((0, 0.25, 0.5, 0.75, 1), (1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8)),
        {"steps": 4},
        layer=True,
        lacks=NOT_LINEAR,
    ),
    Row(
        "concept_attribution_chunked",
        _concept_values_of,
        _concept_attribution(*LEGENDRE_3),
        {"steps": 3, "rule": "gauss_legendre", "chunk": 2},
        layer=True,
        lacks=NOT_LINEAR,
    ),
    Row("fam", _fam_of, _fam, layer=True, lacks=CLASS_AGNOSTIC),
    Row("channel_map", _channel_map_of, _channel_map, layer=True, lacks=CLASS_AGNOSTIC),
    Row("filter_weights", _filter_weights_of, _filter_weights, layer=True, lacks=RATIO),
    Row("layer_features", _features_of, _features, layer=True, lacks=RATIO),
    Row("secam", jp.secam, _per_segment(lambda a, g: g, True), SEGMENTS, layer=True, lacks=NOT_LINEAR),
    Row(
        "per_segment",
        jp.per_segment(jp.grad_cam),
        _per_segment(lambda a, g: g.mean(), False),
        SEGMENTS | {"rectify": False},
        layer=True,
    ),
    Row("smooth", jp.smooth(jp.gradient, samples=5, sigma=0.3), _smooth, {"key": KEY}),
    Row("smooth_chunked", jp.smooth(jp.gradient, samples=5, sigma=0.3, chunk=2), _smooth, {"key": KEY}),
)
