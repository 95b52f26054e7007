"""The layers equal XLA's and torch's own, in values and in gradients, whatever the sizes, strides and paddings."""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from flax import errors
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from torch.nn import functional

import jaxplain as jp
from jaxplain.models import load, outline
from jaxplain.models._convolution import convolve, depthwise, max_pool, mean_pool
from jaxplain.models._inception import BasicConv
from jaxplain.models._layers import AdaptiveMean, Conv, Dense, GlobalMean, MaxPool, Relu, clip
from jaxplain.models._winograd import winograd

few = settings(max_examples=12, deadline=None, derandomize=True)
SQUARE = [(k, k) for k in range(1, 8)]


@st.composite
def cases(draw, sizes=(*SQUARE, (1, 7), (7, 1), (2, 3))):
    """(height, width), (kernel height, width), stride, padding; no window lies in the padding alone."""
    size, stride = draw(st.sampled_from(sizes)), draw(st.integers(1, 3))
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in size)
    sides = tuple(draw(st.integers(k, 12)) for k in size)
    return sides, size, stride, padding


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def general(x, kernel, stride, padding, groups=1):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=layout, feature_group_count=groups
    )


def pulled_back(f, *args):
    """(value, a random gradient g of its shape, the gradients for it), in one program."""
    g = normal(*jax.eval_shape(f, *args).shape, seed=2)

    @jax.jit
    def both(g, *args):
        value, back = jax.vjp(f, *args)
        return value, back(g)

    value, gradients = both(g, *args)
    return value, g, gradients


def torchs(a):
    return torch.tensor(np.moveaxis(np.asarray(a), -1, 1).copy(), requires_grad=True)


def ours(a):
    return np.moveaxis(a.detach().numpy(), 1, -1)


def gradients_of_torch(f, g, *args):
    """(value, the gradients for the incoming gradient g), channels last."""
    args = [torchs(a) for a in args]
    value = f(*args)
    return ours(value), [ours(d) for d in torch.autograd.grad(value, args, torchs(g).detach())]


@few
@given(cases(), st.sampled_from([1, 3, 9]))
def test_convolve_is_the_general_convolution(case, channels):
    sides, size, *rest = case
    x, kernel = normal(2, *sides, channels), normal(*size, channels, 4, seed=1)
    actual = pulled_back(lambda x, k: convolve(x, k, *rest), x, kernel)
    expected = pulled_back(lambda x, k: general(x, k, *rest), x, kernel)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    ("sides", "size", "stride", "padding"),
    [
        ((17, 16), (3, 3), 1, ((1, 1), (1, 1))),
        ((20, 64), (3, 3), 1, ((0, 0), (2, 1))),
        ((31, 35), (3, 3), 2, ((0, 2), (1, 0))),
        ((14, 21), (1, 3), 1, ((0, 0), (1, 1))),
        ((21, 14), (3, 1), 1, ((1, 1), (0, 0))),
        ((14, 17), (1, 7), 1, ((0, 0), (3, 3))),
        ((20, 14), (7, 1), 1, ((2, 4), (0, 0))),
    ],
)
def test_winograd_is_the_general_convolution(sides, size, stride, padding):
    """In values and gradients, also under vmap and as the form that `convolve` takes at such sizes."""
    x, kernel = normal(2, *sides, 40), normal(*size, 40, 34, seed=1)
    expected = pulled_back(lambda x, k: general(x, k, stride, padding), x, kernel)
    assert_close(pulled_back(lambda x, k: winograd(x, k, stride, padding, False), x, kernel), expected)
    assert_close(pulled_back(lambda x, k: convolve(x, k, stride, padding), x, kernel), expected)
    one_by_one = pulled_back(lambda x, k: jax.vmap(lambda x: convolve(x[None], k, stride, padding)[0])(x), x, kernel)
    assert_close(one_by_one, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(3, 3), (1, 3), (2, 5)])
def test_a_turned_kernel_is_flipped_and_has_its_channels_swapped(size, stride):
    x, kernel, padding = normal(2, 17, 16, 30), normal(*size, 4, 30, seed=1), ((1, 1), (0, 1))

    def expected(x, kernel):
        return general(x, kernel[::-1, ::-1].swapaxes(2, 3), stride, padding)

    actual = pulled_back(lambda x, k: convolve(x, k, stride, padding, True), x, kernel)
    assert_close(actual, pulled_back(expected, x, kernel))


