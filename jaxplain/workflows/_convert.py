"""Weights of one's own, with their class names and preprocessing."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxplain._types import OutputKind
from jaxplain.models import (
    GUESS,
    PREPROCESSING_FIELDS,
    Model,
    checked_preprocessing,
    guess,
    load,
    published_set,
    timms_preprocessing,
)

LONGEST = 1024**2  # bytes of a file of class names


def convert(
    name: str,
    weights: Any,
    *,
    categories: str | os.PathLike[str] | None = None,
    preprocessing: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    outputs: OutputKind | None = None,
    entry: str | None = None,
) -> Model:
    """The network of that name with weights that were trained elsewhere, as `load` takes them.

    `categories` is a text file of the class names, one a line, in UTF-8. `preprocessing` is what these were trained
    with: the name of a published set of weights, values by name (input_size, resize, interpolation, mean, std), or a
    .json file of them, also timm's config.json; by default the one that the weights came with, or else the first set's,
    which the model's `weights.notes` call a guess. `outputs` is what the outputs are, and is kept with them; it and
    `entry` are as for `load`. The model's `save` writes a folder that `load` takes as weights. ValueError as `load` has
    it, for a file that is no list of names, and for an unknown set.

        convert("resnet50", "mine.pth", categories="names.txt", preprocessing="IMAGENET1K_V2").save("mine")
        convert("resnet50", "mine.pth", preprocessing={"resize": 235, "interpolation": "bicubic"})
    """
    named = None if categories is None else _names(Path(categories))
    model = load(name, weights, named, outputs=outputs, entry=entry)
    if preprocessing is None:
        return model
    given = _preprocessing(name, preprocessing, model.spec)
    rest = [field for field in PREPROCESSING_FIELDS if field not in given]
    spec, notes = model.spec._replace(**given), [note for note in model.weights.notes if not note.startswith(GUESS)]
    if rest and len(notes) < len(model.weights.notes):
        notes.append(guess(spec, rest))
    return model._replace(spec=spec, weights=model.weights._replace(notes=tuple(notes)))


def _preprocessing(name, given, spec):
    """Checked values by the names of Spec's fields."""
    if isinstance(given, Mapping):
        return checked_preprocessing(dict(given), spec, "What is given", "give another value")
    path = Path(given)
    if path.suffix != ".json":
        return _of_its_channels(published_set(name, str(given)).preprocessing, spec)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}), expected a preprocessing in JSON.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no JSON, expected one such as {{"resize": 235}}; mend it.') from error
    if isinstance(facts, dict):
        facts = facts.get("pretrained_cfg", facts)
        if isinstance(facts, dict) and "crop_pct" in facts:
            facts = _of_its_channels(timms_preprocessing(facts), spec)
    return checked_preprocessing(facts, spec, path, "mend it")


def _of_its_channels(facts, spec):
    """What is known of images in RGB, without what another number of channels needs: that stays a guess."""
    return {name: v for name, v in facts.items() if name not in ("mean", "std") or len(v) == spec.channels}


def _names(path):
    """The class names in a text file; ValueError where it holds anything else."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a text file of class names; check the path.")
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path} has more than {LONGEST:,} bytes, expected a class name a line; name another file.")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, expected a class name a line; save it as UTF-8.") from error
    names = [line.strip() for line in lines]
    for number, name in enumerate(names, 1):
        if not name or not name.isprintable():
            raise ValueError(f"{path} has no class name in line {number}, but {name[:40]!r}; give one on each line.")
    return names
