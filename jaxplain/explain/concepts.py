"""Concepts: where a layer sees one, and how much of a class's evidence passes through it.

A concept is fitted at one layer of one net, on the activations of images that show it and of random images; A is the
layer's activation (h, w, C) of the image that is explained. Targets are classes: one_hot(k, n), and for a net with one
output [1.] for class 0, which raises it, and [-1.] for class 1. Activations may have both signs.

De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
Explainability in Image Classification", 2024. The formulas are those of the authors' code.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain.net import Net, view
from jaxplain.quadrature import each, nodes, weighted_sum
from jaxplain.target import score

Activations = ArrayLike | Iterable[ArrayLike]

_EPSILON = 1e-7
_AT_ONCE = 8  # points of a path that are evaluated at a time on the host


class Concept(NamedTuple):
    """A direction (C,) among a layer's channels, and the scale of its maps: `low` and `high`, scalars.

    The layer does not recognise the concept where high <= low: its maps are zero. k stacked concepts have a leading
    axis k on each.
    """

    direction: Array
    low: Array
    high: Array


class Attribution(NamedTuple):
    """What k concepts account for, `values` (k,), of a class's `share`, a scalar, with an `error`, a scalar.

    The share is the class's gain in its logit over zero activations, relative to the largest gain of any class; each
    value is between 0 and the share. The error is |sum(B) - gain| / |gain|, of the integrated gradients B; where the
    gain is 0, it is |sum(B)|.
    """

    values: Array
    share: Array
    error: Array


def stack_concepts(concepts: Sequence[Concept]) -> Concept:
    """k concepts of one layer as one Concept whose arrays have a leading axis: directions (k, C), low and high (k,)."""
    shapes = [jnp.shape(concept.direction) for concept in concepts]
    if not shapes or len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise ValueError(f"The concepts have directions {shapes}, but one or more of the same shape (C,) are expected.")
    return jax.tree.map(lambda *arrays: jnp.stack([jnp.asarray(a, jnp.float32) for a in arrays]), *concepts)


def fit_concept(concept_activations: Activations, random_activations: Activations) -> Concept:
    """The Concept that activations (N, h, w, C) of its images show and those of random images do not.

    The direction (C,) is the difference of the two means over images and positions. With R(A) = relu(A . direction),
    an image's emblem is sum(R^2) / (sum(R) + 1e-7); `high` is the median of the concept images' emblems and `low`
    that of the random images', both of the value at place round((N - 1) / 2) in order, halves to even.

    Either is an array, or an iterable of such arrays that can be read twice, as a list or an object that computes them
    a batch at a time; one vector and one number are kept for each image. ValueError for an iterator, which can be read
    once only, fewer than two images, a layer without positions, shapes that differ, and activations that are not
    finite.

    De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
    Explainability in Image Classification", 2024.
    """
    return jax.tree.map(lambda a: a[0], fit_concepts([concept_activations], random_activations))


def fit_concepts(concept_activations: Sequence[Activations], random_activations: Activations) -> Concept:
    """k concepts (k, C) fitted with the same random images, as `fit_concept` does, from two readings of these."""
    *means, centre = [pooled(a).mean(axis=0) for a in (*concept_activations, random_activations)]
    if any(mean.shape != centre.shape for mean in means):
        widths = sorted({*map(len, means), len(centre)})
        raise ValueError(f"The activations have {widths} channels, but all of them have to be of one layer.")
    directions = (np.stack(means) - centre).astype(np.float32)
    highs = [emblems(a, directions[[k]])[:, 0] for k, a in enumerate(concept_activations)]
    return Concept(
        jnp.asarray(directions),
        low=jnp.asarray(rank_median(emblems(random_activations, directions))),
        high=jnp.asarray([rank_median(high) for high in highs]),
    )


def pooled(activations: Activations) -> np.ndarray:
    """The mean over positions of each image's activation, (N, C), float64. The activations are read once."""
    found = [np.asarray(_mean_over_positions(batch), np.float64) for batch in _batches(activations)]
    count = sum(map(len, found))
    if count < 2:
        raise ValueError(f"There are activations of {count} images, but at least 2 are expected.")
    means = np.concatenate(found)
    wrong = count - np.isfinite(means).all(axis=1).sum()
    if wrong:
        raise ValueError(f"The activations of {wrong} of {count} images are not finite: look at those images.")
    return means


