"""--outputs and --multi-label: what outputs are is kept with the weights, and every command follows it."""

import json

import numpy as np
import pytest
from compare import assert_close
from PIL import Image

from jaxplain.models import load
from jaxplain.weights_convert import restore, save

TABBY = 281


def record_of(folder, name="chelsea"):
    return json.loads((folder / f"{name}.json").read_text())


def test_explain_and_again(run, tiny, tmp_path):
    arguments = "--model=tiny", "--weights", tiny
    targets = "--target", "tabby", "--target", "not tabby"
    status, out, err = run("explain", "sample:chelsea", *arguments, *targets, "--outputs=sigmoid", "--out", tmp_path)
    assert (status, err) == (0, "")
    record, model = record_of(tmp_path), load("tiny", tiny, outputs="sigmoid")
    logit = float(model.net(model.prepare("sample:chelsea"))[TABBY])
    first, second = record["targets"]
    assert first["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)
    assert second["probability"] == pytest.approx(1 / (1 + np.exp(logit)), rel=1e-4)
    assert "not tabby" in out
    result = run("explain", "--again", tmp_path / "chelsea.json", "--weights", tiny, "--out", tmp_path / "again")
    assert (result.status, result.err) == (0, "")
    assert record_of(tmp_path / "again")["targets"] == record["targets"]
    with np.load(tmp_path / "chelsea.npz") as one, np.load(tmp_path / "again" / "chelsea.npz") as other:
        assert list(one) == ["grad_cam_281", "grad_cam_not_281"]
        for name in one:
            assert_close(other[name], one[name], 0)
    result = run("explain", "--again", tmp_path / "chelsea.json", "--outputs=scores", "--out", tmp_path)
    assert (result.status, "leave all images and options" in result.err) == (2, True)


def test_convert_keeps_what_outputs_are(run, tiny, tmp_path):
    status, out, _ = run("convert", tiny, "--model=tiny", "--out", tmp_path / "labels", "--outputs=sigmoid")
    assert (status, "outputs: sigmoid" in out) == (0, True)
    assert json.loads((tmp_path / "labels" / "model.json").read_text())["outputs"] == "sigmoid"
    assert load("tiny", tmp_path / "labels").spec.outputs == "sigmoid"
    assert load("tiny", tmp_path / "labels", outputs="scores").spec.outputs == "scores"
    arguments = "--method=random", "--metric=deletion", "--model=tiny", "--weights", tmp_path / "labels"
    assert run("evaluate", "sample:chelsea", *arguments, "--out", tmp_path).status == 0
    assert record_of(tmp_path, "evaluation")["outputs"] == "sigmoid"
    result = run("evaluate", "sample:chelsea", *arguments, "--outputs=probit", "--out", tmp_path)
    assert (result.status, "outputs is 'probit'" in result.err) == (2, True)


@pytest.mark.parametrize(("count", "kind"), [(3, "softmax"), (1, "sigmoid")])
def test_folders_of_older_versions(tiny, tmp_path, count, kind):
    params, record = restore(tiny)
    params["fc"] = {name: array[..., :count] for name, array in params["fc"].items()}
    record = {name: value for name, value in record.items() if name not in ("format", "outputs")}
    save(tmp_path / "old", params, record | {"categories": ["a", "b", "c"][:count]})
    assert load("tiny", tmp_path / "old").spec.outputs == kind
    for number, wrong in enumerate(("logits", 3, ["softmax"], {})):
        save(tmp_path / str(number), params, record | {"categories": ["a", "b", "c"][:count], "outputs": wrong})
        with pytest.raises(ValueError, match=r"has the outputs .* which cannot be; convert again"):
            load("tiny", tmp_path / str(number))
    if count == 1:
        with pytest.raises(ValueError, match="one output, whose softmax is always 1"):
            load("tiny", tmp_path / "old", outputs="softmax")


@pytest.fixture
def pictures(tmp_path):
    """Images that are red, bright, both or neither, and their table."""
    folder, draw, lines = tmp_path / "pictures", np.random.default_rng(0), ["file,red,bright"]
    folder.mkdir()
    for number in range(40):
        red, bright = number % 2, number // 2 % 2
        colour = np.array([60 + 60 * red, 60, 60]) + 100 * bright
        levels = colour + draw.integers(-20, 20, (16, 16, 3))
        Image.fromarray(levels.astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{red},{bright}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return folder


def test_labels_are_trained_and_explained(run, tiny, pictures, tmp_path):
    table, out = tmp_path / "labels.csv", tmp_path / "tuned"
    arguments = "--model=tiny", "--weights", tiny, "--multi-label", table, "--epochs=60", "--rate=0.3"
    status, printed, err = run("finetune", pictures, *arguments, "--out", out)
    assert (status, err) == (0, "")
    assert "2 labels, 32 images to train on, 8 held out" in printed
    history, model = json.loads((out / "history.json").read_text()), load("tiny", out)
    assert (model.spec.outputs, model.spec.categories, history["outputs"]) == ("sigmoid", ("red", "bright"), "sigmoid")
    best = history["epochs"][history["kept_epoch"] - 1]["validation"]
    assert best["accuracy"] >= 0.9
    logits = np.stack([model.net(model.prepare(pictures / name)) for name in history["held_out"]]).astype(float)
    truth = np.array([[int(name[:-4]) % 2, int(name[:-4]) // 2 % 2] for name in history["held_out"]])
    losses = np.logaddexp(0, np.where(truth == 1, -logits, logits)).mean()
    assert best["loss"] == pytest.approx(losses, rel=1e-3)
    assert best["accuracy"] == pytest.approx(((logits >= 0) == truth).mean())
    status, printed, err = run("explain", pictures / "3.png", "--model=tiny", "--weights", out, "--out", tmp_path)
    assert (status, err) == (0, "")
    targets = record_of(tmp_path, "3")["targets"]
    assert {target["class"] for target in targets} == {"red", "bright"}
    assert all(target["probability"] > 0.5 for target in targets)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--outputs=scores"], "finetune trains classes or labels: give softmax or sigmoid"),
        (["--outputs=softmax", "--multi-label", "labels.csv"], "leave outputs or the table out"),
        (["--multi-label", "nix.csv"], "There is no file nix.csv"),
        (["--multi-label", "rare.csv"], "1 of 4 images have the label 'red', expected two or more"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, tiny, pictures, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rare.csv").write_text("file,red\n0.png,1\n1.png,0\n2.png,0\n3.png,0\n")
    status, out, err = run("finetune", pictures, "--model=tiny", "--weights", tiny, *arguments, "--out", "out")
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
