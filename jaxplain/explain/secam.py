"""Maps averaged inside segments: they follow the image's edges. Results are (H, W), at the image's size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxplain.explain.cam import hires_cam
from jaxplain.net import Net, check_image
from jaxplain.postprocess import positive, upsample
from jaxplain.segment import check_segments, segment_means

Explain = Callable[..., Any]


def per_segment(explain: Explain) -> Explain:
    """The explainer whose map is the mean, in each segment, of explain's map at the image's size: constant in each.

    Maps (h, w) are upsampled to (H, W), and with `rectify` their negative parts are 0 before the average is taken.
    `segments` (H, W) are labels from 0 to num_segments - 1, as slic gives them; all other options are explain's.

        per_segment(grad_cam)(net, x, target, layer="layer4", segments=slic(pixels), num_segments=50)
    """

    def averaged(
        net: Net,
        x: ArrayLike,
        target: ArrayLike,
        segments: ArrayLike,
        num_segments: int,
        rectify: bool = True,
        **options: Any,
    ) -> Any:
        check_image(x)
        height, width, _ = jnp.shape(x)
        size = height, width
        labels = check_segments(segments, size, num_segments)

        def average(heat):
            if heat.ndim != 2:
                raise ValueError(f"The map has shape {heat.shape}, but (h, w) is averaged: use over_channels.")
            large = upsample(heat, size)
            return segment_means(positive(large) if rectify else large, labels, num_segments)[labels]

        return jax.tree.map(average, explain(net, x, target, **options))

    return averaged


def secam(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layer: str | tuple[str, ...],
    segments: ArrayLike,
    num_segments: int,
    rectify: bool = True,
) -> Any:
    """per_segment(hires_cam): the mean in each segment of relu(up(sum over c of g A)), (H, W), constant in each.

    Behind global pooling and one dense layer the map is the class activation map / (h w); behind several dense layers
    the gradient stands for their weights. `segments` (H, W) are labels from 0 to num_segments - 1. keep_segments finds
    what the paper shows of the image.

    Cao, Nguyen, Nguyen, Nguyen, "A Novel Explainable Artificial Intelligence Model in Image Classification problem",
    2023.

        secam(net, x, target, layer="layer4", segments=slic(model.pixels(image)), num_segments=50)
    """
    return _secam(net, x, target, layer=layer, segments=segments, num_segments=num_segments, rectify=rectify)


_secam = per_segment(hires_cam)
