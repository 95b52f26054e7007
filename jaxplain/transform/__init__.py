"""Functions of explainers: mapped over images, classes and layers, smoothed, held against all classes, run in chunks.

Each takes an explainer, explain(net, x, *rest, **options), and returns a function that is called in the same way and
has its name, its docstring and its signature. Jit the result once, at module level, and name its static options:

    explain = jax.jit(batched(grad_cam), static_argnames="layer")
"""

from jaxplain.transform._batch import batched, chunked, over_classes
from jaxplain.transform._classes import active, active_and_inactive, inactive
from jaxplain.transform._layers import at_layers
from jaxplain.transform._segments import per_segment
from jaxplain.transform._smooth import smooth

__all__ = [
    "active",
    "active_and_inactive",
    "at_layers",
    "batched",
    "chunked",
    "inactive",
    "over_classes",
    "per_segment",
    "smooth",
]
