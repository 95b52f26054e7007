"""Explainers over batches and classes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxplain._checks import check_rows, is_array, told
from jaxplain._types import Explain, Net
from jaxplain.transform._signature import like


def batched(explain: Explain, per_image: Sequence[str] = ()) -> Explain:
    """Maps an explainer over a batch: every positional argument after the net has a leading axis B, and so the result.

    Options are shared by all images, except the ones named in `per_image`, which have the leading axis too. A `key` is
    split so that each image has its own; B keys are used as they are.

        batched(grad_cam)(net, X, targets, layer="layer4")        # X (B, H, W, C), targets (B, n): maps (B, h, w)
    """

    @like(explain)
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

    @like(explain)
    def over_targets(net: Net, x: ArrayLike, *rest: Any, **options: Any) -> Any:
        if not rest:
            raise ValueError("There are no targets: give them as the third positional argument.")
        *others, targets = rest
        check_rows(targets)
        return jax.vmap(lambda target: explain(net, x, *others, target, **options))(targets)

    return over_targets


def chunked(f: Explain, size: int, per_image: Sequence[str] = ()) -> Explain:
    """Runs a batched, usually jitted function on `size` images at a time, in a loop on the host.

    Arguments are divided as `batched` maps them. The last chunk is filled up with its last image, so that there is one
    shape and one compilation. Results come back as numpy arrays, and they do not depend on `size`.
    """
    if size < 1:
        raise ValueError(f"size is {size}, but a chunk holds at least 1 image.")

    @like(f)
    def in_parts(net: Net, X: ArrayLike, *rest: Any, **options: Any) -> Any:
        own = {name: options.pop(name) for name in per_image if name in options}
        count = _batch_size(X, (rest, own))
        if options.get("key") is not None:
            own["key"] = _own_keys(options.pop("key"), count)

        def part(start):
            index = np.minimum(np.arange(start, start + size), count - 1)
            x, some, mine = jax.tree.map(lambda a: a[index], (X, rest, own))
            return jax.tree.map(lambda a: np.asarray(a)[: count - start], f(net, x, *some, **mine, **options))

        return jax.tree.map(lambda *parts: np.concatenate(parts), *map(part, range(0, count, size)))

    return in_parts


def _batch_size(X: ArrayLike, others: Any) -> int:
    """The length of the leading axis that a batch's arguments share."""
    shape = jnp.shape(X) if is_array(X) else ()
    if len(shape) != 4 or not shape[0]:
        raise ValueError(f"X {told(X)}, but a batch of images (B, H, W, C) is expected.")
    for other in jax.tree.leaves(others):
        if not is_array(other) or jnp.shape(other)[:1] != shape[:1]:
            raise ValueError(
                f"An argument {told(other)} beside a batch of {shape[0]} images, but each image needs "
                f"its own along a leading axis: jnp.broadcast_to(target, ({shape[0]}, n)) gives all the same target."
            )
    return shape[0]


def _own_keys(key, count):
    """`count` keys from one, or the keys themselves if there is one for each."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if key.ndim == (0 if typed else 1):
        return jax.random.split(key, count)
    if len(key) != count:
        raise ValueError(f"There are {len(key)} keys for {count} images; give one key, or one for each image.")
    return key
