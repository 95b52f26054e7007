"""Class activation maps: a layer's channels, weighted by what they do to the score.

`layer` names a layer whose activation A is (h, w, C); g is d score / d A. Maps are (h, w), raw and signed: `positive`,
`upsample` and `unit_range` make the pictures of the papers from them. To methods that `cam` makes a tuple of layers may
be given: {layer: map} from one backward pass, in the order of the tuple. The others take one; see `at_layers`.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import each, reused
from jaxplain._numerics import at_least_float32, contract, quotient
from jaxplain._types import Net
from jaxplain.net import run, taps, view
from jaxplain.target import score

Weigh = Callable[[Array, Array], Array]


@runtime_checkable
class Cam(Protocol):
    """How a class activation method made by `cam` is called."""

    def __call__(self, net: Net, x: ArrayLike, target: ArrayLike, *, layer: str | tuple[str, ...]) -> Any:
        """The map (h, w), or {layer: map} for a tuple of layers."""
        ...


def cam(weigh: Weigh) -> Cam:
    """The explainer whose map (h, w) is sum over channels of weigh(A, g) * A.

    weigh takes the activation and the gradient, both (h, w, C), and returns weights (C,) or (h, w, C). It also serves
    as a decorator, which is how the methods below are made:

        @cam
        def plain_gradient(activation, gradient):
            return gradient
    """

    def weighted(activation, gradient):
        check_map(activation)
        activation, gradient = at_least_float32(activation), at_least_float32(gradient)
        return jnp.sum(jnp.broadcast_to(weigh(activation, gradient), activation.shape) * activation, axis=-1)

    def explain(net: Net, x: ArrayLike, target: ArrayLike, *, layer: str | tuple[str, ...]) -> Any:
        if isinstance(layer, str):
            activation, head = view(net, layer, x)
            return weighted(activation, jax.grad(lambda a: score(head(a), target))(activation))
        activations, gradients = taps(net, layer, x, target)
        return OrderedDict((name, weighted(activations[name], gradients[name])) for name in activations)

    explain.__name__ = explain.__qualname__ = getattr(weigh, "__name__", "explain")  # a partial has no name
    explain.__doc__, explain.__module__ = weigh.__doc__, weigh.__module__
    return explain


def check_map(activation: Array) -> None:
    """Raises ValueError unless a layer's activation has several positions, and so (h, w, C)."""
    if activation.ndim != 3 or activation.shape[:2] == (1, 1):
        raise ValueError(
            f"The layer's activation has shape {activation.shape}, but a map needs (h, w, C) with more than one "
            "position: choose a layer before the pooling over positions."
        )


@cam
def grad_cam(activation: Float[Array, "h w C"], gradient: Float[Array, "h w C"]) -> Float[Array, " C"]:
    """sum over c of mean(g[..., c]) * A[..., c], signed, (h, w); the paper shows its positive part.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", 2016.

        grad_cam(net, x, one_hot(281, 1000), layer="layer4")
    """
    del activation
    return jnp.mean(gradient, axis=(0, 1))


@cam
def grad_cam_plus_plus(activation: Float[Array, "h w C"], gradient: Float[Array, "h w C"]) -> Float[Array, " C"]:
    """sum over c of w[c] A[..., c], w[c] = sum of alpha relu(g), alpha = g^2 / (2 g^2 + g^3 sum(A) + 1e-6), (h, w).

    Meant for activations that are not negative, where the denominator is positive.

    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
    Deep Convolutional Networks", 2017.
    """
    rising = jax.nn.relu(gradient)
    alpha = rising**2 / (2 * rising**2 + rising**3 * jnp.sum(activation, axis=(0, 1), keepdims=True) + 1e-6)
    return jnp.sum(alpha * rising, axis=(0, 1))


@cam
def xgrad_cam(activation: Float[Array, "h w C"], gradient: Float[Array, "h w C"]) -> Float[Array, " C"]:
    """sum over c of w[c] A[..., c] with w[c] = sum(g A) / (sum(A) + 1e-7), signed, (h, w).

    Meant for activations that are not negative.

    Fu, Hu, Dong, Guo, Gao, Li, "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", 2020.
    """
    return contract("hwc,hwc->c", gradient, activation) / (jnp.sum(activation, axis=(0, 1)) + 1e-7)


@cam
def hires_cam(activation: Float[Array, "h w C"], gradient: Float[Array, "h w C"]) -> Float[Array, "h w C"]:
    """sum over c of g A, signed, (h, w); behind global pooling and one dense layer, the class activation map / (h w).

    Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks", 2020.
    """
    del activation
    return gradient


