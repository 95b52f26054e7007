"""What people put in the place of a network's classifier: dense layers, or nothing."""

import jax
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from jaxplain.models import architecture, load
from jaxplain.models._finetune import trunk
from jaxplain.models._live import check_same
from jaxplain.weights_convert import converted, parameter_shapes
from jaxplain.weights_convert._heads import modules_of, with_head
from jaxplain.weights_convert._tables import RESNET50

SPEC = architecture("resnet50").spec


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval()


@pytest.fixture
def headed(network):
    """A function that puts a module in the place of the classifier."""

    def put(head):
        network.fc = head.eval()
        return network

    return put


def assert_tree_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def sequence(*layers):
    return nn.Sequential(*layers)


MLP = sequence(nn.Linear(2048, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))

HEADS = {
    "one layer in a Sequential": (
        sequence(nn.Dropout(0.5), nn.Linear(2048, 3)),
        (3,),
        "fc.1 is taken as the classifier",
    ),
    "no bias": (nn.Linear(2048, 5, bias=False), (5,), "the classifier fc has no bias, which is 0 then"),
    "several": (MLP, (64, 32, 3), "fc.0, fc.3, fc.5 are taken as the head, with a ReLU between each two"),
    "none": (nn.Identity(), (), "there is no fc: the outputs are the 2048 features that it would get"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_converted_and_computes_the_same(name, headed):
    head, widths, note = HEADS[name]
    module = headed(head)
    found = converted(module.state_dict(), "resnet50")
    check_same(module, architecture("resnet50").module(*widths), found.parameters, SPEC)
    assert any(note in said for said in found.notes)


def test_what_is_between_the_layers_is_seen_in_a_live_module(headed):
    module = headed(sequence(nn.Linear(2048, 64), nn.Tanh(), nn.Linear(64, 3)))
    converted(module.state_dict(), "resnet50")
    with pytest.raises(ValueError, match="computes something else"):
        load("resnet50", module)


BESIDE = {
    "a layer": ({"head": nn.Linear(2048, 3)}, (3,), "head is taken as the classifier"),
    "layers": ({"mlp": MLP, "norm": nn.BatchNorm1d(7)}, (64, 32, 3), "mlp.0, mlp.3, mlp.5 are taken as the head"),
    "of other features": ({"head": nn.Linear(512, 3)}, (), "there is no fc"),
    "with BatchNorm": ({"p": sequence(nn.Linear(2048, 64), nn.BatchNorm1d(64))}, (), "there is no fc"),
    "two": ({"a": nn.Linear(2048, 3), "b": nn.Linear(2048, 4)}, (), "there is no fc"),
}


@pytest.mark.parametrize("parent", ["", "model."])
@pytest.mark.parametrize("name", BESIDE)
def test_a_head_beside_the_network(name, parent):
    modules, widths, note = BESIDE[name]
    beside = {parent + key: a.numpy() for key, a in nn.ModuleDict(modules).state_dict().items()}
    head = with_head({}, modules_of(beside, parent + "backbone."), RESNET50, "fc", 2048)
    assert head.widths == widths
    assert head.notes[0].replace("model.", "").startswith(note)
    taken = [beside[name] for name in head.taken]
    assert_tree_equal(list(head.entries.values()), taken)
    assert len(taken) == 2 * len(widths)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (sequence(nn.Linear(2048, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), "has fc.1.weight, fc.1.bias"),
        (sequence(nn.Linear(2048, 8), nn.Linear(7, 3)), "fc.0.weight of 8 outputs before fc.1.weight of 7 inputs"),
    ],
)
def test_other_layers_are_refused(head, words):
    with pytest.raises(ValueError, match=words):
        with_head({f"fc.{key}": a.numpy() for key, a in head.state_dict().items()}, {}, RESNET50, "fc", 2048)


@pytest.mark.parametrize("inputs", [1000, 2048])
def test_a_layer_that_may_follow_the_classifier_or_take_its_place_is_refused(inputs):
    own = {"fc.weight": np.ones((1000, 2048), np.float32), "fc.bias": np.ones(1000, np.float32)}
    beside = {"head.weight": np.ones((3, inputs), np.float32), "head.bias": np.ones(3, np.float32)}
    with pytest.raises(ValueError, match=r"a classifier, and beside it head\.weight, head\.bias, which may follow"):
        with_head(own, modules_of(beside, "base."), RESNET50, "fc", 2048)
    momentum = {"base_k.fc.weight": np.ones((1000, 2048)), "base_k.conv1.weight": np.ones((64, 3, 7, 7))}
    for other in ({"head.weight": np.ones((3, 7))}, momentum):
        assert with_head(own, modules_of(other, "base."), RESNET50, "fc", 2048).widths == (1000,)


def test_layers_with_names_come_in_the_order_in_which_they_fit():
    entries = {"fc.z.weight": np.ones((5, 9)), "fc.a.weight": np.ones((3, 5))}
    for order in (sorted(entries), sorted(entries, reverse=True)):
        head = with_head({name: entries[name] for name in order}, {}, RESNET50, "fc", 9)
        assert head.widths == (5, 3)
        assert head.notes[0].startswith("fc.z, fc.a are taken as the head")


def test_a_network_without_head_gives_features(headed, tmp_path):
    model = load("resnet50", headed(nn.Identity()))
    assert (model.outputs, len(model.spec.categories), model.spec.categories[1]) == ("scores", 2048, "output 1")
    assert trunk(model.net, model.spec) is model.net
    model.save(tmp_path / "saved")
    again = load("resnet50", tmp_path / "saved")
    assert again.spec == model.spec
    assert_tree_equal(again.parameters, model.parameters)


def test_a_head_of_several_layers_is_kept_and_is_no_part_of_the_trunk(headed, tmp_path):
    model = load("resnet50", headed(MLP), categories=["a", "b", "c"], outputs="sigmoid")
    model.save(tmp_path / "saved")
    again = load("resnet50", tmp_path / "saved")
    assert again.spec == model.spec
    assert_tree_equal(again.parameters, model.parameters)
    features = jax.eval_shape(trunk(again.net, again.spec), model.spec.image)
    assert features.shape == (2048,)


@pytest.mark.parametrize(("name", "features"), [("vgg16", 4096), ("inception_v3", 2048), ("efficientnet_lite0", 1280)])
def test_heads_of_the_other_networks(name, features):
    for widths in ((), (5,), (4, 3)):
        module = architecture(name).module(*widths)
        X = jax.ShapeDtypeStruct((1, 96, 96, 3), np.float32)
        outputs, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), X)
        assert outputs.shape == (1, widths[-1] if widths else features)
        assert jax.tree.map(np.shape, variables["params"]) == jax.tree.map(np.shape, parameter_shapes(name, widths))
