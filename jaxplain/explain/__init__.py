"""Explainers: explain(net, x, target, *, options) -> map, raw and signed. They know JAX and the net, nothing else."""

from jaxplain.explain._cam import (
    ablation_cam,
    cam,
    channel_map,
    eigen_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    score_cam,
    xgrad_cam,
)
from jaxplain.explain._concepts import (
    Attribution,
    Concept,
    concept_attribution,
    concept_map,
    response,
    stack_concepts,
    steps_for,
    tcav_score,
)
from jaxplain.explain._fam import fam, fam_contributions
from jaxplain.explain._features import filter_weights, weighted
from jaxplain.explain._perturb import grid_mask, lime, occlusion, rise
from jaxplain.explain._saliency import (
    active_saliency,
    gradient,
    gradient_times_input,
    inactive_saliency,
    integrated_gradients,
    negative_saliency,
    positive_saliency,
    saliency,
)
from jaxplain.explain._secam import secam

__all__ = [
    "Attribution", "Concept", "ablation_cam", "active_saliency", "cam", "channel_map", "concept_attribution",
    "concept_map", "eigen_cam", "fam", "fam_contributions", "filter_weights", "grad_cam", "grad_cam_plus_plus",
    "gradient", "gradient_times_input", "grid_mask", "hires_cam", "inactive_saliency", "integrated_gradients",
    "layer_cam", "lime", "negative_saliency", "occlusion", "positive_saliency", "response", "rise", "saliency",
    "score_cam", "secam", "stack_concepts", "steps_for", "tcav_score", "weighted", "xgrad_cam",
]  # fmt: skip
