"""Input attributions: what a change of each pixel does to the score.

`x` is one image (H, W, C) and `target` a covector on the net's outputs. The gradient is in the units of x: for
attributions of pixels in [0, 1], explain `before(net, model.normalise)`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import nodes, reused, weighted_sum
from jaxplain._types import Net, Rule
from jaxplain.net import check_image, run, view
from jaxplain.target import score
from jaxplain.transform import active, inactive


def gradient(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W C"]:
    """d score / d x, signed, (H, W, C)."""
    check_image(x)
    return jax.grad(lambda x: score(run(net, x), target))(jnp.asarray(x))


def saliency(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W"]:
    """max over channels of |d score / d x|, (H, W), never negative.

    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models and
    Saliency Maps", 2013.
    """
    return jnp.max(jnp.abs(gradient(net, x, target)), axis=-1)


def positive_saliency(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W"]:
    """max over channels of relu(d score / d x), (H, W): where a brighter pixel raises the score.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.
    """
    return jnp.max(jax.nn.relu(gradient(net, x, target)), axis=-1)


def negative_saliency(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W"]:
    """max over channels of relu(-d score / d x), (H, W): where a darker pixel raises the score.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.
    """
    return jnp.max(jax.nn.relu(-gradient(net, x, target)), axis=-1)


def active_saliency(net: Net, x: ArrayLike, target: ArrayLike, *, chunk: int = 16) -> Float[Array, "H W"]:
    """max over channels of |g|, where g = d score / d x is larger than every other class's, else 0, (H, W).

    There a brighter pixel raises the target's score more than any other. As in the authors' code, which their figures
    come from, the test is made in each channel, ties are dropped, and values are absolute. `chunk` classes are
    evaluated at a time. Raises ValueError for fewer than two classes, or a known target that is not one class.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.

        active_saliency(before(net, model.normalise), pixels, one_hot(281, 1000))     # by pixels, as in the paper
    """
    return jnp.max(jnp.abs(active(gradient, chunk=chunk)(net, x, target)), axis=-1)


def inactive_saliency(net: Net, x: ArrayLike, target: ArrayLike, *, chunk: int = 16) -> Float[Array, "H W"]:
    """max over channels of |g|, where g = d score / d x is smaller than every other class's, else 0, (H, W).

    There a darker pixel raises the target's score more than any other; everything else is as in active_saliency.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.
    """
    return jnp.max(jnp.abs(inactive(gradient, chunk=chunk)(net, x, target)), axis=-1)


def gradient_times_input(net: Net, x: ArrayLike, target: ArrayLike) -> Float[Array, "H W C"]:
    """x * d score / d x, signed, (H, W, C); for a network that is linear in x it sums to the score less the bias.

    Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important Features Through Propagating
    Activation Differences", 2016.
    """
    return gradient(net, x, target) * jnp.asarray(x)


@reused
def integrated_gradients(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str | None = None,
    steps: int = 50,
    baseline: ArrayLike | None = None,
    rule: Rule = "gauss_legendre",
    chunk: int | None = 16,
) -> Float[Array, "H W C"]:
    """(x - b) * integral over t in [0, 1] of d score / d x at b + t (x - b), signed, (H, W, C).

    b is `baseline`, an array like x or one number for all of it, 0 by default. With a `layer`, x is the activation
    there, and the result is (h, w, C). The attributions sum to score(x) - score(b), up to the error of the quadrature
    `rule`, which divides the path into `steps` steps; each has one gradient, but the trapezoid rule has one more.
    `chunk` gradients are evaluated at a time (None: all), which bounds memory.

    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017.
    """
    check_image(x)
    end, head = (jnp.asarray(x), lambda x: run(net, x)) if layer is None else view(net, layer, x)
    start = jnp.zeros_like(end) if baseline is None else jnp.asarray(baseline, end.dtype)
    start = jnp.full_like(end, start) if start.ndim == 0 else start
    if start.shape != end.shape:
        raise ValueError(f"The baseline has shape {start.shape}, but {end.shape} is expected, as what it stands for.")
    t, weights = nodes(rule, steps)

    def gradient_at(t):
        return jax.grad(lambda a: score(head(a), target))(start + t * (end - start))

    return (end - start) * weighted_sum(gradient_at, jnp.asarray(t, end.dtype), weights, chunk)
