"""What is derived from a net with sites equals what is computed by hand, and costs what a hand-cut network costs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain.net import run

ORDER = {"ridge": ["conv", "relu", "pool", "dense"], "branch": ["stem", "act", "side", "sum", "dense"]}
SHAPES = {
    "ridge": [(4, 4, 4), (4, 4, 4), (4,), (5,)],
    "branch": [(3, 3, 4), (3, 3, 4), (3, 3, 4), (3, 3, 4), (5,)],
}
EVERY = [pytest.param(tiny, layer, id=f"{tiny.name}-{layer}") for tiny in nets.TINY for layer in ORDER[tiny.name]]
TINY = pytest.mark.parametrize("tiny", nets.TINY, ids=lambda tiny: tiny.name)


def case(tiny):
    """(parameters, net, image, target) of a tiny net."""
    values = nets.params(tiny)
    return values, nets.net(tiny, values), nets.images(1)[0], nets.targets(1)[0]


def by_hand(tiny, values, x, target, replace=()):
    """(outputs, activations, gradients) in numpy, with the outputs under the last layer's name."""
    outputs, activations, gradients = tiny.backprop(values, x.astype(np.float64), target, replace)
    return outputs, activations | {"dense": outputs}, gradients


def test_untouched_returns_what_it_gets():
    a = jnp.ones(3)
    assert jp.untouched("conv", a) is a


@pytest.mark.parametrize(("tiny", "layer"), EVERY)
def test_view_is_the_activation_and_the_rest_of_the_net(tiny, layer):
    values, net, x, target = case(tiny)
    outputs, activations, _ = by_hand(tiny, values, x, target)
    activation, head = jp.view(net, layer, x)
    assert_close(activation, activations[layer])
    assert_close(head(activation), outputs)
    assert_close(head(activation), net(x))


@pytest.mark.parametrize(("tiny", "layer"), [case for case in EVERY if case.values[1] != "dense"])
def test_view_goes_on_from_another_activation(tiny, layer):
    values, net, x, target = case(tiny)
    activation, head = jp.view(net, layer, x)
    other = np.random.default_rng(5).normal(size=activation.shape).astype(np.float32)
    outputs, _, gradients = by_hand(tiny, values, x, target, {layer: other})
    assert_close(head(jnp.asarray(other)), outputs)
    assert_close(jax.grad(lambda a: jnp.sum(target * head(a)))(jnp.asarray(other)), gradients[layer])


def test_view_of_the_last_layer_ends_there():
    _, net, x, _ = case(nets.RIDGE)
    _, head = jp.view(net, "dense", x)
    assert_close(head(jnp.arange(5.0)), np.arange(5.0), 0)


@TINY
def test_taps_are_every_view_at_once(tiny):
    values, net, x, target = case(tiny)
    _, expected_activations, expected_gradients = by_hand(tiny, values, x, target)
    activations, gradients = jp.taps(net, ORDER[tiny.name][::-1], x, target)
    assert list(activations) == list(gradients) == ORDER[tiny.name][::-1]
    for layer in ORDER[tiny.name]:
        activation, head = jp.view(net, layer, x)
        assert_close(activations[layer], activation)
        assert_close(gradients[layer], jax.grad(lambda a, head=head: jnp.sum(target * head(a)))(activation))
        assert_close(activations[layer], expected_activations[layer])
        assert_close(gradients[layer], expected_gradients[layer])


@pytest.mark.parametrize("order", [("sum", "act", "stem"), ("act", "sum", "stem")])
def test_taps_keep_the_order_asked_for_under_jit(order):
    _, net, x, target = case(nets.BRANCH)
    activations, gradients = jax.jit(lambda net, x, target: jp.taps(net, order, x, target))(net, x, target)
    assert tuple(activations) == tuple(gradients) == order


@TINY
def test_layers_are_names_and_shapes_in_forward_order(tiny):
    _, net, x, _ = case(tiny)
    found = jp.layers(net, x)
    assert list(found) == ORDER[tiny.name]
    assert [a.shape for a in found.values()] == SHAPES[tiny.name]
    assert {a.dtype for a in found.values()} == {np.dtype("float32")}


