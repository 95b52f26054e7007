"""Concepts: where a layer sees one, and how much of a class's evidence passes through it.

A concept is fitted at one layer of one net, on the activations of images that show it and of random images; A is the
layer's activation (h, w, C) of the image that is explained. Targets are classes: one_hot(k, n), and for a net with one
output [1.] for class 0, which raises it, and [-1.] for class 1. Activations may have both signs.

De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
Explainability in Image Classification", 2024. The formulas are those of the authors' code.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._checks import check_vector
from jaxplain._loops import each, nodes, reused, weighted_sum
from jaxplain._numerics import at_least_float32, contract, quotient
from jaxplain._types import Net, Rule
from jaxplain.explain._cam import check_map
from jaxplain.net import view
from jaxplain.target import score

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

    def __repr__(self) -> str:
        *stacked, channels = jnp.shape(self.direction)
        return f"<{f'{stacked[0]} stacked concepts' if stacked else 'concept'} of {channels} channels>"


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


def response(activations: ArrayLike, directions: ArrayLike) -> Array:
    """relu of the activations (..., h, w, C) along directions (*k, C): (*k, ..., h, w)."""
    activations, directions = jnp.asarray(activations), jnp.asarray(directions)
    rows = directions.reshape(-1, directions.shape[-1])
    along = contract("kc,...c->k...", rows, activations)
    return jax.nn.relu(along.reshape(*directions.shape[:-1], *activations.shape[:-1]))


def concept_map(net: Net, x: ArrayLike, *, layer: str, concept: Concept) -> Float[Array, "*k h w"]:
    """clip((R - low) / (high - low), 0, 1) with R = relu(sum over c of direction[c] A[..., c]), (h, w).

    1 is as much of the concept as in its own images, and 0 no more than in random ones; it is 0 everywhere if high <=
    low. No class plays a part. For k stacked concepts it is (k, h, w).

    De Santis, Campi, Bianchi, Brambilla, "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc
    Explainability in Image Classification", 2024.
    """
    activation, _ = view(net, layer, x)
    check_map(activation)
    return _map(activation, concept, layer)


@reused
def concept_attribution(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str,
    concepts: Concept,
    steps: int = 50,
    rule: Rule = "trapezoid",
    chunk: int | None = 16,
) -> Attribution:
    """The Attribution of k stacked concepts: values (k,), one integration for all of them.

    B = A * integral over t in [0, 1] of d score / d A at t A, and P = relu(B) / (sum(relu(B)) + 1e-7) * share. For each
    concept with map S, values = sum over c of u[c] a[c], where a[c] is the sum over positions of P S, and u = relu(s
    direction) / max(relu(s direction)), with s[c] = -1 where the sum of A S is negative, else 1.

    share = relu(gain) / the largest relu(gain of an output), and 0 without any, gain = score(A) - score(0). It is made
    for one class; for another covector it may be above 1. With one output, it is sum(relu(B)) / max(sum(relu(B)),
    sum(relu(-B))).

    The rule divides the path into `steps` steps; each has one gradient, but the trapezoid rule has one more, as
    published. `chunk` points are evaluated at a time (None: all), each with a gradient for every class and image that
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
    attribution = at_least_float32(activation) * _mean_gradient(head, activation, target, steps, rule, chunk)
    nothing, everything = jax.vmap(lambda t: head(t * activation))(jnp.arange(2, dtype=activation.dtype))
    check_vector(nothing)
    gains = at_least_float32(everything - nothing)
    share = _share(gains, target, attribution)
    values = _through(concepts.direction, maps, at_least_float32(activation), jax.nn.relu(attribution)) * share
    return Attribution(values, share, _error(jnp.sum(attribution), score(gains, target)))


def steps_for(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str,
    tolerance: float,
    rule: Rule = "gauss_legendre",
    most: int = 256,
) -> int:
    """The fewest `steps` of concept_attribution, of 1, 2, 3, 4, 6, 8, 12, 16, ... up to `most`, with an error in reach.

    The error is the Attribution's, a scalar. It is computed on the host, from derivatives along the path from zero
    activations. ValueError if the error is above `tolerance` for all of them.
    """
    low, high = _along(net, x, target, np.arange(2), layer)[0]
    errors = {}
    for steps in _ladder(max(most, 1)):
        points, weights = nodes(rule, steps)
        total = np.dot(weights, _along(net, x, target, points, layer)[1])
        errors[steps] = float(_error(total, high - low))
        if errors[steps] <= tolerance:
            return steps
    best = min(errors, key=errors.__getitem__)
    raise ValueError(
        f"The completeness error is {errors[best]:.2g} with {best} steps of {rule}, the best of up to {most}, but "
        f"{tolerance} is asked for: raise tolerance or most."
    )


@reused
def tcav_score(
    net: Net, X: ArrayLike, target: ArrayLike, *, layer: str, directions: ArrayLike, chunk: int | None = 16
) -> Float[Array, " k"]:
    """The share of images X (N, H, W, C) whose score rises along each direction (k, C) at a layer, (k,).

    It rises where the sum over c and positions of direction[c] g[..., c] is above 0, with g = d score / d A. The target
    is the images' class; `chunk` images are evaluated at a time. `jaxplain.concepts.linear_direction` fits directions.

    Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas, Sayres, "Interpretability Beyond Feature Attribution: Quantitative
    Testing with Concept Activation Vectors (TCAV)", 2017.
    """
    X, directions = jnp.asarray(X), jnp.asarray(directions, jnp.float32)
    if X.ndim != 4 or not len(X):
        raise ValueError(f"X has shape {X.shape}, but a batch of images (N, H, W, C) is expected.")
    if directions.ndim != 2:
        raise ValueError(f"directions has shape {directions.shape}, but one or more as (k, C) are expected.")

    def rises(x):
        activation, head = view(net, layer, x)
        _check(activation, directions, layer)
        gradient = jax.grad(lambda a: score(head(a), target))(activation)
        along = contract("kc,c->k", directions, jnp.sum(gradient, axis=(0, 1), dtype=jnp.float32))
        return (along > 0).astype(jnp.float32)

    return jnp.mean(each(rises, X, chunk), axis=0)


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
    seen = response(at_least_float32(activation), direction)
    return jnp.where(known, jnp.clip((seen - low) / jnp.where(known, high - low, 1), 0, 1), 0)


def _mean_gradient(head, activation, target, steps, rule, chunk):
    """The integral over t in [0, 1] of the score's gradient (h, w, C) at t times the activation."""
    points, weights = nodes(rule, steps)

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
    masked = contract("hwc,khw->kc", positive, maps)
    sign = jnp.where(contract("hwc,khw->kc", activation, maps) < 0, -1.0, 1.0)
    weights = jax.nn.relu(sign * directions)
    most = jnp.max(weights, axis=-1, keepdims=True)
    weights = quotient(weights, most)
    return contract("kc,kc->k", weights, masked) / (jnp.sum(positive) + _EPSILON)


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