def emblems(activations: Activations, directions: ArrayLike) -> np.ndarray:
    """Each image's emblem along each direction (k, C), (N, k); see fit_concept. The activations are read once."""
    directions = jnp.asarray(directions, jnp.float32)
    return np.concatenate([np.asarray(_emblems(batch, directions)) for batch in _batches(activations)])


def rank_median(values: np.ndarray) -> np.ndarray | np.generic:
    """Of N values along the first axis, the one at place round((N - 1) / 2) in order, halves to even; same shape else.

    For an even N it is one of the two in the middle, never their mean.
    """
    return np.sort(values, axis=0)[round((len(values) - 1) / 2)]


def concept_map(net: Net, x: ArrayLike, *, layer: str, concept: Concept) -> Float[Array, "*k h w"]:
    """clip((R - low) / (high - low), 0, 1) with R = relu(sum over c of direction[c] A[..., c]), (h, w).

    1 is as much of the concept as in its own images, and 0 no more than in random ones; it is 0 everywhere if high <=
    low. No class plays a part. For k stacked concepts it is (k, h, w).

    De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
    Explainability in Image Classification", 2024.
    """
    activation, _ = view(net, layer, x)
    return _map(activation, concept, layer)


def concept_attribution(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str,
    concepts: Concept,
    steps: int = 50,
    rule: str = "trapezoid",
    chunk: int | None = None,
) -> Attribution:
    """The Attribution of k stacked concepts: values (k,), one integration for all of them.

    B = A * integral over t in [0, 1] of d score / d A at t A, and P = relu(B) / (sum(relu(B)) + 1e-7) * share. For each
    concept with map S, values = sum over c of u[c] a[c], where a[c] is the sum over positions of P S, and u = relu(s
    direction) / max(relu(s direction)), with s[c] = -1 where the sum of A S is negative, else 1.

    share = relu(gain) / the largest relu(gain of an output), and 0 without any, gain = score(A) - score(0). It is made
    for one class; for another covector it may be above 1. With one output, it is sum(relu(B)) / max(sum(relu(B)),
    sum(relu(-B))).

    `steps` intervals of the trapezoid rule are steps + 1 gradients, as published; of other rules it is the number of
    gradients. `chunk` points are evaluated at a time (None: all), each with a gradient for every class and image that
    `over_classes` and `batched` map over: that bounds memory, whatever `steps` is. Classes share the forward passes.
    ValueError for concepts that are not stacked, or are of another layer.

    De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
    Explainability in Image Classification", 2024.

        concept_attribution(net, x, one_hot(340, 1000), layer="layer4", concepts=stack_concepts([striped, dotted]))
    """
    activation, head = view(net, layer, x)
    if jnp.ndim(concepts.direction) != 2:
        shape = jnp.shape(concepts.direction)
        raise ValueError(f"concepts has directions {shape}, but (k, C) is expected: use stack_concepts([concept]).")
    maps = _map(activation, concepts, layer)
    attribution = activation.astype(jnp.float32) * _mean_gradient(head, activation, target, steps, rule, chunk)
    nothing, everything = jax.vmap(lambda t: head(t * activation))(jnp.arange(2, dtype=activation.dtype))
    gains = (everything - nothing).astype(jnp.float32)
    share = _share(gains, target, attribution)
    values = _through(concepts.direction, maps, activation.astype(jnp.float32), jax.nn.relu(attribution)) * share
    return Attribution(values, share, _error(jnp.sum(attribution), score(gains, target)))


