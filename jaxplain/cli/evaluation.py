"""What `jaxplain evaluate` shows and writes: a table, every value, the curves and a record.

Intervals are percentile bootstrap intervals of the mean over images: from the 2.5th to the 97.5th percentile of the
means of 2,000 draws of as many images with replacement, by a generator seeded with 0. One image has none.
"""

import csv
import json
import os
import tempfile
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxplain as jp
from jaxplain.cli.errors import writing
from jaxplain.cli.measures import MEASURES, Score
from jaxplain.cli.methods import at_a_layer
from jaxplain.cli.tables import show

DRAWS = 2000
ABREAST = 3  # panels in a row of the figure
COLUMNS = ("image", "target", "class", "method", "metric", "value")


class Setting(NamedTuple):
    """What all images share: the model, the layer of class activation maps, and the fills of deletion and insertion."""

    model: Any
    layer: str
    deleted: str
    start: str


class Outcome(NamedTuple):
    """What came out for one image: its size, the part that the network sees, the target, and Scores[method][metric]."""

    image: str
    size: tuple[int, int]
    seen: tuple[float, float, float, float]
    target: int
    probability: float
    box: tuple[float, float, float, float] | None
    scores: dict[str, dict[str, Score]]


class Summary(NamedTuple):
    """Means over images (1 + K,) of a value and of its curve at K steps, and their intervals (2, 1 + K) or None."""

    mean: np.ndarray
    interval: np.ndarray | None
    steps: tuple[float | str, ...]


Summaries = dict[str, dict[str, Summary]]


def summarise(outcomes: list[Outcome]) -> Summaries:
    """{method: {metric: Summary}}"""

    def summary(method, metric):
        scores = [outcome.scores[method][metric] for outcome in outcomes]
        rows = np.array([(score.value, *score.curve) for score in scores])
        return Summary(rows.mean(0), bootstrap(rows) if len(rows) > 1 else None, scores[0].steps)

    return {method: {metric: summary(method, metric) for metric in row} for method, row in outcomes[0].scores.items()}


def bootstrap(rows: np.ndarray) -> np.ndarray:
    """The ends (2, M) of the 95 % intervals of the means of rows (N, M)."""
    draw, count = np.random.default_rng(0), len(rows)
    means = [draw.multinomial(count, np.full(count, 1 / count)) @ rows / count for _ in range(DRAWS)]
    return np.percentile(means, (2.5, 97.5), axis=0)


def print_table(setting: Setting, summaries: Summaries, count: int) -> None:
    """Prints a row for each method and a column for each metric, of `count` images."""
    metrics = next(iter(summaries.values()))
    columns = ["method", *(f"{metric}\n{MEASURES[metric].better} is better" for metric in metrics)]
    rows = [(method, *map(_cell, row.values())) for method, row in summaries.items()]
    show(columns, rows, title=_title(setting, count))


def _cell(summary):
    mean = _number(summary.mean[0])
    if summary.interval is None:
        return mean
    low, high = map(_number, summary.interval[:, 0])
    return f"{mean} ({low} to {high})"


def _number(value):
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.2g}"


def _title(setting, count):
    images = f"mean of {count} images, with its 95 % interval" if count > 1 else "1 image"
    return f"{images}\n{setting.model.spec.name}  ·  {setting.model.weights.source}"


