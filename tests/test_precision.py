"""Sums that are answers keep all digits on every backend: read off each explainer's jaxpr.

The net has no matrix product of its own, so whatever product there is belongs to the explainer.
"""

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from table import TABLE

import jaxplain as jp
from jaxplain import metrics

HIGHEST = jax.lax.Precision.HIGHEST


def apply(p, x, site=jp.untouched):
    a = site("conv", nets._conv(x, p["kernel"], 1, 0) + p["bias"][None, None])
    a = site("relu", jnp.maximum(a, 0))
    a = site("pool", jnp.mean(a, axis=(0, 1)))
    return site("dense", jnp.sum(a[:, None] * p["dense"], axis=0) + p["offset"])


NET = jax.tree_util.Partial(apply, jax.tree.map(jnp.asarray, nets.params(nets.RIDGE)))
X, TARGET = jnp.asarray(nets.images(1)[0]), jnp.asarray(np.eye(nets.CLASSES, dtype=np.float32)[1])


def products(f, *arguments, setting: str | None = "default", of="dot_general"):
    """The precisions of all matrix products in a function's jaxpr, also within loops and calls."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == of:
                yield equation.params["precision"]
            for inner in jaxprs_in_params(equation.params):
                yield from walk(inner)

    with jax.default_matmul_precision(setting):
        return list(walk(jax.make_jaxpr(f)(*arguments).jaxpr))


def precise(precision):
    return precision is not None and set(precision if isinstance(precision, tuple) else (precision,)) == {HIGHEST}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_products_of_explainers_keep_all_digits(row):
    options = row.options | ({"layer": "relu"} if row.layer else {})
    found = products(lambda net, x, target: row.explain(net, x, target, **options), NET, X, TARGET)
    assert all(map(precise, found))


@pytest.mark.parametrize("name", ["deletion", "insertion", "average_drop"])
def test_products_of_measures_keep_all_digits(name):
    heat = jnp.arange(36.0).reshape(6, 6)
    assert all(map(precise, products(getattr(metrics, name), NET, X, TARGET, heat)))


def test_products_of_transforms_and_segments_keep_all_digits():
    smooth = jp.smooth(jp.grad_cam, samples=3, sigma=0.1, chunk=2)
    found = products(lambda x: smooth(NET, x, TARGET, layer="relu", key=jax.random.key(0)), X)
    found += products(lambda x: jp.active(jp.gradient, chunk=2)(NET, x, TARGET), X)
    found += products(lambda x: jp.slic(jax.nn.sigmoid(x), num_segments=4), X)
    assert len(found) > 3
    assert all(map(precise, found))


def test_a_rounded_product_is_found():
    assert not all(map(precise, products(lambda a: jax.lax.map(lambda b: b @ a, a[None]), jnp.ones((3, 3)))))
    assert all(map(precise, products(lambda a: jnp.matmul(a, a, precision="highest"), jnp.ones((3, 3)))))


@pytest.mark.parametrize(("setting", "expected"), [(None, {True}), ("default", {False}), ("highest", {True})])
def test_classes_are_compared_in_float32_unless_a_setting_says_otherwise(setting, expected):
    """On an H100, TF32 moved active saliency by 44 % of its size; plain gradients by 10 %."""
    net = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
    found = products(lambda x: jp.active_saliency(net, x, TARGET), X, setting=setting, of="conv_general_dilated")
    assert {precise(p) for p in found} == expected
    assert not any(
        precise(p) for p in products(lambda x: jp.gradient(net, x, TARGET), X, setting=None, of="conv_general_dilated")
    )
