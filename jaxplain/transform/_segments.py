"""Maps averaged inside segments: they follow the image's edges."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxplain._types import Explain, Net
from jaxplain.net import check_image
from jaxplain.postprocess import positive, upsample
from jaxplain.segment import check_segments, segment_means
from jaxplain.transform._signature import REQUIRED, like


def per_segment(explain: Explain) -> Explain:
    """The explainer whose map (H, W) is the mean, in each segment, of explain's map at the image's size.

    Maps (h, w) are upsampled to (H, W), and with `rectify` their negative parts are 0 before the average is taken.
    `segments` (H, W) are labels from 0 to num_segments - 1, as slic gives them; all other options are explain's.

        per_segment(grad_cam)(net, x, target, layer="layer4", segments=slic(pixels), num_segments=50)
    """

    @like(explain, added={"segments": REQUIRED, "num_segments": REQUIRED, "rectify": True})
    def averaged(
        net: Net,
        x: ArrayLike,
        *rest: Any,
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

        return jax.tree.map(average, explain(net, x, *rest, **options))

    return averaged