def steps_for(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str,
    tolerance: float,
    rule: str = "gauss_legendre",
    most: int = 256,
) -> int:
    """The fewest `steps` of concept_attribution, of 1, 2, 3, 4, 6, 8, 12, 16, ... up to `most`, with an error in reach.

    The error is the Attribution's, a scalar. It is computed on the host, from derivatives along the path from zero
    activations. ValueError if the error is above `tolerance` for all of them.
    """
    low, high = _along(net, x, target, np.arange(2), layer)[0]
    errors = {}
    for steps in _ladder(max(most, 1)):
        points, weights = _points(rule, steps)
        total = np.dot(weights, _along(net, x, target, points, layer)[1])
        errors[steps] = float(_error(total, high - low))
        if errors[steps] <= tolerance:
            return steps
    best = min(errors, key=errors.__getitem__)
    raise ValueError(
        f"The completeness error is {errors[best]:.2g} with {best} steps of {rule}, the best of up to {most}, but "
        f"{tolerance} is asked for: raise tolerance or most."
    )


def tcav_score(
    net: Net, X: ArrayLike, target: ArrayLike, *, layer: str, directions: ArrayLike, chunk: int | None = None
) -> Float[Array, " k"]:
    """The share of images X (N, H, W, 3) whose score rises along each direction (k, C) at a layer, (k,).

    It rises where the sum over c and positions of direction[c] g[..., c] is above 0, with g = d score / d A. The target
    is the images' class; `chunk` images are evaluated at a time. `significance.linear_direction` fits directions.

    Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas, Sayres, "Interpretability Beyond Feature Attribution: Quantitative
    Testing with Concept Activation Vectors (TCAV)", 2017.
    """
    X, directions = jnp.asarray(X), jnp.asarray(directions, jnp.float32)
    if X.ndim != 4 or not len(X):
        raise ValueError(f"X has shape {X.shape}, but a batch of images (N, H, W, 3) is expected.")
    if directions.ndim != 2:
        raise ValueError(f"directions has shape {directions.shape}, but one or more as (k, C) are expected.")

    def rises(x):
        activation, head = view(net, layer, x)
        _check(activation, directions, layer)
        gradient = jax.grad(lambda a: score(head(a), target))(activation)
        along = jnp.dot(directions, jnp.sum(gradient, axis=(0, 1), dtype=jnp.float32), precision="highest")
        return (along > 0).astype(jnp.float32)

    return jnp.mean(each(rises, X, chunk), axis=0)


def _batches(activations: Activations) -> Iterator[Any]:
    """The batches (N, h, w, C), checked, of an array or of an iterable that can be read again."""
    if isinstance(activations, Iterator):
        raise ValueError("The activations are an iterator, which can be read once: give an array, or a list of arrays.")
    first = None
    several: Any = (activations,) if hasattr(activations, "shape") else activations
    for batch in several:
        shape = np.shape(batch)
        if len(shape) != 4:
            raise ValueError(f"The activations have shape {shape}, but (N, h, w, C), with positions, is expected.")
        first = first or shape
        if shape[1:] != first[1:]:
            raise ValueError(f"The activations have shapes {first[1:]} and {shape[1:]}, but one layer has one shape.")
        yield batch


@jax.jit
def _mean_over_positions(batch):
    return jnp.mean(jnp.asarray(batch, jnp.float32), axis=(1, 2))


@jax.jit
def _emblems(batch, directions):
    response = _response(jnp.asarray(batch, jnp.float32), directions)
    return (jnp.sum(response**2, axis=(-2, -1)) / (jnp.sum(response, axis=(-2, -1)) + _EPSILON)).T


def _response(activations, directions):
    """relu of the activations (..., h, w, C) along directions (*k, C): (*k, ..., h, w)."""
    return jax.nn.relu(jnp.tensordot(directions, activations, (-1, -1), precision="highest"))


