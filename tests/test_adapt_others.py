"""Nets made of Equinox modules and Keras models: their own outputs, with a site at every layer, channels last."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import equinox as eqx
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from compare import assert_close

import jaxplain as jp

X = np.random.default_rng(1).normal(size=(8, 8, 3)).astype(np.float32)
AGES = np.array([1.0, -2.0], np.float32)
TARGET = np.random.default_rng(2).normal(size=5).astype(np.float32)
LAYERS = keras.layers


class EquinoxCNN(eqx.Module):
    """A convolution, a BatchNorm with a state, an activation and dropout used twice, a list and a linear layer."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    act: eqx.nn.Lambda
    drop: eqx.nn.Dropout
    parts: list
    always: bool = eqx.field(static=True)

    def __init__(self, key, always=False):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(3, 4, 3, padding=1, key=first)
        self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="ema")
        self.act, self.drop = eqx.nn.Lambda(jax.nn.relu), eqx.nn.Dropout(0.5)
        self.parts = [eqx.nn.Linear(4, 5, key=second)]
        self.always = always

    def __call__(self, x, state, key=None):
        a, state = self.norm(self.conv(x), state)
        a = self.drop(self.act(self.drop(self.act(a))), inference=False if self.always else None, key=key)
        return self.parts[0](jnp.mean(a, axis=(1, 2))), state


