"""Nets from Keras models on the JAX backend."""

import contextlib
import functools
import inspect
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import check_framework
from jaxplain._types import Site
from jaxplain.adapt._sites import Call, Tapped, call_of, outputs_of, refuse_training, sites
from jaxplain.net import BoundNet, check_image, untouched

EVALUATION = "leave out training=True, in the model's own calls too"
_CALLING = threading.RLock()  # layers are tapped while a model is called


def from_keras(model: Any, **call_options: Any) -> BoundNet:
    """The net of a Keras 3 model on the JAX backend, called with training=False; every layer is a site.

    Channels are last, and the net adds and strips the batch axis. A model of several inputs takes the arrays of all but
    the image as `call_options`, by the names of its inputs; others go to its call and must be hashable. ValueError for
    another backend, for a model that is not built, and where a layer runs as in training.

        net = from_keras(keras.applications.MobileNetV2(weights=None))
    """
    check_framework(model, "keras")
    import keras

    if keras.backend.backend() != "jax":
        raise ValueError(
            f"Keras computes with {keras.backend.backend()}, but JAX is expected: set KERAS_BACKEND=jax before Keras "
            "is imported."
        )
    if not model.built:
        raise ValueError(f"The model {model.name!r} has no weights yet: call it once, or model.build(input_shape).")
    call, inputs = call_of(call_options)
    return BoundNet(_Keras(_Key(model), call), _values(model), inputs)


class _Key:
    """A model as a key, by its identity: its layers are called, with the net's own values for its variables."""

    def __init__(self, model: Any):
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Key) and self.model is other.model


def _variables(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables]


def _values(model: Any) -> dict[str, dict[str, Array]]:
    """The values of a model's variables by the paths of layers and the names of variables."""
    values: dict[str, dict[str, Array]] = {}
    for folder, name, variable in _places(model):
        values.setdefault(folder, {})[name] = variable.value
    return values


def _places(model):
    """(folder, name, variable): the path of a variable in two parts, numbered where another one has the same."""
    seen: set[tuple[str, str]] = set()
    for variable in _variables(model):
        folder, _, name = variable.path.rpartition("/")
        while (folder, name) in seen:
            name += "_"
        seen.add((folder, name))
        yield folder, name, variable


class _Keras(NamedTuple):
    """A net's function: equal for the same model and options, so that jit knows it again, and kept by nets alone."""

    key: _Key
    options: Call

    def __call__(self, values: Any, inputs: tuple[Array, ...], x: ArrayLike, site: Site = untouched) -> Any:
        check_image(x)
        model, training = self.key.model, []
        add, tapped = sites(True, site)
        given = self.options.given(inputs, add)
        flat = [values[folder][name] for folder, name, _ in _places(model)]
        cut = len(model.trainable_variables)
        image = _inputs(model, add(jnp.asarray(x)), given)
        if "training" in inspect.signature(model.call).parameters:
            given.setdefault("training", False)
        with _tapped(dict(_layers(model)), tapped, training):
            outputs, after = model.stateless_call(flat[:cut], flat[cut:], image, **given)
        fixed = zip(model.non_trainable_variables, flat[cut:], after, strict=True)
        changed = [f"{variable.path} (changes)" for variable, old, new in fixed if new is not old]
        refuse_training(training + changed, EVALUATION)
        return outputs_of(outputs, batched=True)


def _inputs(model: Any, image: Array, given: dict[str, Any]) -> Any:
    """The image, or the inputs of a model of several in their order; those are taken out of what is given."""
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    if len(names) < 2:
        return image
    others = [name for name in names if name not in given]
    if len(others) != 1:
        raise ValueError(
            f"The model has the inputs {', '.join(names)}, but arrays for all but the image are expected: give "
            f"from_keras {len(names) - 1} of them by name."
        )
    return [image if name in others else given.pop(name) for name in names]


def _layers(layer: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(name, layer) of every layer inside of one; names are those of layers, with dots."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        yield ".".join((*path, inner.name)), inner
        yield from _layers(inner, (*path, inner.name))


@contextlib.contextmanager
def _tapped(names: dict[str, Any], tapped: Tapped, training: list[str]) -> Iterator[None]:
    """While it lasts, the outputs of layers pass through `tapped`; afterwards the layers are as they were."""
    with _CALLING:
        before = {name: layer.__dict__.get("call") for name, layer in names.items()}
        try:
            for name, layer in names.items():
                object.__setattr__(layer, "call", functools.partial(_calls, name, layer, layer.call, tapped, training))
            yield
        finally:
            for name, layer in names.items():
                if before[name] is None:
                    object.__delattr__(layer, "call")
                else:
                    object.__setattr__(layer, "call", before[name])


def _calls(name, layer, call, tapped, training, /, *args, **kwargs):
    if kwargs.get("training") and getattr(layer, "rate", 1) != 0:
        training.append(f"{name} (training=True)")
    out = call(*args, **kwargs)
    return tapped(name, out, lambda: not layer.weights)
