"""What `evaluate` returns: the scores of every image, their means, and the files they are written to."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxplain._types import OutputKind
from jaxplain.methods import METHODS, Method
from jaxplain.models import Weights
from jaxplain.render import Bars, Curves
from jaxplain.stats import bootstrap_interval
from jaxplain.workflows._explanation import short
from jaxplain.workflows._files import Writer, csv_writer, json_writer
from jaxplain.workflows._images import image_name
from jaxplain.workflows._measures import MEASURES, OF_CLASSES, Score, in_words
from jaxplain.workflows._result import Result, Table

_DRAWS = 2000  # of the bootstrap
_ENOUGH = 10  # images, for an interval that covers the mean about as often as it says
_OF_LABELS = "area, up to 0.9 of the pixels, under whether the target stays as probable as not while they are filled"
_COLUMNS = ("image", "target", "class", "method", "metric", "value", "left out")


class Setting(NamedTuple):
    """What all images share: the model's name, weights and input size, the methods' rows by name, and the options.

    `deleted` and `start` are the names of the fills of deletion and insertion, `reference` is an image's name,
    `outputs` says what the net's outputs are, and `reading` how images were asked to be read.
    """

    model: str
    weights: Weights
    side: int
    methods: Mapping[str, Method]
    metrics: tuple[str, ...]
    layer: str
    deleted: str
    start: str
    segmenter: str
    segments: int
    reference: str | None
    outputs: OutputKind
    reading: Mapping[str, Any]


class Outcome(NamedTuple):
    """What came out for one image: its size, the part that the network sees, the target, and scores[method][metric].

    `probability` and `score` are the target's; `segments` is the number of its segments, and `similarity` that to the
    reference. What an image does not have is None, as the probability is where outputs are scores. `notes` say what was
    chosen for an image that leaves something open.
    """

    image: Any
    size: tuple[int, int]
    seen: tuple[float, float, float, float]
    target: int
    category: str
    probability: float | None
    score: float
    box: tuple[float, float, float, float] | None
    segments: int | None
    similarity: float | None
    scores: dict[str, dict[str, Score]]
    notes: tuple[str, ...] = ()


class Summary(NamedTuple):
    """Means over images (1 + K,) of a value and of its curve at K steps, and their intervals (2, 1 + K) or None.

    They are of `count` maps, and `left_out` counts those without an order, by what they are; of none the mean is NaN.
    """

    mean: np.ndarray
    interval: np.ndarray | None
    steps: tuple[float | str, ...]
    count: int
    left_out: dict[str, int]


Summaries = dict[str, dict[str, Summary]]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """How faithful explanations are: an Outcome for each image, and summaries[method][metric] over the images.

    Intervals are 95 % percentile bootstrap intervals of the mean over images; fewer than 10 have none, which would be
    too short. `failed` are the images that could not be evaluated, each with its error.
    """

    setting: Setting
    images: tuple[Outcome, ...]
    failed: tuple[tuple[Any, Exception], ...]
    summaries: Summaries

    def __repr__(self) -> str:
        methods, metrics = ", ".join(self.setting.methods), ", ".join(self.setting.metrics)
        failed = f", {len(self.failed)} failed" * bool(self.failed)
        return f"Evaluation({methods} by {metrics}: {len(self.images)} images{failed})"

    @property
    def title(self) -> str:
        """How many images there are, which maps are left out, and the network with its weights, in lines."""
        count = len(self.images)
        some = any(s.interval is not None for row in self.summaries.values() for s in row.values())
        images = "1 image" if count == 1 else f"mean of {count} images"
        images += ", with its 95 % interval" if some else f", too few of {_ENOUGH} for an interval" * (count > 1)
        left_out = f"left out: {self.left_out}\n" if self.left_out else ""
        return f"{images}\n{left_out}{self.setting.model}  ·  {self.setting.weights.source}"

    @property
    def left_out(self) -> str:
        """How many maps of which methods put their pixels in no order, in words; "" where there are none."""
        some = {name: max((s.left_out for s in row.values()), key=_total) for name, row in self.summaries.items()}
        return ", ".join(
            f"{name} {_total(counts)} of {len(self.images)} maps "
            f"({', '.join(f'{count} {what}' for what, count in counts.items())})"
            for name, counts in some.items()
            if counts
        )

    def values(self, method: str, metric: str) -> np.ndarray:
        """The values (N,) of a metric for a method's maps of the N images."""
        return np.array([outcome.scores[method][metric].value for outcome in self.images])

    def table(self) -> Table:
        """The mean of each metric with its interval, a row for each method and a column for each metric."""
        columns = "method", *(f"{metric}\n{MEASURES[metric].better} is better" for metric in self.setting.metrics)
        rows = [(method, *map(_cell, row.values())) for method, row in self.summaries.items()]
        return Table(self.title, columns, tuple(rows))

    def _title(self) -> str:
        width = 50 * len(self._panels()[0])
        return "\n".join(textwrap.fill(line, width) for line in self.title.split("\n"))

    def _panels(self) -> Sequence[Sequence[Any]]:
        """Rows of panels, one for each metric that is a curve; of the others the means, where no metric is."""
        curves = [metric for metric in self.setting.metrics if MEASURES[metric].axes]
        draw = self._curves if curves else self._bars
        measured = [m for m in curves or self.setting.metrics if any(row[m].count for row in self.summaries.values())]
        return [[draw(metric) for metric in measured]] if measured else []

    def _bars(self, metric: str) -> Bars:
        means = {method: float(row[metric].mean[0]) for method, row in self.summaries.items() if row[metric].count}
        return Bars(f"{metric}: {MEASURES[metric].better} is better", [*means], [*means.values()])

    def _curves(self, metric: str) -> Curves:
        columns = {method: row[metric] for method, row in self.summaries.items() if row[metric].count}
        places: Any = next(iter(columns.values())).steps if columns else ()
        means: dict[str, Any] = {method: summary.mean[1:] for method, summary in columns.items()}
        steps, height = (in_words(axis, self.setting.outputs) for axis in MEASURES[metric].axes or ("", ""))
        return Curves(
            f"{metric}: {MEASURES[metric].better} is better",
            means,
            steps,
            places=() if any(isinstance(place, str) for place in places) else places,
            bands={method: s.interval[:, 1:] for method, s in columns.items() if s.interval is not None},
            height=height,
        )

    def _writers(self) -> dict[str, Writer]:
        return {".csv": csv_writer(_COLUMNS, _table(self.images)), ".json": json_writer(_record(self))}


