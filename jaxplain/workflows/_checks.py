"""What has to hold before the work begins."""

import difflib
from collections.abc import Iterable

from jaxplain.methods import Method
from jaxplain.models import Model
from jaxplain.net import layers


def check_layer(model: Model, layer: str, methods: Iterable[Method] = ()) -> str:
    """The layer, if there is one of that name and the methods can make maps of it; ValueError otherwise."""
    sites, listed = layers(model.net, model.spec.image), f"`jaxplain layers {model.spec.name}` lists them"
    if layer not in sites:
        near = difflib.get_close_matches(layer, sites, cutoff=0.4) or list(sites)[-3:]
        raise ValueError(f"There is no layer {layer!r}; near are {', '.join(near)}, and {listed}.")
    if len(sites[layer].shape) != 3 and any("layer" in row.needs for row in methods):
        raise ValueError(f"Layer {layer!r} has no height and width to make a map of; choose another, {listed}.")
    return layer
