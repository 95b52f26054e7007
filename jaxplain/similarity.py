"""Similarities of embeddings, split into what each channel of an activation adds to them.

The embedding q (C,) is the spatial mean of an activation A (h, w, C), and the reference is what it is compared with. A
split is a function

    split(activation, reference) -> contributions (C,) of the channels to the similarity

Those of `cosine`, `dot`, `euclidean`, `squared_euclidean` and `l1` sum to the similarity, which is larger the closer
the two are. `dn4` compares local descriptors. Splits are made by `flat(split)` for embeddings that keep their places,
`projected(f)` for embeddings behind a projector, and `relation(f)` for a learned similarity; make one once, at module
level: jit knows a function by its identity.

The paper's formulas are not public but in words; docs/decisions.md says what stands for them.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import each
from jaxplain._numerics import contract, length, quotient
from jaxplain._types import MeasuredBy, Normalisation, PooledSimilarity

Split = Callable[[Array, Array], Array]

__all__ = [
    "POOLED",
    "SPLITS",
    "Split",
    "cosine",
    "dn4",
    "dot",
    "euclidean",
    "flat",
    "l1",
    "normalised",
    "projected",
    "relation",
    "squared_euclidean",
]


def normalised(contributions: ArrayLike, how: Normalisation = "minmax") -> Float[Array, " C"]:
    """Weights (C,) from contributions: minmax (k - min) / (max - min), sum, l2, softmax or none; for channel_map.

    Quotients by 0 are 0: constant contributions have no minmax weights.
    """
    k = jnp.asarray(contributions)
    match how:
        case "minmax":
            return quotient(k - jnp.min(k), jnp.max(k) - jnp.min(k))
        case "sum":
            return quotient(k, jnp.sum(k))
        case "l2":
            return quotient(k, length(k))
        case "softmax":
            return jax.nn.softmax(k)
        case "none":
            return k
    raise ValueError(f"normalise is {how!r}, but minmax, sum, l2, softmax or none is expected.")


def _pooled(split: Split) -> Split:
    """A split of the activation from one of its spatial mean."""

    def of_mean(activation: Array, reference: Array) -> Array:
        q = jnp.mean(activation, axis=(0, 1))
        if reference.shape != q.shape:
            raise ValueError(
                f"The reference has shape {reference.shape}, but {q.shape}, one value for each channel, is expected: "
                "for an embedding behind a projector use the split projected(f), for a flattened one flat(split)."
            )
        return split(q, reference)

    of_mean.__name__ = of_mean.__qualname__ = split.__name__
    of_mean.__doc__, of_mean.__module__ = split.__doc__, split.__module__
    return of_mean


@_pooled
def dot(q: Array, r: Array) -> Array:
    """q r, (C,): sums to the dot product."""
    return q * r


@_pooled
def cosine(q: Array, r: Array) -> Array:
    """q r / (|q| |r|), (C,): sums to the cosine; 0 for a zero embedding."""
    return quotient(q * r, length(q) * length(r))


@_pooled
def squared_euclidean(q: Array, r: Array) -> Array:
    """-(q - r)^2, (C,): sums to -|q - r|^2."""
    return -((q - r) ** 2)


@_pooled
def euclidean(q: Array, r: Array) -> Array:
    """-(q - r)^2 / |q - r|, (C,): sums to -|q - r|."""
    return quotient(-((q - r) ** 2), length(q - r))


@_pooled
def l1(q: Array, r: Array) -> Array:
    """-|q - r|, (C,): sums to -sum |q - r|."""
    return -jnp.abs(q - r)


def dn4(activation: ArrayLike, reference: ArrayLike, *, neighbours: int = 3) -> Float[Array, " C"]:
    """sum over places i and the `neighbours` descriptors j nearest to i by cosine of a_i[c] b_j[c], (C,).

    The reference (..., C) are a class's local descriptors, for example its supports' activations; a and b have length
    1. Sums to the image-to-class similarity of Li, Wang, Xu, Huo, Gao, Luo, "Revisiting Local Descriptor Based
    Image-to-Class Measure for Few-Shot Learning", 2019.
    """
    activation, reference = jnp.asarray(activation), jnp.asarray(reference)
    channels = activation.shape[-1]
    if reference.ndim < 2 or reference.shape[-1] != channels:
        raise ValueError(f"The reference has shape {reference.shape}, but descriptors (..., {channels}) are expected.")
    a, b = (quotient(v, length(v)) for v in (activation.reshape(-1, channels), reference.reshape(-1, channels)))
    if not 1 <= neighbours <= len(b):
        raise ValueError(f"neighbours is {neighbours}, but 1 to {len(b)}, the number of descriptors, is expected.")
    _, nearest = jax.lax.top_k(contract("ic,jc->ij", a, b), neighbours)
    return contract("ic,ikc->c", a, b[nearest])


def flat(split: Split) -> Split:
    """The split for embeddings that are the flattened activation: a channel's contributions are summed over places.

    The reference has h w C values in any shape, channels last.
    """

    def of_all(activation: Array, reference: Array) -> Array:
        shape = activation.shape
        return jnp.sum(split(activation.reshape(1, 1, -1), reference.ravel()).reshape(shape), axis=(0, 1))

    return of_all


def projected(f: Callable[[Array], Array] | ArrayLike, similarity: PooledSimilarity = "cosine") -> Split:
    """The split for embeddings f(q), compared by `similarity` with a reference of their size.

    f may be a matrix P (C, d), for q @ P: with dot the contributions are q[c] (P @ r)[c], with cosine over |q @ P| |r|,
    and sum to the similarity. For a function, and for distances, they are q[c] ds/dq[c], which do not add up: under the
    cosine they sum to 0 where f is linear, since no length of q changes it.
    """
    if similarity not in POOLED:
        raise ValueError(f"The similarity is {similarity!r}, but one of {', '.join(POOLED)} is expected.")
    matrix = None if callable(f) else jnp.asarray(f)

    def project(q: Array) -> Array:
        return f(q) if callable(f) else contract("c,cd->d", q, f)

    def behind(activation: Array, reference: Array) -> Array:
        q = jnp.mean(activation, axis=(0, 1))
        if matrix is not None and matrix.shape[:1] != q.shape:
            raise ValueError(
                f"The projector has shape {matrix.shape}, but a row a channel, ({len(q)}, d), is expected."
            )

        def score(q: Array) -> Array:
            return jnp.sum(POOLED[similarity](project(q)[None, None], reference))

        if matrix is None or similarity not in ("dot", "cosine"):
            return q * cast(Array, jax.grad(score)(q))
        scale = 1 if similarity == "dot" else length(project(q)) * length(reference)
        return quotient(q * contract("cd,d->c", matrix, reference), scale)

    return behind


def relation(
    f: Callable[[Array, Array], Array],
    *,
    by: MeasuredBy = "ablation",
    pooled: bool = True,
    chunk: int | None = 64,
) -> Split:
    """The split for a learned similarity f(q, reference), a scalar; with pooled=False for f(activation, reference).

    By ablation: f less f with channel c at 0, `chunk` channels at a time. By gradient: the sum over places of A df/dA.
    Neither sums to the similarity in general.
    """
    if by not in ("ablation", "gradient"):
        raise ValueError(f"by is {by!r}, but ablation or gradient is expected.")

    def learned(activation: Array, reference: Array) -> Array:
        a = jnp.mean(activation, axis=(0, 1), keepdims=True) if pooled else activation

        def score(a: Array) -> Array:
            return jnp.reshape(f(a[0, 0] if pooled else a, reference), ())

        if by == "gradient":
            return contract("hwc,hwc->c", a, cast(Array, jax.grad(score)(a)))
        channels = jnp.arange(a.shape[-1])
        return score(a) - each(lambda c: score(jnp.where((channels == c)[None, None], 0, a)), channels, chunk)

    return learned


POOLED: dict[str, Split] = {split.__name__: split for split in (cosine, dot, euclidean, squared_euclidean, l1)}
SPLITS: dict[str, Split] = POOLED | {"dn4": dn4}
