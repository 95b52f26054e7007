"""Calls without jit use what an earlier one compiled: no compilation, and no memory, however many there are."""

import functools
import gc

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest

import jaxplain as jp
from jaxplain import metrics
from jaxplain._loops import reused

KEY = jax.random.key(0)
NET = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
QUARTERS = jnp.asarray(np.kron(np.arange(4).reshape(2, 2), np.ones((3, 3), int)))
CONCEPTS = jp.Concept(jnp.ones((2, 4)), jnp.zeros(2), jnp.ones(2))
CALLS = {
    "deletion": lambda x, t: metrics.deletion(NET, x, t, x[..., 0], fractions=[0.0, 0.3, 1.0], chunk=2).area,
    "infidelity": lambda x, t: metrics.infidelity(NET, x, t, x, key=KEY, samples=3, chunk=2),
    "max_sensitivity": lambda x, t: metrics.max_sensitivity(
        functools.partial(jp.grad_cam, layer="side"), NET, x, t, key=KEY, samples=3, chunk=2
    ),
    "rise": lambda x, t: jp.rise(NET, x, t, key=KEY, samples=3, cells=2, chunk=2),
    "lime": lambda x, t: jp.lime(NET, x, t, key=KEY, segments=QUARTERS, num_segments=4, samples=3, chunk=2),
    "occlusion": lambda x, t: jp.occlusion(NET, x, t, window=3, stride=3, chunk=2),
    "score_cam": lambda x, t: jp.score_cam(NET, x, t, layer="side", chunk=2),
    "ablation_cam": lambda x, t: jp.ablation_cam(NET, x, t, layer="side", chunk=2),
    "integrated_gradients": lambda x, t: jp.integrated_gradients(NET, x, t, steps=3, chunk=2),
    "active": lambda x, t: jp.active(jp.gradient, chunk=2)(NET, x, jp.top(t)),
    "concept_attribution": lambda x, t: (
        jp.concept_attribution(NET, x, t, layer="side", concepts=CONCEPTS, steps=2, chunk=2).values
    ),
    "tcav_score": lambda x, t: jp.tcav_score(NET, x[None], t, layer="side", directions=jnp.ones((1, 4)), chunk=2),
    "smooth": lambda x, t: jp.smooth(jp.gradient, samples=3, sigma=0.1, chunk=2)(NET, x, t, key=KEY),
    "batched": lambda x, t: jp.batched(jp.occlusion)(NET, x[None], t[None], window=3, stride=3, chunk=2),
}


@pytest.fixture
def compiled():
    """How many programs were compiled so far."""
    found = []

    def listen(event, duration_secs, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", CALLS)
def test_fifty_calls_compile_nothing_and_keep_nothing(name, compiled):
    """The first two may compile; images and targets are others in each, and the count of objects is what stays."""
    X, targets = map(list, (jnp.asarray(nets.images(50)), jnp.asarray(nets.targets(50))))
    for x, target in zip(X[:2], targets[:2], strict=True):
        CALLS[name](x, target)
    gc.collect()
    before, there = len(compiled), len(gc.get_objects())
    assert before
    for x, target in zip(X, targets, strict=True):
        CALLS[name](x, target)
    assert len(compiled) == before
    gc.collect()
    assert len(gc.get_objects()) - there < 50


def test_what_is_no_array_is_known_by_its_value():
    """A function without jit gives what it always gave, also where its arguments have no hash."""
    traces = []

    @reused
    def scaled(f, x, factor, *, power=1):
        traces.append(factor)
        return f(x) * factor**power

    for factor in (2, 3, 2, 3):
        assert scaled(jnp.sum, jnp.ones(3), factor, power=2) == 3 * factor**2
    assert traces == [2, 3]
    assert scaled(functools.partial(jnp.sum, axis=0), jnp.ones((2, 1)), 2)[0] == 4
    assert scaled(functools.partial(jnp.sum, axis=0), jnp.ones((2, 1)), 2)[0] == 4
    assert traces == [2, 3, 2]
    unhashable = type("Unhashable", (), {"__hash__": None, "__call__": lambda self, x: x})()
    assert scaled(unhashable, jnp.ones(()), 5) == 5


def test_numbers_that_are_measured_compile_nothing(compiled):
    """Such as the mean colour of each image."""
    x, target = jnp.asarray(nets.images(1)[0]), jnp.asarray(nets.targets(1)[0])

    def calls(value):
        metrics.deletion(NET, x, target, x[..., 0], fractions=[0.0, 1.0], chunk=2, fill=value)
        jp.integrated_gradients(NET, x, target, steps=3, chunk=2, baseline=value)
        jp.rise(NET, x, target, key=KEY, samples=3, cells=2, chunk=2, fill=value)
        jp.smooth(jp.gradient, samples=3, sigma=value, chunk=2)(NET, x, target, key=KEY)
        metrics.infidelity(NET, x, target, x, key=KEY, samples=3, chunk=2, sigma=value)

    calls(0.1)
    before = len(compiled)
    for value in (0.2, 0.3, 0.4):
        calls(value)
    assert len(compiled) == before


def test_what_a_plain_function_looks_at_may_change():
    """As in a notebook, where a net is a function of parameters that are trained meanwhile."""
    params = {"w": jnp.ones(3)}

    def net(x, site=jp.untouched):
        return jnp.mean(x, axis=(0, 1)) * params["w"]

    x, target = jnp.asarray(nets.images(1)[0]), jnp.ones(3)
    before = jp.occlusion(net, x, target, window=3, stride=3)
    params["w"] = -jnp.ones(3)
    np.testing.assert_allclose(jp.occlusion(net, x, target, window=3, stride=3), -before, atol=1e-6)
    assert np.abs(before).max() > 1e-3