@TINY
def test_layers_compute_nothing(tiny):
    _, net, x, _ = case(tiny)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), net)
    assert jp.layers(shapes, jax.ShapeDtypeStruct(x.shape, x.dtype)) == jp.layers(net, x)


def double(a):
    return 2 * a


def shifted(offset, x):
    return x - offset


def test_then_is_a_function_of_the_outputs():
    values, net, x, target = case(nets.RIDGE)
    outputs, _, _ = by_hand(nets.RIDGE, values, x, target)
    e = np.exp(outputs - outputs.max())
    assert_close(jp.then(net, jax.nn.softmax)(x), e / e.sum())
    assert_close(jp.then(jp.then(net, double), jax.nn.softmax)(x), e**2 / np.sum(e**2))


def test_before_is_a_function_of_the_image():
    values, net, x, target = case(nets.BRANCH)
    offset = np.array(0.25, np.float32)
    outputs, activations, gradients = by_hand(nets.BRANCH, values, 2 * x - 0.25, target)
    composed = jp.before(jp.before(net, Partial(shifted, offset)), double)
    assert_close(composed(x), outputs)
    assert_close(jp.view(composed, "side", x)[0], activations["side"])
    assert_close(jp.gradient(composed, x, target), 2 * gradients["x"])


def test_then_keeps_the_sites():
    values, net, x, target = case(nets.BRANCH)
    composed = jp.then(jp.before(net, double), double)
    outputs, activations, gradients = by_hand(nets.BRANCH, values, 2 * x, target)
    assert list(jp.layers(composed, x)) == ORDER["branch"]
    activation, head = jp.view(composed, "side", x)
    assert_close(activation, activations["side"])
    assert_close(head(activation), 2 * outputs)
    assert_close(jp.taps(composed, ["act"], x, target)[1]["act"], 2 * gradients["act"])


@pytest.mark.parametrize("layer", ["conv", "relu", "pool"])
def test_embedding_is_the_mean_over_positions(layer):
    values, net, x, target = case(nets.RIDGE)
    _, activations, _ = by_hand(nets.RIDGE, values, x, target)
    expected = activations[layer].mean((0, 1)) if layer != "pool" else activations[layer]
    assert_close(jp.embedding(net, layer)(x), expected)


def test_embedding_can_be_explained_at_its_layer_and_before_it():
    values, net, x, target = case(nets.RIDGE)
    _, activations, _ = by_hand(nets.RIDGE, values, x, target)
    embedded = jp.embedding(net, "relu")
    covector = np.array([1, -2, 0, 3], np.float32)
    activation, head = jp.view(embedded, "relu", x)
    assert_close(head(activation + 1), activations["relu"].mean((0, 1)) + 1)
    expected = covector / 16 * (activations["conv"] > 0)
    assert_close(jp.taps(embedded, ["conv"], x, covector)[1]["conv"], expected)


def test_nets_of_nets_cause_one_trace_when_they_are_made_again():
    traces = []

    @jax.jit
    def outputs(net, x):
        traces.append(1)
        return net(x)

    _, _, x, _ = case(nets.RIDGE)
    results = []
    for seed in (0, 0, 7):
        net = nets.net(nets.RIDGE, nets.params(nets.RIDGE, seed))
        offset = jnp.asarray(seed / 10, jnp.float32)
        composed = jp.then(jp.before(jp.embedding(net, "relu"), Partial(shifted, offset)), jax.nn.softmax)
        results.append(outputs(composed, x))
        assert_close(results[-1], composed(x))
    assert len(traces) == 1
    assert np.abs(results[0] - results[2]).max() > 1e-3


def read_by_view(net, layer, x):
    return jp.view(net, layer, x)


def read_by_taps(net, layer, x):
    return jp.taps(net, [layer], x, np.zeros(5, np.float32))


def read_by_embedding(net, layer, x):
    return jp.embedding(net, layer)(x)


READERS = pytest.mark.parametrize("read", [read_by_view, read_by_taps, read_by_embedding])


@READERS
def test_an_unknown_layer_is_named_with_the_nearest(read):
    _, net, x, _ = case(nets.RIDGE)
    with pytest.raises(ValueError, match=r"no layer 'rellu'.*near are 'relu'.*jaxplain\.layers\(net, x\) lists"):
        read(net, "rellu", x)