def summarised(outcomes: Sequence[Outcome]) -> Summaries:
    """{method: {metric: Summary}}, empty where there are no images."""

    def summary(method, metric):
        found = [outcome.scores[method][metric] for outcome in outcomes]
        scores = [score for score in found if not score.left_out] or [Score(float("nan"))]
        rows = np.array([(score.value, *score.curve) for score in scores])
        interval = np.array(bootstrap_interval(rows, draws=_DRAWS)) if len(rows) >= _ENOUGH else None
        left_out = dict(Counter(score.left_out for score in found if score.left_out))
        return Summary(rows.mean(0), interval, scores[0].steps, len(found) - _total(left_out), left_out)

    first = outcomes[0].scores if outcomes else {}
    return {method: {metric: summary(method, metric) for metric in row} for method, row in first.items()}


def _table(outcomes) -> Iterator[tuple[Any, ...]]:
    for outcome in outcomes:
        for method, scores in outcome.scores.items():
            for metric, score in scores.items():
                value = "" if score.left_out else score.value
                facts = outcome.target, outcome.category, method, metric, value, score.left_out
                yield image_name(outcome.image), *facts


def _record(found):
    setting = found.setting
    return {
        "model": setting.model,
        "weights": setting.weights._asdict(),
        "methods": {name: _method(setting, row) for name, row in setting.methods.items()},
        "outputs": setting.outputs,
        "metrics": {name: _metric(setting, name) for name in setting.metrics},
        "conventions": _conventions(setting),
        "reading": setting.reading,
        "summary": {name: {metric: _summary(s) for metric, s in row.items()} for name, row in found.summaries.items()},
        "images": [_image(outcome) for outcome in found.images],
        "failed": [{"image": image_name(image), "error": str(error)} for image, error in found.failed],
    }


