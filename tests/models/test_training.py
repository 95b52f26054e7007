"""The training loop: its steps, its scores, when it ends and which parameters it keeps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compare import assert_close
from jax.tree_util import Partial

from jaxplain.models import cross_entropy, train
from jaxplain.models._training import stops

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(12, 3)).astype(np.float32)
Y = X @ np.array([1, -2, 3], np.float32) + 1


def line(params, X):
    return X @ params["slope"] + params["offset"]


F = Partial(line, {"slope": jnp.zeros(3), "offset": jnp.zeros(())})
SGD = optax.identity()


def squares(f, X, y):
    """(rows, the sum of half squared errors, the sum of errors)."""
    error = f(X) - y
    return jnp.stack([jnp.float32(len(X)), jnp.sum(error**2) / 2, jnp.sum(error)])


def halves(epoch):
    return [(X[:6], Y[:6]), (X[6:], Y[6:])]


def test_gradient_descent_by_hand():
    """Float64; the scores of an epoch are of its batches while the parameters moved."""
    w, scores = np.zeros(4), []
    for _ in range(3):
        errors = []
        for rows in (slice(0, 6), slice(6, 12)):
            design = np.c_[X[rows], np.ones(6)].astype(np.float64)
            errors.append(design @ w - Y[rows])
            w = w - 0.1 * design.T @ errors[-1] / 6
        errors = np.concatenate(errors)
        scores.append((np.mean(errors**2) / 2, np.mean(errors)))
    found = train(F, halves, squares, epochs=3, rate=0.1, optimiser=SGD)
    assert_close(np.r_[found.f.args[0]["slope"], found.f.args[0]["offset"]], w, 1e-5)
    np.testing.assert_allclose(found.training, scores, rtol=1e-4, atol=1e-6)
    assert found.held_out == ()
    assert not F.args[0]["slope"].any()


@pytest.mark.parametrize(
    ("optimiser", "whole"),
    [
        (optax.scale_by_adam(), optax.adam(0.05)),
        (
            optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1)),
            optax.adamw(0.05, weight_decay=0.1),
        ),
    ],
)
def test_optimisers_are_optaxs(optimiser, whole):
    """Also where they need the parameters."""
    f, state = F, whole.init(F)
    for _ in range(4):
        for batch in halves(0):
            gradient = jax.grad(lambda f, batch=batch: squares(f, *batch)[1] / 6)(f)
            update, state = whole.update(gradient, state, f)
            f = optax.apply_updates(f, update)  # pyright: ignore[reportArgumentType] optax takes any tree
    assert_close(train(F, halves, squares, epochs=4, rate=0.05, optimiser=optimiser).f.args, f.args, 1e-5)  # pyright: ignore[reportAttributeAccessIssue] a Partial


def test_each_epoch_has_its_own_batches():
    asked = []

    def batches(epoch):
        asked.append(epoch)
        yield X[epoch : epoch + 2], Y[epoch : epoch + 2]

    train(F, batches, squares, epochs=3, rate=0.1)
    assert asked == [0, 1, 2]


def test_the_best_parameters_on_held_out_batches_are_kept():
    """The line is trained away from what is held out, whose loss is smallest after the second epoch."""
    held_out = [(X, Y / 4)]
    states = [train(F, halves, squares, epochs=n, rate=0.1, optimiser=SGD).f for n in range(1, 6)]
    losses = [float(squares(f, *held_out[0])[1]) / 12 for f in states]
    best = int(np.argmin(losses))
    assert 0 < best < 2
    found = train(F, halves, squares, epochs=5, rate=0.1, optimiser=SGD, held_out=lambda: iter(held_out), patience=2)
    assert len(found.training) == len(found.held_out) == best + 1 + 2
    np.testing.assert_allclose([loss for loss, _ in found.held_out], losses[: best + 3], rtol=1e-5)
    assert_close(found.f.args, states[best].args, 0)


def test_without_patience_it_goes_on_to_the_end():
    found = train(F, halves, squares, epochs=5, rate=0.1, optimiser=SGD, held_out=lambda: [(X, Y / 4)])
    assert len(found.held_out) == 5


def test_what_never_gets_better_than_it_was_is_kept_as_it_was():
    found = train(F, halves, squares, epochs=5, rate=0.1, held_out=lambda: [(X, Y)], lowest=0.0, patience=2)
    assert len(found.held_out) == 2
    assert found.f is F


@pytest.mark.parametrize(("rate", "epoch"), [(math.nan, 2), (1e30, 1)])
def test_a_loss_that_is_not_finite_is_told(rate, epoch):
    with pytest.raises(ValueError, match=rf"not finite in epoch {epoch} \(mine\); use a smaller learning rate"):
        train(F, lambda _: [(X, Y)] * (3 - epoch), squares, epochs=4, rate=rate, optimiser=SGD, title="mine")


def test_progress_is_tracked_by_epochs():
    told = []

    def track(work, title):
        for piece in work:
            told.append((title, len(work)))
            yield piece

    train(F, halves, squares, epochs=3, rate=0.1, track=track, title="mine")
    assert told == [("mine", 3)] * 3


def test_the_step_is_compiled_once():
    """For all epochs, rates and parameters."""
    traces = []

    def noted(f, X, y):
        traces.append(None)
        return squares(f, X, y)

    for rate in (0.1, 0.2):
        train(F, halves, noted, epochs=3, rate=rate, optimiser=SGD)
    assert len(traces) == 1


def test_cross_entropy_by_hand():
    logits, labels, weights = (
        np.array([[2, 0, 1], [0, 3, 1], [1, 1, 0]], np.float32),
        np.array([0, 2, 1]),
        [1.0, 2.0, 0.0],
    )
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    losses = -np.log(odds[np.arange(3), labels])
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), labels), [3, losses.sum(), 1], rtol=1e-5)
    found = cross_entropy(jnp.asarray(logits), labels, np.array(weights, np.float32))
    np.testing.assert_allclose(found, [3, losses @ weights, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([math.inf], 1, False),
        ([math.inf, 3.0], 1, False),
        ([math.inf, 3.0, 3.0], 1, True),
        ([math.inf, 3.0, 2.0], 1, False),
        ([math.inf, 3.0, 4.0, 3.5], 2, True),
        ([math.inf, 3.0, 4.0, 3.5], 3, False),
        ([math.inf, 3.0, 4.0, 2.9], 2, False),
        ([0.1, 3.0, 2.0], 2, True),
    ],
)
def test_stops(losses, patience, expected):
    assert stops(losses, patience) is expected
