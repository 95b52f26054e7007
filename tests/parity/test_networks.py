"""Networks compute what torch's do, at every site: ResNet50 with random weights, EfficientNet-Lite0 with its own."""

import copy

import jax
import numpy as np
import pytest
import torch
from compare import assert_close
from parity.torch_nets import (
    PHOTOS,
    assert_sites,
    lite,
    noise,
    our_sites,
    resnet,
    same_kinks,
    the_image,
    torch_gradient,
    torch_sites,
    vgg,
    with_relus,
)

import jaxplain as jp
from jaxplain.models import load

SIZES = [(224, 224), (96, 128)]


@pytest.fixture(scope="session")
def lite_model():
    return load("efficientnet_lite0")


@pytest.mark.parametrize("size", SIZES)
def test_resnet_at_every_site(size):
    module, net, _ = resnet()
    outputs, ours = our_sites(net, noise(*size))
    theirs = torch_sites(module, noise(*size))
    assert_sites(ours, theirs)
    assert_close(outputs, theirs["fc"], 1e-4)


@pytest.mark.parametrize("size", [(224, 224), (70, 97)])
def test_vgg_at_every_site(size):
    module, net, _ = vgg()
    outputs, ours = our_sites(net, noise(*size))
    theirs = torch_sites(module, noise(*size), left_out=())
    assert list(jp.layers(net, noise(*size))) == list(theirs)
    assert_sites(ours, theirs)
    assert_close(outputs, theirs["classifier.6"], 1e-4)


def test_vgg_gradient():
    module, net, _ = vgg()
    x, target = noise(70, 97), jp.one_hot(7, 1000)
    assert_close(jax.jit(jp.gradient)(net, x, target), torch_gradient(module, x, target), 1e-4)


def test_resnet_has_the_sites_of_torchvision_in_forward_order():
    module, net, _ = resnet()
    names = list(jp.layers(net, noise(96, 128)))
    assert names == list(torch_sites(module, noise(96, 128)))
    assert names[:6] == ["bn1", "relu", "maxpool", "layer1.0.bn1", "layer1.0.relu1", "layer1.0.bn2"]
    assert names[8:12] == ["layer1.0.downsample.1", "layer1.0.downsample", "layer1.0.relu3", "layer1.0"]
    assert names[-5:] == ["layer4.2.relu3", "layer4.2", "layer4", "avgpool", "fc"]
    assert len(names) == 129


def test_resnet_gradient():
    module, net, _ = resnet()
    x, target = noise(96, 128), jp.one_hot(7, 1000)
    ours, relus = with_relus(jp.gradient, the_image, None, net, x, target)
    with same_kinks(module, relus):
        assert_close(ours, torch_gradient(module, x, target), 1e-4)


def test_resnet_from_a_file(tmp_path):
    module, net, _ = resnet()
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    loaded = load("resnet50", tmp_path / "weights.pth")
    assert_close(loaded.net.args, net.args, 0)
    assert loaded.net.func is net.func


@pytest.mark.parametrize("photo", PHOTOS)
def test_lite_at_every_site(photo, lite_model):
    x = lite_model.prepare(f"sample:{photo}")
    outputs, ours = our_sites(lite_model.net, x)
    theirs = torch_sites(lite().module.lite, x)
    assert_sites(ours, theirs)
    assert np.abs(outputs - theirs["_fc"]).max() <= 1e-3
    assert np.argsort(outputs)[:-6:-1].tolist() == np.argsort(theirs["_fc"])[:-6:-1].tolist()


def test_lite_has_the_sites_of_the_port_in_forward_order(lite_model):
    x = lite_model.prepare("sample:chelsea")
    names = list(jp.layers(lite_model.net, x))
    assert names == list(torch_sites(lite().module.lite, x))
    assert names[:7] == ["_bn0", "_swish1", *(f"_blocks.0.{name}" for name in ("_bn1", "_swish1", "_bn2")), "_blocks.0",
                         "_blocks.1._bn0"]  # fmt: skip
    assert names[-6:] == ["_blocks.15", "_blocks", "_bn1", "_swish2", "_avg_pooling", "_fc"]
    assert len(names) == 101


@pytest.mark.parametrize(
    ("photo", "first"), [("chelsea", {"Egyptian cat", "tabby", "tiger cat"}), ("coffee", {"espresso"})]
)
def test_lite_recognises(photo, first, lite_model):
    outputs, _ = our_sites(lite_model.net, lite_model.prepare(f"sample:{photo}"))
    assert {lite_model.spec.categories[k] for k in np.argsort(-outputs)[: len(first)]} == first


@pytest.mark.parametrize("photo", PHOTOS)
def test_lite_gradient(photo, lite_model):
    x = lite_model.prepare(f"sample:{photo}")
    target, module = jp.one_hot(285, 1000), lite().module
    ours, relus = with_relus(jp.gradient, the_image, None, lite_model.net, x, target)
    with same_kinks(module, relus):
        assert_close(ours, torch_gradient(module, x, target), 1e-4)


def test_the_wrapped_lite_is_the_same_module():
    x, target = noise(224, 224), jp.one_hot(3, 1000)
    wrapped = lite().module
    assert_close(torch_gradient(wrapped, x, target), torch_gradient(wrapped.lite, x, target), 0)


def test_a_changed_statistic_is_noticed_where_it_is():
    """One channel's mean in one BatchNorm of torch, by a tenth of its deviation."""
    module, net, _ = resnet()
    changed, x = copy.deepcopy(module), noise(96, 128)
    statistics = changed.layer2[1].bn2
    statistics.running_mean[5] += 0.1 * statistics.running_var[5].sqrt()
    ours, theirs = our_sites(net, x)[1], torch_sites(changed, x)
    with pytest.raises(AssertionError) as caught:
        assert_sites(ours, theirs)
    assert caught.value.__notes__ == ["at the site layer2.1.bn2"]


def test_a_missing_site_is_noticed():
    _, ours = our_sites(resnet().net, noise(96, 128))
    with pytest.raises(AssertionError):
        assert_sites({name: a for name, a in ours.items() if name != "layer3.4.relu2"}, ours)


def test_wrong_kinks_are_noticed():
    """Outputs of ReLUs that are not torch's up to rounding cannot take their place."""
    module, net, _ = resnet()
    x, target = noise(96, 128), jp.one_hot(7, 1000)
    _, relus = with_relus(jp.gradient, the_image, None, net, x, target)
    relus["layer3.1.relu2"] = 1.001 * relus["layer3.1.relu2"]
    with same_kinks(module, relus), pytest.raises(AssertionError, match="differs by"):
        torch_gradient(module, x, target)
