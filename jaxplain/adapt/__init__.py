"""Nets from modules of Flax: the only place where jaxplain meets module frameworks.

Every array that a submodule's `__call__` returns is a site, named by the submodule's path with dots. Activations that a
module computes with plain functions, such as `nn.relu(x)`, are invisible: wrap the function in a small named module to
see it.
"""

from jaxplain.adapt._linen import from_linen
from jaxplain.adapt._nnx import from_nnx

__all__ = ["from_linen", "from_nnx"]
