"""Raw maps equal those of captum and pytorch-grad-cam, on EfficientNet-Lite0, and on ResNet50 with random
weights."""

import functools
from typing import Any, NamedTuple

import captum.attr
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import pytorch_grad_cam
import torch
from compare import assert_close
from parity.torch_nets import (
    Twins,
    from_torch,
    lite,
    noise,
    same_kinks,
    the_image,
    to_torch,
    torch_gradient,
    twins,
    with_relus,
)

import jaxplain as jp
from jaxplain._loops import nodes
from jaxplain.models import load

pytestmark = pytest.mark.slow

STEPS, DRAWS, SIGMA, KEY = 8, 2, 0.15, jax.random.key(4)
TOLERANCE = 1e-4
CAMS = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "xgrad_cam": pytorch_grad_cam.XGradCAM,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
}
LAYERS = {
    "resnet50": ("layer3.2", "layer4"),
    "efficientnet_lite0": ("_blocks.10", "_swish2"),
}
SIZES = {"resnet50": (96, 128)}
# These divide by a sum of activations, and are not meant for signed ones, whose sum may be near 0: noise of 1e-7 on
# the activation and the gradient at _blocks.10 changes the map of Grad-CAM++ by 4e-3.
RECTIFIED = {"grad_cam_plus_plus": "_blocks.10._swish2", "xgrad_cam": "_blocks.10._swish2"}


class Case(NamedTuple):
    """A network with an image and a class; ours are the maps by method and layer, relus what same_kinks needs."""

    name: str
    twins: Twins
    x: Any
    k: int
    target: Any
    ours: dict
    relus: dict


def where(name, layer):
    """The layer at which a method is compared."""
    return RECTIFIED.get(name, layer) if layer == "_blocks.10" else layer


def everything(layers, net, x, target):
    """Every map that needs the gradient at the image only."""
    maps = {name: getattr(jp, name)(net, x, target, layer=tuple(where(name, a) for a in layers)) for name in CAMS}
    maps["one layer"] = {layers[0]: jp.grad_cam(net, x, target, layer=layers[0])}
    maps["eigen_cam"] = {layer: jp.eigen_cam(net, x, target, layer=layer) for layer in layers}
    return maps | {name: getattr(jp, name)(net, x, target) for name in ("gradient", "saliency", "gradient_times_input")}


@pytest.fixture(scope="module", params=LAYERS)
def case(request):
    name = request.param
    if name in SIZES:
        both, x, k = twins(name), noise(*SIZES[name]), 7
    else:
        both, x, k = lite(), load(name).prepare("sample:chelsea"), 285
    target = jp.one_hot(k, 1000)
    ours, relus = with_relus(functools.partial(everything, LAYERS[name]), the_image, None, both.net, x, target)
    return Case(name, both, x, k, target, ours, relus)


@pytest.fixture(params=["interior", "last"])
def layer(request, case):
    return LAYERS[case.name][request.param == "last"]


def raw_map(method, case, layer, covector=None):
    """The map of one of pytorch_grad_cam's classes before its ReLU, resizing and scaling."""
    target = torch.tensor(np.asarray(case.target if covector is None else covector))
    module, x = case.twins.layer(layer), to_torch(case.x)
    with method(case.twins.module, [module]) as explain:
        seen = explain.activations_and_grads
        (seen(x)[0] @ target).backward()
        # of a module called several times, the last call
        a, g = seen.activations[-1].numpy(), seen.gradients[-1].numpy()
        return explain.get_cam_image(x, module, None, a, g, False)[0]


@pytest.mark.parametrize("name", CAMS)
def test_class_activation_maps_are_pytorch_grad_cams(name, layer, case):
    layer = where(name, layer)
    assert_close(case.ours[name][layer], raw_map(CAMS[name], case, layer), TOLERANCE)


def test_eigen_cam_is_pytorch_grad_cams_up_to_sign(layer, case):
    ours, theirs = np.asarray(case.ours["eigen_cam"][layer]), raw_map(pytorch_grad_cam.EigenCAM, case, layer)
    assert_close(ours * np.sign(np.sum(ours * theirs)), theirs, TOLERANCE)


def test_grad_cam_is_captums(layer, case):
    method = captum.attr.LayerGradCam(case.twins.module, case.twins.layer(layer))
    theirs = method.attribute(to_torch(case.x), target=case.k, relu_attributions=False)
    assert_close(case.ours["grad_cam"][layer], theirs[0, 0].detach().numpy(), TOLERANCE)  # pyright: ignore[reportArgumentType, reportCallIssue] torch is typed too wide


