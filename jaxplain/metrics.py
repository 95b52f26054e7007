"""How faithful an explanation is: pure functions of one image, batched like explainers.

    batched(deletion)(net, X, targets, heats)                          # curves with a leading axis B
    batched(functools.partial(max_sensitivity, gradient))(net, X, targets, key=key)

`heat` is a map (H, W) at the image's own size, in which more is more important: `upsample` class activation maps, and
choose a sign with `positive`. Scores are <target, outputs>, so logits; `then(net, jax.nn.softmax)` measures
probabilities. `fill` is what removed pixels become, in the units of x: a number, a colour (3,) or an image (H, W, 3).
Pixels are removed in the order of the map, of equal ones the first in reading order first.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import Var, jaxprs_in_params
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain.net import Net, check_image, run, with_fill
from jaxplain.postprocess import unit_range
from jaxplain.quadrature import each
from jaxplain.target import score as dot

Score = Callable[[Array, Array], Array]

FRACTIONS = tuple(n / 20 for n in range(21))
PUBLISHED_FRACTIONS = (0.0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_AT_ONCE = 16  # images that are evaluated at a time


class Curve(NamedTuple):
    """Scores (K,) at fractions (K,) of the pixels, and the area under them by the trapezoid rule, a scalar.

    The area is not divided by the range of the fractions: up to 0.9, a score that stays 1 has an area of 0.9.
    """

    fractions: Array
    scores: Array
    area: Array


def deletion(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: ArrayLike = 0.0,
    score: Score | None = None,
) -> Curve:
    """The Curve of scores while the most important pixels are replaced by `fill`: the lower, the more faithful.

    At fraction p it is round(p H W) pixels. `score(outputs, target)` may be given in place of the dot product.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.
    """
    x, filled, ranks = _ranked(x, heat, fill)

    def at(count):
        return (score or dot)(run(net, jnp.where(ranks < count, filled, x)), jnp.asarray(target))

    return _curve(at, fractions, x)


def insertion(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: ArrayLike = 0.0,
    score: Score | None = None,
) -> Curve:
    """The Curve of scores while the most important pixels replace those of `fill`: the higher, the more faithful.

    The published measure starts from a blurred image. Everything else is as in `deletion`.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.
    """
    x, filled, ranks = _ranked(x, heat, fill)

    def at(count):
        return (score or dot)(run(net, jnp.where(ranks < count, x, filled)), jnp.asarray(target))

    return _curve(at, fractions, x)


def allegiance(
    net: Net,
    x: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = PUBLISHED_FRACTIONS,
    fill: ArrayLike = 0.0,
    exact: bool = False,
) -> Curve:
    """The Curve of whether the largest output stays the largest, 1 or 0, while important pixels become `fill`.

    As published, at fraction p those pixels go that are above the value at place round(p H W) of the sorted map: fewer
    where there are ties, and never one whose value is 0. With `exact`, round(p H W) go. The mean over images is the
    share that stays. `fill` is 0 for black deletion and 1 for white, for nets of pixels.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.
    """
    x, filled, ranks = _ranked(x, heat, fill)
    heat = jnp.asarray(heat)[..., None]
    falling = jnp.append(-jnp.sort(-heat.ravel()), -jnp.inf)
    before = jnp.argmax(run(net, x))

    def at(count):
        gone = ranks < count if exact else (heat > falling[count]) & (heat != 0)
        return (jnp.argmax(run(net, jnp.where(gone, filled, x))) == before).astype(jnp.float32)

    return _curve(at, fractions, x)


def average_drop(net: Net, x: ArrayLike, target: ArrayLike, heat: ArrayLike) -> Float[Array, ""]:
    """max(0, y - y') / y, a scalar, for the score y of x and y' of x * unit_range(heat); 0 where y is not above 0.

    The published measure takes probabilities, and its mean over images.

    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
    Deep Convolutional Networks", 2017.
    """
    whole, seen = _whole_and_seen(net, x, target, heat)
    return jnp.where(whole > 0, jnp.maximum(whole - seen, 0) / jnp.where(whole > 0, whole, 1), 0)


def increase_in_confidence(net: Net, x: ArrayLike, target: ArrayLike, heat: ArrayLike) -> Float[Array, ""]:
    """1 where the score of x * unit_range(heat) is above the score of x, else 0, a scalar.

    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
    Deep Convolutional Networks", 2017.
    """
    whole, seen = _whole_and_seen(net, x, target, heat)
    return (seen > whole).astype(jnp.float32)


def pointing_game(heat: ArrayLike, mask: ArrayLike, *, tolerance: float = 0.0) -> Float[Array, ""]:
    """1 if the map's maximum is in the object, or nearer to it than `tolerance` pixels, else 0, a scalar.

    `mask` (H, W) is true in the object. Of several equal maxima it is the share that hits, so a constant map gets the
    object's share of the image.

    Zhang, Bargal, Lin, Brandt, Shen, Sclaroff, "Top-down Neural Attention by Excitation Backprop", 2016.
    """
    heat, mask = _one_map(heat), jnp.asarray(mask)
    _same_size("mask", mask, heat)
    inside = (mask != 0).astype(jnp.float32)
    reach = int(np.ceil(tolerance))
    if reach > 0:
        steps = np.arange(-reach, reach + 1)
        disc = jnp.asarray(steps[:, None] ** 2 + steps**2 < tolerance**2, jnp.float32)
        inside = (jax.scipy.signal.convolve(inside, disc, mode="same", method="direct") > 0.5).astype(jnp.float32)
    highest = heat == jnp.max(heat)
    return jnp.sum(inside * highest) / jnp.maximum(jnp.sum(highest), 1)


def energy_in_box(heat: ArrayLike, box: ArrayLike | Sequence[int]) -> Float[Array, ""]:
    """The share of the map's positive part that is inside a box, a scalar; 0 for a map without one.

    `box` is (left, top, right, bottom) in pixels, right and bottom excluded, as PIL has it.

    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", 2019.
    """
    heat = jnp.maximum(_one_map(heat), 0)
    _check_box(box, heat.shape)
    left, top, right, bottom = jnp.asarray(box)
    rows, columns = jnp.arange(heat.shape[0]), jnp.arange(heat.shape[1])
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))[None]
    total = jnp.sum(heat)
    return jnp.where(total > 0, jnp.sum(heat * inside) / jnp.where(total > 0, total, 1), 0)


def max_sensitivity(
    explain: Callable[..., Any],
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    key: Array,
    radius: float = 0.02,
    draws: int = 10,
    **options: Any,
) -> Float[Array, ""]:
    """max over draws d of |E(x + d) - E(x)| / |E(x)|, a scalar, with d uniform in [-radius, radius], in units of x.

    |.| is the root of the sum of squares; a map of zeros counts as of norm 1. `options` are the explainer's; one that
    is random itself gets its own key by functools.partial, so that the draws alone differ.

    Yeh, Hsieh, Suggala, Inouye, Ravikumar, "On the (In)fidelity and Sensitivity of Explanations", 2019.
    """
    check_image(x)
    x = jnp.asarray(x)
    plain = explain(net, x, target, **options)

    def change(key):
        noise = jax.random.uniform(key, x.shape, x.dtype, -radius, radius)
        return _norm(explain(net, x + noise, target, **options) - plain)

    norm = _norm(plain)
    return jnp.max(each(change, _keys(key, draws), _AT_ONCE)) / jnp.where(norm > 0, norm, 1)


def infidelity(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    key: Array,
    draws: int = 50,
    sigma: float = 0.1,
    perturb: Callable[[Array, Array], Array] | None = None,
    normalise: bool = False,
) -> Float[Array, ""]:
    """mean over draws of (sum(I * heat) - (score(x) - score(x - I)))^2, a scalar.

    `heat` is an attribution (H, W, 3), or (H, W), which all channels share. I is sigma times standard normal noise, or
    perturb(key, x), an array like x. With `normalise` sum(I * heat) is scaled so that the mean is least, as in captum.

    Yeh, Hsieh, Suggala, Inouye, Ravikumar, "On the (In)fidelity and Sensitivity of Explanations", 2019.
    """
    check_image(x)
    x, heat = jnp.asarray(x), jnp.asarray(heat)
    heat = heat[..., None] if heat.ndim == 2 else heat
    if heat.shape[:2] != x.shape[:2] or heat.shape[2] not in (1, x.shape[2]):
        raise ValueError(f"The map has shape {heat.shape}, but {x.shape} or {x.shape[:2]} is expected.")
    whole = dot(run(net, x), target)

    def both(key):
        change = sigma * jax.random.normal(key, x.shape, x.dtype) if perturb is None else perturb(key, x)
        return jnp.sum(change * heat), whole - dot(run(net, x - change), target)

    told, real = each(both, _keys(key, draws), _AT_ONCE)
    energy = jnp.sum(told**2)
    scale = jnp.sum(told * real) / jnp.where(energy > 0, energy, 1) if normalise else 1.0
    return jnp.mean((scale * told - real) ** 2)


def randomisation(
    explain: Callable[..., Any], net: Net, x: ArrayLike, target: ArrayLike, *, key: Array, **options: Any
) -> dict[str, Float[Array, ""]]:
    """{layer: rank correlation of the maps before and after}, when parameters are drawn anew up to this layer.

    Layers are the net's parameters by their folder, from the last in the forward pass to the first; the parameters
    drawn so far stay drawn. Each array gets normal noise of its own mean and deviation. A map that follows the network
    falls towards 0; one that stays near 1 does not look at what was learned. Signs are left out: |maps| are compared,
    by Spearman's rank correlation, in which equal values share their rank and a constant map gives 0, a scalar.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", 2018.
    """
    layers = _parameters(net, x)
    leaves, structure = jax.tree.flatten(net)
    place = {leaf: number for number, group in enumerate(reversed(layers.values())) for leaf in group}
    drawn = [
        jnp.mean(a) + jnp.std(a) * jax.random.normal(k, a.shape, a.dtype) if i in place else a
        for i, (a, k) in enumerate(zip(leaves, jax.random.split(key, len(leaves)), strict=True))
    ]
    plain = jnp.abs(explain(net, x, target, **options))

    def similarity(step):
        mixed = [
            jnp.where(place[i] <= step, new, old) if i in place else old
            for i, (old, new) in enumerate(zip(leaves, drawn, strict=True))
        ]
        return rank_correlation(plain, jnp.abs(explain(jax.tree.unflatten(structure, mixed), x, target, **options)))

    similarities = jax.lax.map(similarity, jnp.arange(len(layers)))
    return dict(zip(reversed(layers), similarities, strict=True))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Spearman's rank correlation of two arrays, a scalar: equal values share their mean rank, a constant gives 0."""
    a, b = (_ranks(jnp.ravel(jnp.asarray(v))) for v in (a, b))
    norm = _norm(a) * _norm(b)
    return jnp.where(norm > 0, jnp.sum(a * b) / jnp.where(norm > 0, norm, 1), 0)


def _ranks(values):
    """Twice the mean place of each value in the sorted array, less that of all, divided by their number."""
    ordered = jnp.sort(values)
    places = jnp.searchsorted(ordered, values, side="left") + jnp.searchsorted(ordered, values, side="right")
    return (places - len(values)).astype(jnp.float32) / len(values)  # centred as integers: a constant is exactly 0


def _norm(a):
    return jnp.sqrt(jnp.sum(a**2))


def _ranked(x, heat, fill):
    """The image, what removed pixels become (H, W, 3), and each pixel's place (H, W, 1) in the order of the map."""
    x, filled = with_fill(x, fill)
    heat = jnp.asarray(heat)
    _same_size("The map", heat, x)
    ranks = jnp.argsort(jnp.argsort(-heat.ravel(), stable=True), stable=True)
    return x, filled, ranks.reshape(*heat.shape, 1)


def _curve(at, fractions, x):
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares[0] >= 0 and shares[-1] <= 1 and (np.diff(shares) > 0).all()):
        raise ValueError(f"fractions is {fractions!r}, but one or more rising numbers from 0 to 1 are expected.")
    scores = each(at, jnp.asarray(np.round(shares * x.shape[0] * x.shape[1]).astype(int)), _AT_ONCE)
    scores = scores.astype(jnp.float32)
    return Curve(jnp.asarray(shares, jnp.float32), scores, jnp.trapezoid(scores, jnp.asarray(shares, jnp.float32)))