def write(
    setting: Setting, outcomes: list[Outcome], failures: list[tuple[str, Exception]], summaries: Summaries, path: Path
) -> list[str]:
    """The values, the record and, if there are curves, the figure: path.csv, .json and .png, all or none.

    Returns the kinds of the files that are written. A figure that an earlier run has left is removed.
    """
    record = json.dumps(_record(setting, outcomes, failures, summaries), indent=1, ensure_ascii=False)
    panels = _panels(summaries)
    kinds = ["csv", "json", *["png"] * bool(panels)]
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            beside = Path(folder) / path.name
            # A surrogate, which stands for a byte of a file name that is no UTF-8, is escaped as JSON does it.
            with open(f"{beside}.csv", "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerows([COLUMNS, *_rows(setting, outcomes)])
            Path(f"{beside}.json").write_text(record, encoding="utf-8", errors="backslashreplace")
            if panels:
                lines = _title(setting, len(outcomes)).split("\n")
                title = "\n".join(textwrap.fill(line, 50 * len(panels[0])) for line in lines)
                jp.figure(panels, title=title, path=f"{beside}.png")
            for kind in kinds:
                os.replace(f"{beside}.{kind}", f"{path}.{kind}")
        if not panels:
            Path(f"{path}.png").unlink(missing_ok=True)
    return kinds


def _rows(setting, outcomes):
    for outcome in outcomes:
        target = outcome.target, setting.model.spec.categories[outcome.target]
        for method, scores in outcome.scores.items():
            for metric, score in scores.items():
                yield outcome.image, *target, method, metric, score.value


def _panels(summaries):
    """Rows of panels, one for each metric that is a curve."""
    from jaxplain.render import Curves

    def panel(metric, axes):
        measure, columns = MEASURES[metric], {method: row[metric] for method, row in summaries.items()}
        steps = next(iter(columns.values())).steps
        return Curves(
            f"{metric}: {measure.better} is better",
            {method: summary.mean[1:] for method, summary in columns.items()},
            axes[0],
            places=() if isinstance(steps[0], str) else steps,
            bands={method: s.interval[:, 1:] for method, s in columns.items() if s.interval is not None},
            height=axes[1],
        )

    labelled = {metric: MEASURES[metric].axes for metric in next(iter(summaries.values()))}
    panels = [panel(metric, axes) for metric, axes in labelled.items() if axes]
    return [panels[start : start + ABREAST] for start in range(0, len(panels), ABREAST)]


def _record(setting, outcomes, failures, summaries):
    model, metrics = setting.model, next(iter(summaries.values()))
    return {
        "model": model.spec.name,
        "weights": model.weights._asdict(),
        "methods": {name: {"layer": setting.layer if at_a_layer(name) else None} for name in summaries},
        "metrics": {name: {"better": MEASURES[name].better, "value": MEASURES[name].value} for name in metrics},
        "conventions": _conventions(setting, model.spec.input_size),
        "summary": {name: {metric: _summary(s) for metric, s in row.items()} for name, row in summaries.items()},
        "images": [_image(model.spec, outcome) for outcome in outcomes],
        "failed": [{"image": image, "error": str(error)} for image, error in failures],
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "numpy")},
    }


def _conventions(setting, side):
    return {
        "maps": "of the target's logit and the normalised image, as `jaxplain explain` makes them; those of a layer "
        "are rectified and upsampled bilinearly, those of channels summed and rectified, others taken as they are",
        "random": "uniform noise, another for each image",
        "pixels": f"levels in [0, 1], {side} x {side}, normalised after they are removed, shown or multiplied",
        "outputs": "softmax probabilities; logits for max_sensitivity, infidelity and randomisation",
        "order": "the largest value of the map first, of equal ones the first in reading order",
        "fill of deletion": setting.deleted,
        "start of insertion": setting.start,
        "blur": f"Gaussian of sigma {5 * side / 224:.3g} in a window of {2 * max(1, round(5 * side / 224)) + 1} pixels",
        "interval": f"95 %, percentiles of the mean over images in {DRAWS} bootstrap draws of the images",
    }


def _summary(summary):
    mean, interval = summary.mean.tolist(), None if summary.interval is None else summary.interval.T.tolist()
    found = {"mean": mean[0], "interval": interval and interval[0]}
    if not summary.steps:
        return found
    low, high = zip(*interval[1:], strict=True) if interval else (None, None)
    curve = {"steps": summary.steps, "mean": mean[1:], "low": low, "high": high}
    return found | {"curve": curve}


def _image(spec, outcome):
    def score(score):
        return {"value": score.value} | ({"curve": score.curve} if score.curve else {})

    target = {"index": outcome.target, "class": spec.categories[outcome.target], "probability": outcome.probability}
    scores = {name: {metric: score(s) for metric, s in row.items()} for name, row in outcome.scores.items()}
    image = {"image": outcome.image, "size": outcome.size, "seen": outcome.seen, "target": target}
    return image | ({} if outcome.box is None else {"box": outcome.box}) | {"scores": scores}