@cam
def layer_cam(activation: Float[Array, "h w C"], gradient: Float[Array, "h w C"]) -> Float[Array, "h w C"]:
    """sum over c of relu(g) A, (h, w), for any layer.

    Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021.
    """
    del activation
    return jax.nn.relu(gradient)


def eigen_cam(net: Net, x: ArrayLike, target: ArrayLike, *, layer: str) -> Float[Array, "h w"]:
    """The projection of A, centred over positions, on its first principal direction, signed, (h, w).

    The target plays no part. The direction's sign, which a decomposition leaves open, is the one whose components sum
    to a positive number, so that the map rises with the total activation. Where no direction is first, as for a
    constant activation, the map has no derivative by x.

    Muhammad, Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020.
    """
    del target
    activation, _ = view(net, layer, x)
    check_map(activation)
    rows = at_least_float32(activation).reshape(-1, activation.shape[-1])
    centred = rows - jnp.mean(rows, axis=0, keepdims=True)
    direction = jnp.linalg.svd(centred, full_matrices=False)[2][0]
    sign = jnp.where(jnp.sum(direction) < 0, -1.0, 1.0)
    return contract("nc,c->n", centred, sign * direction).reshape(activation.shape[:-1])


@reused
def score_cam(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str,
    align_corners: bool = False,
    chunk: int | None = 16,
) -> Float[Array, "h w"]:
    """sum over c of w[c] A[..., c], w = softmax over c of score(x * N(up(A[..., c]))), signed, (h, w).

    up() is bilinear interpolation to the image's size, with half-pixel centres, or with the corners' centres on each
    other as pytorch-grad-cam has it; N is (a - min) / (max - min + 1e-8). One forward pass for each channel, `chunk` at
    a time.

    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", 2019.
    """
    activation, _ = view(net, layer, x)
    check_map(activation)
    x, activation = jnp.asarray(x), at_least_float32(activation)
    rows, columns = (_interpolation(n, m, align_corners) for n, m in zip(activation.shape, x.shape[:2], strict=False))

    def seen(channel):
        mask = contract("yh,hw,xw->yx", rows, channel, columns)
        low, high = jnp.min(mask), jnp.max(mask)
        return score(run(net, x * ((mask - low) / (high - low + 1e-8))[..., None].astype(x.dtype)), target)

    weights = jax.nn.softmax(each(seen, jnp.moveaxis(activation, -1, 0), chunk))
    return contract("hwc,c->hw", activation, weights)


@reused
def ablation_cam(
    net: Net, x: ArrayLike, target: ArrayLike, *, layer: str, chunk: int | None = 16
) -> Float[Array, "h w"]:
    """sum over c of w[c] A[..., c], w[c] = (score - score with channel c at 0) / score, signed, (h, w).

    Meant for scores above 0: the quotient turns the map's sign where the score is negative, and is 0 where it is 0. One
    pass through the rest of the network for each channel, `chunk` at a time.

    Desai, Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
    2020.
    """
    activation, head = view(net, layer, x)
    check_map(activation)
    channels = jnp.arange(activation.shape[-1])

    def without(channel):
        return score(head(jnp.where((channels == channel)[None, None], 0, activation)), target)

    whole = at_least_float32(score(head(activation), target))
    drops = whole - each(without, channels, chunk)
    return contract("hwc,c->hw", at_least_float32(activation), quotient(drops, whole))


def channel_map(net: Net, x: ArrayLike, weights: ArrayLike, *, layer: str) -> Float[Array, "h w"]:
    """sum over c of weights[c] A[..., c], signed, (h, w), for channel weights (C,) that come from elsewhere.

    So weights of one image make a map on another: on the other one of a pair, or on each support of a prototype.
    """
    activation, _ = view(net, layer, x)
    check_map(activation)
    weights = jnp.asarray(weights, jnp.float32)
    if weights.shape != activation.shape[2:]:
        raise ValueError(f"weights has shape {weights.shape}, but one a channel, {activation.shape[2:]}, is expected.")
    return contract("hwc,c->hw", at_least_float32(activation), weights)


def _interpolation(length, size, align_corners):
    """(size, length): the weights of linear interpolation from `length` to `size` values."""
    half_pixel = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    places = np.linspace(0, length - 1, size) if align_corners else half_pixel
    return jnp.asarray(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(length))), jnp.float32)
