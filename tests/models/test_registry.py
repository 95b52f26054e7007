"""The published sets of weights are torchvision's: their files, and what they expect of images."""

import pytest
from torchvision.models import get_model_weights

from jaxplain.models._registry import architecture, names

FEATURES_ONLY = "IMAGENET1K_FEATURES"  # a set for VGG16 without a classifier
TORCHVISIONS = ("resnet50", "vgg16", "inception_v3")
SETS = [(name, published) for name in TORCHVISIONS for published in architecture(name).published]
each_set = pytest.mark.parametrize(("name", "published"), SETS, ids=lambda value: getattr(value, "name", value))


def test_every_network_is_torchvisions_or_a_packages():
    others = set(names()) - set(TORCHVISIONS)
    assert others == {"efficientnet_lite0"}
    assert all(published.package for name in others for published in architecture(name).published)


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_every_set_of_torchvision_is_there(name):
    theirs = {weights.name for weights in get_model_weights(name)}
    assert [published.name for published in architecture(name).published] == sorted(theirs - {FEATURES_ONLY})


@each_set
def test_files_are_torchvisions(name, published):
    weights = get_model_weights(name)[published.name]
    assert published.url == weights.url
    assert published.url.endswith(f"/{published.file}")
    assert published.file.endswith(f"-{published.digest}.pth")
    assert len(published.digest) == 8
    assert published.package is None


@each_set
def test_specs_are_torchvisions_transforms(name, published):
    spec, transform = architecture(name).spec_of(published), get_model_weights(name)[published.name].transforms()
    assert spec.name == name
    assert [spec.input_size] == transform.crop_size
    assert [spec.resize] == transform.resize_size
    assert spec.interpolation == transform.interpolation.value
    # Inception has its own statistics: torchvision's network undoes its transform's
    half = name == "inception_v3"
    assert spec.mean == ((0.5,) * 3 if half else tuple(transform.mean))
    assert spec.std == ((0.5,) * 3 if half else tuple(transform.std))


def test_the_two_sets_of_resnet50_differ_in_their_resize():
    first, second = map(architecture("resnet50").spec_of, architecture("resnet50").published)
    assert (first.resize, second.resize) == (256, 232)
    assert second._replace(resize=256) == first
    assert architecture("resnet50").spec._replace(outputs="softmax") == first


def test_the_sets_of_a_network_name_the_same_preprocessing():
    for name in names():
        first, *others = (published.preprocessing.keys() for published in architecture(name).published)
        assert all(other == first for other in others)
