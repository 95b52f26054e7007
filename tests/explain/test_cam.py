"""Class activation maps: published values by hand, what equals what, and what they say to wrong arguments."""

import inspect

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial

import jaxplain as jp

X, TARGET = jnp.asarray(nets.images(1)[0]), jnp.asarray(nets.targets(1)[0])
WEIGHED = (jp.grad_cam, jp.grad_cam_plus_plus, jp.xgrad_cam, jp.hires_cam, jp.layer_cam)
EVERY = pytest.mark.parametrize("explain", WEIGHED, ids=lambda explain: explain.__name__)


def one_conv(bias, x, site=jp.untouched):
    """captum's net for its hand values: a convolution of ones, a ReLU, a dense layer of 1 and -1, channels first."""
    layout = ("NHWC", "HWIO", "NHWC")
    a = jax.lax.conv_general_dilated(x[None], jnp.ones((3, 3, 1, 2)), (1, 1), "VALID", dimension_numbers=layout)[0]
    a = site("relu1", jnp.maximum(site("conv1", a + bias[None, None]), 0))
    signs = jnp.array([1.0, 1, 1, 1, 1, -1, -1, -1])
    return jnp.maximum(jnp.ones(4) * jnp.dot(signs, a.transpose(2, 0, 1).ravel()), 0)


ONE_CONV = Partial(one_conv, jnp.array([-50.0, -75.0]))
COUNTING = jnp.arange(16.0).reshape(4, 4, 1)
FIRST = jnp.array([1.0, 0, 0, 0])


def test_captums_published_grad_cam():
    # captum 0.8, tests/attr/layer/test_grad_cam.py, test_simple_input_conv
    heat = jp.grad_cam(ONE_CONV, COUNTING, FIRST, layer="conv1")
    assert_close(heat, np.array([[11.25, 13.5], [20.25, 22.5]]), 1e-6)


def test_other_methods_on_captums_net():
    # at the ReLU: A = [[0, 4], [31, 40]] and [[0, 0], [6, 15]], g = 1 and [[1, -1], [-1, -1]]
    assert_close(jp.hires_cam(ONE_CONV, COUNTING, FIRST, layer="relu1"), np.array([[0.0, 4], [25, 25]]), 1e-6)
    assert_close(jp.layer_cam(ONE_CONV, COUNTING, FIRST, layer="relu1"), np.array([[0.0, 4], [31, 40]]), 1e-6)
    assert_close(jp.grad_cam(ONE_CONV, COUNTING, FIRST, layer="relu1"), np.array([[0.0, 4], [28, 32.5]]), 1e-6)
    # weights sum(g A) / sum(A): 1 and -1
    assert_close(jp.xgrad_cam(ONE_CONV, COUNTING, FIRST, layer="relu1"), np.array([[0.0, 4], [25, 25]]), 1e-5)
    # alpha = 1 / (2 + sum(A)) where g = 1: weights 4 / 77 and 1 / 23
    plus = 4 / 77 * np.array([[0, 4], [31, 40]]) + 1 / 23 * np.array([[0, 0], [6, 15]])
    assert_close(jp.grad_cam_plus_plus(ONE_CONV, COUNTING, FIRST, layer="relu1"), plus, 1e-5)


def test_before_a_mean_and_a_dense_layer_it_is_cam():
    values = nets.params(nets.RIDGE)
    net = nets.net(nets.RIDGE, values)
    activation, _ = jp.view(net, "relu", X)
    cam = np.asarray(activation) @ values["dense"] @ np.asarray(TARGET)
    assert_close(jp.grad_cam(net, X, TARGET, layer="relu"), cam / 16)
    assert_close(jp.hires_cam(net, X, TARGET, layer="relu"), cam / 16)
    assert_close(jp.hires_cam(net, X, TARGET, layer="relu").sum(), cam.mean())


