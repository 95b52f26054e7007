"""A layer's activations of images, a batch at a time."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxplain.net import view


class LayerActivations:
    """A layer's activations of images, (n, h, w, C) for `batch` of them at a time, computed whenever they are read."""

    def __init__(self, model: Any, layer: str, images: np.ndarray, batch: int = 16) -> None:
        self.model: Any = model
        self.layer: str = layer
        self.images: np.ndarray = images
        self.batch: int = batch

    def __iter__(self) -> Iterator[np.ndarray]:
        count = len(self.images)
        for start in range(0, count, self.batch):
            index = np.minimum(np.arange(start, start + self.batch), count - 1)  # one shape, compiled once
            found = _activations(self.model.net, self.model.normalise, self.images[index], self.layer)
            yield np.asarray(found)[: count - start]


def _at(net, normalise, images, layer):
    return jax.vmap(lambda image: view(net, layer, normalise(image.astype(jnp.float32) / 255))[0])(images)


_activations = jax.jit(_at, static_argnums=3)