def _whole_and_seen(net, x, target, heat):
    check_image(x)
    x, heat = jnp.asarray(x), jnp.asarray(heat)
    _same_size("The map", heat, x)
    seen = x * unit_range(heat)[..., None].astype(x.dtype)
    return dot(run(net, x), target), dot(run(net, seen), target)


def _one_map(heat):
    heat = jnp.asarray(heat)
    if heat.ndim != 2:
        raise ValueError(f"The map has shape {heat.shape}, but (H, W) is expected.")
    return heat


def _same_size(name, a, b):
    if a.ndim != 2 or a.shape != b.shape[:2]:
        raise ValueError(f"{name} has shape {a.shape}, but (H, W) = {b.shape[:2]} is expected.")


def _check_box(box, size):
    shape = box.shape if isinstance(box, Tracer) else np.shape(box)
    if shape != (4,):
        raise ValueError(f"box has shape {shape}, but (left, top, right, bottom) is expected.")
    if isinstance(box, Tracer):
        return
    left, top, right, bottom = np.asarray(box)
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise ValueError(
            f"box is {(left, top, right, bottom)}, which is not inside the map: left < right <= {size[1]} and "
            f"top < bottom <= {size[0]} are expected, in pixels."
        )


def _keys(key, draws):
    if draws < 1:
        raise ValueError(f"draws is {draws}, but at least 1 is expected.")
    return jax.random.split(key, draws)


