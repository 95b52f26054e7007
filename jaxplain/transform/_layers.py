"""Explainers at several layers."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from jax.typing import ArrayLike

from jaxplain._checks import layer_names
from jaxplain._types import Explain, Net
from jaxplain.transform._signature import like


def at_layers(explain: Explain, layers: str | Iterable[str]) -> Explain:
    """Runs an explainer at each layer and returns {layer: result}, in the order of `layers`, under jit too.

    An option that is a dict with exactly these layers as keys is looked up for each layer.

        at_layers(eigen_cam, ("layer3", "layer4"))(net, x, target)
    """
    layers = tuple(layer_names(layers))

    @like(explain, without="layer")
    def everywhere(net: Net, x: ArrayLike, *rest: Any, **options: Any) -> OrderedDict[str, Any]:
        def own(option, layer):
            return option[layer] if isinstance(option, dict) and set(option) == set(layers) else option

        def result(layer):
            return explain(net, x, *rest, layer=layer, **{name: own(value, layer) for name, value in options.items()})

        return OrderedDict((layer, result(layer)) for layer in layers)  # whose order JAX keeps, unlike a dict's

    return everywhere