@EVERY
@pytest.mark.parametrize("tiny", nets.TINY, ids=lambda tiny: tiny.name)
def test_a_tuple_of_layers_is_each_of_them_in_the_order_asked_for(explain, tiny):
    net = nets.net(tiny, nets.params(tiny))
    layers = {"ridge": ("conv", "relu"), "branch": ("stem", "act", "side", "sum")}[tiny.name]
    for call in (explain, jax.jit(explain, static_argnames="layer")):
        maps = call(net, X, TARGET, layer=layers[::-1])
        assert list(maps) == list(layers[::-1])
    assert_close(maps, {layer: explain(net, X, TARGET, layer=layer) for layer in layers})
    assert list(explain(net, X, TARGET, layer=layers[:1])) == [layers[0]]


@EVERY
def test_a_method_looks_like_a_function(explain):
    parameters = inspect.signature(explain).parameters.values()
    assert [p.name for p in parameters] == ["net", "x", "target", "layer"]
    kinds = [p.kind for p in parameters]
    assert kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 3 + [inspect.Parameter.KEYWORD_ONLY]
    assert getattr(jp, explain.__name__) is explain
    assert explain.__qualname__ == explain.__name__
    assert explain.__module__ == "jaxplain.explain._cam"
    assert "(h, w)" in explain.__doc__


def test_the_decorator_makes_an_explainer():
    @jp.cam
    def mine(activation, gradient):
        """What I think of channels, (h, w)."""
        return jnp.max(gradient, axis=(0, 1)) + jnp.sum(activation)

    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    a, g = (np.asarray(d["act"]) for d in jp.taps(net, ["act"], X, TARGET))
    assert_close(mine(net, X, TARGET, layer="act"), np.sum((g.max((0, 1)) + a.sum()) * a, axis=-1))
    assert (mine.__name__, mine.__doc__) == ("mine", "What I think of channels, (h, w).")  # pyright: ignore[reportAttributeAccessIssue] a function
    assert mine.__module__ == __name__


def test_eigen_cam_of_one_pattern_is_the_pattern():
    pattern, channels = jnp.array([[1.0, -2], [0, 1]]), jnp.array([3.0, -1, 2])

    def rank_one(scale, x, site=jp.untouched):
        return jnp.sum(site("a", scale * pattern[..., None] * channels[None, None] + x[:2, :2]), axis=(0, 1))

    net = Partial(rank_one, jnp.float32(1))
    heat = jp.eigen_cam(net, jnp.full((2, 2, 3), 0.7), jnp.ones(3), layer="a")
    assert_close(heat, np.asarray(pattern) * 14**0.5)


def striped(rows, x, site=jp.untouched):
    """Some rows of the image are a layer, and the sum of its channels, or of all pixels, is the score."""
    a = site("a", x[rows])
    return jnp.stack([jnp.sum(a[..., 0]) - jnp.sum(a[..., 1]), jnp.sum(x)])


def test_score_cam_by_hand():
    """A mask of 0, 1/3, 2/3 and 1 leaves 14/3 of the first channel and 2 of the second; a constant one leaves none."""
    net = Partial(striped, jnp.arange(2))
    x = jnp.stack([jnp.arange(4.0).reshape(2, 2), jnp.ones((2, 2))], axis=-1)
    heat = jp.score_cam(net, x, jnp.array([0.0, 1]), layer="a")
    weights = np.exp([20 / 3, 0]) / np.exp([20 / 3, 0]).sum()
    assert_close(heat, np.asarray(x) @ weights)


@pytest.mark.parametrize(("align_corners", "score"), [(False, 0.5 + 0.75 + 1), (True, 2 / 3 + 2 / 3 + 1)])
def test_score_cam_enlarges_with_either_kind_of_corners(align_corners, score):
    """The layer is the first and the last of four rows, so that masks are 0, 1/4, 3/4, 1 or 0, 1/3, 2/3, 1."""
    net = Partial(striped, jnp.array([0, 3]))
    x = jnp.array([[0.0, 0], [2, 0], [1, 0], [1, 0]])[:, None]
    heat = jp.score_cam(net, x, jnp.array([0.0, 1]), layer="a", align_corners=align_corners)
    assert_close(heat, np.array([[0], [1]]) / (1 + np.exp(-score)))