@pytest.mark.parametrize("bytes_at_once", [1, 10e6])
def test_winograd_of_more_images_than_are_worked_on_at_once(bytes_at_once, monkeypatch):
    """One image at a time, and two of five, which need 4 MB each."""
    monkeypatch.setattr("jaxplain.models._winograd._AT_ONCE", bytes_at_once)
    x, kernel, padding = normal(5, 32, 32, 64), normal(3, 3, 64, 64, seed=1), ((1, 1), (1, 1))
    run = jax.jit(lambda x, k: winograd(x, k, 1, padding, False))
    assert "stablehlo.while" in str(run.lower(x, kernel).as_text())
    assert_close(run(x, kernel), general(x, kernel, 1, padding))


@pytest.mark.parametrize(("width", "stride"), [(75, 1), (72, 2), (15, 2)])
def test_convolve_of_odd_widths_is_the_general_convolution(width, stride):
    x, kernel, padding = normal(2, 6, width, 9), normal(5, 5, 9, 4, seed=1), ((2, 2), (1, 2))
    expected = pulled_back(lambda x, k: general(x, k, stride, padding), x, kernel)
    assert_close(pulled_back(lambda x, k: convolve(x, k, stride, padding), x, kernel), expected)


@few
@given(cases(sizes=((1, 1), (3, 3), (2, 5))))
def test_second_derivatives_of_convolve(case):
    """By x and by the kernel, of a function in which both gradients of the convolution stand."""
    sides, size, *rest = case
    x, kernel = normal(1, *sides, 2), normal(*size, 2, 3, seed=1)

    def slopes(conv):
        def first(x, kernel):
            return jnp.sum(jnp.tanh(conv(x, kernel, *rest)))

        def second(x, kernel):
            return sum(jnp.sum(jnp.sin(d)) for d in jax.grad(first, (0, 1))(x, kernel))

        return jax.jit(jax.grad(second, (0, 1)))(x, kernel)

    assert_close(slopes(convolve), slopes(general))


@pytest.mark.parametrize("sides", [(7, 7), (14, 21), (10, 5), (1, 13)])
def test_adaptive_mean_is_torchs(sides):
    x = normal(2, *sides, 3)
    theirs = functional.adaptive_avg_pool2d(torchs(x).detach(), 7)
    assert_close(AdaptiveMean(7).apply({}, x), ours(theirs))


@pytest.mark.parametrize("stride", [1, 2])
def test_convolve_maps_and_loops(stride):
    """vmap over images and over kernels, and lax.map, give what one call after the other gives."""
    xs, kernels, padding = normal(3, 1, 9, 8, 2), normal(3, 3, 3, 2, 4, seed=1), ((1, 1), (0, 2))

    def both(x, kernel):
        def f(x, kernel):
            return jnp.sum(jnp.tanh(convolve(x, kernel, stride, padding)))

        return jax.value_and_grad(f, (0, 1))(x, kernel)

    expected = jax.tree.map(lambda *parts: jnp.stack(parts), *[both(x, kernels[0]) for x in xs])
    assert_close(jax.vmap(both, (0, None))(xs, kernels[0]), expected)
    assert_close(jax.jit(lambda xs, k: jax.lax.map(lambda x: both(x, k), xs))(xs, kernels[0]), expected)
    assert_close(jax.jit(lambda xs, k: jax.lax.map(lambda x: both(x, k), xs, batch_size=2))(xs, kernels[0]), expected)
    expected = jax.tree.map(lambda *parts: jnp.stack(parts), *[both(xs[0], kernel) for kernel in kernels])
    assert_close(jax.vmap(both, (None, 0))(xs[0], kernels), expected)


def in_general(x, kernel, stride, padding, turned):
    return general(x, kernel[::-1, ::-1].swapaxes(2, 3) if turned else kernel, stride, padding)


class Form(NamedTuple):
    """The arguments of `convolve` that lead it to one of its forms, and to one of its gradients."""

    sides: tuple[int, int]
    size: tuple[int, int]
    channels: int
    stride: int
    turned: bool
    outputs: int = 4
    padding: tuple = ((1, 0), (1, 2))

    def operands(self, images=2, seed=0):
        outward = (self.outputs, self.channels) if self.turned else (self.channels, self.outputs)
        return normal(images, *self.sides, self.channels, seed=seed), normal(*self.size, *outward, seed=seed + 1)

    def ours(self, x, kernel):
        return convolve(x, kernel, self.stride, self.padding, self.turned)

    def plain(self, x, kernel):
        return in_general(x, kernel, self.stride, self.padding, self.turned)