@READERS
def test_where_no_name_is_near_the_last_ones_are_named(read):
    _, net, x, _ = case(nets.RIDGE)
    with pytest.raises(ValueError, match=r"no layer 'zzz'.*near are 'relu', 'pool', 'dense'"):
        read(net, "zzz", x)


def twice(scale, x, site=jp.untouched):
    a = site("conv", scale * x)
    return jnp.mean(site("conv", a), axis=(0, 1))


@pytest.mark.parametrize(
    "use",
    [
        lambda net, x: jp.view(net, "conv", x),
        lambda net, x: jp.taps(net, ["conv"], x, np.ones(3, np.float32)),
        lambda net, x: jp.grad_cam(net, x, np.ones(3, np.float32), layer="conv"),
        lambda net, x: jp.embedding(net, "conv")(x),
    ],
    ids=["view", "taps", "grad_cam", "embedding"],
)
def test_asking_for_a_name_used_twice_raises(use):
    with pytest.raises(ValueError, match=r"the layer name 'conv' twice"):
        use(Partial(twice, jnp.ones(())), nets.images(1)[0])


def test_a_name_used_twice_that_nobody_asks_for_does_not_matter():
    x = nets.images(1)[0]
    net = Partial(twice, jnp.asarray(2.0))
    assert jp.layers(net, x) == {}
    assert_close(jp.gradient(net, x, np.ones(3, np.float32)), np.full((6, 6, 3), 2 / 36, np.float32))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((2, 6, 6, 3), np.float32), r"shape \(2, 6, 6, 3\).*batched"),
        (np.zeros((6, 6), np.float32), r"shape \(6, 6\).*one image \(H, W, C\)"),
        (np.zeros((6, 6, 3), np.uint8), r"x is uint8.*model\.prepare"),
        (np.zeros((6, 6, 3), np.int32), r"x is int32.*float image"),
    ],
    ids=["batch", "2-D", "uint8", "int32"],
)
@pytest.mark.parametrize("read", [run, jp.layers, lambda net, x: jp.view(net, "relu", x)])
def test_what_is_not_one_float_image_raises(read, x, says):
    with pytest.raises(ValueError, match=says):
        read(case(nets.RIDGE)[1], x)


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]


def features(p, x):
    return jnp.tanh(conv(jnp.tanh(conv(x, p["one"])), p["two"]))


def classify(p, a):
    return jnp.mean(jnp.tanh(conv(a, p["three"])), axis=(0, 1)) @ p["dense"]


def whole(p, x, site=jp.untouched):
    return classify(p, site("two", features(p, x)))


def cut_by_hand(p, x, target):
    a = features(p, x)
    g = jax.grad(lambda a: jnp.sum(target * classify(p, a)))(a)
    return jnp.sum(jnp.mean(g, axis=(0, 1), keepdims=True) * a, axis=-1)


def deep(width=5):
    shapes = {"one": (3, 3, 3, 8), "two": (3, 3, 8, 8), "three": (3, 3, 8, 8), "dense": (8, width)}
    draw = np.random.default_rng(0)
    return {name: jnp.asarray(draw.normal(0, 0.3, shape), jnp.float32) for name, shape in shapes.items()}


def flops(f, *args):
    return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]  # pyright: ignore[reportOptionalSubscript] the CPU has it


def test_a_view_costs_what_a_hand_cut_network_costs():
    p, target = deep(), jnp.arange(5.0)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(16, 16, 3)), jnp.float32)
    at_two = lambda net, x, target: jp.grad_cam(net, x, target, layer="two")  # noqa: E731
    forward, by_hand_, viewed = (
        flops(f, p_or_net, x, *rest)
        for f, p_or_net, rest in ((whole, p, ()), (cut_by_hand, p, (target,)), (at_two, Partial(whole, p), (target,)))
    )
    assert forward < by_hand_
    assert viewed <= 1.02 * by_hand_
    assert_close(at_two(Partial(whole, p), x, target), cut_by_hand(p, x, target))


