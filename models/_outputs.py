"""What a network's outputs mean, and the one way from them to probabilities.

"softmax": the outputs are logits of classes that exclude each other. "sigmoid": each is the logit of a label of its
own; a network with one output has the classes X and not X. "scores": they are no logits, as in regression and
embeddings, and have no probabilities. Outputs that are no arrays of JAX are computed in float64.
"""

import functools
from typing import Any, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxplain._types import Net, OutputKind
from jaxplain.net import then
from jaxplain.target import score


def output_kind(kind: str | None, count: int) -> OutputKind:
    """What `count` outputs are: by default labels where there is one, classes otherwise.

    ValueError for an unknown kind, and for the softmax of one output, which is always 1.
    """
    if kind is None:
        return "sigmoid" if count == 1 else "softmax"
    if kind not in get_args(OutputKind):
        raise ValueError(f"outputs is {kind!r}, but {', '.join(get_args(OutputKind))} is expected; give one of these.")
    if kind == "softmax" and count == 1:
        raise ValueError(
            "The network has one output, whose softmax is always 1: give sigmoid as its outputs, or scores."
        )
    return cast(OutputKind, kind)


def probabilities(outputs: ArrayLike, kind: str | None = None) -> Any:
    """The probabilities (n,) that outputs (n,) stand for: their softmax, or the sigmoid of each.

    ValueError for scores, which have none, and as `output_kind` has it.
    """
    xp, z = _numbers(outputs)
    if _with_probabilities(kind, len(z)) == "sigmoid":
        return _sigmoid(xp, z)
    odds = xp.exp(z - z.max())
    return odds / odds.sum()


def probability(outputs: ArrayLike, target: ArrayLike, kind: str | None = None) -> Any:
    """The probability, a scalar, of what a target (n,) of entries 1, 0 and -1 asks of outputs (n,).

    one_hot(k, n) asks for class k, -one_hot(k, n) for anything but it, 1 - p without loss of digits, and
    contrast(k, j, n) for k where it is one of both: p[k] / (p[k] + p[j]) of a softmax, and the sigmoid of the
    difference of labels. ValueError as for `probabilities`.
    """
    xp, z = _numbers(outputs)
    t = xp.asarray(target, z.dtype)
    if _with_probabilities(kind, len(z)) == "sigmoid":
        return _sigmoid(xp, np.dot(t, z) if xp is np else score(z, t))
    asked, against = t > 0, t < 0
    asked = xp.where(asked.any(), asked, ~against)
    against = xp.where(against.any(), against, ~asked)
    return _sigmoid(xp, _log_sum(xp, z, asked) - _log_sum(xp, z, against))


def probable(net: Net, kind: str | None = None) -> Net:
    """The net whose outputs (n,) are probabilities; ValueError as for `probabilities`, where it is called."""
    return then(net, _of_kind(kind))


@functools.cache  # one function per kind: jit knows a function by its identity
def _of_kind(kind):
    return functools.partial(probabilities, kind=kind)


def _numbers(outputs) -> Any:
    """The module that computes with outputs (n,), and these: float64 of numpy, or as they are."""
    if isinstance(outputs, jax.Array):
        return jnp, outputs
    return np, np.asarray(outputs, np.float64)


def _with_probabilities(kind, count):
    if kind == "scores":
        raise ValueError("The outputs are scores, which have no probabilities: use the outputs themselves.")
    return output_kind(kind, count)


def _sigmoid(xp, logit) -> Any:
    return jax.nn.sigmoid(logit) if xp is jnp else np.exp(-np.logaddexp(0, -logit))


def _log_sum(xp, outputs, where):
    """log(sum(exp(outputs))) of those where it is true."""
    largest = xp.max(xp.where(where, outputs, -xp.inf))
    return largest + xp.log(xp.sum(xp.where(where, xp.exp(xp.where(where, outputs - largest, 0)), 0)))
