"""A network fine-tuned on a folder of one's own classes, with its learning curves and a record."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxplain import models
from jaxplain._types import OutputKind
from jaxplain.models import Model, Recipe, Track, Tuned, output_kind, untracked
from jaxplain.render import Curves, figure
from jaxplain.weights_convert import save
from jaxplain.workflows._files import json_writer, writing
from jaxplain.workflows._result import Result, Table


@dataclass(frozen=True, eq=False, repr=False)
class FineTuned(Result):
    """A fine-tuned model, and how it came about.

    `tuned` has the history by epoch and the number of the epoch whose parameters the model has; `held_out` are the
    files that were held out, below the folder of images, `count` is the number of all images, and `record` has all that
    history.json says.
    """

    tuned: Tuned
    held_out: tuple[str, ...]
    count: int
    record: Mapping[str, Any]

    def __repr__(self) -> str:
        tuned = self.tuned
        return f"FineTuned({self._title()}, epoch {tuned.best + 1} of {len(tuned.history)} kept)"

    @property
    def model(self) -> Model:
        """The model with the parameters of the kept epoch."""
        return self.tuned.model

    @property
    def summary(self) -> str:
        """How many classes or labels and images there are."""
        count, held_out = len(self.model.spec.categories), len(self.held_out)
        what = "classes" if self.model.outputs == "softmax" else "labels"
        return f"{count} {what}, {self.count - held_out} images to train on, {held_out} held out"

    @property
    def phases(self) -> list[tuple[str, list[int]]]:
        """[(name, numbers of its epochs from 0)] of the phases of training."""
        names = [epoch.phase for epoch in self.tuned.history]
        return [(name, [i for i, each in enumerate(names) if each == name]) for name in dict.fromkeys(names)]

    def table(self) -> Table:
        """The scores of each phase's best epoch."""
        return Table(self.summary, ("trained", "best epoch", "images", "loss", "accuracy"), tuple(self._rows()))

    def _rows(self):
        history = self.tuned.history
        for name, epochs in self.phases:
            best = min(epochs, key=lambda number: history[number].validation.loss)
            which = f"{best + 1} of {len(history)}{' (kept)' * (best == self.tuned.best)}"
            yield name, which, "training", *(f"{value:.3g}" for value in history[best].training)
            yield "", "", "held-out", *(f"{value:.3g}" for value in history[best].validation)

    def _panels(self) -> Sequence[Sequence[Curves]]:
        return [[self._curves("loss", None), self._curves("accuracy", 1.05)]]

    def _curves(self, quantity, top):
        """A score by epoch, of both kinds of images."""
        history = self.tuned.history
        values = {
            "training images": [getattr(epoch.training, quantity) for epoch in history],
            "held-out images": [getattr(epoch.validation, quantity) for epoch in history],
        }
        parts = [(name, len(epochs)) for name, epochs in self.phases]
        return Curves(quantity, values, "epoch", parts, ("epoch that is kept", self.tuned.best + 1), top)

    def _title(self) -> str:
        return f"{self.model.spec.name}: {self.summary}"

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Writes the model to a new or empty folder, with learning_curve.png and history.json, all or none.

        `load(name, folder)` reads it. Returns what is in the folder.
        """

        def beside(folder):
            json_writer(self.record)(folder / "history.json")
            figure(self._panels(), title=self._title(), path=folder / "learning_curve.png")

        folder = Path(path)
        with writing(folder):
            save(folder, self.model.parameters, self.model.record, beside)
        return tuple(sorted(folder.iterdir()))


def finetune(
    model: Model,
    folder: str | os.PathLike[str],
    *,
    multi_label: str | os.PathLike[str] | None = None,
    outputs: OutputKind | None = None,
    epochs: int = 50,
    all_layers: bool = False,
    batch: int = 16,
    rate: float = 0.001,
    validation: float = 0.2,
    patience: int = 5,
    seed: int = 0,
    track: Track = untracked,
) -> FineTuned:
    """The model with a classifier for the classes of a folder, which has a folder of images for each.

    With `multi_label`, a table (.csv) as `jaxplain.models.read_labels` reads it, for labels that do not exclude each
    other, of images that it names in the folder: accuracy is then the share of labels that are told right. `outputs` is
    "softmax" of classes and "sigmoid" of labels; sigmoid of classes takes each for a label.

    The classifier is trained for at most `epochs` epochs on batches of `batch` images, and with `all_layers` everything
    after it, at a hundredth of the learning `rate`; each phase ends after `patience` epochs without a smaller loss on
    the share `validation` of the images that is held out. All randomness is that of `seed`. ValueError as
    `jaxplain.models.finetune` and `read_folder` have it.

        finetune(load("efficientnet_lite0"), "pets").save("my_pets")         # pets/cat/*.jpg, pets/dog/*.jpg
    """
    recipe = models.checked_recipe(Recipe(validation, epochs, batch, rate, patience, all_layers))
    folder = Path(folder)
    _check_outputs(outputs, multi_label)
    examples = _examples(folder, multi_label, outputs, model.spec, track)
    tuned = models.finetune(model, examples, recipe, key=jax.random.key(seed), track=track)
    held_out = tuple(str(examples.files[row].relative_to(folder)) for row in tuned.held_out)
    record = {
        "model": model.spec.name,
        "started_from": model.weights._asdict(),
        "categories": list(examples.categories),
        "outputs": tuned.model.outputs,
        "recipe": recipe._asdict(),
        "images": len(examples.labels),
        "held_out": list(held_out),
        "kept_epoch": tuned.best + 1,
        "epochs": [_scores(epoch) for epoch in tuned.history],
        "seed": seed,
    }
    return FineTuned(tuned, held_out, len(examples.labels), record)


def _check_outputs(outputs, multi_label):
    if outputs is not None and output_kind(outputs, 2) == "scores":
        raise ValueError("outputs is 'scores', but finetune trains classes or labels: give softmax or sigmoid.")
    if multi_label is not None and outputs == "softmax":
        raise ValueError("Labels do not exclude each other, as softmax's classes do: leave outputs or the table out.")


def _examples(folder, multi_label, outputs, spec, track):
    """The images of a folder with their classes or labels."""
    if multi_label is not None:
        return models.read_labels(multi_label, folder, spec, track)
    examples = models.read_folder(folder, spec, track)
    if outputs != "sigmoid":
        return examples
    return examples._replace(labels=np.eye(len(examples.categories), dtype=int)[examples.labels])


def _scores(epoch):
    return {"phase": epoch.phase, "training": epoch.training._asdict(), "validation": epoch.validation._asdict()}
