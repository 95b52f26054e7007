"""Networks compute what torch's do at every site: torchvision's with random weights, and EfficientNet-Lite0."""

import copy

import numpy as np
import pytest
import torch
from compare import assert_close
from parity.torch_nets import (
    PHOTOS,
    assert_sites,
    from_torch,
    lite,
    noise,
    our_sites,
    same_kinks,
    the_image,
    torch_gradient,
    torch_sites,
    twins,
    with_relus,
)
from PIL import Image
from skimage import data
from torchvision.models import Inception_V3_Weights

import jaxplain as jp
from jaxplain.models import load

pytestmark = pytest.mark.slow

SIZES = {
    "resnet50": {"standard": (224, 224), "small": (96, 128)},
    "vgg16": {"standard": (224, 224), "small": (70, 97)},
    "inception_v3": {"standard": (299, 299), "small": (75, 139)},  # torchvision's least is 75
}
# how many sites there are, the first and the last
NAMES = {
    "resnet50": (129, ["bn1", "relu", "maxpool", "layer1.0.bn1", "layer1.0.relu1", "layer1.0.bn2", "layer1.0.relu2",
                       "layer1.0.bn3", "layer1.0.downsample.1", "layer1.0.downsample", "layer1.0.relu3", "layer1.0"],
                 ["layer4.2.relu3", "layer4.2", "layer4", "avgpool", "fc"]),
    "vgg16": (41, ["features.0", "features.1", "features.2"], ["classifier.5", "classifier.6", "classifier"]),
    "inception_v3": (204, ["Conv2d_1a_3x3.bn", "Conv2d_1a_3x3", "Conv2d_2a_3x3.bn"],
                     ["Mixed_7c.branch_pool.bn", "Mixed_7c.branch_pool", "Mixed_7c", "avgpool", "dropout", "fc"]),
    "efficientnet_lite0": (101, ["_bn0", "_swish1", "_blocks.0._bn1", "_blocks.0._swish1", "_blocks.0._bn2",
                                 "_blocks.0", "_blocks.1._bn0"],
                           ["_blocks.15", "_blocks", "_bn1", "_swish2", "_avg_pooling", "_fc"]),
}  # fmt: skip


@pytest.fixture(scope="module", params=[(name, seed) for name in SIZES for seed in range(3)], ids=str)
def network(request):
    """(name, seed, twins) of each of torchvision's networks, with three draws of weights and statistics."""
    return *request.param, twins(*request.param)


@pytest.fixture(scope="module")
def resnet():
    return twins("resnet50")


@pytest.fixture(scope="session")
def lite_model():
    return load("efficientnet_lite0")


def assert_names(name, net, x, theirs):
    """Our sites are torch's in forward order; NAMES says which these are."""
    count, first, last = NAMES[name]
    names = list(jp.layers(net, x))
    assert names == list(theirs)
    assert (len(names), names[: len(first)], names[-len(last) :]) == (count, first, last)


@pytest.mark.parametrize("size", ["standard", "small"])
def test_every_site(size, network):
    name, seed, (module, net, _) = network
    x = noise(*SIZES[name][size], seed)
    outputs, ours = our_sites(net, x)
    theirs = torch_sites(module, x)
    assert_names(name, net, x, theirs)
    assert_sites(ours, theirs)
    assert_close(outputs, [*theirs.values()][-1], 1e-4)


def test_gradient(network):
    name, seed, (module, net, _) = network
    x, target = noise(*SIZES[name]["small"], seed), jp.one_hot(7, 1000)
    ours, relus = with_relus(jp.gradient, the_image, None, net, x, target)
    with same_kinks(module, relus):
        assert_close(ours, torch_gradient(module, x, target), 1e-4)


def test_resnet_from_a_file(tmp_path, resnet):
    torch.save(resnet.module.state_dict(), tmp_path / "weights.pth")
    loaded = load("resnet50", tmp_path / "weights.pth")
    assert_close(loaded.net.args, resnet.net.args, 0)  # pyright: ignore[reportAttributeAccessIssue] a BoundNet
    assert loaded.net.func is resnet.net.func  # pyright: ignore[reportAttributeAccessIssue] a BoundNet


def test_prepared_photographs_make_inception_torchvisions_pretrained_network():
    """Its own transform normalises by ImageNet's statistics, which transform_input undoes; our Spec has 0.5 for all."""
    module, *_ = twins("inception_v3")
    module.transform_input = True  # pyright: ignore[reportArgumentType] torch is typed too wide
    image, model = Image.fromarray(data.chelsea()), load("inception_v3", module)
    prepare = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    theirs = from_torch(module(prepare(image)[None]))
    assert_close(our_sites(model.net, model.prepare("sample:chelsea"))[0], theirs, 1e-4)
    imagenet = model._replace(spec=model.spec._replace(mean=tuple(prepare.mean), std=tuple(prepare.std)))
    with pytest.raises(AssertionError, match="differs by"):
        assert_close(our_sites(model.net, imagenet.prepare("sample:chelsea"))[0], theirs, 1e-2)


@pytest.mark.parametrize("photo", PHOTOS)
def test_lite_at_every_site(photo, lite_model):
    x = lite_model.prepare(f"sample:{photo}")
    outputs, ours = our_sites(lite_model.net, x)
    theirs = torch_sites(lite().module.lite, x, left_out=(torch.nn.Dropout,))  # pyright: ignore[reportArgumentType] torch is typed too wide
    assert_names("efficientnet_lite0", lite_model.net, x, theirs)
    assert_sites(ours, theirs)
    assert np.abs(outputs - theirs["_fc"]).max() <= 1e-3
    assert np.argsort(outputs)[:-6:-1].tolist() == np.argsort(theirs["_fc"])[:-6:-1].tolist()


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
    assert_close(torch_gradient(wrapped, x, target), torch_gradient(wrapped.lite, x, target), 0)  # pyright: ignore[reportArgumentType] torch is typed too wide


def test_a_changed_statistic_is_noticed_where_it_is(resnet):
    """One channel's mean in one BatchNorm of torch, by its deviation, a hundredth of the site's largest value."""
    changed, x = copy.deepcopy(resnet.module), noise(96, 128)
    statistics = changed.layer2[1].bn2
    statistics.running_mean[5] += statistics.running_var[5].sqrt()
    ours, theirs = our_sites(resnet.net, x)[1], torch_sites(changed, x)
    with pytest.raises(AssertionError) as caught:
        assert_sites(ours, theirs)
    assert caught.value.__notes__ == ["at the site layer2.1.bn2"]


def test_a_missing_site_is_noticed(resnet):
    _, ours = our_sites(resnet.net, noise(96, 128))
    with pytest.raises(AssertionError):
        assert_sites({name: a for name, a in ours.items() if name != "layer3.4.relu2"}, ours)


def test_wrong_kinks_are_noticed(resnet):
    """Outputs of ReLUs that are not torch's up to rounding cannot take their place."""
    x, target = noise(96, 128), jp.one_hot(7, 1000)
    _, relus = with_relus(jp.gradient, the_image, None, resnet.net, x, target)
    relus["layer3.1.relu2"] = 1.001 * relus["layer3.1.relu2"]
    with same_kinks(resnet.module, relus), pytest.raises(AssertionError, match="differs by"):
        torch_gradient(resnet.module, x, target)
