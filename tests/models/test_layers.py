"""The layers equal XLA's and torch's own, in values and in gradients, whatever the sizes, strides and paddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from jaxplain.models.convolution import convolve, depthwise, max_pool, winograd
from jaxplain.models.layers import AdaptiveMean, Conv, GlobalMean, MaxPool, Relu, clip

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
@given(cases())
def test_convolve_is_the_general_convolution(case):
    sides, size, *rest = case
    x, kernel = normal(2, *sides, 3), normal(*size, 3, 4, seed=1)
    actual = pulled_back(lambda x, k: convolve(x, k, *rest), x, kernel)
    expected = pulled_back(lambda x, k: general(x, k, *rest), x, kernel)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    ("sides", "padding"),
    [
        ((14, 14), ((1, 1), (1, 1))),
        ((17, 16), ((1, 1), (1, 1))),
        ((16, 15), ((0, 2), (1, 0))),
        ((20, 64), ((0, 0), (2, 1))),
    ],
)
def test_winograd_is_the_general_convolution(sides, padding):
    """In values and gradients, also under vmap and as the form that `convolve` takes at such sizes."""
    x, kernel = normal(2, *sides, 5), normal(3, 3, 5, 4, seed=1)
    expected = pulled_back(lambda x, k: general(x, k, 1, padding), x, kernel)
    assert_close(pulled_back(lambda x, k: winograd(x, k, padding), x, kernel), expected)
    assert_close(pulled_back(lambda x, k: convolve(x, k, 1, padding), x, kernel), expected)
    one_by_one = pulled_back(lambda x, k: jax.vmap(lambda x: convolve(x[None], k, 1, padding)[0])(x), x, kernel)
    assert_close(one_by_one, expected)


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
    y = general(x, variables["params"]["kernel"], module.stride, **like) + variables["params"]["bias"][None, None, None]
    return module.apply(variables, x), y


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [7, 8])
def test_a_convolution_of_one_pixel_is_the_general_one(stride, side):
    module, x, padding = Conv(5, stride=stride), normal(2, side, side + 1, 3), ((0, 0), (0, 0))
    assert_close(*conv(module, x, padding=padding))
    variables = module.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    actual = jax.grad(lambda x: jnp.sum(jnp.sin(module.apply(variables, x))))(x)
    assert_close(actual, jax.grad(lambda x: jnp.sum(jnp.sin(general(x, kernel, stride, padding))))(x))


def test_convolutions_with_padding_and_groups():
    x = normal(2, 9, 7, 4)
    assert_close(*conv(Conv(5, padding=1), x, padding=((1, 1), (1, 1))))
    assert_close(*conv(Conv(5, 3, 2, padding=1), x, padding=((1, 1), (1, 1))))
    assert_close(*conv(Conv(5, (1, 7), padding=((0, 0), (3, 3))), x, padding=((0, 0), (3, 3))))
    assert_close(*conv(Conv(4, 3, 2, ((0, 1), (0, 1)), groups=4), x, padding=((0, 1), (0, 1)), groups=4))


def test_the_other_modules():
    x = normal(2, 9, 7, 3)
    np.testing.assert_array_equal(MaxPool(3, 2, padding=1).apply({}, x), max_pool(x, 3, 2, 1))
    assert_close(GlobalMean().apply({}, x), np.asarray(x).mean((1, 2), keepdims=True))
