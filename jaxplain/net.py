"""A net with sites: the one idea that everything else is made of.

    net(x, site=untouched) -> outputs

`x` is one preprocessed image, float, (H, W, C), channels last, without a batch axis; `outputs` is one vector, logits
or an embedding, or another array. At each named layer the net calls `a = site(name, a)` and goes on with what it gets
back, so reading, nudging, replacing and masking an activation are different sites of the same net. A name that is used
twice in a call cannot be asked for. A function f(x) is a net without layers.

A net is a pytree, `jax.tree_util.Partial(apply, params)`: its function is static, its parameters are leaves. Pass it to
jitted functions as an argument; `jax.jit(net)` would bake the parameters in as constants.
"""
# pyright: reportUnknownMemberType=false

import functools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._checks import check_image, check_layers, check_net, checked_for, layer_names, takes_site
from jaxplain._types import Net, Site
from jaxplain.target import score


class BoundNet(Partial):
    """A net's function with its parameters: a Partial that is shown in one line."""

    def __repr__(self) -> str:
        leaves = jax.tree.leaves(self)
        count = sum(getattr(leaf, "size", 1) for leaf in leaves)
        return f"<net {_name(self)}: {len(leaves)} arrays, {count:,} numbers>"


def _name(f: Any) -> str:
    """A function's name, with the nets and functions that it is made of in brackets."""
    if not isinstance(f, Partial):
        return getattr(f, "__name__", type(f).__name__).strip("_")
    parts = [_name(part) for part in f.args if isinstance(part, Partial)]
    return _name(f.func) + f"({', '.join(parts)})" * bool(parts)


def _flattened(net: BoundNet) -> tuple[Any, Any]:
    return tuple((jax.tree_util.GetAttrKey(part), getattr(net, part)) for part in ("args", "keywords")), net.func


def _unflattened(func: Any, children: Any) -> BoundNet:
    args, keywords = children
    return BoundNet(func, *args, **keywords)


jax.tree_util.register_pytree_with_keys(BoundNet, _flattened, _unflattened)


def untouched(name: str, a: Array) -> Array:  # noqa: ARG001
    """The site that changes nothing."""
    return a


def with_fill(x: ArrayLike, fill: ArrayLike) -> tuple[Array, Array]:
    """One image, and what stands for its pixels where they are hidden: a number, a colour (C,) or an image like x.

    Both (H, W, C).
    """
    check_image(x)
    x, fill = jnp.asarray(x), jnp.asarray(fill)
    if fill.shape not in ((), x.shape[2:], x.shape):
        raise ValueError(
            f"fill has shape {fill.shape}, but a number, a colour {x.shape[2:]} or an image {x.shape} is expected."
        )
    fill = jnp.broadcast_to(fill.reshape((1,) * (x.ndim - fill.ndim) + fill.shape), x.shape)
    return x, fill.astype(x.dtype)


def run(net: Net, x: ArrayLike, site: Site = untouched, asked: Sequence[str] = ()) -> Any:
    """net(x, site), after checking that x is one image, and that no name that is asked for is used twice."""
    check_net(net)
    check_image(x)
    used: set[str] = set()

    def once(name: str, a: Array) -> Array:
        if name in used and name in asked:
            raise ValueError(
                f"The net uses the layer name {name!r} twice in one call; give each use its own name "
                "(in a module, call two submodules)."
            )
        used.add(name)
        return site(name, a)

    return _called(net, x, once)


def _called(net: Net, x: ArrayLike, site: Site) -> Any:
    """net(x, site), or net(x) of a function without layers."""
    return net(x, site) if takes_site(net) else net(x)


def layers(net: Net, x: ArrayLike | jax.ShapeDtypeStruct) -> dict[str, jax.ShapeDtypeStruct]:
    """Every layer's name with the shape and dtype of its activation, in forward order. Nothing is computed.

    A name that the net uses twice stands for no single activation, and is left out.
    """
    return _shapes(net, x)