FORMS = {
    "patches": Form((9, 8), (3, 3), 3, 2, False),
    "winograd": Form((17, 16), (3, 3), 40, 1, False, outputs=33),
    "winograd_strided": Form((31, 35), (3, 3), 40, 2, False, outputs=33),
    "winograd_turned": Form((17, 16), (3, 3), 40, 1, True, outputs=33),
    "even": Form((6, 15), (2, 5), 9, 2, False),
    "even_turned": Form((6, 15), (2, 5), 9, 2, True),
    "blocks": Form((9, 8), (5, 5), 4, 2, False),
}
SOME_FORMS = ("patches", "winograd", "even_turned", "blocks")
EVERY_FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def bend(f):
    """A function of the convolution whose second derivatives are not zero."""
    return lambda x, kernel: jnp.sum(jnp.sin(f(x, kernel)))


@EVERY_FORM
def test_forward_mode_of_convolve(form):
    """Tangents of x, of the kernel and of both; linearised, and forward over reverse: Hessians times vectors."""
    primals, tangents = form.operands(), form.operands(seed=5)

    def derivatives(f, primals, tangents):
        value, linear = jax.linearize(f, *primals)
        return {
            "jvp": jax.jvp(f, primals, tangents),
            "by x": jax.jvp(lambda x: f(x, primals[1]), primals[:1], tangents[:1]),
            "by kernel": jax.jvp(lambda kernel: f(primals[0], kernel), primals[1:], tangents[1:]),
            "linearize": (value, linear(*tangents)),
            "hessian": jax.jvp(jax.grad(bend(f), (0, 1)), primals, tangents),
            "reverse over forward": jax.grad(lambda *p: jax.jvp(bend(f), p, tangents)[1], (0, 1))(*primals),
        }

    run = jax.jit(derivatives, static_argnums=0)
    assert_close(run(form.ours, primals, tangents), run(form.plain, primals, tangents))


@EVERY_FORM
def test_convolve_is_transposed_by_each_operand(form):
    x, kernel = form.operands()
    g = normal(*jax.eval_shape(form.plain, x, kernel).shape, seed=3)

    def transposes(f, x, kernel):
        return (
            jax.linear_transpose(lambda x: f(x, kernel), x)(g)[0],
            jax.linear_transpose(lambda kernel: f(x, kernel), kernel)(g)[0],
        )

    assert_close(transposes(form.ours, x, kernel), transposes(form.plain, x, kernel))


def test_rows_and_columns_of_a_jacobian_are_the_same():
    form = FORMS["patches"]._replace(sides=(4, 4))
    x, kernel = form.operands(images=1)
    assert_close(jax.jacfwd(form.ours, (0, 1))(x, kernel), jax.jacrev(form.plain, (0, 1))(x, kernel))


@pytest.mark.parametrize("form", SOME_FORMS)
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 4), (-1, None)], ids=str)
def test_convolve_under_vmap(form, axes):
    """Over images, kernels or both, along any axis: values and gradients of a loop of general convolutions."""
    form = FORMS[form]
    stacks = [jnp.stack(pair) for pair in zip(form.operands(), form.operands(seed=5), strict=True)]

    def both(f, x, kernel):
        return f(x, kernel), jax.grad(bend(f), (0, 1))(x, kernel)

    one = jax.jit(lambda *row: both(form.plain, *row))
    operands = [a[0] if axis is None else a for a, axis in zip(stacks, axes, strict=True)]
    rows = [[a if axis is None else a[i] for a, axis in zip(operands, axes, strict=True)] for i in range(2)]
    expected = jax.tree.map(lambda *parts: jnp.stack(parts), *[one(*row) for row in rows])
    moved = [a if axis is None else jnp.moveaxis(a, 0, axis) for a, axis in zip(operands, axes, strict=True)]
    assert_close(jax.jit(jax.vmap(lambda *row: both(form.ours, *row), axes))(*moved), expected)


@pytest.mark.parametrize("form", SOME_FORMS)
def test_convolve_on_eight_devices(form):
    """The images are spread, by hand with shard_map or by XLA: values, and gradients by both operands."""
    form = FORMS[form]
    x, kernel = form.operands(images=16)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))
    rows, whole = PartitionSpec("data"), PartitionSpec()
    spread = jax.device_put(x, NamedSharding(mesh, rows)), jax.device_put(kernel, NamedSharding(mesh, whole))

    def everything(x, kernel):
        return form.ours(x, kernel), *jax.grad(bend(form.ours), (0, 1))(x, kernel)

    expected = form.plain(x, kernel), *jax.grad(bend(form.plain), (0, 1))(x, kernel)
    mapped = jax.jit(jax.shard_map(everything, mesh=mesh, in_specs=(rows, whole), out_specs=(rows, rows, whole)))
    for result in (mapped(*spread), jax.jit(everything)(*spread)):
        assert len(result[0].sharding.device_set) == 8
        assert_close(result, expected)


