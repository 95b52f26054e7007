"""SmoothGrad, of any explainer."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxplain._loops import reused, weighted_sum
from jaxplain._types import Explain, Net
from jaxplain.net import check_image
from jaxplain.transform._signature import REQUIRED, like


def smooth(explain: Explain, *, samples: int, sigma: ArrayLike, chunk: int | None = 16) -> Explain:
    """The mean of an explainer's result over `samples` images x + sigma * noise, with standard normal noise.

    `sigma` is in units of x. `chunk` samples are evaluated at a time (None: all at once), and memory does not grow with
    their number. The result takes a `key`; an explainer that takes one itself gets a key of its own for each sample.

    Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise", 2017.

        smooth(gradient, samples=25, sigma=0.15)(net, x, target, key=jax.random.key(0))
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, but a mean needs at least 1.")

    takes_key = "key" in inspect.signature(explain).parameters

    @like(explain, added={"key": REQUIRED})
    def mean(net: Net, x: ArrayLike, *rest: Any, key: jax.Array, **options: Any) -> Any:
        check_image(x)
        keys, scale = jax.random.split(key, samples), jnp.asarray(sigma)
        return _mean(explain, net, x, rest, scale, keys, chunk, takes_key, options)

    return mean


@reused
def _mean(explain, net, x, rest, sigma, keys, chunk, takes_key, options):
    image = jnp.asarray(x)

    def one(key):
        if takes_key:
            key, options["key"] = jax.random.split(key)
        return explain(net, image + sigma * jax.random.normal(key, image.shape, image.dtype), *rest, **options)

    return weighted_sum(one, keys, np.full(len(keys), 1 / len(keys)), chunk)
