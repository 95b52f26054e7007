"""JAX's other modes: 64 bits, in which parameters stay float32 and what is traced keeps its types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxplain as jp
from jaxplain.models import available
from jaxplain.models._load import outline
from jaxplain.models._registry import architecture


@pytest.mark.parametrize("name", available())
def test_networks_in_64_bits(name):
    """Their parameters are float32, with and without weights, and so is what they compute of a float32 image."""
    with jax.enable_x64(True):
        image = architecture(name).spec.image
        assert {site.dtype for site in jp.layers(outline(name, 10), image).values()} == {np.dtype("float32")}
        drawn = jax.eval_shape(
            architecture(name).module(10).init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image.shape), image.dtype)
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {np.dtype("float32")}


def test_segments_in_64_bits():
    """As in 32 bits; the number of iterations is what a loop carries."""
    pixels = np.random.default_rng(0).random((12, 12, 3))
    plain = np.asarray(jp.slic(np.float32(pixels), num_segments=4, iterations=2))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jp.slic(jnp.asarray(pixels, jnp.float32), num_segments=4, iterations=2), plain)
