"""Networks of bfloat16 parameters, which take and give float32, and agree with those of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxplain as jp
from jaxplain.models import load

LITE = "efficientnet_lite0"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")

# each with its options, and how well its map correlates with that of float32 at least
EXPLAINERS = {
    "grad_cam": (jp.grad_cam, {"layer": "_swish2"}, 0.99),
    "eigen_cam": (jp.eigen_cam, {"layer": "_swish2"}, 0.99),
    "saliency": (jp.saliency, {}, 0.5),
    "integrated_gradients": (jp.integrated_gradients, {"layer": "_blocks.10", "steps": 2}, 0.9),
}

outputs = jax.jit(lambda net, X: jax.vmap(net)(X))


@pytest.fixture(scope="module")
def model():
    return load(LITE, dtype="bfloat16")


@pytest.fixture(scope="module")
def exact():
    return load(LITE)


@pytest.fixture(scope="module")
def images(model):
    return jnp.stack([model.prepare(f"sample:{photo}") for photo in PHOTOS])


def dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def test_parameters_and_activations_have_the_dtype_and_images_and_outputs_are_float32(model, images):
    assert dtypes(model.net) == {jnp.dtype(jnp.bfloat16)}
    assert dtypes(jp.layers(model.net, images[0])) == {jnp.dtype(jnp.bfloat16)}
    assert images.dtype == model.pixels("sample:coffee").dtype == jnp.float32
    assert jax.eval_shape(model.net, images[0]).dtype == jnp.float32


@pytest.mark.slow
def test_logits_agree_with_those_of_float32(model, exact, images):
    expected, actual = outputs(exact.net, images), outputs(model.net, images)
    assert actual.dtype == jnp.float32
    assert min(map(correlation, actual, expected)) > 0.99
    first = np.take_along_axis(expected, actual.argmax(1)[:, None], 1)[:, 0]
    np.testing.assert_allclose(first, expected.max(1), atol=0.06)  # or tied: bfloat16 has steps of 1/16 there
    assert (actual != expected).any()


@pytest.fixture(scope="module")
def maps(model, exact, images):
    x, target = images[1], jp.one_hot(285, 1000)
    explain = jax.jit(lambda net: {name: f(net, x, target, **options) for name, (f, options, _) in EXPLAINERS.items()})
    return explain(model.net), explain(exact.net)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPLAINERS)
def test_maps_are_float32_and_like_those_of_float32(name, maps):
    ours, expected = (each[name] for each in maps)
    assert ours.dtype == expected.dtype == jnp.float32
    assert correlation(ours, expected) > EXPLAINERS[name][-1]


@pytest.mark.parametrize("dtype", ["float32", jnp.bfloat16, np.float16])
def test_the_dtype_may_be_a_name_or_a_type(dtype):
    assert dtypes(load(LITE, jax.random.key(0), dtype=dtype).net) == {jnp.dtype(dtype)}


@pytest.mark.parametrize("dtype", ["int8", "float64", jnp.complex64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype is \w+, but float32, bfloat16 or float16 is expected\."):
        load(LITE, jax.random.key(0), dtype=dtype)
