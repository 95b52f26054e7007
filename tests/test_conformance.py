"""Every explainer of the table has every property; every exception is proven; wrong explainers fail."""

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from table import TABLE, Row

import jaxplain as jp


def call(row, tiny, net, x, target):
    options = row.options | ({"layer": tiny.layer} if row.layer else {})
    return row.explain(net, x, target, **options)


def case(tiny, row, count=2):
    targets = nets.targets(count)
    if row.one_class:
        targets = np.eye(nets.CLASSES, dtype=np.float32)[targets.argmax(1)]
    return nets.net(tiny, nets.params(tiny)), jnp.asarray(nets.images(count)), jnp.asarray(targets)


def jit_equals_eager(explain, tiny, row):
    net, X, targets = case(tiny, row)
    assert_close(jax.jit(explain)(net, X[0], targets[0]), explain(net, X[0], targets[0]))


def vmap_equals_loop(explain, tiny, row):
    net, X, targets = case(tiny, row, 3)
    loop = [explain(net, x, target) for x, target in zip(X, targets, strict=True)]
    assert_close(jax.vmap(explain, (None, 0, 0))(net, X, targets), jnp.stack(loop))


def one_trace(explain, tiny, row):
    traces = []

    @jax.jit
    def counted(net, x, target):
        traces.append(1)
        return explain(net, x, target)

    net, X, targets = case(tiny, row)
    counted(net, X[0], targets[0])
    counted(nets.net(tiny, nets.params(tiny, seed=7)), X[1], targets[1])
    assert len(traces) == 1


def finite(explain, tiny, row):
    net, X, targets = case(tiny, row)
    dead = {"kernel": np.zeros(tiny.shapes["kernel"], np.float32), "bias": np.full((4,), -5.0, np.float32)}
    values = nets.params(tiny) | dead
    for which, x in ((net, jnp.zeros_like(X[0])), (net, jnp.full_like(X[0], 0.5)), (nets.net(tiny, values), X[0])):
        assert jnp.isfinite(explain(which, x, targets[0])).all()


def linear_in_target(explain, tiny, row):
    net, X, (one, two) = case(tiny, row)
    of = functools.partial(explain, net, X[0])
    assert_close(of(2 * one + two), 2 * of(one) + of(two), 1e-4)


def equals_oracle(explain, tiny, row):
    net, X, targets = case(tiny, row)
    for x, target in zip(X, targets, strict=True):

        def backprop(x, replace=(), target=np.asarray(target, np.float64)):  # noqa: B008
            return tiny.backprop(nets.params(tiny), x, target, replace)

        assert_close(explain(net, x, target), row.oracle(backprop, np.asarray(x, np.float64), tiny.layer), 1e-4)


def depends_on_weights(explain, tiny, row):
    net, X, targets = case(tiny, row)
    other = nets.net(tiny, nets.params(tiny, seed=7))
    one, two = explain(net, X[0], targets[0]), explain(other, X[0], targets[0])
    assert np.abs(np.corrcoef(np.ravel(one), np.ravel(two))[0, 1]) < 0.95


def sharded_equals_one_device(explain, tiny, row):
    net, X, targets = case(tiny, row, 8)
    over_images = jax.jit(jax.vmap(explain, (None, 0, 0)))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = jax.device_put(net, NamedSharding(mesh, PartitionSpec()))
    result = over_images(everywhere, jax.device_put(X, spread), jax.device_put(targets, spread))
    assert len(result.sharding.device_set) == 8
    assert_close(result, over_images(net, X, targets))


def differentiable(explain, tiny, row):
    net, X, targets = case(tiny, row)
    assert jnp.isfinite(jax.grad(lambda x: jnp.sum(explain(net, x, targets[0]) ** 2))(X[0])).all()


def refuses_what_is_no_image(explain, tiny, row):
    net, X, targets = case(tiny, row)
    for wrong in (X, X[0, 0], jnp.ones(X[0].shape, jnp.uint8)):
        with pytest.raises(ValueError, match=r"^x (has shape|is)"):
            explain(net, wrong, targets[0])


def double_precision(explain, tiny, row):
    """A float64 net has float64 maps where JAX has 64 bits. Shapes and dtypes are known without computing."""
    with jax.enable_x64(True):
        net, X, targets = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, np.float64), case(tiny, row))
        first = jax.ShapeDtypeStruct(X.shape[1:], X.dtype), jax.ShapeDtypeStruct(targets.shape[1:], targets.dtype)
        assert jax.eval_shape(functools.partial(explain), net, *first).dtype == np.float64


