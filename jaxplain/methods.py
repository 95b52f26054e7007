"""The methods: what each needs, what comes out, what it costs, what it answers. Nothing else knows them by name.

A row's explainer is called as explain(net, x, target, **options) for one image, in the third place with a target or,
where the row is about a reference, with that. A function of one's own becomes a row by `method`.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain import explain as explainers
from jaxplain._types import Net
from jaxplain.transform import smooth

__all__ = ["METHODS", "Method", "check_name", "method", "named", "random", "smoothed", "with_options"]

Need = Literal["layer", "segments", "key"]
Output = Literal["layer", "pixels", "channels", "segments"]
Target = Literal["any", "class", "reference", "none"]


class Method(NamedTuple):
    """One row of the table.

    `needs` are options without a default, which the caller fills in: a layer, segments with their number, a key.
    `options` are those that users set, with their defaults. What comes out is a map of a layer (h, w), of pixels
    (H, W), of pixels' channels (H, W, C), or of segments (H, W), signed or not by definition; of a relative one only
    differences between its places mean something. The target is any covector, one class, a reference (an embedding), or
    plays no part. The passes forward and backward are expressions in the options, the `channels` of the layer, the
    `classes`, and the number of `windows`.
    """

    name: str
    explain: Callable[..., Any]
    output: Output
    question: str
    needs: tuple[Need, ...] = ()
    options: Mapping[str, Any] = {}
    signed: bool = True
    relative: bool = False
    target: Target = "any"
    forward: str = "1"
    backward: str = "1"
    source: str = ""


def method(explain: Any, name: str | None = None) -> Method:
    """A row made of a function of one's own: explain(net, x, target, *, options) -> map, signed, of pixels.

    With an option `layer` it is taken for a map of a layer; what else it needs is read from its signature too. Give a
    Method where something else is true.
    """
    if isinstance(explain, Method):
        return explain._replace(name=name or explain.name)
    try:
        parameters = inspect.signature(explain).parameters
    except (TypeError, ValueError) as error:
        raise ValueError(f"Got {explain!r:.60} as a method, expected a function explain(net, x, target).") from error
    required = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    unknown = set(required) - {"layer", "segments", "num_segments", "key"}
    if unknown:
        raise ValueError(f"The method needs {sorted(unknown)}, which nobody gives: fix them by functools.partial.")
    needs: tuple[Need, ...] = tuple(need for need in ("layer", "segments", "key") if need in required)
    output: Output = "segments" if "segments" in needs else "layer" if "layer" in needs else "pixels"
    return Method(name or getattr(explain, "__name__", "own"), explain, output, "", needs, forward="", backward="")


def named(name: str) -> Method:
    """The row of that name; ValueError with the nearest names where there is none."""
    return METHODS[check_name("method", name, METHODS)]


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The name, if it is known; else ValueError with the nearest ones."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(str(name), known, cutoff=0.4) or known
        raise ValueError(f"There is no {kind} {name!r}; there is {', '.join(near)}.")
    return name


def with_options(row: Method, options: Mapping[str, Any]) -> Method:
    """The row with some of its options set; ValueError for one that it does not have, or a value of another kind."""
    for name, value in options.items():
        if name not in row.options:
            there = ", ".join(row.options) or "none"
            raise ValueError(f"{row.name} has no option {name!r}; it has {there}.")
        default = row.options[name]
        number = default is None or isinstance(default, float)
        if not isinstance(value, (int, float) if number else type(default)) or isinstance(value, bool) != isinstance(
            default, bool
        ):
            kind = "a number" if number else _KINDS[type(default)]
            raise ValueError(f"{row.name}.{name} is {value!r}, but {kind} is expected; the default is {default!r}.")
    return row._replace(options={**row.options, **options})


def smoothed(row: Method, samples: int, sigma: float) -> Method:
    """The row of the mean map over `samples` noisy images, sigma in units of x: SmoothGrad of the method."""
    costs = {"forward": row.forward, "backward": row.backward}
    several = {name: cost and f"{samples} * ({cost})" for name, cost in costs.items()}
    explain = smooth(row.explain, samples=samples, sigma=sigma, chunk=1 if row.forward != "1" else 16)
    needs: tuple[Need, ...] = (*row.needs, *(("key",) if "key" not in row.needs else ()))
    options = {**row.options, "seed": row.options.get("seed", 0)}
    return row._replace(name=f"smooth_{row.name}", explain=explain, needs=needs, options=options, **several)


def random(net: Net, x: ArrayLike, target: ArrayLike, *, key: Array) -> Float[Array, "H W"]:
    """Uniform noise, (H, W), which knows nothing of the network: what other maps are compared with."""
    del net, target
    return jax.random.uniform(key, jnp.shape(x)[:2])


def _row(explain: Callable[..., Any], output: Output, question: str, **facts: Any) -> Method:
    """The row of an explainer of ours: needs, options and source are read from its signature and its docstring."""
    row = method(explain)
    keyword = [p for p in inspect.signature(explain).parameters.values() if p.kind is p.KEYWORD_ONLY]
    settable = {p.name: p.default for p in keyword if p.default is not p.empty and p.name not in _NOT_SET}
    settable |= {"seed": 0} if "key" in row.needs else {}
    doc = " ".join((inspect.getdoc(explain) or "").split())
    source = re.search(r'([A-Z][\w-]+, )*[A-Z][\w-]+, "[^"]*(?:"[^"]*)?", \d{4}|([A-Z][\w-]+, )+"[^"]+", \d{4}', doc)
    known = {"options": settable, "source": source.group() if source else "", "forward": "1", "backward": "1"}
    return row._replace(output=output, question=question, **(known | facts))


_KINDS: dict[type[Any], str] = {bool: "True or False", int: "a whole number", str: "a name"}
_NOT_SET = {
    "layer",
    "chunk",
    "normalise",
    "rectify",
}  # given otherwise, or changing no result, or the sign of what comes out
_WHERE = "Which places of the layer raise the score"
_NOISE = "Which pixels, seen or hidden, change the score"
_ROWS = (
    _row(explainers.grad_cam, "layer", f"{_WHERE}, channels weighted by their mean gradient?"),
    _row(explainers.grad_cam_plus_plus, "layer", f"{_WHERE}, also of several objects?", signed=False),
    _row(explainers.xgrad_cam, "layer", f"{_WHERE}, channels weighted by what they contribute?"),
    _row(explainers.hires_cam, "layer", f"{_WHERE}, exactly so where one dense layer follows?"),
    _row(explainers.layer_cam, "layer", f"{_WHERE}, in shallow layers too?", signed=False),
    _row(explainers.eigen_cam, "layer", "What is the layer most excited by, whatever the class?", target="none",
         backward="0"),
    _row(explainers.score_cam, "layer", "Which channels, as masks of the image, keep the score?",
         forward="1 + channels", backward="0"),
    _row(explainers.ablation_cam, "layer", "Which channels does the score need?", forward="2 + channels", backward="0"),
    _row(explainers.secam, "segments", "Which superpixels raise the score?", signed=False),
    _row(explainers.fam, "layer", "What makes the image similar to a reference?", target="reference", signed=False,
         backward="0"),
    _row(explainers.gradient, "channels", "How does each value of the image change the score?"),
    _row(explainers.saliency, "pixels", "Which pixels change the score most?", signed=False),
    _row(explainers.positive_saliency, "pixels", "Which pixels raise the score when they get brighter?", signed=False),
    _row(explainers.negative_saliency, "pixels", "Which pixels raise the score when they get darker?", signed=False),
    _row(explainers.active_saliency, "pixels", "Which pixels, brighter, raise this class more than any other?",
         signed=False, target="class", backward="classes"),
    _row(explainers.inactive_saliency, "pixels", "Which pixels, darker, raise this class more than any other?",
         signed=False, target="class", backward="classes"),
    _row(explainers.gradient_times_input, "channels", "What does each value of the image add to the score?"),
    _row(explainers.integrated_gradients, "channels", "How is the score's gain over a baseline shared out?",
         forward="steps", backward="steps"),
    _row(explainers.occlusion, "pixels", "Where does a grey window lower the score?", forward="1 + windows",
         backward="0"),
    _row(explainers.rise, "pixels", _NOISE + ", by random masks?", relative=True, forward="samples", backward="0"),
    _row(explainers.lime, "segments", _NOISE + ", by superpixels in a linear model?", forward="samples", backward="0"),
    _row(random, "pixels", "What does a map look like that knows nothing?", signed=False, target="none",
         forward="0", backward="0"),
)  # fmt: skip
METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
