"""Live torch modules: what only looks like one of the networks is refused, and preprocessing is the module's own."""

from typing import Any, cast

import jax
import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform, resolve_model_data_config  # pyright: ignore[reportPrivateImportUsage]

from jaxplain.models import Model, Weights, architecture, load
from jaxplain.models._live import preprocessing_of
from jaxplain.weights_convert import convert


class Normalised(torch.nn.Module):
    """A network that normalises by itself, and so takes pixels."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x - 0.5) / 0.25)


def torchvisions(**options):
    torch.manual_seed(0)
    return torchvision.models.resnet50(num_classes=3, **options)


def timms(name="resnet50", **options):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, **options)


def with_epsilon():
    module = torchvisions()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 1e-3
    return module


NAMESAKES = {
    "SiLU": lambda: timms(act_layer=torch.nn.SiLU),
    "resnetaa50": lambda: timms("resnetaa50"),
    "resnetblur50": lambda: timms("resnetblur50"),
    "max pooling": lambda: timms(global_pool="max"),
    "dilated": lambda: torchvisions(replace_stride_with_dilation=[False, True, True]),
    "epsilon": with_epsilon,
    "probabilities": lambda: torch.nn.Sequential(torchvisions(), torch.nn.Softmax(1)),
    "pixels": lambda: Normalised(torchvisions()),
}


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    torch.set_num_threads(1)


@pytest.mark.parametrize("make", NAMESAKES.values(), ids=NAMESAKES)
def test_a_namesake_is_refused(make):
    with pytest.raises(ValueError, match="computes something else: for one image the outputs differ by") as error:
        load("resnet50", make())
    assert "\n" not in str(error.value)


def test_a_module_is_left_as_it_was():
    """In training mode, with a part that is frozen, of another dtype; and nobody's random numbers are used."""
    module = torchvisions().bfloat16().train()
    module.layer1.eval()
    modes, before = [part.training for part in module.modules()], {n: v.clone() for n, v in module.state_dict().items()}
    state = torch.get_rng_state()
    load("resnet50", module)
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_what_cannot_be_run_is_told():
    module = torchvisions()
    module.forward = lambda x, mask: x  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"live ResNet cannot be run on an image of 96 x 96 pixels.*TypeError"):
        load("resnet50", module)
    module.forward = lambda x: (x,)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="returns a tuple, expected a tensor of logits"):
        load("resnet50", module)


def test_containers_that_only_call_a_network_are_taken():
    module = torchvisions()
    found = load("resnet50", torch.nn.DataParallel(module))
    jax.tree.map(np.testing.assert_array_equal, found.parameters, convert(module, "resnet50"))


def test_timms_preprocessing_is_read():
    spec = load("resnet50", timms()).spec
    assert (spec.input_size, spec.resize, spec.interpolation) == (224, 235, "bicubic")
    assert preprocessing_of(timms("inception_v3.gluon_in1k"))["std"] == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "inception_v3.gluon_in1k"])
def test_a_photograph_is_prepared_as_timm_prepares_it(name):
    module = timms(name)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 451, 3), np.uint8))
    config: Any = resolve_model_data_config(module)
    expected = cast(Any, create_transform(**config))(image).numpy().transpose(1, 2, 0)
    known = architecture(name.split(".")[0])
    model = Model(None, known.spec._replace(**preprocessing_of(module)), Weights("", None))  # pyright: ignore[reportArgumentType] no net is needed
    np.testing.assert_allclose(model.prepare(image), expected, atol=1e-5)


@pytest.mark.parametrize("transforms", [True, False])
def test_inceptions_own_transform_is_read(transforms):
    module = torchvision.models.inception_v3(num_classes=3, transform_input=transforms, init_weights=False)
    found = preprocessing_of(module)
    assert found["std"] == ((0.5,) * 3 if transforms else (0.229, 0.224, 0.225))
