"""Records of explanations, from which these are made again."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from jaxplain._types import OutputKind
from jaxplain.concepts import fingerprint
from jaxplain.models import Asked, Model, output_kind


class Recorded(NamedTuple):
    """What a record says of its run: the image, the model's name, what tells its weights, and explain's keywords.

    `outputs` is what the outputs were taken for, None in records of older versions.
    """

    image: str
    model: str
    weights: dict[str, Any]
    asked: dict[str, Any]
    outputs: OutputKind | None = None

    def is_of(self, model: Model) -> bool:
        """Whether the model has the weights of the run."""
        has = weights_of(model)
        return all(has.get(name) == self.weights.get(name) for name in ("sha256", "parameters"))


def weights_of(model: Model) -> dict[str, Any]:
    """Where weights are from, and the sha256 of their file or, where there is none, of the parameters themselves."""
    known = model.weights._asdict()
    return known if known["sha256"] else known | {"parameters": fingerprint(model.net)}


def recorded(path: str | os.PathLike[str]) -> Recorded:
    """What was asked in the run that wrote a record (.json); ValueError for any other file.

    With the same weights and versions, explaining anew gives the same maps:

        run = recorded("out/coffee.json")
        explain(load(run.model, outputs=run.outputs), run.image, **run.asked)
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a record (.json) of `jaxplain explain`; check the path.")
    try:
        record = json.loads(path.read_bytes())
        outputs = None if record.get("outputs") is None else output_kind(record["outputs"], 2)
        asked = dict(record["asked"])
        if asked.get("targets") is not None:
            asked["targets"] = [_target(one) for one in asked["targets"]]
        return Recorded(record["image"], record["model"], dict(record["weights"]), asked, outputs)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no record of `jaxplain explain`, or one of an older version; run it anew."
        ) from error


def _target(written):
    """The index of a class, or, of a pair with a sign, what was asked for."""
    if not isinstance(written, list):
        return written
    index, sign = written
    return Asked(int(index), -1 if sign < 0 else 1)
