"""Nets from modules of Flax, Equinox and Keras: the only place where jaxplain meets module frameworks.

Every array that a submodule's `__call__` returns is a site, named by the submodule's path with dots. Activations that a
module computes with plain functions, such as `nn.relu(x)`, are invisible: `linen_layer` and `nnx_layer` make a module
of a function, to see it; Equinox has `eqx.nn.Lambda` and Keras `keras.layers.Activation`.
"""

from jaxplain.adapt._equinox import from_equinox
from jaxplain.adapt._keras import from_keras
from jaxplain.adapt._linen import from_linen, linen_layer
from jaxplain.adapt._nnx import from_nnx, nnx_layer

__all__ = ["from_equinox", "from_keras", "from_linen", "from_nnx", "linen_layer", "nnx_layer"]
