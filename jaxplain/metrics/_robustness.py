"""What a map says of small changes of the image, and what these do to it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import each, reused
from jaxplain._types import Net
from jaxplain.metrics._ranks import norm
from jaxplain.net import check_image, run
from jaxplain.target import score as dot


@reused
def max_sensitivity(
    explain: Callable[..., Any],
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    key: Array,
    radius: ArrayLike = 0.02,
    samples: int = 10,
    chunk: int | None = 16,
    **options: Any,
) -> Float[Array, ""]:
    """max over samples d of |E(x + d) - E(x)| / |E(x)|, a scalar, with d uniform in [-radius, radius], in units of x.

    |.| is the root of the sum of squares; a map of zeros counts as of norm 1. `options` are the explainer's; one that
    is random itself gets its own key by functools.partial, so that the samples alone differ.

    Yeh, Hsieh, Suggala, Inouye, Ravikumar, "On the (In)fidelity and Sensitivity of Explanations", 2019.
    """
    check_image(x)
    x, radius = jnp.asarray(x), jnp.asarray(radius)
    plain = explain(net, x, target, **options)

    def change(key):
        noise = jax.random.uniform(key, x.shape, x.dtype, -radius, radius)
        return norm(explain(net, x + noise, target, **options) - plain)

    size = norm(plain)
    return jnp.max(each(change, _keys(key, samples), chunk)) / jnp.where(size > 0, size, 1)


@reused
def infidelity(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    key: Array,
    samples: int = 50,
    sigma: ArrayLike = 0.1,
    perturb: Callable[[Array, Array], Array] | None = None,
    normalise: bool = False,
    chunk: int | None = 16,
) -> Float[Array, ""]:
    """mean over samples of (sum(I * heat) - (score(x) - score(x - I)))^2, a scalar.

    `heat` is an attribution (H, W, C), or (H, W), which all channels share. I is sigma times standard normal noise, or
    perturb(key, x), an array like x. With `normalise` sum(I * heat) is scaled so that the mean is least, as in captum.

    Yeh, Hsieh, Suggala, Inouye, Ravikumar, "On the (In)fidelity and Sensitivity of Explanations", 2019.
    """
    check_image(x)
    x, heat = jnp.asarray(x), jnp.asarray(heat)
    heat = heat[..., None] if heat.ndim == 2 else heat
    if heat.shape[:2] != x.shape[:2] or heat.shape[2] not in (1, x.shape[2]):
        raise ValueError(f"The map has shape {heat.shape}, but {x.shape} or {x.shape[:2]} is expected.")
    whole = dot(run(net, x), target)

    def both(key):
        change = sigma * jax.random.normal(key, x.shape, x.dtype) if perturb is None else perturb(key, x)
        return jnp.sum(change * heat), whole - dot(run(net, x - change), target)

    predicted, real = each(both, _keys(key, samples), chunk)
    energy = jnp.sum(predicted**2)
    scale = jnp.sum(predicted * real) / jnp.where(energy > 0, energy, 1) if normalise else 1.0
    return jnp.mean((scale * predicted - real) ** 2)


def _keys(key, samples):
    if samples < 1:
        raise ValueError(f"samples is {samples}, but at least 1 is expected.")
    return jax.random.split(key, samples)