@pytest.fixture(scope="module", autouse=True)
def _frameworks_promote_ranks():
    """Keras adds a bias (5,) to a batch (1, 5)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def of_equinox():
    """(module in inference mode, its state, net)."""
    module, state = eqx.nn.make_with_state(EquinoxCNN)(jax.random.key(0))
    module = eqx.nn.inference_mode(module)
    return module, state, jp.from_equinox(module, state)


def functional():
    """A Keras model of an image and a vector, with an activation that is used twice, and a nested model."""
    image, ages = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="ages")
    act = LAYERS.Activation("relu", name="act")
    inner = keras.Sequential([LAYERS.Conv2D(4, 3, name="conv"), LAYERS.Dropout(0.5, name="drop")], name="inner")
    a = act(LAYERS.BatchNormalization(name="norm")(LAYERS.Conv2D(4, 3, padding="same", name="stem")(image)))
    a = LAYERS.GlobalAveragePooling2D(name="pool")(act(inner(a)))
    return keras.Model([image, ages], LAYERS.Dense(5, name="head")(LAYERS.Concatenate(name="both")([a, ages])))


@pytest.fixture(scope="module")
def of_keras():
    """(model, net)."""
    keras.utils.set_random_seed(0)
    model = functional()
    return model, jp.from_keras(model, ages=AGES)


def test_an_equinox_net_is_its_module(of_equinox):
    module, state, net = of_equinox
    assert_close(net(X), module(jnp.moveaxis(X, -1, 0), state)[0])
    spatial = ("conv", "norm", "act", "drop", "act_1", "drop_1")
    found = {name: layer.shape for name, layer in jp.layers(net, X).items()}
    assert found == dict.fromkeys(spatial, (8, 8, 4)) | {"parts.0": (5,)}
    activation, head = jp.view(net, "conv", X)
    assert_close(activation, jnp.moveaxis(module.conv(jnp.moveaxis(X, -1, 0)), 0, -1))
    assert_close(head(activation), net(X))
    assert type(module.conv) is eqx.nn.Conv2d
    assert "_jaxplain_tap" not in vars(module.conv)


def test_grad_cam_of_an_equinox_module_is_computed_by_hand(of_equinox):
    module, _, net = of_equinox
    activation = np.asarray(jp.view(net, "act_1", X)[0])
    weights = TARGET @ np.asarray(module.parts[0].weight) / 64
    heat = jax.jit(jp.grad_cam, static_argnames="layer")(net, X, TARGET, layer="act_1")
    assert_close(heat, activation @ weights)


def test_an_equinox_module_in_training_mode_raises(of_equinox):
    module, state = eqx.nn.make_with_state(EquinoxCNN)(jax.random.key(0))
    says = r"by norm \(inference=False\), drop \(inference=False\): call eqx\.nn\.inference_mode\(model\) first"
    with pytest.raises(ValueError, match=says):
        jp.from_equinox(module, state)
    always, state = eqx.nn.make_with_state(EquinoxCNN)(jax.random.key(0), always=True)
    net = jp.from_equinox(eqx.nn.inference_mode(always), state, key=jax.random.key(1))
    with pytest.raises(ValueError, match=r"by drop \(inference=False\): call eqx"):
        jp.layers(net, X)


class Tokens(eqx.Module):
    """Its layer is mapped over pixels, as transformers do."""

    head: eqx.nn.Linear

    def __call__(self, x):
        return jnp.mean(jax.vmap(self.head)(x.reshape(3, -1).T), axis=0)


def test_an_equinox_layer_inside_of_a_vmap_is_no_site():
    module = Tokens(eqx.nn.Linear(3, 5, key=jax.random.key(0)))
    net = jp.from_equinox(module)
    assert jp.layers(net, X) == {}
    assert_close(net(X), module(jnp.moveaxis(X, -1, 0)))


def test_a_keras_net_is_its_model(of_keras):
    model, net = of_keras
    assert_close(net(X), model([X[None], AGES[None]])[0])
    names = ["stem", "norm", "act", "inner.conv", "inner.drop", "inner", "act_1", "pool", "both", "head"]
    assert list(jp.layers(net, X)) == names
    activation, head = jp.view(net, "stem", X)
    assert_close(activation, model.get_layer("stem")(X[None])[0])
    assert_close(head(activation), net(X))
    assert np.abs(head(activation + 1) - net(X)).max() > 1e-3
    assert "call" not in vars(model.get_layer("stem"))


def test_grad_cam_of_a_keras_model_is_computed_by_hand(of_keras):
    model, net = of_keras
    activation = np.asarray(jp.view(net, "act_1", X)[0])
    weights = np.asarray(model.get_layer("head").kernel)[:4] @ TARGET / 36
    traces = []

    @jax.jit
    def explain(net):
        traces.append(1)
        return jp.grad_cam(net, X, TARGET, layer="act_1")

    assert_close(explain(net), activation @ weights)
    explain(jp.from_keras(model, ages=AGES + 1))
    assert len(traces) == 1


class Subclassed(keras.Model):
    def __init__(self, always):
        super().__init__()
        self.conv, self.drop = LAYERS.Conv2D(5, 3, name="conv"), LAYERS.Dropout(0.5, name="drop")
        self.always = always

    def call(self, x):
        return keras.ops.mean(self.drop(self.conv(x), training=True if self.always else None), axis=(1, 2))


def test_keras_runs_as_in_inference_or_raises(of_keras):
    model = Subclassed(False)
    with pytest.raises(ValueError, match=r"The model 'subclassed.*' has no weights yet: call it once, or model\.build"):
        jp.from_keras(model)
    expected = model(X[None])[0]
    assert_close(jp.from_keras(model)(X), expected)
    always = Subclassed(True)
    always(X[None])
    with pytest.raises(ValueError, match=r"by drop \(training=True\).*: leave out training=True"):
        jp.layers(jp.from_keras(always), X)
    with pytest.raises(ValueError, match=r"by .*norm \(training=True\)"):
        jp.layers(jp.from_keras(of_keras[0], ages=AGES, training=True), X)


def test_all_inputs_of_a_keras_model_are_asked_for(of_keras):
    with pytest.raises(ValueError, match=r"inputs image, ages, but arrays for all but the image are expected"):
        jp.layers(jp.from_keras(of_keras[0]), X)


def test_another_backend_is_refused(of_keras, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match=r"computes with tensorflow, but JAX is expected: set KERAS_BACKEND=jax"):
        jp.from_keras(of_keras[0])


def test_other_frameworks_name_the_function_that_takes_them(of_equinox, of_keras):
    with pytest.raises(
        ValueError, match=r"This is a Keras layer, but an NNX module is expected: use from_keras\(model\)"
    ):
        jp.from_nnx(of_keras[0])
    with pytest.raises(ValueError, match=r"This is an Equinox module, but a Keras layer is expected: use from_equinox"):
        jp.from_keras(of_equinox[0])
    for net, use in ((of_keras[0], "from_keras"), (of_equinox[0], "from_equinox")):
        with pytest.raises(ValueError, match=rf"The net is an? (Keras|Equinox) .*: use {use}"):
            jp.saliency(net, X, TARGET)


@pytest.mark.parametrize("which", ["of_equinox", "of_keras"])
def test_layers_are_randomised_by_name(which, request):
    """Parameters are in folders by the names of their layers."""
    net = request.getfixturevalue(which)[-1]
    found = jax.eval_shape(
        lambda net: jp.metrics.randomisation(jp.saliency, net, X, TARGET, key=jax.random.key(0)), net
    )
    expected = {"of_equinox": ["parts.0", "norm", "conv"], "of_keras": ["head", "inner/conv", "norm", "stem"]}
    assert [name.removeprefix("functional/") for name in found] == expected[which]


KERNEL = np.random.default_rng(3).normal(size=(4, 3, 3, 3)).astype(np.float32)  # as torch has it
BIAS, HEAD = np.array([0.1, -0.2, 0.3, 0], np.float32), np.random.default_rng(4).normal(size=(5, 4)).astype(np.float32)


def in_equinox():
    def mean(a):
        return jnp.mean(a, axis=(1, 2))

    conv = eqx.nn.Conv2d(3, 4, 3, padding=1, key=jax.random.key(0))
    conv = eqx.tree_at(lambda c: (c.weight, c.bias), conv, (jnp.asarray(KERNEL), jnp.asarray(BIAS)[:, None, None]))
    head = eqx.nn.Linear(4, 5, use_bias=False, key=jax.random.key(0))
    head = eqx.tree_at(lambda layer: layer.weight, head, jnp.asarray(HEAD))
    return jp.from_equinox(eqx.nn.Sequential([conv, eqx.nn.Lambda(jax.nn.relu), eqx.nn.Lambda(mean), head]))


def in_keras():
    conv, head = LAYERS.Conv2D(4, 3, padding="same"), LAYERS.Dense(5, use_bias=False)
    parts = [conv, LAYERS.Activation("relu"), LAYERS.GlobalAveragePooling2D(), head]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts])
    conv.set_weights([KERNEL.transpose(2, 3, 1, 0), BIAS])
    head.set_weights([HEAD.T])
    return jp.from_keras(model)


@pytest.mark.parametrize("made", [in_equinox, in_keras])
def test_the_same_network_in_torch_has_the_same_gradients(made):
    x = torch.tensor(X.transpose(2, 0, 1)[None].copy(), requires_grad=True)
    a = torch.nn.functional.conv2d(x, torch.tensor(KERNEL), torch.tensor(BIAS), padding=1).relu()
    z = torch.tensor(HEAD) @ a.mean((2, 3))[0]
    by_x, by_a = torch.autograd.grad(z @ torch.tensor(TARGET), (x, a))
    net = made()
    relu = list(jp.layers(net, X))[1]
    assert_close(net(X), z.detach().numpy())
    assert_close(jp.gradient(net, X, TARGET), by_x[0].numpy().transpose(1, 2, 0))
    heat = (a * by_a.mean((2, 3), keepdim=True)).sum(1)[0]
    assert_close(jp.grad_cam(net, X, TARGET, layer=relu), heat.detach().numpy())
