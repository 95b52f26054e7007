"""What concepts are compared with: directions of a linear classifier, and concepts of random images."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxplain.concepts._fitting import Activations, emblems, pooled, rank_median
from jaxplain.explain import Concept


def linear_direction(concept_activations: Activations, random_activations: Activations, *, seed: int = 0) -> np.ndarray:
    """The unit normal (C,) of a linear classifier of a concept's images against random ones, towards the concept.

    Activations are as in `fit_concept`, and pooled over positions. The classifier is scikit-learn's SGDClassifier with
    the hinge loss and alpha = 0.01, both sets weighing the same.

    Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas, Sayres, "Interpretability Beyond Feature Attribution: Quantitative
    Testing with Concept Activation Vectors (TCAV)", 2017.
    """
    from sklearn.linear_model import SGDClassifier

    concept, random = pooled(concept_activations), pooled(random_activations)
    _same_layer(concept, random)
    labels = np.repeat([1, 0], [len(concept), len(random)])
    classifier = SGDClassifier(alpha=0.01, class_weight="balanced", random_state=seed)
    fitted: Any = classifier.fit(np.concatenate([concept, random]), labels)
    normal = fitted.coef_[0]
    return np.asarray(normal / (np.linalg.norm(normal) or 1), np.float32)


def null_concepts(
    random_activations: Activations, samples: int = 20, *, seed: int = 0, size: int | None = None
) -> Concept:
    """`samples` stacked Concepts of random images against other random images, with directions (samples, C).

    In each, `size` of the N images, by default half, stand for the concept's, and the others are the random ones; a
    concept's own number of images makes them as uncertain as it is. The activations are read twice, as in
    `fit_concept`. ValueError unless there are at least 2 images on both sides.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, but at least 1 is expected.")
    means = pooled(random_activations)
    count = len(means)
    size = count // 2 if size is None else size
    if not 2 <= size <= count - 2:
        raise ValueError(f"size is {size} of {count} random images, but at least 2 are needed on both sides.")
    draw = np.random.default_rng(seed)
    orders = [np.split(draw.permutation(count), [size]) for _ in range(samples)]
    differences = [means[ours].mean(axis=0) - means[others].mean(axis=0) for ours, others in orders]
    directions = np.asarray(differences, np.float32)
    found = emblems(random_activations, directions)
    scales = [[rank_median(found[part, k]) for part in order] for k, order in enumerate(orders)]
    high, low = jnp.asarray(scales).T
    return Concept(jnp.asarray(directions), low, high)


def _same_layer(concept, random):
    if concept.shape[1] != random.shape[1]:
        raise ValueError(
            f"The activations have {concept.shape[1]} and {random.shape[1]} channels, but all have to be of one layer."
        )
