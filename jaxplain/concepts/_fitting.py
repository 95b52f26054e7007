"""Concepts fitted to activations, on the host: directions, the scale of their maps, and what they are compared with.

Activations are arrays (N, h, w, C), or iterables of such arrays that can be read twice, as a list or an object that
computes them a batch at a time; one vector and a few numbers are kept for each image.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxplain.explain import Concept, response

Activations = ArrayLike | Iterable[ArrayLike]

_EPSILON = 1e-7  # the published one


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
    seen = response(jnp.asarray(batch, jnp.float32), directions)
    return (jnp.sum(seen**2, axis=(-2, -1)) / (jnp.sum(seen, axis=(-2, -1)) + _EPSILON)).T