def test_a_layer_alone_is_the_same_as_among_others(case):
    layer = LAYERS[case.name][0]
    assert_close(case.ours["one layer"][layer], case.ours["grad_cam"][layer])


def test_another_class_has_another_map(layer, case):
    other = raw_map(pytorch_grad_cam.GradCAM, case, layer, jp.one_hot(case.k + 1, 1000))
    with pytest.raises(AssertionError, match="differs by"):
        assert_close(case.ours["grad_cam"][layer], other, TOLERANCE)


def test_gradient_is_captums(case):
    with same_kinks(case.twins.module, case.relus):
        theirs = captum.attr.Saliency(case.twins.module).attribute(to_torch(case.x), target=case.k, abs=False)
    assert_close(case.ours["gradient"], from_torch(theirs), TOLERANCE)


def test_saliency_is_the_largest_of_captums(case):
    with same_kinks(case.twins.module, case.relus):
        theirs = captum.attr.Saliency(case.twins.module).attribute(to_torch(case.x), target=case.k)
    assert_close(case.ours["saliency"], from_torch(theirs).max(-1), TOLERANCE)


def test_gradient_times_input_is_captums(case):
    with same_kinks(case.twins.module, case.relus):
        theirs = captum.attr.InputXGradient(case.twins.module).attribute(to_torch(case.x), target=case.k)
    assert_close(case.ours["gradient_times_input"], from_torch(theirs), TOLERANCE)


# Loops take long to compile, and in the other networks have nothing new.
looping = pytest.mark.parametrize("case", ["efficientnet_lite0"], indirect=True)


def on_the_path(start, end):
    t = jnp.asarray(nodes("gauss_legendre", STEPS)[0], jnp.float32)
    return jax.vmap(lambda t: start + t * (end - start))(t)


@looping
def test_integrated_gradients_are_captums(case):
    ours, relus = with_relus(
        functools.partial(jp.integrated_gradients, steps=STEPS),
        lambda net, x: on_the_path(jnp.zeros_like(x), x),
        None,
        *(case.twins.net, case.x, case.target),
    )
    method = captum.attr.IntegratedGradients(case.twins.module)
    with same_kinks(case.twins.module, relus):
        theirs = method.attribute(to_torch(case.x), target=case.k, n_steps=STEPS, method="gausslegendre")
    assert_close(ours, from_torch(theirs), TOLERANCE)


@looping
def test_integrated_gradients_at_a_layer_are_captums(case):
    """captum starts from the layer's activation for a black image."""
    layer = LAYERS[case.name][0]

    def start(net, x):
        return jp.view(net, layer, jnp.zeros_like(x))[0]

    ours, relus = with_relus(
        lambda net, x, target: jp.integrated_gradients(
            net, x, target, layer=layer, steps=STEPS, baseline=start(net, x)
        ),
        lambda net, x: on_the_path(start(net, x), jp.view(net, layer, x)[0]),
        layer,
        *(case.twins.net, case.x, case.target),
    )
    method = captum.attr.LayerIntegratedGradients(case.twins.module, case.twins.layer(layer))
    with same_kinks(case.twins.module, relus):
        theirs = method.attribute(to_torch(case.x), target=case.k, n_steps=STEPS, method="gausslegendre")
    assert_close(ours, from_torch(theirs), TOLERANCE)  # pyright: ignore[reportArgumentType] torch is typed too wide


@looping
def test_smooth_gradient_is_a_loop_of_torchs(case):
    def noisy(net, x):
        keys = jax.random.split(KEY, DRAWS)
        return jax.vmap(lambda key: x + SIGMA * jax.random.normal(key, x.shape, x.dtype))(keys)

    ours, relus = with_relus(
        functools.partial(jp.smooth(jp.gradient, samples=DRAWS, sigma=SIGMA), key=KEY),
        noisy,
        None,
        *(case.twins.net, case.x, case.target),
    )
    total = 0
    for draw, x in enumerate(noisy(None, case.x)):
        with same_kinks(case.twins.module, {name: a[draw : draw + 1] for name, a in relus.items()}):
            total += torch_gradient(case.twins.module, x, case.target)
    assert_close(ours, total / DRAWS, TOLERANCE)