def _metric(setting, name):
    value = _OF_LABELS if name in OF_CLASSES and setting.outputs == "sigmoid" else MEASURES[name].value
    return {"better": MEASURES[name].better, "value": in_words(value, setting.outputs)}


def _method(setting, row):
    """What a row was given, and those of its options that are not the table's."""
    record = {"layer": setting.layer if "layer" in row.needs else None}
    if row.target == "reference":
        record["reference"] = setting.reference
    if "segments" in row.needs:
        record |= {"segmenter": setting.segmenter, "segments": setting.segments}
    usual = METHODS[row.name].options if row.name in METHODS else {}
    options = {name: value for name, value in row.options.items() if name not in usual or usual[name] != value}
    return record | ({"options": options} if options else {})


def _conventions(setting):
    side = setting.side
    about_reference = [name for name, row in setting.methods.items() if row.target == "reference"]
    similarity = f"for {', '.join(about_reference)} the cosine similarity of the embedding at {setting.layer} with the "
    similarity += "reference's, in place of the target's probability and logit; allegiance is of the class"
    score = "score" if setting.outputs == "scores" else "logit"
    return {
        "maps": f"of the target's {score} and the normalised image, as `jaxplain explain` makes them; those of a layer "
        "are rectified and upsampled bilinearly, those of channels summed and rectified, others taken as they are",
        "random numbers": "of a method: its seed's key folded with the number of the image, others for each image",
        "pixels": f"levels in [0, 1], {side} x {side}, normalised after they are removed, shown or multiplied",
        "outputs": "scores, for all metrics"
        if score == "score"
        else f"{setting.outputs} probabilities; logits for max_sensitivity, infidelity and randomisation",
        **({"outputs about the reference": similarity} if about_reference else {}),
        "order": "the largest value of the map first, of equal ones the first in reading order",
        "fill of deletion": setting.deleted,
        "start of insertion": setting.start,
        "blur": f"Gaussian of sigma {5 * side / 224:.3g} in a window of {2 * max(1, round(5 * side / 224)) + 1} pixels",
        "interval": f"95 %, percentiles of the mean over images in {_DRAWS} bootstrap draws of the images; none for "
        f"fewer than {_ENOUGH} images",
        "left out": "of the means: maps that are constant, empty (nothing is above 0 after rectifying) or not finite, "
        "which put pixels in no order",
    }


def _cell(summary):
    mean = _number(summary.mean[0])
    return mean if summary.interval is None else f"{mean} ({' to '.join(map(_number, summary.interval[:, 0]))})"


def _total(counts):
    return sum(counts.values())


def _number(value):
    return "-" if np.isnan(value) else short(value)


def _summary(summary):
    mean, interval = summary.mean.tolist(), None if summary.interval is None else summary.interval.T.tolist()
    found = {"mean": mean[0] if summary.count else None, "interval": interval and interval[0]}
    found |= {"left_out": summary.left_out} if summary.left_out else {}
    if not summary.steps:
        return found
    low, high = zip(*interval[1:], strict=True) if interval else (None, None)
    curve = {"steps": summary.steps, "mean": mean[1:], "low": low, "high": high}
    return found | {"curve": curve}


def _image(outcome):
    def score(score):
        if score.left_out:
            return {"value": None, "left_out": score.left_out}
        return {"value": score.value} | ({"curve": score.curve} if score.curve else {})

    target = {"index": outcome.target, "class": outcome.category}
    target |= {"score": outcome.score} if outcome.probability is None else {"probability": outcome.probability}
    scores = {name: {metric: score(s) for metric, s in row.items()} for name, row in outcome.scores.items()}
    optional = {name: getattr(outcome, name) for name in ("box", "segments", "similarity")}
    optional["notes"] = outcome.notes or None
    image = {"image": image_name(outcome.image), "size": outcome.size, "seen": outcome.seen, "target": target}
    return image | {name: value for name, value in optional.items() if value is not None} | {"scores": scores}
