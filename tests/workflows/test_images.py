"""What images leave open is chosen, said, and kept in records; every command that takes images can choose otherwise."""

import inspect
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_model

from jaxplain.cli import app
from jaxplain.models import Note
from jaxplain.workflows import retrieve

SEEN = "transparent parts are seen on white"


@pytest.fixture(scope="module")
def logos():
    """Three black squares on transparency."""
    found = np.zeros((3, 16, 16, 4), np.uint8)
    for place, logo in enumerate(found):
        logo[4 : 10 + place, 4:12, 3] = 255
    return [Image.fromarray(logo) for logo in found]


def test_every_command_that_takes_images_has_the_options():
    groups = [group.typer_instance or app for group in app.registered_groups]
    commands = [command for one in (app, *groups) for command in one.registered_commands]
    functions: list[Any] = [command.callback for command in commands]
    having = [f for f in functions if {"background", "levels"} <= inspect.signature(f).parameters.keys()]
    names = ["explain", "features", "evaluate", "retrieve", "finetune"]
    names += ["fit_command", "explain", "global_command", "new_command"]
    assert [f.__name__ for f in having] == names


def test_a_gallery_says_once_what_was_chosen_and_keeps_it(logos, tmp_path):
    with pytest.warns(Note, match=SEEN) as said:
        found = retrieve(tiny_model(), logos[0], logos)
    assert len(said) == 2  # of the query, and of the gallery
    assert found.picture[0, 0].tolist() == [255, 255, 255]
    found.save(tmp_path / "found")
    reading = json.loads((tmp_path / "found.json").read_text())["reading"]
    assert (reading["background"], reading["levels"]) == (None, None)
    assert [notes[0].split(";")[0] for notes in reading["notes"].values()] == [SEEN]
    black = retrieve(tiny_model(), logos[0], logos, background="black")
    assert black.picture.max() == 0
    assert black.reading == {"background": "black", "levels": None, "notes": {}}


def test_explain_says_what_it_chose_and_again_repeats_what_was_asked(run, tiny, tmp_path):
    deep = np.linspace(0, 4095, 24 * 24).reshape(24, 24).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "scan.png")
    image = tmp_path / "scan.png"
    model = ["--model=tiny", "--weights", tiny]
    dark = run("explain", image, *model, "--out", tmp_path / "dark")
    assert dark.status == 0
    assert dark.err.startswith(f"jaxplain: {image}: 12 of 16 bits are used, so it is dark; --levels 0,4095 ")
    assert "12 of 16 bits" in json.loads((tmp_path / "dark" / "scan.json").read_text())["notes"][0]
    clear = run("explain", image, *model, "--levels", "0,4095", "--out", tmp_path / "clear")
    again = run("explain", "--again", tmp_path / "clear" / "scan.json", "--weights", tiny, "--out", tmp_path / "again")
    assert [(result.status, result.err) for result in (clear, again)] == [(0, "")] * 2
    records = [json.loads((tmp_path / name / "scan.json").read_text()) for name in ("dark", "clear", "again")]
    assert [record["asked"]["levels"] for record in records] == [None, [0, 4095], [0, 4095]]
    assert records[1]["predictions"] == records[2]["predictions"]
    assert records[0]["predictions"] != records[1]["predictions"]
    refused = run("explain", image, *model, "--background", "whit")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "The background is 'whit', expected a colour" in refused.err
