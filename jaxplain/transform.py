"""Functions of explainers: mapped over images, classes and layers, smoothed, run in chunks.

Each takes an explainer, explain(net, x, *rest, **options), and returns a function that is called in the same way. Jit
the result once, at module level, and name its static options:

    explain = jax.jit(batched(grad_cam), static_argnames="layer")
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxplain.net import Net, check_image
from jaxplain.quadrature import weighted_sum

Explain = Callable[..., Any]


def batched(explain: Explain, per_image: Sequence[str] = ()) -> Explain:
    """Maps an explainer over a batch: every positional argument after the net has a leading axis B, and so the result.

    Options are shared by all images, except the ones named in `per_image`, which have the leading axis too. A `key` is
    split so that each image has its own; B keys are used as they are.

        batched(grad_cam)(net, X, targets, layer="layer4")        # X (B, H, W, 3), targets (B, n): maps (B, h, w)
    """

    def over_images(net: Net, X: ArrayLike, *rest: Any, **options: Any) -> Any:
        own = {name: options.pop(name) for name in per_image if name in options}
        size = _batch_size(X, (rest, own))
        if options.get("key") is not None:
            own["key"] = _own_keys(options.pop("key"), size)
        return jax.vmap(lambda x, rest, own: explain(net, x, *rest, **own, **options))(X, rest, own)

    return over_images


def over_classes(explain: Explain) -> Explain:
    """Maps an explainer over a leading axis of its last positional argument, the target: targets (K, n) give K maps.

    The forward pass, which no target changes, is done once.
    """

    def over_targets(net: Net, x: ArrayLike, *rest: Any, **options: Any) -> Any:
        if not rest:
            raise ValueError("There are no targets: give them as the third positional argument.")
        *others, targets = rest
        return jax.vmap(lambda target: explain(net, x, *others, target, **options))(targets)

    return over_targets


def at_layers(explain: Explain, layers: str | Iterable[str]) -> Explain:
    """Runs an explainer at each layer and returns {layer: result}.

    An option that is a dict with exactly these layers as keys is looked up for each layer.
    """

    layers = (layers,) if isinstance(layers, str) else tuple(layers)

    def everywhere(net: Net, x: ArrayLike, *rest: Any, **options: Any) -> dict[str, Any]:
        def own(option, layer):
            return option[layer] if isinstance(option, dict) and set(option) == set(layers) else option

        return {
            layer: explain(net, x, *rest, layer=layer, **{name: own(option, layer) for name, option in options.items()})
            for layer in layers
        }

    return everywhere


def smooth(explain: Explain, *, draws: int, sigma: ArrayLike, chunk: int | None = None) -> Explain:
    """The mean of an explainer's result over `draws` images x + sigma * noise, with standard normal noise.

    `sigma` is in units of x. `chunk` draws are evaluated at a time (None: all at once), and memory does not grow with
    their number. The result takes a `key`.

    Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise", 2017.

        smooth(gradient, draws=25, sigma=0.15)(net, x, target, key=jax.random.key(0))
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}, but a mean needs at least 1.")

    def mean(net: Net, x: ArrayLike, *rest: Any, key: jax.Array, **options: Any) -> Any:
        check_image(x)
        image = jnp.asarray(x)

        def one(key):
            return explain(net, image + sigma * jax.random.normal(key, image.shape, image.dtype), *rest, **options)

        return weighted_sum(one, jax.random.split(key, draws), np.full(draws, 1 / draws), chunk)

    return mean


def chunked(f: Explain, size: int, per_image: Sequence[str] = ()) -> Explain:
    """Runs a batched, usually jitted function on `size` images at a time, in a loop on the host.

    Arguments are divided as `batched` maps them. The last chunk is filled up with its last image, so that there is one
    shape and one compilation. Results come back as numpy arrays, and they do not depend on `size`.
    """
    if size < 1:
        raise ValueError(f"size is {size}, but a chunk holds at least 1 image.")

    def in_chunks(net: Net, X: ArrayLike, *rest: Any, **options: Any) -> Any:
        own = {name: options.pop(name) for name in per_image if name in options}
        count = _batch_size(X, (rest, own))
        if options.get("key") is not None:
            own["key"] = _own_keys(options.pop("key"), count)

        def part(start):
            index = np.minimum(np.arange(start, start + size), count - 1)
            x, some, mine = jax.tree.map(lambda a: a[index], (X, rest, own))
            return jax.tree.map(lambda a: np.asarray(a)[: count - start], f(net, x, *some, **mine, **options))

        return jax.tree.map(lambda *parts: np.concatenate(parts), *map(part, range(0, count, size)))

    return in_chunks


def _batch_size(X: ArrayLike, others: Any) -> int:
    """The length of the leading axis that a batch's arguments share."""
    shape = jnp.shape(X)
    if len(shape) != 4 or not shape[0]:
        raise ValueError(f"X has shape {shape}, but a batch of images (B, H, W, 3) is expected.")
    for other in jax.tree.leaves(others):
        if jnp.shape(other)[:1] != shape[:1]:
            raise ValueError(
                f"An argument has shape {jnp.shape(other)} beside a batch of {shape[0]} images, but each image needs "
                f"its own along a leading axis: jnp.broadcast_to(target, ({shape[0]}, n)) gives all the same target."
            )
    return shape[0]


def _own_keys(key, count):
    """`count` keys from one, or the keys themselves if there is one for each."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key if key.ndim > (0 if typed else 1) else jax.random.split(key, count)
