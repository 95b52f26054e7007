"""Many evaluations in bounded memory, and the points and weights of integrals."""

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxplain._numerics import contract
from jaxplain._types import Rule

F = TypeVar("F", bound=Callable[..., Any])

_report: ContextVar[Callable[[int, int], None] | None] = ContextVar("report", default=None)
_MEASURED = {"baseline", "fill", "radius", "sigma"}  # numbers that may be another for each image


def reused(f: F) -> F:
    """f, which is compiled when it is called without jit, and found again by the next call.

    JAX knows a loop by the function that it runs, and here that is another one in each call: it would be compiled, and
    kept, in each. What is compiled is kept by jax.jit, and known by f, the shapes of all arrays, and all other values.
    A plain function that is given may look at values that change, in a closure, say: nothing is found again then.
    """

    @functools.wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        options |= {name: jnp.asarray(options[name]) for name in _MEASURED & {*options} if options[name] is not None}
        leaves, structure = jax.tree.flatten(_opened((args, options)))
        arrays = [leaf if isinstance(leaf, jax.Array | np.ndarray) else None for leaf in leaves]
        others = tuple(leaf if array is None else None for leaf, array in zip(leaves, arrays, strict=True))
        if _report.get() is not None or not all(map(_is_known, others)):
            return f(*args, **options)
        return _compiled(f, structure, others, arrays)

    return cast(F, call)


def _is_known(leaf):
    """Whether it is the same whenever it is equal: a value, or a function of JAX or of ours."""
    ours = str(getattr(leaf, "__module__", "")).partition(".")[0] in ("jax", "jaxplain")
    return isinstance(leaf, Hashable) and (ours or not callable(leaf))


@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _compiled(f, structure, others, arrays):
    leaves = [other if array is None else array for other, array in zip(others, arrays, strict=True)]
    args, options = jax.tree.unflatten(structure, leaves)
    return f(*args, **options)


def _opened(tree):
    """With each functools.partial, which equals only itself, as a Partial, which is a pytree of its arguments."""

    def opened(leaf):
        return Partial(_opened(leaf.func), *map(_opened, leaf.args), **_opened(leaf.keywords))

    def closed(leaf):
        return isinstance(leaf, functools.partial) and not isinstance(leaf, Partial)

    return jax.tree.map(lambda leaf: opened(leaf) if closed(leaf) else leaf, tree, is_leaf=closed)


def nodes(rule: Rule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points t (n,) in [0, 1] and weights w (n,) that sum to 1, so that sum w f(t) approximates the integral.

    Every rule divides [0, 1] into `steps` equal steps, or has as many points: left, middle and right have a point in
    each step, gauss_legendre has `steps` points, and the trapezoid rule has steps + 1, the ends of the steps.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, but at least 1 is expected.")
    match rule:
        case "gauss_legendre":
            t, w = np.polynomial.legendre.leggauss(steps)
            return (1 + t) / 2, w / 2
        case "trapezoid":
            w = np.full(steps + 1, 1 / steps)
            w[[0, -1]] /= 2
            return np.linspace(0, 1, steps + 1), w
        case "left" | "middle" | "right":
            offset = {"left": 0, "middle": 0.5, "right": 1}[rule]
            return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)
    raise ValueError(f"rule is {rule!r}, but gauss_legendre, trapezoid, left, right or middle is expected.")


def weighted_sum(f: Callable[[Any], Any], items: Any, weights: Any, chunk: int | None) -> Any:
    """sum_i weights[i] f(items[i]), for a pytree of items with a leading axis and a function f of one of them.

    `chunk` items are evaluated at a time (None: all at once), and memory does not grow with their number. Sums are
    float32 at least.
    """
    weights = jnp.asarray(weights, jnp.float32)

    def add(total, chunk, real):
        weights, items = chunk

        def part(v):
            return contract("n,n...->...", weights * real, v.astype(jnp.promote_types(v.dtype, jnp.float32)))

        return jax.tree.map(lambda total, v: total + part(v), total, jax.vmap(f)(items))

    result = jax.eval_shape(f, jax.tree.map(lambda a: a[0], items))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.promote_types(s.dtype, jnp.float32)), result)
    return in_chunks(add, zero, (weights, items), chunk)


def each(f: Callable[[Any], Any], items: Any, chunk: int | None) -> Any:
    """f(items[i]) for every i, along a leading axis; `chunk` items are evaluated at a time (None: all at once)."""
    count = _count(items)
    if chunk is None or chunk >= count:
        return jax.vmap(f)(items)
    chunks, real = _divided(items, chunk)
    results = jax.lax.map(_reported(jax.vmap(f)), _numbered(chunks, len(real)))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], results)


def in_chunks(step: Callable[[Any, Any, Any], Any], start: Any, items: Any, chunk: int | None) -> Any:
    """The last state of step(state, items, real) -> state over chunks of items.

    Chunks are as equal as can be, the last filled up with the last item; `real` (chunk,) is 0 for these and else 1.
    """
    if chunk is None or chunk >= _count(items):
        return step(start, items, jnp.ones(_count(items), jnp.float32))
    chunks = _divided(items, chunk)

    def body(state, row):
        return _reported(lambda chunk: step(state, *chunk))(row), None

    return jax.lax.scan(body, start, _numbered(chunks, len(chunks[1])))[0]


@contextmanager
def watched(report: Callable[[int, int], None]) -> Iterator[None]:
    """Around what traces a function: the function calls report(done, of) after each chunk of its outermost loops.

    The calls come from the device, and may be out of order. A function that was traced before is not watched.
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def _numbered(chunks, count):
    """The chunks beside their numbers, where somebody watches."""
    return chunks if _report.get() is None else (chunks, jnp.arange(1, count + 1), jnp.full(count, count))


def _reported(f):
    """f of a chunk as a function of a row of `_numbered`."""
    report = _report.get()
    if report is None:
        return f

    def reporting(row):
        chunk, number, count = row
        token = _report.set(None)  # loops within this one are not reported
        try:
            result = f(chunk)
        finally:
            _report.reset(token)
        jax.debug.callback(lambda done, of: report(int(done), int(of)), number, count)
        return result

    return reporting


def _count(items):
    return len(jax.tree.leaves(items)[0])


def _divided(items, chunk):
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}, but at least 1 is expected, or None for all at once.")
    count = _count(items)
    rows = -(-count // chunk)
    index = np.arange(rows * -(-count // rows)).reshape(rows, -1)
    real = jnp.asarray(index < count, jnp.float32)
    return jax.tree.map(lambda a: a[np.minimum(index, count - 1)], items), real
