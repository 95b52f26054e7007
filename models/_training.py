"""The one training loop: of any function of parameters, on any batches, by any loss.

def sums(f, X, labels):
    return cross_entropy(f(X), labels)

f = Partial(module.apply, module.init(key, X[:1]))
trained = train(f, lambda epoch: [(X, labels)], sums, epochs=10, rate=0.001)
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    import optax

Track = Callable[[Sequence[Any], str], Iterable[Any]]
Batches = Iterable[tuple[Any, ...]]


class Trained(NamedTuple):
    """The function with its trained parameters, and by epoch the means of what the loss sums, the loss first.

    `training` are those of an epoch's own batches while the parameters moved, `held_out` those after it.
    """

    f: Any
    training: tuple[tuple[float, ...], ...]
    held_out: tuple[tuple[float, ...], ...]


def untracked(work: Sequence[Any], title: str) -> Iterable[Any]:  # noqa: ARG001
    """The work as it is. Others show on its way through how far it is, as a progress bar does."""
    return work


def train(
    f: Any,
    batches: Callable[[int], Batches],
    sums: Callable[..., Float[Array, " k"]],
    *,
    epochs: int,
    rate: float,
    optimiser: "optax.GradientTransformation | None" = None,
    held_out: Callable[[], Batches] | None = None,
    patience: int | None = None,
    lowest: float = math.inf,
    track: Track = untracked,
    title: str = "training",
) -> Trained:
    """f, a pytree whose leaves are parameters, after steps of -rate * optimiser on each batch of each epoch.

    batches(epoch), numbered from 0, gives the batches of an epoch: tuples of pytrees of arrays, of one shape so that
    the step is compiled once. sums(f, *batch) gives (count, sum of losses, sums of anything else) of a batch; the mean
    loss, their quotient, is what falls. `optimiser` is one of optax, without a learning rate; by default Adam. Give the
    same `sums` and `optimiser` again where you train again: the step is compiled for each of these.

    With `held_out`, which gives its batches anew for each epoch, the parameters are those of the first epoch whose mean
    loss there is below `lowest` and all others, or else those that f came with; and training ends after `patience`
    epochs in a row without a smaller one. Without, they are the last ones. ValueError if a loss is not finite.
    """
    moments, best, losses, training, validation = _chosen(optimiser).init(f), f, [lowest], [], []
    for number in track(range(epochs), title):
        f, moments, scores = _epoch(f, moments, batches(number), sums, optimiser, rate)
        training.append(scores)
        if held_out is not None:
            validation.append(_means([_score(f, batch, sums) for batch in held_out()]))
        loss = (validation or training)[-1][0]
        if not math.isfinite(scores[0] + loss):
            raise ValueError(f"The loss is not finite in epoch {number + 1} ({title}); use a smaller learning rate.")
        best = f if held_out is None or loss < min(losses) else best
        losses.append(loss)
        if patience is not None and stops(losses, patience):
            break
    return Trained(best, tuple(training), tuple(validation))


def cross_entropy(
    logits: Float[Array, "B n"], labels: Int[ArrayLike, " B"], weights: ArrayLike = 1.0
) -> Float[Array, "3"]:
    """The sums over rows of their weights, of the weighted losses, and of the weights of those that are right."""
    import optax

    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels))
    weights = jnp.broadcast_to(jnp.asarray(weights, losses.dtype), losses.shape)
    right = jnp.argmax(logits, axis=-1) == labels
    return jnp.stack([jnp.sum(weights), jnp.sum(weights * losses), jnp.sum(weights * right)])


def sigmoid_cross_entropy(
    logits: Float[Array, "B n"], labels: Int[ArrayLike, "B n"], weights: ArrayLike = 1.0
) -> Float[Array, "3"]:
    """As `cross_entropy`, of labels 0 or 1 that do not exclude each other: means over a row's labels."""
    import optax

    losses = jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.asarray(labels, logits.dtype)), axis=-1)
    right = jnp.mean((logits >= 0) == (jnp.asarray(labels) == 1), axis=-1)
    weights = jnp.broadcast_to(jnp.asarray(weights, losses.dtype), losses.shape)
    return jnp.stack([jnp.sum(weights), jnp.sum(weights * losses), jnp.sum(weights * right)])


def stops(losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` losses are all no smaller than one before them."""
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def _chosen(optimiser):
    import optax

    return optax.scale_by_adam() if optimiser is None else optimiser


def _epoch(f, moments, batches, sums, optimiser, rate):
    totals = []
    for batch in batches:
        f, moments, total = _step(f, moments, batch, rate, sums, optimiser)
        totals.append(total)
    return f, moments, _means(totals)


def _means(totals):
    count, *rest = np.asarray(jax.device_get(totals), np.float64).sum(axis=0).tolist()
    return tuple(total / count for total in rest)


@functools.partial(jax.jit, static_argnames=("sums", "optimiser"))
def _step(f, moments, batch, rate, sums, optimiser):
    """f after a step on the batch's mean loss, and the sums before it."""
    import optax

    def loss(f):
        total = sums(f, *batch)
        return total[1] / total[0], total

    gradient, total = jax.grad(loss, has_aux=True)(f)
    update, moments = _chosen(optimiser).update(gradient, moments, f)
    return optax.apply_updates(f, jax.tree.map(lambda u: -rate * u, update)), moments, total


@functools.partial(jax.jit, static_argnames="sums")
def _score(f, batch, sums):
    return sums(f, *batch)
