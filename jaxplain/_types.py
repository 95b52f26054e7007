"""What a net, a site and an explainer are, and the options that have few values."""

from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Array

Rule = Literal["gauss_legendre", "trapezoid", "left", "middle", "right"]
Resizing = Literal["bilinear", "cubic", "nearest"]
Similarity = Literal["cosine", "dot", "euclidean", "squared_euclidean", "l1", "dn4"]
PooledSimilarity = Literal["cosine", "dot", "euclidean", "squared_euclidean", "l1"]
Normalisation = Literal["minmax", "sum", "l2", "softmax", "none"]
Convention = Literal["captum", "pytorch_grad_cam"]
MeasuredBy = Literal["ablation", "gradient"]
Test = Literal["welch", "permutation"]
Clustering = Literal["tsne", "kmeans"]
Threshold = Literal["scaled", "published"]
Segmenter = Literal["slic", "quickshift", "felzenszwalb"]
OutputKind = Literal["softmax", "sigmoid", "scores"]
Fill = Literal["black", "white", "grey", "blur"]
Metric = Literal[
    "deletion",
    "insertion",
    "allegiance",
    "allegiance_white",
    "average_drop",
    "increase_in_confidence",
    "pointing_game",
    "energy_in_box",
    "max_sensitivity",
    "infidelity",
    "randomisation",
]


class Note(UserWarning):
    """Something that was chosen for the user, who can choose otherwise."""


@runtime_checkable
class Site(Protocol):
    """What a net calls at each named layer: a = site(name, a)."""

    def __call__(self, name: str, a: Array, /) -> Array:
        """The activation that the net goes on with."""
        ...


@runtime_checkable
class Net(Protocol):
    """net(x, site) -> outputs: one image (H, W, C) to one vector (n,) or array, a site called at each layer."""

    def __call__(self, x: Any, site: Site = ..., /) -> Any:
        """The outputs (n,)."""
        ...


@runtime_checkable
class Explain(Protocol):
    """explain(net, x, target, *, options) -> map, or the same over batches, classes and layers."""

    def __call__(self, net: Net, x: Any, /, *rest: Any, **options: Any) -> Any:
        """The map, or a pytree of maps."""
        ...
