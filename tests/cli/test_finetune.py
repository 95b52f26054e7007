"""jaxplain finetune: what it writes is a model that the other commands take, and what it prints is true."""

import errno
import json
import shlex

import jax
import numpy as np
import pytest
from compare import assert_close
from PIL import Image

from jaxplain import workflows
from jaxplain.models import Recipe, finetune, load, read_folder, sample
from jaxplain.weights_convert import restore

LITE, TEXTURES = "efficientnet_lite0", ("brick", "grass", "gravel")
WRITTEN = ["history.json", "learning_curve.png", "model.json", "params"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder: crops of three textures, weights for small images, and everything that can be wrong."""
    folder = tmp_path_factory.mktemp("finetune")
    draw = np.random.default_rng(0)
    for name in TEXTURES:
        (folder / "textures" / name).mkdir(parents=True)
        for number in range(12):
            x, y = draw.integers(0, 512 - 96, 2)
            sample(name).crop((x, y, x + 96, y + 96)).save(folder / "textures" / name / f"{number:02}.png")
    published = load(LITE)
    published._replace(spec=published.spec._replace(input_size=64, resize=64)).save(folder / "small")
    for name in ("one/brick", "few/brick", "few/grass", "broken/brick", "broken/grass", "full"):
        (folder / name).mkdir(parents=True)
    for place in ("few/brick/0", "few/brick/1", "few/grass/0", "broken/brick/0", "broken/brick/1", "broken/grass/0"):
        Image.new("RGB", (64, 64)).save(folder / f"{place}.png")
    (folder / "broken" / "grass" / "1.png").write_text("no image")
    (folder / "full" / "mine.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def done(run, folder):
    """The command's result, and the folder that it has written."""
    out = folder.with_name("results of mine") / "new"
    result = run("finetune", folder / "textures", "--weights", folder / "small", "--out", out, "--epochs", 12)
    return result, out


def cells(out):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def test_the_model_is_the_librarys(done, folder):
    start = load(LITE, folder / "small")
    tuned = finetune(
        start, read_folder(folder / "textures", start.spec), Recipe(epochs=12), key=jax.random.key(0)
    ).model
    again = load(LITE, done[1])
    assert again.spec == tuned.spec
    assert again.spec.categories == TEXTURES
    assert again.weights.source == "fine-tuned from efficientnet-lite0-57934424.pth"
    assert_close(again.parameters, tuned.parameters, 0)


def test_history_says_what_was_done(done, folder):
    history = json.loads((done[1] / "history.json").read_text())
    assert history["model"] == LITE
    assert history["started_from"]["source"] == "efficientnet-lite0-57934424.pth"
    assert history["categories"] == list(TEXTURES)
    assert history["recipe"] == Recipe(epochs=12)._asdict()
    assert (history["seed"], history["images"]) == (0, 36)
    assert len(history["held_out"]) == 6
    assert all((folder / "textures" / name).is_file() for name in history["held_out"])
    losses = [epoch["validation"]["loss"] for epoch in history["epochs"]]
    assert history["kept_epoch"] == np.argmin(losses) + 1
    assert losses[-1] < losses[0]
    assert history["epochs"][-1]["validation"]["accuracy"] >= 0.8


def test_prints_the_kept_epoch_and_how_to_go_on(done):
    (status, out, err), folder = done
    assert (status, err) == (0, "")
    history = json.loads((folder / "history.json").read_text())
    best = history["epochs"][history["kept_epoch"] - 1]
    assert "3 classes, 30 images to train on, 6 held out" in out
    which = f"{history['kept_epoch']} of 12 (kept)"
    numbers = [[f"{value:.3g}" for value in best[part].values()] for part in ("training", "validation")]
    assert cells(out) == [["classifier", which, "training", *numbers[0]], ["", "", "held-out", *numbers[1]]]
    assert out.splitlines()[-1] == f"Go on with: jaxplain explain IMAGE --model {LITE} --weights '{folder}'"


def test_writes_the_model_the_record_and_the_curves(done):
    assert sorted(path.name for path in done[1].iterdir()) == WRITTEN
    assert [path.name for path in done[1].parent.iterdir()] == ["new"]
    with Image.open(done[1] / "learning_curve.png") as picture:
        assert picture.width == 2 * 416


def test_all_layers_are_trained_as_by_the_workflow(run, folder, tiny, tmp_path):
    arguments = folder / "textures", "--model", "tiny", "--weights", tiny, "--out", tmp_path / "all"
    status, out, err = run("finetune", *arguments, "--all", "--epochs", 6, "--seed", 5, "--rate", 0.1)
    assert (status, err) == (0, "")
    history = json.loads((tmp_path / "all" / "history.json").read_text())
    epochs = history["epochs"]
    assert [epoch["phase"] for epoch in epochs] == ["classifier"] * 6 + ["all layers"] * 6
    assert epochs[-1]["training"]["loss"] < epochs[5]["training"]["loss"]
    assert (history["seed"], history["kept_epoch"]) == (5, 12)
    assert [row[:2] for row in cells(out)[::2]] == [["classifier", "6 of 12"], ["all layers", "12 of 12 (kept)"]]
    before, after = restore(tiny)[0], restore(tmp_path / "all")[0]
    assert 1e-4 < np.abs(before["conv"]["kernel"] - after["conv"]["kernel"]).max() < 0.1
    options = {"all_layers": True, "epochs": 6, "seed": 5, "rate": 0.1}
    tuned = workflows.finetune(load("tiny", tiny), folder / "textures", **options)
    assert json.loads(json.dumps(tuned.record)).items() <= history.items()
    assert_close(tuned.model.parameters, after, 0)
    tuned.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "history.json").read_text()) == history
    for name in ("learning_curve.png", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_the_printed_command_explains(run, done, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(done[0].out.splitlines()[-1].removeprefix("Go on with: "))
    assert program == "jaxplain"
    image = folder / "textures" / json.loads((done[1] / "history.json").read_text())["held_out"][-1]
    status, out, err = run(*(image if word == "IMAGE" else word for word in arguments))
    assert (status, err) == (0, "")
    assert {row[0] for row in cells(out)} == set(TEXTURES)
    (record,) = (tmp_path / "out").glob("*.json")
    assert json.loads(record.read_text())["targets"][0]["class"] == "gravel"


def test_a_bar_shows_how_far_it_is(run, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    arguments = folder / "textures", "--weights", folder / "small", "--out", tmp_path / "out"
    status, _, err = run("finetune", *arguments, "--epochs", 2)
    assert status == 0
    for words in ("reading", "36/36", "features", "classifier", "2/2"):
        assert words in err


CASES = {
    "no folder": ("", "DIR", "jaxplain finetune --help"),
    "no out": ("textures", "--out", "jaxplain finetune --help"),
    "missing": ("nix --out out", "nix is not there", "check the path"),
    "a file": ("textures/brick/00.png --out out", "00.png is a file", "a folder of images for each class"),
    "files": ("textures/brick --out out", "textures/brick has 0 folders", "sort the images into folders"),
    "one class": ("one --out out", "one has 1 folders", "at least two classes"),
    "one image": ("few --out out", "fewer than two images of 'grass'", "add images"),
    "unreadable": ("broken --out out", "1 of 4 files", "broken/grass/1.png", "replace or remove"),
    "out is full": ("textures --out full", "full exists already", "name another one"),
    "out is a file": ("textures --out full/mine.txt", "mine.txt exists already"),
    "out below a file": ("textures --out full/mine.txt/a", "full/mine.txt/a cannot be written to", "--out"),
    "out refused": ("textures --out /proc/out", "/proc/out cannot be written to", "--out"),
    "out is inside": ("textures --out textures/new", "textures/new is inside textures", "--out"),
    "epochs": ("textures --out out --epochs 0", "epochs is 0", "from 1"),
    "epochs of text": ("textures --out out --epochs many", "--epochs", "jaxplain finetune --help"),
    "batch": ("textures --out out --batch 0", "batch is 0"),
    "patience": ("textures --out out --patience 0", "patience is 0"),
    "validation 0": ("textures --out out --validation 0", "validation is 0.0", "between 0 and 1"),
    "validation 1": ("textures --out out --validation 1", "validation is 1.0"),
    "rate": ("textures --out out --rate -1", "rate is -1.0", "positive"),
    "rate too large": ("textures --out out --rate 1e38 --weights small", "not finite", "smaller learning rate"),
    "seed": ("textures --out out --seed -1", "--seed", "jaxplain finetune --help"),
    "model": ("textures --out out --model resnet51", "no model 'resnet51'", "resnet50"),
    "no weights": ("textures --out out --model vgg16", "weights of vgg16 are not on this machine", "fetch vgg16"),
    "weights missing": ("textures --out out --weights nix.pth", "no file nix.pth", ".pth"),
    "weights of another": ("textures --out out --model resnet50 --weights small", "resnet50 was asked for"),
}


@pytest.mark.parametrize(("arguments", "words"), [(a, words) for a, *words in CASES.values()], ids=CASES)
def test_mistakes_are_told_in_one_sentence(run, folder, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where no weights have been fetched
    before = sorted(folder.rglob("*"))
    status, out, err = run("finetune", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("jaxplain: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert sorted(folder.rglob("*")) == before


def test_a_full_place_gets_no_part_of_the_result(run, folder, monkeypatch, tmp_path):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jaxplain.workflows._finetune.figure", full)
    arguments = folder / "textures", "--weights", folder / "small", "--out", tmp_path / "out", "--epochs", 1
    status, out, err = run("finetune", *arguments)
    assert (status, out) == (2, "")
    assert "out cannot be written to (No space left on device); name another folder" in err
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(run, folder, monkeypatch, tmp_path):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxplain.workflows._finetune.figure", interrupted)
    arguments = folder / "textures", "--weights", folder / "small", "--out", tmp_path / "out", "--epochs", 1
    status, out, err = run("finetune", *arguments)
    assert status == 130
    assert "Traceback" not in err
    assert "written" not in out
    assert list(tmp_path.iterdir()) == []
