"""What uses the options that not every method or metric does: a table, and the check that a call uses all of them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxplain._types import Metric
from jaxplain.methods import METHODS, Method, Need, Target


class Use(NamedTuple):
    """Methods that need something and are about certain targets, measured by certain metrics; all where it is None."""

    need: Need | None = None
    targets: tuple[Target, ...] | None = None
    metrics: tuple[Metric, ...] | None = None

    def holds(self, row: Method, metric: str | None) -> bool:
        """Whether a method uses the option, measured by a metric if there is one."""
        return (
            (self.need is None or self.need in row.needs)
            and (self.targets is None or row.target in self.targets)
            and (self.metrics is None or metric in self.metrics)
        )


class Option(NamedTuple):
    """What an option is for, in words and as its uses, one of which is enough; and why its users cannot be without it.

    `without` is None where they can.
    """

    purpose: str
    uses: tuple[Use, ...]
    without: str | None = None


_SCORED: tuple[Metric, ...] = ("deletion", "insertion", "average_drop", "increase_in_confidence", "infidelity")
_SEGMENTS = Option("methods of segments", (Use(need="segments"),))
OPTIONS: dict[str, Option] = {
    "layer": Option("methods that look at a layer", (Use(need="layer"),)),
    "segmenter": _SEGMENTS,
    "num_segments": _SEGMENTS,
    "reference": Option(
        "methods that compare an image with another", (Use(targets=("reference",)),),
        "compares an image with a reference, which is not given: add --reference IMAGE",
    ),
    "against": Option("methods that explain any difference of classes", (Use(targets=("any",)),)),
    "target": Option(
        "methods and metrics of a class", (Use(targets=("any", "class")), Use(targets=("none",), metrics=_SCORED))
    ),
    "fill": Option("metrics that hide pixels by it", (Use(metrics=("deletion", "insertion")),)),
    "box": Option(
        "metrics of the object's box", (Use(metrics=("pointing_game", "energy_in_box")),),
        "compares a map with the object's box, which is not given: add --box LEFT,TOP,RIGHT,BOTTOM",
    ),
}  # fmt: skip


def check_used(given: Mapping[str, Any], rows: Iterable[Method], metrics: Sequence[str] = ()) -> None:
    """Raises ValueError for an option, not None, that no method and metric uses, and for one that is missing."""
    pairs = list(itertools.product(rows, metrics or (None,)))
    for name, value in given.items():
        purpose, uses, without = OPTIONS[name]
        using = [pair for pair in pairs if any(use.holds(*pair) for use in uses)]
        if value is not None and not using:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is for {purpose}, and there is none: add {_example(uses)}, or leave {flag} out.")
        if value is None and using and without is not None:
            row, metric = using[0]
            raise ValueError(f"{row.name if uses[0].metrics is None else metric} {without}.")


def _example(uses):
    """How the command line asks for something that uses the option."""
    if uses[0].metrics is not None:
        return f"--metric {uses[0].metrics[0]}"
    return f"--method {next(row.name for row in METHODS.values() if uses[0].holds(row, None))}"
