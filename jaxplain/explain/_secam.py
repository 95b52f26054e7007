"""SeCAM: a class activation map averaged inside superpixels."""

from typing import Any

from jax.typing import ArrayLike

from jaxplain._types import Net
from jaxplain.explain._cam import hires_cam
from jaxplain.transform import per_segment


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
