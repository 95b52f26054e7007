"""Names that would move the cursor, turn text or hide it: files are anybody's."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxplain.cli.errors import printable
from jaxplain.cli.progress import bars

EVIL = "a\x1b[31m\u202e[b]\x9b2J\x07"


def assert_shown(*texts):
    for text in texts:
        assert all(c.isprintable() or c == "\n" for c in text), text


def test_printable():
    assert printable("Zoë's [/b] 猫.png") == "Zoë's [/b] 猫.png"
    assert printable("a\x1b[31m\u202e\x9b\x07\t\udcff") == r"a\x1b[31m\u202e\x9b\x07\t\udcff"


def test_file_names_are_escaped(run, tiny, tmp_path):
    image, out = tmp_path / f"{EVIL}.png", tmp_path / EVIL
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(image)
    network = "--model", "tiny", "--weights", tiny
    status, printed, err = run("explain", image, *network, "--method", "random", "--out", out)
    assert (status, err) == (0, "")
    assert r"a\x1b[31m\u202e[b]\x9b2J\x07.png" in printed.replace("\n", "")
    assert_shown(printed)
    for arguments in (("explain", f"no{EVIL}", *network), ("explain", image, f"--{EVIL}"), (EVIL,), ("layers", EVIL)):
        status, printed, err = run(*arguments)
        assert status == 2
        assert r"\x1b[31m" in err
        assert_shown(printed, err)


def test_bars_have_any_title(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bars() as track:
        assert list(track([1, 2], f"[/b] {EVIL}")) == [1, 2]
    assert r"[/b] a\x1b[31m\u202e[b]\x9b2J\x07" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("categories", ["cat", EVIL]), ("source", EVIL)])
def test_converted_folders_have_names_that_can_be_shown(run, tiny, name, value):
    path = tiny / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    status, _, err = run("explain", "sample:coffee", "--model", "tiny", "--weights", tiny)
    assert status == 2
    assert "cannot be shown; convert again" in err
    assert_shown(err)


def test_concepts_have_names_that_can_be_shown(run, tiny, tmp_path):
    status, _, err = run("concept", "fit", EVIL, "--images", tmp_path, "--random", tmp_path, "--model", "tiny",
                         "--weights", tiny, "--out", tmp_path / "x.concept")  # fmt: skip
    assert status == 2
    assert "give it another name" in err
    assert_shown(err)