def test_parameters_are_arguments_and_not_constants():
    x = jnp.ones((8, 8, 3))

    def sizes(width):
        net, target = Partial(whole, deep(width)), jnp.ones(width)
        passed = jax.jit(jp.gradient).lower(net, x, target).compile()
        baked = jax.jit(lambda x, target: jp.gradient(net, x, target)).lower(x, target).compile()
        return [c.memory_analysis().argument_size_in_bytes for c in (passed, baked)]  # pyright: ignore[reportOptionalMemberAccess] the CPU has it

    (passed, baked), (passed_wide, baked_wide) = sizes(16), sizes(1016)
    assert baked_wide - baked == 4 * 1000
    assert passed_wide - passed == 4 * 1000 * (1 + 8)


# Outputs of every shape, and functions of an image.


def two_parts(w, x, site=jp.untouched):
    return {"aux": jnp.sum(x), "logits": jnp.mean(site("scaled", w * x), axis=(0, 1))}


def pixelwise(w, x, site=jp.untouched):
    return site("scaled", jnp.asarray(x)) @ w


def logits_of(out):
    return out["logits"]


def test_a_segmentation_is_explained_by_a_target_of_its_shape():
    x, w = nets.images(1)[0], jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    target = jnp.zeros((6, 6, 4)).at[1, 2, 3].set(1.0)
    expected = np.zeros((6, 6, 3), np.float32)
    expected[1, 2] = w[:, 3]
    net = Partial(pixelwise, w)
    assert_close(jp.gradient(net, x, target), expected)
    flat = jp.then(net, jnp.ravel)
    assert_close(jp.gradient(flat, x, jp.one_hot((1 * 6 + 2) * 4 + 3, 144)), expected)
    assert jp.grad_cam(net, x, target, layer="scaled").shape == (6, 6)
    with pytest.raises(ValueError, match=r"shape \(4,\).*outputs have shape \(6, 6, 4\).*then\(net, jnp\.ravel\)"):
        jp.gradient(net, x, jp.one_hot(3, 4))
    with pytest.raises(ValueError, match=r"returned shape \(6, 6, 4\).*one vector.*then\(net, jnp\.ravel\)"):
        jp.top(net(x))


def test_one_number_is_explained_by_one_number():
    x = nets.images(1)[0]
    net = Partial(lambda x: jnp.sum(x**2))
    assert_close(jp.gradient(net, x, -1.0), -2 * x)
    with pytest.raises(ValueError, match=r"is an integer, but a covector of shape \(\) is expected: use 1\.0"):
        jp.gradient(net, x, 1)


def test_of_several_outputs_one_is_chosen():
    x, net = nets.images(1)[0], Partial(two_parts, jnp.asarray(2.0))
    says = (
        r"returned a dict.*one of out\['aux'\] \(\), out\['logits'\] \(3,\), .*then\(net, lambda out: out\['logits'\]"
    )
    for use in (jp.gradient, functools.partial(jp.grad_cam, layer="scaled")):
        with pytest.raises(ValueError, match=says):
            use(net, x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"returned a tuple, .*choose one of out\[0\] \(6, 6, 3\), out\[1\] \(3,\)"):
        jp.gradient(Partial(lambda x: (x, x[0, 0])), x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"returned a NoneType, .*: return the logits"):
        jp.gradient(Partial(lambda x: None), x, jnp.ones(3))
    assert_close(jp.gradient(jp.then(net, logits_of), x, jnp.ones(3)), np.full((6, 6, 3), 2 / 36, np.float32))


def averaged(x, train=True):
    assert train is True  # the site is no option of a function that has none
    return jnp.mean(x, axis=(0, 1))


trained: Any = averaged  # no Net to a type checker


def test_a_function_of_an_image_is_a_net_without_layers():
    x, target = nets.images(1)[0], jp.one_hot(1, 3)
    expected = np.zeros((6, 6, 3), np.float32)
    expected[..., 1] = 1 / 36
    for f in (
        trained,
        jax.jit(trained),
        Partial(trained),
        jp.then(trained, jnp.ravel),
        jp.before(trained, jnp.asarray),
    ):
        assert jp.layers(f, x) == {}
        assert_close(jp.gradient(f, x, target), expected)
        with pytest.raises(ValueError, match=r"no layer 'conv', since this net has none: .*site\(name, a\).*from_nnx"):
            jp.grad_cam(f, x, target, layer="conv")
    assert_close(jax.jit(jp.gradient)(jp.then(trained, jnp.ravel), x, target), expected)
