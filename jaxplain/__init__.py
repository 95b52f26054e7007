"""Explains what convolutional image classifiers and embedding models look at.

    net(x, site=untouched) -> outputs                  a network with named sites (jaxplain.net)
    explain(net, x, target, *, options) -> map         an explainer: pure, one image, raw signed maps

Images are preprocessed floats (H, W, C), channels last; targets are covectors on the outputs. `batched`, `smooth`,
`over_classes` and `at_layers` make explainers of explainers; `positive`, `upsample` and `unit_range` make pictures of
maps.
"""

from jaxplain import _start as _start  # first: signals while the command imports the rest

# isort: split
import importlib
from importlib.metadata import version as _version
from types import ModuleType

from jaxplain import metrics as metrics
from jaxplain import similarity as similarity
from jaxplain import stats as stats
from jaxplain.adapt import from_equinox, from_keras, from_linen, from_nnx, linen_layer, nnx_layer
from jaxplain.concepts import fit_concept, fit_concepts
from jaxplain.explain import (
    Attribution,
    Concept,
    ablation_cam,
    active_saliency,
    cam,
    channel_map,
    concept_attribution,
    concept_map,
    eigen_cam,
    fam,
    fam_contributions,
    filter_weights,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    gradient_times_input,
    hires_cam,
    inactive_saliency,
    integrated_gradients,
    layer_cam,
    lime,
    negative_saliency,
    occlusion,
    positive_saliency,
    rise,
    saliency,
    score_cam,
    secam,
    stack_concepts,
    steps_for,
    tcav_score,
    xgrad_cam,
)
from jaxplain.features import Features, layer_features
from jaxplain.net import before, embedding, layers, taps, then, untouched, view
from jaxplain.postprocess import keep_segments, negative, over_channels, positive, preset, unit_range, upsample
from jaxplain.render import Bars, Panel, figure, outlined, overlay, scale_of
from jaxplain.segment import connected, felzenszwalb, quickshift, segment_means, slic
from jaxplain.target import contrast, one_hot, top
from jaxplain.transform import (
    active,
    active_and_inactive,
    at_layers,
    batched,
    chunked,
    inactive,
    over_classes,
    per_segment,
    smooth,
)

__version__ = _version("jaxplain")

__all__ = [
    "Attribution",
    "Bars",
    "Concept",
    "Features",
    "Panel",
    "ablation_cam",
    "active",
    "active_and_inactive",
    "active_saliency",
    "at_layers",
    "batched",
    "before",
    "cam",
    "channel_map",
    "chunked",
    "concept_attribution",
    "concept_map",
    "connected",
    "contrast",
    "eigen_cam",
    "embedding",
    "fam",
    "fam_contributions",
    "felzenszwalb",
    "figure",
    "filter_weights",
    "fit_concept",
    "fit_concepts",
    "from_equinox",
    "from_keras",
    "from_linen",
    "from_nnx",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_times_input",
    "hires_cam",
    "inactive",
    "inactive_saliency",
    "integrated_gradients",
    "keep_segments",
    "layer_cam",
    "layer_features",
    "layers",
    "lime",
    "linen_layer",
    "negative",
    "negative_saliency",
    "nnx_layer",
    "occlusion",
    "one_hot",
    "outlined",
    "over_channels",
    "over_classes",
    "overlay",
    "per_segment",
    "positive",
    "positive_saliency",
    "preset",
    "quickshift",
    "rise",
    "saliency",
    "scale_of",
    "score_cam",
    "secam",
    "segment_means",
    "slic",
    "smooth",
    "stack_concepts",
    "steps_for",
    "taps",
    "tcav_score",
    "then",
    "top",
    "unit_range",
    "untouched",
    "upsample",
    "view",
    "xgrad_cam",
]


_MODULES = ("concepts", "metrics", "similarity", "stats")  # public, beside the names above
_LATER = ("methods", "models", "weights_convert", "workflows")  # imported when they are first used; most need Flax


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return importlib.import_module(f"jaxplain.{name}")
    raise AttributeError(f"module 'jaxplain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, *_LATER, "__version__"])