def strict_promotion(explain, tiny, row):
    """Also where JAX is told to convert no dtype by itself."""
    net, X, targets = case(tiny, row)
    with jax.numpy_dtype_promotion("strict"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of segment_sum in JAX, about an int64 of its own
        try:
            jax.eval_shape(functools.partial(explain), net, X[0], targets[0])
        except ValueError as error:
            raise AssertionError(f"{row.name} mixes dtypes: {error}") from error


PROPERTIES = {
    p.__name__: p
    for p in (
        jit_equals_eager,
        vmap_equals_loop,
        one_trace,
        finite,
        linear_in_target,
        equals_oracle,
        depends_on_weights,
        sharded_equals_one_device,
        differentiable,
        refuses_what_is_no_image,
        double_precision,
        strict_promotion,
    )
}
FAILURES = (AssertionError, jax.errors.JAXTypeError, pytest.fail.Exception)


class Case(NamedTuple):
    """A row at one of the tiny nets, and its explainer as it is and jitted."""

    row: Row
    tiny: nets.Tiny
    eager: Callable[..., Any]
    jitted: Callable[..., Any]


@pytest.fixture(
    scope="module", params=itertools.product(TABLE, nets.TINY), ids=lambda pair: "-".join(p.name for p in pair)
)
def row_and_tiny(request):
    row, tiny = request.param
    explain = functools.partial(call, row, tiny)
    return Case(row, tiny, explain, jax.jit(explain))


@pytest.mark.parametrize("name", PROPERTIES)
def test_property(name, row_and_tiny):
    """Explainers are jitted, and so compiled once for most properties; that this makes no difference is the first."""
    row, tiny, eager, jitted = row_and_tiny
    check = functools.partial(PROPERTIES[name], eager if name == "jit_equals_eager" else jitted, tiny, row)
    if name in row.lacks:
        with pytest.raises(FAILURES):
            check()
    else:
        check()


def test_exceptions_name_properties_and_reasons():
    for row in TABLE:
        assert set(row.lacks) <= set(PROPERTIES)
        assert all(row.lacks.values())


def constant(net, x, target):
    """A map that looks at nothing: a ramp."""
    return jnp.arange(16.0).reshape(4, 4)


def branches_on_values(net, x, target):
    return x if jnp.sum(x) > 0 else -x


def divides_by_the_range(net, x, target):
    return (x - jnp.min(x)) / (jnp.max(x) - jnp.min(x))


def knows_a_tracer(net, x, target):
    """Right alone, wrong when it is traced: it reads what kind of array it gets."""
    return jnp.sum(x, -1) * (2 if isinstance(x, Tracer) else 1)


def remembers(net, x, target, calls=itertools.count(1)):  # noqa: B008
    """Hidden state: no two runs agree."""
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    return jnp.sum(x, -1) * jax.pure_callback(lambda _: np.float32(next(calls)), shape, x, vmap_method="sequential")


WRONG = {
    "jit_equals_eager": knows_a_tracer,
    "vmap_equals_loop": knows_a_tracer,
    "one_trace": branches_on_values,
    "finite": divides_by_the_range,
    "linear_in_target": lambda net, x, t: jp.gradient(net, x, t) ** 2,
    "equals_oracle": lambda net, x, t: 1.01 * jp.gradient(net, x, t),
    "depends_on_weights": constant,
    "sharded_equals_one_device": remembers,
    "differentiable": lambda net, x, t: jnp.sqrt(jnp.abs(x - x)),
    "refuses_what_is_no_image": lambda net, x, t: jnp.sum(x, -1),
    "double_precision": lambda net, x, t: jp.saliency(net, x, t).astype(jnp.float32),
    "strict_promotion": lambda net, x, t: jp.saliency(net, x, t) * jnp.arange(6)[None],
}


@pytest.mark.parametrize("tiny", nets.TINY, ids=lambda tiny: tiny.name)
@pytest.mark.parametrize("name", PROPERTIES)
def test_wrong_explainer_fails(name, tiny):
    row = next(row for row in TABLE if row.name == "gradient")
    with pytest.raises(FAILURES):
        PROPERTIES[name](WRONG[name], tiny, row)
