"""The layer that a workflow is asked to look at."""

import difflib
from collections.abc import Sequence

from jaxplain.models import Model
from jaxplain.net import layers


def feature_layers(model: Model, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    """The layers whose features are explained, each once, by default the model's; ValueError as of `checked_layer`."""
    spec = model.spec
    default = spec.feature_layers or spec.layers or (spec.cam_layer,)
    chosen = (layers,) if isinstance(layers, str) else tuple(dict.fromkeys(default if layers is None else layers))
    if not chosen:
        raise ValueError("There are no layers, expected one or several names of layers: name some.")
    return tuple(checked_layer(model, layer) for layer in chosen)


def checked_layer(model: Model, layer: str | None, *, spatial: bool = True) -> str:
    """The layer, by default that of class activation maps; ValueError for an unknown one.

    With `spatial` its activations have to have a height and a width, and more than one position.
    """
    layer = layer or model.spec.cam_layer
    sites, listed = layers(model.net, model.spec.image), f"`jaxplain layers {model.spec.name}` lists them"
    if layer not in sites:
        near = difflib.get_close_matches(layer, sites, cutoff=0.4) or list(sites)[-3:]
        raise ValueError(f"There is no layer {layer!r}; near are {', '.join(near)}, and {listed}.")
    if spatial and (len(sites[layer].shape) != 3 or sites[layer].shape[:2] == (1, 1)):
        raise ValueError(f"Layer {layer!r} has no height and width to make a map of; choose another, {listed}.")
    return layer
