"""From a state dict, wherever it is, to the parameters of one of the networks."""

from typing import Any

import numpy as np

from jaxplain.weights_convert.engine import assemble, entry_for, without_prefix
from jaxplain.weights_convert.state_dict import read_state_dict
from jaxplain.weights_convert.tables import TABLES


def convert(source: Any, model: str) -> dict:
    """The parameters of the network named `model`: a nested dict of float32 numpy arrays, BatchNorm folded.

    `source` is whatever `read_state_dict` reads; a scope that all its entries are in, such as a trainer's `model.`, is
    taken off. The number of classes is that of its classifier. ValueError lists every entry that is missing,
    unexpected, matched twice, of the wrong shape, no floats or not finite.
    """
    from jaxplain.models import architecture  # which imports the networks, and they may import this

    network = architecture(model)
    if model not in TABLES:
        raise ValueError(f"{model} has no conversion table, expected one of {', '.join(TABLES)}: add one to tables.py")
    state_dict = without_prefix(read_state_dict(source), TABLES[model])
    bias = entry_for(f"{network.classifier}/bias", state_dict, TABLES[model])
    classes = (bias and state_dict[bias].size) or 1000  # a missing classifier is reported with the rest
    try:
        return assemble(state_dict, TABLES[model], _shapes(network.module(classes), network.spec.input_size))
    except ValueError as error:
        raise ValueError(f"{_named(source)} does not fit {model}: {error}") from error


def _shapes(module: Any, size: int) -> dict:
    import jax

    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    return jax.eval_shape(module.init, jax.random.key(0), image)["params"]


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str) or hasattr(source, "__fspath__") else f"the {type(source).__name__}"
