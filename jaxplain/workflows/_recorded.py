"""Records of explanations, from which these are made again."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Recorded(NamedTuple):
    """What a record says of its run: the image, the model's name, the weights' sha256, and explain's keywords."""

    image: str
    model: str
    sha256: str | None
    asked: dict[str, Any]


def recorded(path: str | os.PathLike[str]) -> Recorded:
    """What was asked in the run that wrote a record (.json); ValueError for any other file.

    With weights of the same sha256, and the same versions, explaining anew gives the same maps:

        run = recorded("out/coffee.json")
        explain(load(run.model), run.image, **run.asked)
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a record (.json) of `jaxplain explain`; check the path.")
    try:
        record = json.loads(path.read_bytes())
        return Recorded(record["image"], record["model"], record["weights"]["sha256"], dict(record["asked"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no record of `jaxplain explain`, or one of an older version; run it anew."
        ) from error