@few
@given(cases())
def test_depthwise_is_the_grouped_convolution_of_torch(case):
    sides, size, stride, padding = case
    x, kernel = normal(2, *sides, 3), normal(*size, 1, 3, seed=1)
    (top, bottom), (left, right) = padding

    def grouped(x, weight):
        return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, stride=stride, groups=3)

    y, g, by = pulled_back(lambda x, k: depthwise(x, k, stride, padding), x, kernel)
    # torch's weight is (C, 1, h, w), and torchs moves the last axis to the second place: (C, h, w, 1) here
    value, (dx, dweight) = gradients_of_torch(grouped, g, x, jnp.transpose(kernel, (3, 0, 1, 2)))
    assert_close(y, value)
    assert_close(by, (dx, np.transpose(dweight, (1, 2, 3, 0))))


@st.composite
def pools(draw):
    size = draw(st.integers(1, 5))
    padding = draw(st.integers(0, size // 2))
    sides = tuple(draw(st.integers(max(1, size - 2 * padding), 11)) for _ in range(2))
    return sides, size, draw(st.integers(1, 3)), padding


@few
@given(pools(), st.sampled_from([2, 5, 1000]))
def test_max_pool_is_torchs(case, levels):
    """With few levels most windows have ties; negative values show that the padding never wins."""
    sides, *rest = case
    x = jnp.asarray(np.random.default_rng(0).integers(-levels, 0, (2, *sides, 3)), jnp.float32)
    y, g, by = pulled_back(lambda x: max_pool(x, *rest), x)
    value, (dx,) = gradients_of_torch(lambda x: functional.max_pool2d(x, *rest), g, x)
    np.testing.assert_array_equal(y, value)
    assert_close(by, (dx,))


@pytest.mark.parametrize("sides", [(1, 1), (1, 5), (2, 2), (7, 3), (8, 9)])
def test_mean_pool_is_torchs(sides):
    """Also where most of each window is padding, which torch counts."""
    x = normal(2, *sides, 3)
    y, g, by = pulled_back(mean_pool, x)
    value, slopes = gradients_of_torch(lambda x: functional.avg_pool2d(x, 3, 1, 1), g, x)
    assert_close((y, *by), (value, *slopes))


@pytest.mark.parametrize("sides", [(1, 3), (6, 7)])
def test_the_mean_after_a_convolution_of_one_pixel_is_the_mean_before_it(sides):
    """In values, and in gradients by the image and the parameters."""
    x, pooled, plain = normal(2, *sides, 3), BasicConv(5, pooled=True), BasicConv(5)
    params = {"bn": {"kernel": normal(1, 1, 3, 5, seed=1), "bias": normal(5, seed=3)}}
    after = pulled_back(lambda x, p: pooled.apply({"params": p}, x), x, params)
    before = pulled_back(lambda x, p: plain.apply({"params": p}, mean_pool(x)), x, params)
    assert_close(after, before)
    with pytest.raises(AssertionError, match="differs by"):
        assert_close(after[0], plain.apply({"params": params}, x))


def test_ties_give_the_gradient_to_the_first():
    """By hand: windows of 2 x 2 with a tie in the row, in the column, and across."""
    x = jnp.float32([[1, 1, 0, 2, 0, 3], [0, 0, 0, 2, 3, 0]]).reshape(1, 2, 6, 1)
    first = [[1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0]]
    dx = jax.grad(lambda x: max_pool(x, 2, 2, 0).sum())(x)
    np.testing.assert_array_equal(dx.reshape(2, 6), first)


@pytest.mark.parametrize(("maximum", "layer"), [(6.0, torch.nn.ReLU6()), (None, torch.nn.ReLU())])
def test_relu_is_torchs_at_the_kinks_too(maximum, layer):
    x = jnp.float32([-1, -0.0, 0, 1e-30, 3, 5.9999995, 6, 6.0000005, 9]).reshape(1, 1, 9, 1)
    y, g, (by,) = pulled_back(lambda x: Relu(maximum).apply({}, x), x)
    value, (dx,) = gradients_of_torch(layer, g, x)
    np.testing.assert_array_equal(y, value)
    np.testing.assert_array_equal(by, dx)


def test_clip_by_hand():
    x = jnp.float32([-1, 0, 2, 6, 7])
    np.testing.assert_array_equal(clip(x, 6.0), [0, 0, 2, 6, 6])
    np.testing.assert_array_equal(jax.vmap(jax.grad(lambda x: clip(x, 6.0)))(x), [0, 0, 1, 0, 0])


def conv(module, x, **like):
    """(a module's output, the general convolution of the same parameters plus the bias)."""
    variables = module.init(jax.random.key(0), x)
    variables["params"]["bias"] = normal(module.features, seed=3)
    y = general(x, variables["params"]["kernel"], module.stride, **like)
    if module.before_bias is not None:
        y = module.before_bias(y)
    return module.apply(variables, x), y + variables["params"]["bias"][None, None, None]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [7, 8])
def test_a_convolution_of_one_pixel_is_the_general_one(stride, side):
    module, x, padding = Conv(5, stride=stride), normal(2, side, side + 1, 3), ((0, 0), (0, 0))
    assert_close(*conv(module, x, padding=padding))
    variables = module.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    actual = jax.grad(lambda x: jnp.sum(jnp.sin(module.apply(variables, x))))(x)  # pyright: ignore[reportArgumentType] Flax is typed too wide
    assert_close(actual, jax.grad(lambda x: jnp.sum(jnp.sin(general(x, kernel, stride, padding))))(x))


def test_convolutions_with_padding_and_groups():
    x = normal(2, 9, 7, 4)
    assert_close(*conv(Conv(5, padding=1), x, padding=((1, 1), (1, 1))))
    assert_close(*conv(Conv(5, 3, 2, padding=1), x, padding=((1, 1), (1, 1))))
    assert_close(*conv(Conv(5, (1, 7), padding=((0, 0), (3, 3))), x, padding=((0, 0), (3, 3))))
    assert_close(*conv(Conv(4, 3, 2, ((0, 1), (0, 1)), groups=4), x, padding=((0, 1), (0, 1)), groups=4))


@pytest.mark.parametrize("module", [Conv(5, 3), Conv(5), Dense(5)])
@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_parameters_of_another_shape_are_refused(module, name):
    x = jnp.ones((1, 3) if isinstance(module, Dense) else (1, 8, 8, 3))
    params = dict(module.init(jax.random.key(0), x)["params"])
    with pytest.raises(errors.ScopeParamShapeError):
        module.apply({"params": params | {name: params[name][..., None]}}, x)
    with pytest.raises(errors.ScopeParamNotFoundError):
        module.apply({"params": {key: value for key, value in params.items() if key != name}}, x)


def test_groups_of_several_channels_are_refused():
    with pytest.raises(ValueError, match="groups is 2, but 1 or the number of channels, 4"):
        Conv(4, 3, groups=2).init(jax.random.key(0), jnp.ones((1, 8, 8, 4)))


@pytest.mark.parametrize("module", [Conv(5, before_bias=jnp.square), Conv(5, 3, 2, padding=1, before_bias=jnp.square)])
def test_what_comes_before_the_bias(module):
    assert_close(*conv(module, normal(2, 9, 7, 4), padding=((module.padding,) * 2,) * 2))


def test_the_other_modules():
    x = normal(2, 9, 7, 3)
    np.testing.assert_array_equal(MaxPool(3, 2, padding=1).apply({}, x), max_pool(x, 3, 2, 1))
    assert_close(GlobalMean().apply({}, x), np.asarray(x).mean((1, 2), keepdims=True))


@pytest.mark.parametrize(("setting", "expected"), [(None, {"HIGHEST"}), ("default", {"DEFAULT"})])
def test_a_precision_holds_where_the_network_is_traced(setting, expected):
    """Read off what a GPU gets, lowered outside of the setting; backward passes with it, of every stride."""
    net = load("resnet50", jax.random.key(0)).net
    explain = functools.partial(jp.active_saliency, chunk=2)
    with jax.default_matmul_precision(setting):
        traced = jax.jit(explain).trace(net, jnp.zeros((64, 64, 3)), jp.one_hot(3, 1000))
    with jax.default_matmul_precision("default"):
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(lines) > 20
    assert {
        precision for line in lines for precision in re.findall(r"precision (\w+)", line) or ["DEFAULT"]
    } == expected


@pytest.mark.parametrize(("name", "smallest"), [("inception_v3", 75), ("vgg16", 32), ("resnet50", 1)])
def test_an_image_that_is_too_small_is_told_the_smallest_side(name, smallest):
    """Nothing is computed, but the shapes."""
    net = outline(name)

    def outputs(height, width):
        return jax.eval_shape(lambda net, x: net(x), net, jax.ShapeDtypeStruct((height, width, 3), jnp.float32))

    assert outputs(smallest, smallest).shape == (1000,)
    for size in ((smallest - 1, 224), (224, smallest - 1)) if smallest > 1 else ():
        with pytest.raises(ValueError, match=f"has {size[0]} x {size[1]} pixels, but {name} needs at least {smallest}"):
            outputs(*size)
