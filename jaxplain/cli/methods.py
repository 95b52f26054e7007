"""What the command line computes: a network's outputs, and the explainers by name."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

import jaxplain as jp

METHODS: dict[str, Callable[..., Any]] = {
    "grad_cam": jp.grad_cam,
    "grad_cam_plus_plus": jp.grad_cam_plus_plus,
    "xgrad_cam": jp.xgrad_cam,
    "hires_cam": jp.hires_cam,
    "layer_cam": jp.layer_cam,
    "eigen_cam": jp.eigen_cam,
    "gradient": jp.gradient,
    "saliency": jp.saliency,
    "gradient_times_input": jp.gradient_times_input,
    "integrated_gradients": functools.partial(jp.integrated_gradients, chunk=10),
}

outputs = jax.jit(lambda net, x: net(x))


def method(name: str) -> Callable[..., Any]:
    """The explainer of that name; ValueError with the nearest names where there is none."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, cutoff=0.4) or METHODS
        raise ValueError(f"There is no method {name!r}; there is {', '.join(near)}.")
    return METHODS[name]


def at_a_layer(name: str) -> bool:
    """Whether the method explains a layer's activation rather than the image."""
    layer = inspect.signature(method(name)).parameters.get("layer")
    return layer is not None and layer.default is inspect.Parameter.empty


@functools.cache
def compiled(name: str, layer: str) -> Callable[..., Any]:
    """The method for several targets (K, n) of one image: f(net, x, targets) -> maps (K, ...)."""
    options = {"layer": layer} if at_a_layer(name) else {}
    explain = jp.over_classes(method(name))
    return jax.jit(lambda net, x, targets: explain(net, x, targets, **options))
