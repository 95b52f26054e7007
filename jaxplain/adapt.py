"""Nets from Flax modules: the only place where jaxplain meets Flax.

Every submodule's output is a site, named by its path with dots. Activations that a module computes with plain
functions, such as `nn.relu(x)`, are invisible: wrap the function in a small named module to see it.
"""

import functools
from typing import Any

import jax
from jax.tree_util import Partial

from jaxplain.net import Net, check_image, untouched


def from_linen(module: Any, variables: Any, *, batched: bool = True, **call_options: Any) -> Net:
    """The net of a Linen module and its variables.

    `batched` says that the module wants a leading batch axis; the net adds one of length 1 and strips it, at the sites
    too. `call_options` go to the module's call, for example train=False, and must be hashable.

        net = from_linen(CNN(), variables)          # variables as module.init returned them
    """
    return Partial(_linen(module, batched, tuple(sorted(call_options.items()))), variables)


def from_nnx(module: Any, *, batched: bool = True, **call_options: Any) -> Net:
    """The net of an NNX module, which is left as it is: the net runs a copy made of its graph and state.

    `batched` and `call_options` are as for from_linen. Put the module in evaluation mode first (module.eval()).
    """
    from flax import nnx

    graph, state = nnx.split(module)
    return Partial(_nnx(batched, tuple(sorted(call_options.items()))), graph, state)


@functools.cache  # one function per module: jit knows a function by its identity
def _linen(module, batched, call_options):
    from flax import linen

    def apply(variables, x, site=untouched):
        check_image(x)
        add, strip = _batch_axis(batched)

        def tap(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if context.method_name != "__call__" or not context.module.path or not isinstance(out, jax.Array):
                return out
            return add(site(".".join(context.module.path), strip(out)))

        with linen.intercept_methods(tap):
            return strip(_vector(module.apply(variables, add(x), **dict(call_options))))

    return apply


@functools.cache
def _nnx(batched, call_options):
    from flax import nnx

    def apply(graph, state, x, site=untouched):
        check_image(x)
        add, strip = _batch_axis(batched)
        module = nnx.merge(graph, state)
        _wrap_submodules(module, lambda name, out: add(site(name, strip(out))))
        return strip(_vector(module(add(x), **dict(call_options))))

    return apply


def _wrap_submodules(module, tap):
    """Replaces each submodule, which is a copy of the user's, by a callable that passes its output through `tap`."""
    from flax import nnx

    submodules = [(path, node) for path, node in nnx.iter_modules(module) if path]
    for path, node in sorted(submodules, key=lambda item: -len(item[0])):
        *parents, name = path
        parent = module
        for part in parents:
            parent = _child(parent, part)
        _set_child(parent, name, _Tapped(node, ".".join(map(str, path)), tap))


class _Tapped:
    """A submodule whose calls are seen; everything else is passed on to it."""

    def __init__(self, module, name, tap):
        self._module, self._name, self._tap = module, name, tap

    def __call__(self, *args, **kwargs):
        out = self._module(*args, **kwargs)
        return self._tap(self._name, out) if isinstance(out, jax.Array) else out

    def __getattr__(self, name):
        return getattr(self._module, name)


def _child(parent, name):
    return parent[name] if isinstance(name, int) else getattr(parent, name)


def _set_child(parent, name, child):
    if isinstance(name, int):
        parent[name] = child
    else:
        object.__setattr__(parent, name, child)


def _batch_axis(batched):
    return (lambda a: a[None], lambda a: a[0]) if batched else (lambda a: a, lambda a: a)


def _vector(outputs):
    if not isinstance(outputs, jax.Array):
        raise ValueError(
            f"The module returned a {type(outputs).__name__}, but one array is expected: wrap it in a module that "
            "returns the logits or the embedding."
        )
    return outputs
