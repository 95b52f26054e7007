"""What the command line computes: a network's outputs, and the explainers by name."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import jaxplain as jp
from jaxplain.net import Net
from jaxplain.similarity import normalised


def rise(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W"]:
    """jaxplain.rise with the same masks for every image, (H, W)."""
    return jp.rise(net, x, target, key=jax.random.key(0))


def random(net: Net, x: ArrayLike, target: ArrayLike, *, key: Array) -> Float[Array, "H W"]:
    """Uniform noise, (H, W), which knows nothing of the network: what other maps are compared with."""
    del net, target
    return jax.random.uniform(key, jnp.shape(x)[:2])


def secam(net: Net, x: ArrayLike, targets: ArrayLike, *, num_segments: int, **options: Any) -> Float[Array, "K H W"]:
    """jaxplain.secam for each of the targets (K, n)."""
    return jp.over_classes(jp.secam)(net, x, targets, num_segments=num_segments, **options)


def fam(net: Net, x: ArrayLike, targets: ArrayLike, *, layer: str, reference: ArrayLike) -> Float[Array, "K h w"]:
    """jaxplain.fam, which knows no classes, once for each of the targets (K, n)."""
    heat = jp.fam(net, x, reference, layer=layer)
    return jnp.broadcast_to(heat[None], (len(jnp.asarray(targets)), *heat.shape))


def segmented(pixels: ArrayLike, segmenter: str, segments: int) -> np.ndarray:
    """Labels (H, W) from 0 of pixels in [0, 1], every segment in one piece; `segments` are about as many for slic."""
    return SEGMENTERS[named("segmenter", segmenter, SEGMENTERS)](pixels, segments)


SEGMENTERS: dict[str, Callable[..., np.ndarray]] = {
    "slic": lambda pixels, segments: jp.connected(np.asarray(jp.slic(pixels, num_segments=segments))),
    "quickshift": lambda pixels, _: jp.quickshift(pixels, kernel_size=4, max_dist=200, ratio=0.2),  # as lime's
    "felzenszwalb": lambda pixels, _: jp.felzenszwalb(pixels, scale=100, sigma=0.5, min_size=50),
}
METHODS: dict[str, Callable[..., Any]] = {
    "grad_cam": jp.grad_cam,
    "grad_cam_plus_plus": jp.grad_cam_plus_plus,
    "xgrad_cam": jp.xgrad_cam,
    "hires_cam": jp.hires_cam,
    "layer_cam": jp.layer_cam,
    "eigen_cam": jp.eigen_cam,
    "score_cam": jp.score_cam,
    "ablation_cam": jp.ablation_cam,
    "gradient": jp.gradient,
    "saliency": jp.saliency,
    "positive_saliency": jp.positive_saliency,
    "negative_saliency": jp.negative_saliency,
    "active_saliency": jp.active_saliency,
    "inactive_saliency": jp.inactive_saliency,
    "gradient_times_input": jp.gradient_times_input,
    "integrated_gradients": functools.partial(jp.integrated_gradients, chunk=10),
    "occlusion": jp.occlusion,
    "rise": rise,
}
OF_MORE: dict[str, Callable[..., Any]] = {  # need segments or a reference beside the image and the targets (K, n)
    "secam": secam,
    "fam": fam,
}
BASELINES: dict[str, Callable[..., Any]] = {"random": random}
AMONG_RIVALS = {"active_saliency", "inactive_saliency"}  # their target has to be one class

outputs = jax.jit(lambda net, x: net(x))
embedded = jax.jit(lambda net, x, layer: jp.embedding(net, layer)(x), static_argnums=2)


@functools.partial(jax.jit, static_argnums=3)
def on_reference(net: Net, x: ArrayLike, reference: ArrayLike, layer: str) -> tuple[Array, Array]:
    """The cosine of two images' embeddings at a layer, and fam's weights as a map (h, w) of the second."""
    k = jp.fam_contributions(jp.view(net, layer, x)[0], jp.embedding(net, layer)(reference), split="cosine")
    return jnp.sum(k), jp.channel_map(net, reference, normalised(k), layer=layer)


def named(kind: str, name: str, known: Iterable[str]) -> str:
    """The name, if it is known; else ValueError with the nearest ones."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, cutoff=0.4) or known
        raise ValueError(f"There is no {kind} {name!r}; there is {', '.join(near)}.")
    return name


def method(name: str) -> Callable[..., Any]:
    """The explainer of that name; ValueError with the nearest names where there is none."""
    return METHODS[named("method", name, METHODS | OF_MORE)]


def at_a_layer(name: str) -> bool:
    """Whether the method explains a layer's activation rather than the image."""
    return name in OF_MORE or _needs(_method_or_baseline(name), "layer")


@functools.cache
def compiled(name: str, layer: str) -> Callable[..., Any]:
    """The method for several targets (K, n) of one image: f(net, x, targets) -> maps (K, ...).

    A method of OF_MORE takes what else it needs as options, of which num_segments is static.
    """
    if name in OF_MORE:
        static = "num_segments" if name == "secam" else ()
        return jax.jit(functools.partial(OF_MORE[name], layer=layer), static_argnames=static)
    return jax.jit(jp.over_classes(_at(method(name), layer)))


def explainer(name: str, layer: str) -> Callable[..., Any]:
    """The method or baseline as f(net, x, target, key) -> map; only baselines use the key."""
    explain = _at(_method_or_baseline(name), layer)
    if _needs(explain, "key"):
        return lambda net, x, target, key: explain(net, x, target, key=key)
    return lambda net, x, target, key: explain(net, x, target)  # noqa: ARG005


def _method_or_baseline(name):
    known = METHODS | BASELINES
    return known[named("method", name, known)]


def _at(explain, layer):
    return functools.partial(explain, layer=layer) if _needs(explain, "layer") else explain


def _needs(explain, option):
    parameter = inspect.signature(explain).parameters.get(option)
    return parameter is not None and parameter.default is inspect.Parameter.empty