def _check(activation, direction, layer):
    if activation.ndim != 3:
        raise ValueError(f"The layer {layer!r} has an activation {activation.shape}, but a concept needs (h, w, C).")
    if direction.shape[-1] != activation.shape[-1]:
        raise ValueError(
            f"The layer {layer!r} has {activation.shape[-1]} channels, but the concept's direction is of "
            f"{direction.shape[-1]}: it was fitted at another layer or in another net."
        )


def _map(activation, concept, layer):
    """Maps (*k, h, w) of one concept or of k stacked ones."""
    direction, low, high = (jnp.asarray(a, jnp.float32) for a in concept)
    _check(activation, direction, layer)
    low, high = low[..., None, None], high[..., None, None]
    known = high > low
    response = _response(activation.astype(jnp.float32), direction)
    return jnp.where(known, jnp.clip((response - low) / jnp.where(known, high - low, 1), 0, 1), 0)


def _points(rule, steps):
    """Points and weights of a rule; `steps` intervals of the trapezoid rule have one point more."""
    if steps < 1:
        raise ValueError(f"steps is {steps}, but at least 1 is expected.")
    return nodes(rule, steps + (rule == "trapezoid"))


def _mean_gradient(head, activation, target, steps, rule, chunk):
    """The integral over t in [0, 1] of the score's gradient (h, w, C) at t times the activation."""
    points, weights = _points(rule, steps)

    def gradient_at(t):
        return jax.grad(lambda a: score(head(a), target))(t * activation)

    return weighted_sum(gradient_at, jnp.asarray(points, activation.dtype), weights, chunk)


def _share(gains, target, attribution):
    """What the target gains, relative to the best class; with one output, whose classes are its two signs, by B."""
    if len(gains) == 1:
        mine, other = (jnp.sum(jax.nn.relu(sign * attribution)) for sign in (1, -1))
        best = jnp.maximum(mine, other)
    else:
        mine, best = jax.nn.relu(score(gains, target)), jnp.max(jax.nn.relu(gains))
    return mine / jnp.where(best > 0, best, 1)


def _through(directions, maps, activation, positive):
    """The part (k,) of the positive contributions (h, w, C) that concepts with maps (k, h, w) account for."""
    masked = jnp.einsum("hwc,khw->kc", positive, maps, precision="highest")
    sign = jnp.where(jnp.einsum("hwc,khw->kc", activation, maps, precision="highest") < 0, -1.0, 1.0)
    weights = jax.nn.relu(sign * directions)
    most = jnp.max(weights, axis=-1, keepdims=True)
    weights = weights / jnp.where(most > 0, most, 1)
    return jnp.einsum("kc,kc->k", weights, masked, precision="highest") / (jnp.sum(positive) + _EPSILON)


def _error(total, gain):
    return abs(total - gain) / jnp.where(gain == 0, 1, abs(gain))


def _ladder(most):
    """1, 2, 3, 4, 6, 8, 12, 16, 24, ... up to `most`."""
    steps = 1
    while steps <= most:
        yield steps
        steps = steps + max(1, 2 ** (steps.bit_length() - 2))


def _along(net, x, target, points, layer):
    """The scores at points t (n,) times the activation, and their derivatives by t, two arrays (n,)."""
    parts = -(-len(points) // _AT_ONCE)
    filled = np.resize(np.float32(points), (parts, _AT_ONCE))
    found = [_some_along(net, x, target, some, layer) for some in filled]
    return [np.concatenate(arrays)[: len(points)] for arrays in zip(*found, strict=True)]


@functools.partial(jax.jit, static_argnames="layer")
def _some_along(net, x, target, points, layer):
    activation, head = view(net, layer, x)

    def at(t):
        t = t.astype(activation.dtype)
        return jax.jvp(lambda t: score(head(t * activation), target), (t,), (jnp.ones_like(t),))

    return jax.vmap(at)(points)