def _parameters(net, x):
    """{layer: its leaves' numbers in jax.tree.leaves(net)}, in the order in which a forward pass first uses them.

    A leaf's layer is the folder that it is in, or its own name outside of folders; unnamed ones are no parameters, such
    as the numbers of a normaliser.
    """
    leaves, structure = jax.tree.flatten(net)
    layers, paths = {}, [path for path, _ in jax.tree_util.tree_leaves_with_path(net)]
    traced = jax.make_jaxpr(lambda leaves: run(jax.tree.unflatten(structure, leaves), x))(leaves).jaxpr
    for number in dict.fromkeys(_first_uses(traced, dict(zip(traced.invars, range(len(leaves)), strict=True)))):
        names = [str(key.key) for key in paths[number] if isinstance(key, jax.tree_util.DictKey)]
        names = names[1:] if names[:1] == ["params"] else names
        if names and jnp.issubdtype(leaves[number].dtype, jnp.floating):
            layers.setdefault(".".join(names[:-1] or names), []).append(number)
    if not layers:
        raise ValueError("The net has no named parameters to randomise: keep them in a dict, as Flax does.")
    return layers


def _first_uses(jaxpr, numbers):
    """The numbers of variables in the order of the equations that use them, also within calls."""
    for equation in jaxpr.eqns:
        known = {i: numbers[v] for i, v in enumerate(equation.invars) if isinstance(v, Var) and v in numbers}
        for inner in jaxprs_in_params(equation.params):
            if len(inner.invars) == len(equation.invars):
                yield from _first_uses(inner, {inner.invars[i]: number for i, number in known.items()})
        yield from known.values()
