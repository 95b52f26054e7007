"""What counts more for one class than for every other: transforms of explainers that are linear in the target.

The target is one class, and the others are the outputs where it is 0. An explainer that is linear in the target is
linearised there once, so that all classes share one forward pass, and then applied to `chunk` classes at a time, with
a running maximum and minimum: memory does not grow with the number of classes.

Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
maps", 2023.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxplain._checks import is_array, told
from jaxplain._loops import in_chunks, reused
from jaxplain._numerics import contract
from jaxplain._types import Explain, Net
from jaxplain.transform._signature import like


def active(explain: Explain, *, chunk: int = 16) -> Explain:
    """Keeps what is larger for the target than for every other class, element by element; else 0. Same shape.

    The result is called like `explain`, which has to be linear in the target; ties are dropped. Errors are those of
    active_and_inactive.

        active(gradient)(net, x, one_hot(281, 1000))
    """

    @like(explain)
    def largest(net: Net, x: ArrayLike, target: ArrayLike, **options: Any) -> Any:
        return active_and_inactive(explain, chunk=chunk)(net, x, target, **options)[0]

    return largest


def inactive(explain: Explain, *, chunk: int = 16) -> Explain:
    """Keeps what is smaller for the target than for every other class, element by element; else 0. Same shape.

    The result is called like `explain`, which has to be linear in the target; ties are dropped. Errors are those of
    active_and_inactive.
    """

    @like(explain)
    def smallest(net: Net, x: ArrayLike, target: ArrayLike, **options: Any) -> Any:
        return active_and_inactive(explain, chunk=chunk)(net, x, target, **options)[1]

    return smallest


def active_and_inactive(explain: Explain, *, chunk: int = 16) -> Explain:
    """Both, as a pair, from one sweep over the classes; each has the same shape as explain's result.

    Products are float32 unless `jax.default_matmul_precision` says otherwise: classes differ by less than an
    accelerator's default rounds away.

    Raises ValueError for fewer than two classes, and, where values are known, so not under jit, vmap or grad, for a
    target that is not one class and for an explainer that is not linear.
    """

    @like(explain)
    def both(net: Net, x: ArrayLike, target: ArrayLike, **options: Any) -> Any:
        check_one_class(target)
        own, kept = _kept(explain, net, x, jnp.asarray(target, jnp.float32), chunk, options)
        _check_linear(own, lambda: explain(net, x, target, **options))
        return kept

    return both


@reused
def _kept(explain, net, x, target, chunk, options):
    """The target's own result, and what is kept of it where it is largest, and where it is smallest."""
    with jax.default_matmul_precision(jax.config.jax_default_matmul_precision or "highest"):  # pyright: ignore[reportAttributeAccessIssue] JAX has it
        _, by_target = jax.linearize(lambda t: explain(net, x, t, **options), jnp.zeros_like(target))
        own, largest, smallest = _sweep(by_target, target, chunk)
    kept = jax.tree.map(lambda own, other: jnp.where(own > other, own, 0), own, largest)
    return own, (kept, jax.tree.map(lambda own, other: jnp.where(own < other, own, 0), own, smallest))


def check_one_class(target: ArrayLike) -> None:
    """Raises ValueError unless the target is a covector of at least two classes, and one class where it is known."""
    if not is_array(target) or jnp.ndim(target) != 1 or jnp.size(target) < 2:
        raise ValueError(
            f"The target {told(target)}, but a covector (n,) of at least 2 is expected: use one_hot(k, n)."
        )
    if isinstance(target, Tracer):
        return
    with jax.ensure_compile_time_eval():
        known = jnp.asarray(target)
        one = jnp.sum(known != 0) == 1 and jnp.sum(known) == 1
    if not one:
        raise ValueError("The target is not one class, which is 1 and others 0: use one_hot(k, n).")


def _check_linear(own, direct):
    """Raises ValueError where the target's own result is known, and a tenth or more away from the direct one."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(own)):
        return
    for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(direct()), strict=True):
        if jnp.max(jnp.abs(one - other)) > 0.1 * jnp.max(jnp.abs(other)):  # NaN are not told here
            raise ValueError(
                "The explainer is not linear in the target, which is how classes are compared: give one that is, such "
                "as gradient, and take absolute values or positive parts of what comes out."
            )


def _sweep(by_target, target, chunk):
    """The target's own result, and the largest and the smallest of the other classes'."""

    def one(k):
        return by_target(jax.nn.one_hot(k, len(target), dtype=target.dtype))

    def widen(found, k, real):
        weight = target[k] * real
        other, results = target[k] == 0, jax.vmap(one)(k)

        def extreme(best, reduce, worst):
            def masked(r):
                return jnp.where(other.reshape(-1, *[1] * (r.ndim - 1)), r, worst)

            return jax.tree.map(lambda b, r: reduce(jnp.stack([b, reduce(masked(r), axis=0)]), axis=0), best, results)

        own = jax.tree.map(
            lambda total, r: total + contract("k,k...->...", weight.astype(r.dtype), r), found[0], results
        )
        return own, extreme(found[1], jnp.max, -jnp.inf), extreme(found[2], jnp.min, jnp.inf)

    shapes = jax.eval_shape(one, jnp.zeros((), int))

    def filled(value):
        return jax.tree.map(lambda s: jnp.full(s.shape, value, s.dtype), shapes)

    return in_chunks(widen, (filled(0), filled(-jnp.inf), filled(jnp.inf)), jnp.arange(len(target)), chunk)
