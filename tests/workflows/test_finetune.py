"""workflows.finetune: what its value says, draws and writes. That the command does the same is tested in tests/cli."""

import numpy as np
import pytest
from compare import assert_close
from PIL import Image

from jaxplain import workflows
from jaxplain.models import Recipe, load

CLASSES = ("dark", "light", "mixed")
EPOCHS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five images of each of three classes, which differ in brightness."""
    folder, draw = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for low, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(5):
            levels = draw.integers(80 * low, 80 * low + 60, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(levels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def start():
    model = load("efficientnet_lite0")
    return model._replace(spec=model.spec._replace(input_size=32, resize=32))


@pytest.fixture(scope="module")
def titles():
    return []


@pytest.fixture(scope="module")
def tuned(folder, start, titles):
    def track(work, title):
        titles.append((title, len(work)))
        return work

    return workflows.finetune(start, folder, epochs=EPOCHS, seed=1, track=track)


def test_the_value_in_one_line(tuned):
    counts = "3 classes, 12 images to train on, 3 held out"
    kept = f"epoch {tuned.record['kept_epoch']} of {EPOCHS} kept"
    assert repr(tuned) == f"FineTuned(efficientnet_lite0: {counts}, {kept})"


def test_the_record_says_how_to_repeat_it(tuned, folder):
    assert tuned.record["recipe"] == Recipe(epochs=EPOCHS)._asdict()
    assert (tuned.record["seed"], tuned.record["categories"]) == (1, list(CLASSES))
    assert tuned.record["held_out"] == [*tuned.held_out]
    assert {name.split("/")[0] for name in tuned.held_out} == {*CLASSES}
    assert all((folder / name).is_file() for name in tuned.held_out)


def test_the_curves_are_the_historys(tuned):
    ((loss, accuracy),) = tuned._panels()
    assert loss.values["training images"] == [epoch["training"]["loss"] for epoch in tuned.record["epochs"]]
    assert loss.values["held-out images"] == [epoch["validation"]["loss"] for epoch in tuned.record["epochs"]]
    assert accuracy.values["held-out images"] == [epoch["validation"]["accuracy"] for epoch in tuned.record["epochs"]]
    assert loss.parts == [("classifier", EPOCHS)]
    assert loss.mark == ("epoch that is kept", tuned.record["kept_epoch"])
    assert tuned.figure().width == 2 * 416


def test_progress_is_shown(tuned, titles):
    assert titles[0] == ("reading", 15)
    assert titles[-1] == ("classifier", EPOCHS)


def test_a_folder_that_is_full_is_refused(tuned, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        tuned.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_written_is_returned_and_loaded(tuned, tmp_path):
    written = tuned.save(tmp_path / "new")
    assert [path.name for path in written] == ["history.json", "learning_curve.png", "model.json", "params"]
    again = load("efficientnet_lite0", tmp_path / "new")
    assert again.spec == tuned.model.spec
    assert_close(again.parameters, tuned.model.parameters, 0)


def test_mistakes_in_the_recipe_are_found_before_any_image_is_read(start):
    with pytest.raises(ValueError, match="epochs is 0, expected a whole number from 1"):
        workflows.finetune(start, "nowhere", epochs=0)
