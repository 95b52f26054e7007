"""The networks by name: a new one is a row here, beside its file and its tables in `weights_convert`."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from jaxplain.models._efficientnet_lite import efficientnet_lite0
from jaxplain.models._inception import inception_v3
from jaxplain.models._resnet import resnet50
from jaxplain.models._spec import Spec
from jaxplain.models._vgg import vgg16
from jaxplain.weights_convert import digest_in, find_network, published


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
        return digest_in(self.file)


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


def _architecture(
    name: str, module: Callable[[int], nn.Module], classifier: str, cam_layer: str, layers: tuple[str, ...]
) -> Architecture:
    """The network with the Spec of each of its published sets, whose files are a table of `weights_convert`."""
    sets = (
        Published(
            row.name,
            Spec(name, **row.preprocessing, cam_layer=cam_layer, layers=layers),
            row.file,
            row.url,
            row.package,
        )
        for row in published(name)
    )
    return Architecture(module, classifier, tuple(sets))


_ARCHITECTURES = (
    _architecture(
        "efficientnet_lite0",
        efficientnet_lite0,
        classifier="_fc",
        cam_layer="_swish2",
        layers=("_blocks.2", "_blocks.4", "_blocks.10", "_swish2"),
    ),
    _architecture(
        "resnet50",
        resnet50,
        classifier="fc",
        cam_layer="layer4",
        layers=("layer1", "layer2", "layer3", "layer4"),
    ),
    _architecture(
        "vgg16",
        vgg16,
        classifier="classifier.6",
        cam_layer="features.29",
        layers=("features.3", "features.8", "features.15", "features.22", "features.29"),
    ),
    _architecture(
        "inception_v3",
        inception_v3,
        classifier="fc",
        cam_layer="Mixed_7c",
        layers=("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    ),
)


def names() -> tuple[str, ...]:
    """The names of all networks."""
    return tuple(a.spec.name for a in _ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The network of that name; ValueError with the nearest names where there is none."""
    return find_network(name, {row.spec.name: row for row in _ARCHITECTURES})