def _shapes(
    net: Net, x: ArrayLike | jax.ShapeDtypeStruct, asked: Sequence[str] = ()
) -> dict[str, jax.ShapeDtypeStruct]:
    check_net(net)
    check_image(x)
    found: list[tuple[str, jax.ShapeDtypeStruct]] = []

    def record(name: str, a: Array) -> Array:
        found.append((name, jax.ShapeDtypeStruct(a.shape, a.dtype)))
        return a

    jax.eval_shape(functools.partial(run, site=record, asked=asked), _pytree(net), x)
    uses = Counter(name for name, _ in found)
    return {name: shape for name, shape in found if uses[name] == 1}


def view(net: Net, layer: str, x: ArrayLike) -> tuple[Array, Callable[[Array], Any]]:
    """The activation at a layer, and the rest of the net as a function of it.

    Returns (activation, head) with head(activation) == net(x); what by-passes the layer, as a skip connection does, is
    computed from x inside the head. Under jit the common work is done once.
    """
    found: dict[str, Array] = {}

    def keep(name: str, a: Array) -> Array:
        found[name] = a
        return a

    run(net, x, keep, [layer])
    check_layers(found, [layer])

    def head(activation: Array) -> Any:
        return run(net, x, lambda name, a: activation if name == layer else a)

    return found[layer], head


def taps(
    net: Net, layers: str | Iterable[str], x: ArrayLike, target: ArrayLike
) -> tuple[OrderedDict[str, Array], OrderedDict[str, Array]]:
    """The activations at several layers and the gradients of the score there: one forward pass and one backward pass.

    Returns two dicts from layer to array, in the order of `layers`, under jit too.
    """
    order = layer_names(layers)
    found = _shapes(net, x, order)
    check_layers(found, order)

    def nudged(offsets: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        activations: dict[str, Array] = {}

        def nudge(name: str, a: Array) -> Array:
            if name in offsets:
                a = activations[name] = a + offsets[name]
            return a

        return score(run(net, x, nudge), target), activations

    zeros = {name: jnp.zeros(found[name].shape, found[name].dtype) for name in order}
    both = cast(tuple[dict[str, Array], dict[str, Array]], jax.grad(nudged, has_aux=True)(zeros))
    gradients, activations = both
    # JAX keeps the order of an OrderedDict, and sorts other dicts
    return OrderedDict((n, activations[n]) for n in order), OrderedDict((n, gradients[n]) for n in order)


def then(net: Net, f: Callable[[Any], Any]) -> BoundNet:
    """The net whose outputs are f(outputs), for example `then(net, jax.nn.softmax)`, or a part of them.

    f is a module-level function, or a Partial of one whose arguments are arrays. ValueError, where the net is called,
    for one output of which f makes the same whatever it is, as a softmax does.
    """
    check_net(net)
    return BoundNet(_then, _pytree(net), _pytree(f))


def before(net: Net, f: Callable[[Array], Array]) -> BoundNet:
    """The net of f(image), for example `before(net, model.normalise)`, whose images are pixels in [0, 1]."""
    check_net(net)
    return BoundNet(_before, _pytree(net), _pytree(f))


def embedding(net: Net, layer: str) -> BoundNet:
    """The net whose outputs (C,) are the spatial mean of the activation at a layer."""
    check_net(net)
    return BoundNet(_mean_at(layer), _pytree(net))


def _pytree(f: Callable[..., Any]) -> Any:
    """A function that JAX takes as an argument."""
    return Partial(f) if jax.tree_util.all_leaves([f]) else f


def _then(net: Net, f: Callable[[Any], Any], x: ArrayLike, site: Site = untouched) -> Any:
    return f(checked_for(f, _called(net, x, site)))


def _before(net: Net, f: Callable[[ArrayLike], Array], x: ArrayLike, site: Site = untouched) -> Any:
    return _called(net, f(x), site)


@functools.cache  # one function per layer: jit knows a function by its identity
def _mean_at(layer: str) -> Callable[..., Array]:
    def apply(net: Net, x: ArrayLike, site: Site = untouched) -> Float[Array, " C"]:
        found: dict[str, Array] = {}

        def keep(name: str, a: Array) -> Array:
            found[name] = a = site(name, a)
            return a

        run(net, x, keep, asked=(layer,))
        check_layers(found, [layer])
        return jnp.mean(found[layer], axis=tuple(range(found[layer].ndim - 1)))

    apply.__name__ = f"embedding at {layer!r}"
    return apply
