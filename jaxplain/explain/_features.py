"""Features of layers: channels weighted by what they do for a class, and clusters of those that look at one place.

Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
Post-hoc Explainability of CNN-based Image Classification", 2024.
"""

from collections import OrderedDict
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._checks import layer_names
from jaxplain._loops import reused
from jaxplain._numerics import at_least_float32, quotient
from jaxplain._types import Net
from jaxplain.explain._cam import check_map
from jaxplain.net import taps


def filter_weights(
    net: Net, x: ArrayLike, target: ArrayLike, *, layers: str | Sequence[str], guided: bool = True
) -> OrderedDict[str, Float[Array, " C"]]:
    """{layer: (C,)}: what each channel contributes to the score, in percent of its layer: 100 together, or all 0.

    With g = d score / d A, w[c] is the mean over positions of g[..., c] where both g and A are positive, and the result
    100 w / sum(w). Without `guided` w[c] is the mean of g, or 0 where that is negative. All layers are computed in one
    forward and one backward pass. Where A or g is NaN nothing is counted.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        filter_weights(net, x, one_hot(281, 1000), layers=("layer3", "layer4"))["layer4"]       # (2048,)
    """
    found = weighted(net, x, target, tuple(layer_names(layers)), guided)
    return OrderedDict((name, percent) for name, (_, percent) in found.items())


@reused
def weighted(
    net: Net, x: ArrayLike, target: ArrayLike, layers: tuple[str, ...], guided: bool
) -> OrderedDict[str, tuple[Array, Array]]:
    """{layer: (activation (h, w, C), percent (C,))}."""
    activations, gradients = taps(net, layers, x, target)
    found: OrderedDict[str, tuple[Array, Array]] = OrderedDict()
    for name, a in activations.items():
        check_map(a)
        activation, gradient = at_least_float32(a), at_least_float32(gradients[name])
        seen = (activation > 0) & (gradient > 0) if guided else True
        means = jax.nn.relu(jnp.mean(jnp.where(seen, gradient, 0), axis=(0, 1)))
        found[name] = activation, 100 * quotient(means, jnp.sum(means))
    return found