def test_ablation_cam_by_hand():
    """The score 6 is 9 without the second channel, which is 3, and -3 without the first."""
    net = Partial(striped, jnp.arange(2))
    x = jnp.stack([jnp.array([[1.0, 2], [2, 4]]), jnp.array([[0.0, 1], [1, 1]])], axis=-1)
    expected = 9 / 6 * np.asarray(x[..., 0]) - 3 / 6 * np.asarray(x[..., 1])
    for scale in (1, -2):  # the quotient does not change with the target's size and sign
        assert_close(jp.ablation_cam(net, x, jnp.array([scale, 0.0]), layer="a"), expected)
    assert_close(jp.ablation_cam(net, x, jnp.zeros(2), layer="a"), np.zeros((2, 2)), 0)


PASSES = pytest.mark.parametrize("explain", [jp.score_cam, jp.ablation_cam], ids=lambda explain: explain.__name__)


@PASSES
def test_chunks_of_channels_change_nothing(explain):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    whole = explain(net, X, TARGET, layer="side", chunk=None)
    assert_close(explain(net, X, TARGET, layer="side", chunk=3), whole)
    with pytest.raises(ValueError, match="chunk is 0, but at least 1"):
        explain(net, X, TARGET, layer="side", chunk=0)


@PASSES
def test_wrong_arguments_of_methods_without_gradients_raise(explain):
    net = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
    with pytest.raises(ValueError, match=r"single number.*one_hot\(k, 5\)"):
        explain(net, X, 3, layer="relu")
    with pytest.raises(ValueError, match=r"no layer 'rely'.*'relu'"):
        explain(net, X, TARGET, layer="rely")


@pytest.mark.parametrize(
    "explain", [*WEIGHED, jp.eigen_cam, jp.score_cam, jp.ablation_cam], ids=lambda explain: explain.__name__
)
@pytest.mark.parametrize("layer", ["pool", "dense"])
def test_a_layer_without_positions_raises(explain, layer):
    net = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
    with pytest.raises(ValueError, match=r"activation has shape \(\d,\), but a map needs \(h, w, C\)"):
        explain(net, X, TARGET, layer=layer)


def one_position(x, site=jp.untouched):
    return site("mean", jnp.mean(x, axis=(0, 1), keepdims=True))[0, 0]


@pytest.mark.parametrize(
    "explain", [*WEIGHED, jp.eigen_cam, jp.score_cam, jp.ablation_cam, jp.fam], ids=lambda explain: explain.__name__
)
def test_a_layer_of_one_position_raises(explain):
    """Its map would be one flat colour, whatever the network looks at."""
    with pytest.raises(ValueError, match=r"shape \(1, 1, 3\), but a map needs .* more than one position"):
        explain(Partial(one_position), X, jnp.ones(3), layer="mean")


@EVERY
@pytest.mark.parametrize("layer", ["relu", ("relu",)], ids=["one", "tuple"])
def test_wrong_arguments_raise(explain, layer):
    net = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
    with pytest.raises(ValueError, match=r"single number.*one_hot\(k, 5\)"):
        explain(net, X, 3, layer=layer)
    with pytest.raises(ValueError, match=r"target has shape \(2, 5\).*over_classes"):
        explain(net, X, jnp.ones((2, 5)), layer=layer)
    with pytest.raises(ValueError, match="one image"):
        explain(net, X[None], TARGET, layer=layer)
    with pytest.raises(TypeError, match="layer"):
        explain(net, X, TARGET)


@EVERY
def test_an_unknown_layer_raises(explain):
    net = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
    for layer in ("rely", ("conv", "rely")):
        with pytest.raises(ValueError, match=r"no layer 'rely'.*'relu'"):
            explain(net, X, TARGET, layer=layer)
