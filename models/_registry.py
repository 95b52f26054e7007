"""The networks by name: a new one is a row here, beside its file and its tables in `weights_convert`.

Of these `expected.json` is written by `python tests/weights_convert/test_expected.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from jaxplain.models._efficientnet_lite import efficientnet_lite0
from jaxplain.models._inception import inception_v3
from jaxplain.models._resnet import resnet50
from jaxplain.models._spec import Spec
from jaxplain.models._vgg import vgg16
from jaxplain.weights_convert import Published, find_network, published


class Architecture(NamedTuple):
    """What is known of a network before its weights are.

    `spec` is that of the first published weights, which are the ones that are meant if nobody says otherwise. `module`
    makes the Linen module for the widths of the dense layers of its head, none for features, and `classifier` names
    that head.
    """

    spec: Spec
    module: Callable[..., nn.Module]
    classifier: str
    published: tuple[Published, ...]

    def spec_of(self, published: Published) -> Spec:
        """The Spec of one of the published sets of weights, which are of classes that exclude each other."""
        return self.spec._replace(**published.preprocessing, outputs="softmax")


def _architecture(
    name: str,
    module: Callable[..., nn.Module],
    classifier: str,
    cam_layer: str,
    layers: tuple[str, ...],
    feature_layers: tuple[str, ...],
) -> Architecture:
    """The network with its published sets, whose files are a table of `weights_convert`."""
    sets = published(name)
    spec = Spec(name, **sets[0].preprocessing, cam_layer=cam_layer, layers=layers, feature_layers=feature_layers)
    return Architecture(spec, module, classifier, sets)


_ARCHITECTURES = (
    _architecture(
        "efficientnet_lite0",
        efficientnet_lite0,
        classifier="_fc",
        cam_layer="_swish2",
        layers=("_blocks.2", "_blocks.4", "_blocks.10", "_swish2"),
        feature_layers=(*(f"_blocks.{number}" for number in range(5, 16)), "_swish2"),
    ),
    _architecture(
        "resnet50",
        resnet50,
        classifier="fc",
        cam_layer="layer4",
        layers=("layer1", "layer2", "layer3", "layer4"),
        feature_layers=(
            *("layer2.2", "layer2.3"),
            *(f"layer3.{number}" for number in range(6)),
            *("layer4.0", "layer4.1", "layer4.2"),
        ),
    ),
    _architecture(
        "vgg16",
        vgg16,
        classifier="classifier.6",
        cam_layer="features.29",
        layers=("features.3", "features.8", "features.15", "features.22", "features.29"),
        feature_layers=tuple(f"features.{number}" for number in (11, 13, 15, 18, 20, 22, 25, 27, 29)),
    ),
    _architecture(
        "inception_v3",
        inception_v3,
        classifier="fc",
        cam_layer="Mixed_7c",
        layers=("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
        feature_layers=tuple(f"Mixed_{name}" for name in ("6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
    ),
)


def names() -> tuple[str, ...]:
    """The names of all networks."""
    return tuple(a.spec.name for a in _ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The network of that name; ValueError with the nearest names where there is none."""
    return find_network(name, {row.spec.name: row for row in _ARCHITECTURES})
