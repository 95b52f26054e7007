"""Does a map follow what the network has learned?"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var, jaxprs_in_params
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import reused
from jaxplain._numerics import if_ranked
from jaxplain._types import Net
from jaxplain.metrics._ranks import rank_correlation
from jaxplain.net import run


@reused
def randomisation(
    explain: Callable[..., Any], net: Net, x: ArrayLike, target: ArrayLike, *, key: Array, **options: Any
) -> OrderedDict[str, Float[Array, ""]]:
    """{layer: rank correlation of the maps before and after}, when parameters are drawn anew up to this layer.

    Layers are the net's parameters by their folder, from the last in the forward pass to the first; the parameters
    drawn so far stay drawn. Each array gets normal noise of its own mean and deviation. A map that follows the network
    falls towards 0; one that stays near 1 does not look at what was learned. Signs are left out: |maps| are compared,
    by Spearman's rank correlation, in which equal values share their rank, a scalar. A map that is constant from the
    start has no order to keep, and gives NaN; one that becomes constant gives 0.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", 2018.
    """
    layers = _parameters(net, x)
    leaves, structure = jax.tree.flatten(net)
    place = {leaf: number for number, group in enumerate(reversed(layers.values())) for leaf in group}
    drawn = [
        jnp.mean(a) + jnp.std(a) * jax.random.normal(k, a.shape, a.dtype) if i in place else a
        for i, (a, k) in enumerate(zip(leaves, jax.random.split(key, len(leaves)), strict=True))
    ]
    plain = jnp.abs(explain(net, x, target, **options))

    def similarity(step):
        mixed = [
            jnp.where(place[i] <= step, new, old) if i in place else old
            for i, (old, new) in enumerate(zip(leaves, drawn, strict=True))
        ]
        return rank_correlation(plain, jnp.abs(explain(jax.tree.unflatten(structure, mixed), x, target, **options)))

    similarities = if_ranked(plain, jax.lax.map(similarity, jnp.arange(len(layers))))
    return OrderedDict(zip(reversed(layers), similarities, strict=True))


def _parameters(net, x):
    """{layer: its leaves' numbers in jax.tree.leaves(net)}, in the order in which a forward pass first uses them.

    A leaf's layer is the folder that it is in, or its own name outside of folders; unnamed ones are no parameters, such
    as the numbers of a normaliser.
    """
    leaves, structure = jax.tree.flatten(net)
    layers, paths = {}, [path for path, _ in jax.tree_util.tree_leaves_with_path(net)]
    traced = jax.make_jaxpr(lambda leaves: run(jax.tree.unflatten(structure, leaves), x))(leaves).jaxpr
    for number in dict.fromkeys(_first_uses(traced, dict(zip(traced.invars, range(len(leaves)), strict=True)))):
        names = [str(key.key) for key in paths[number] if isinstance(key, jax.tree_util.DictKey)]
        names = names[1:] if names[:1] == ["params"] else names
        if names and jnp.issubdtype(leaves[number].dtype, jnp.floating):
            layers.setdefault(".".join(names[:-1] or names), []).append(number)
    if not layers:
        raise ValueError("The net has no named parameters to randomise: keep them in a dict, as Flax does.")
    return layers


def _first_uses(jaxpr, numbers):
    """The numbers of variables in the order of the equations that use them, also within calls."""
    for equation in jaxpr.eqns:
        known = {i: numbers[v] for i, v in enumerate(equation.invars) if isinstance(v, Var) and v in numbers}
        for inner in jaxprs_in_params(equation.params):
            if len(inner.invars) == len(equation.invars):
                yield from _first_uses(inner, {inner.invars[i]: number for i, number in known.items()})
        yield from known.values()
