"""jaxplain explain: what it writes is what the library computes, and what it prints is true."""

import hashlib
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
import torchvision
from compare import assert_close
from PIL import Image
from skimage.data import chelsea, coffee

import jaxplain as jp
from jaxplain.models import available, load
from jaxplain.weights_convert import convert, save
from jaxplain.workflows import file_stems as stems_of

TABBY, EGYPTIAN_CAT = 281, 285


def results(folder, stem):
    """The record, the maps and the figure's size."""
    record = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"{stem}.npz") as maps, Image.open(folder / f"{stem}.png") as figure:
        figure.load()
        return record, dict(maps), figure.size


def drawn(monkeypatch):
    """The rows of every figure that is drawn from now on."""
    from jaxplain.workflows import _result

    figures, figure = [], _result.figure
    monkeypatch.setattr(_result, "figure", lambda rows, **options: figures.append(rows) or figure(rows, **options))
    return figures


def one_hot(k, n=1000):
    return np.eye(n, dtype=np.float32)[k]


@pytest.fixture(scope="module")
def model():
    return load("efficientnet_lite0")


@pytest.fixture(scope="module")
def x(model):
    return model.prepare(chelsea())


@pytest.fixture(scope="module")
def logits(model, x):
    return np.asarray(jax.jit(lambda net, x: net(x))(model.net, x))


@pytest.fixture(scope="module")
def two_targets(run, tmp_path_factory):
    """A class by index and one by name, side by side, in a nested new folder: (printed, folder)."""
    folder = tmp_path_factory.mktemp("out") / "new" / "nested"
    arguments = "--target", TABBY, "--target", "Egyptian cat", "--target", "egyptian_cat"
    return run("explain", "sample:chelsea", *arguments, "--out", folder), folder


def test_maps_are_the_librarys(two_targets, model, x):
    _, maps, _ = results(two_targets[1], "chelsea")
    assert set(maps) == {"grad_cam_281", "grad_cam_285"}
    direct = jax.jit(jp.grad_cam, static_argnames="layer")
    for k in (TABBY, EGYPTIAN_CAT):
        assert maps[f"grad_cam_{k}"].dtype == np.float32
        assert_close(maps[f"grad_cam_{k}"], direct(model.net, x, one_hot(k), layer="_swish2"))


def test_record_says_what_was_done(two_targets, logits):
    record, _, _ = results(two_targets[1], "chelsea")
    odds = np.exp(logits - logits.max())
    assert record["image"] == "sample:chelsea"
    assert record["size"] == [451, 300]
    assert record["model"] == "efficientnet_lite0"
    weights = available()["efficientnet_lite0"]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()  # pyright: ignore[reportOptionalMemberAccess] it is installed
    assert record["weights"] == {"source": weights.name, "sha256": digest, "notes": []}  # pyright: ignore[reportOptionalMemberAccess]
    assert record["methods"] == {"grad_cam": {"layer": "_swish2", "options": {}}}
    assert [(row["index"], row["class"]) for row in record["targets"]] == [(281, "tabby"), (285, "Egyptian cat")]
    assert [row["index"] for row in record["predictions"]] == np.argsort(-logits)[:5].tolist()
    for row in record["targets"] + record["predictions"]:
        assert row["logit"] == pytest.approx(logits[row["index"]], rel=1e-5)
        assert row["probability"] == pytest.approx(odds[row["index"]] / odds.sum(), rel=1e-4)
    assert [row["score"] for row in record["targets"]] == [row["logit"] for row in record["targets"]]
    assert record["against"] is None
    assert record["versions"]["jax"] == version("jax")
    assert record["versions"]["jaxplain"] == version("jaxplain")
    assert record["seconds"].keys() == {"prediction", "grad_cam"}
    assert all(seconds > 0 for seconds in record["seconds"].values())


def test_prints_the_top_five_and_the_targets(two_targets, logits):
    (status, out, err), folder = two_targets
    assert (status, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert [row[1] for row in rows] == [str(k) for k in np.argsort(-logits)[:5]]
    assert [row[0] for row in rows if row[4] == "yes"] == ["Egyptian cat", "tabby"]
    assert out.splitlines()[-1] == f"{folder / 'chelsea'}.png, .npz and .json written"
    assert sorted(path.name for path in folder.iterdir()) == ["chelsea.json", "chelsea.npz", "chelsea.png"]


def test_figure_has_a_column_for_each_method_and_a_row_for_each_target(two_targets):
    width, height = results(two_targets[1], "chelsea")[2]
    assert width == 2 * 416  # the photograph, and one method
    assert 2 * 440 <= height <= 2 * 440 + 60  # two classes, and the title


def test_contrast_is_the_difference_of_two_maps(run, two_targets, tmp_path):
    status, _, err = run("explain", "sample:chelsea", "--target", "tabby", "--against", "285", "--out", tmp_path)
    assert (status, err) == (0, "")
    record, maps, _ = results(tmp_path, "chelsea")
    _, plain, _ = results(two_targets[1], "chelsea")
    difference = plain["grad_cam_281"] - plain["grad_cam_285"]
    assert np.abs(difference).max() > 0.01 * np.abs(plain["grad_cam_281"]).max()
    assert set(maps) == {"grad_cam_281"}
    assert_close(maps["grad_cam_281"], difference)
    assert (record["against"]["index"], record["against"]["class"]) == (285, "Egyptian cat")
    score = record["targets"][0]["logit"] - record["against"]["logit"]
    assert record["targets"][0]["score"] == pytest.approx(score, abs=1e-5)


@pytest.mark.slow
def test_several_methods_at_another_layer(run, monkeypatch, model, x, tmp_path):
    figures = drawn(monkeypatch)
    methods = "--method", "hires_cam", "--method", "saliency"
    status, _, err = run("explain", "sample:chelsea", *methods, "--layer", "_blocks.15", "--out", tmp_path)
    assert (status, err) == (0, "")
    record, maps, (width, _) = results(tmp_path, "chelsea")
    assert record["methods"] == {
        "hires_cam": {"layer": "_blocks.15", "options": {}},
        "saliency": {"layer": None, "options": {}},
    }
    assert width == 4 * 416  # the photograph, two methods, and the probabilities
    (target,) = record["targets"]
    titles = [panel.title for panel in figures[0][0][1:-1]]
    assert figures[0][0][-1].title == "probabilities"
    assert [title.split("\n")[0] for title in titles] == ["hires_cam at _blocks.15", "saliency"]
    label = f"{target['class']}: score {target['score']:.2f}, probability {target['probability']:.3g}"
    assert all(label in title for title in titles)
    k = target["index"]
    assert set(maps) == {f"hires_cam_{k}", f"saliency_{k}"}
    direct = jax.jit(jp.hires_cam, static_argnames="layer")
    assert_close(maps[f"hires_cam_{k}"], direct(model.net, x, one_hot(k), layer="_blocks.15"))
    assert_close(maps[f"saliency_{k}"], jax.jit(jp.saliency)(model.net, x, one_hot(k)))


NEW = {
    "score_cam": lambda *of: jp.score_cam(*of, layer="relu"),
    "ablation_cam": lambda *of: jp.ablation_cam(*of, layer="relu"),
    "positive_saliency": jp.positive_saliency,
    "negative_saliency": jp.negative_saliency,
    "active_saliency": jp.active_saliency,
    "inactive_saliency": jp.inactive_saliency,
    "occlusion": jp.occlusion,
    "rise": lambda *of: jp.rise(*of, key=jax.random.key(0)),
}


@pytest.mark.slow
def test_signed_saliency_and_perturbation(run, tiny, tmp_path):
    methods = [word for name in NEW for word in ("--method", name)]
    arguments = "--model", "tiny", "--weights", tiny
    status, _, err = run("explain", "sample:chelsea", *methods, *arguments, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    record, maps, _ = results(tmp_path / "out", "chelsea")
    assert [name for name, method in record["methods"].items() if method["layer"]] == ["score_cam", "ablation_cam"]
    model, (target,) = load("tiny", tiny), record["targets"]
    x, k = model.prepare("sample:chelsea"), target["index"]
    for name, direct in NEW.items():
        assert_close(maps[f"{name}_{k}"], jax.jit(direct)(model.net, x, one_hot(k)), 1e-4)
    assert all(heat.any() for heat in maps.values())


@pytest.mark.parametrize("segmenter", ["slic", "quickshift", "felzenszwalb"])
def test_secam_is_the_librarys_in_segments_that_are_drawn(run, monkeypatch, tiny, tmp_path, segmenter):
    figures = drawn(monkeypatch)
    options = ["--segments", 12] if segmenter == "slic" else ["--segmenter", segmenter]
    arguments = "--model", "tiny", "--weights", tiny, "--method", "secam", *options
    status, _, err = run("explain", "sample:chelsea", *arguments, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    record, maps, _ = results(tmp_path / "out", "chelsea")
    model, k = load("tiny", tiny), record["targets"][0]["index"]
    pixels, count = model.pixels("sample:chelsea"), record["methods"]["secam"]["segments"]
    expected = {
        "slic": lambda: jp.connected(np.asarray(jp.slic(pixels, num_segments=12))),
        "quickshift": lambda: jp.quickshift(pixels, kernel_size=4, max_dist=200, ratio=0.2),
        "felzenszwalb": lambda: jp.felzenszwalb(pixels, scale=100, sigma=0.5, min_size=50),
    }[segmenter]()
    np.testing.assert_array_equal(maps["segments"], expected)
    assert record["methods"]["secam"] == {
        "layer": "relu",
        "options": {},
        "segmenter": segmenter,
        "segments": expected.max() + 1,
    }
    x = model.normalise(pixels)
    direct = jp.secam(model.net, x, one_hot(k), layer="relu", segments=expected, num_segments=count)
    assert_close(maps[f"secam_{k}"], direct, 1e-4)
    _, heat, outlines, kept, _ = itertools.chain(*figures[0])
    assert outlines.title == f"{count} segments of {segmenter}"
    side = outlines.photo.shape[0] // 16
    shown = kept.photo[side // 2 :: side, side // 2 :: side].any(axis=-1)
    np.testing.assert_array_equal(shown, jp.keep_segments(direct, expected, count))
    np.testing.assert_array_equal(heat.heat, maps[f"secam_{k}"])


def test_fam_is_the_librarys_on_both_images(run, monkeypatch, tiny, tmp_path):
    figures = drawn(monkeypatch)
    arguments = "--model", "tiny", "--weights", tiny, "--method", "fam", "--reference", "sample:coffee"
    status, _, err = run("explain", "sample:chelsea", *arguments, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    record, maps, _ = results(tmp_path / "out", "chelsea")
    model = load("tiny", tiny)
    x, reference = (model.prepare(f"sample:{name}") for name in ("chelsea", "coffee"))
    embed = jp.embedding(model.net, "relu")
    q, r = np.asarray(embed(x)), np.asarray(embed(reference))
    direct = jp.fam(model.net, x, r, layer="relu")
    (heat,) = maps.values()
    assert_close(heat, direct, 1e-4)
    cosine = float(q @ r / (np.linalg.norm(q) * np.linalg.norm(r)))
    expected = {
        "layer": "relu",
        "options": {"similarity": "cosine"},
        "reference": "sample:coffee",
        "similarity": {"cosine": pytest.approx(cosine, abs=1e-5)},
    }
    assert record["methods"]["fam"] == expected
    _, ours, theirs, _ = figures[0][0]
    assert f"{cosine:.3f}" in ours.title
    weights = (q * r - (q * r).min()) / np.ptp(q * r)
    assert_close(theirs.heat, jp.channel_map(model.net, reference, weights, layer="relu"), 1e-4)


@pytest.mark.parametrize("name", ["active_saliency", "inactive_saliency"])
def test_what_is_held_against_all_classes_is_not_held_against_one(run, name, tmp_path):
    arguments = "--method", "grad_cam", "--method", name, "--against", "tabby", "--out", tmp_path / "out"
    status, out, err = run("explain", "sample:coffee", *arguments)
    assert (status, out) == (2, "")
    assert (
        err == f"jaxplain: {name} holds its target against all other classes, not against one: leave --against out.\n"
    )
    assert not (tmp_path / "out").exists()


def test_each_of_several_images_gets_its_own_top_class_and_there_is_a_bar(run, tmp_path):
    images = "sample:chelsea", "sample:coffee", "sample:chelsea"
    status, out, err = run("explain", *images, "--out", tmp_path)
    assert status == 0
    assert "2/2" in err  # an image that is named twice is explained once
    assert err.count("\n") == 1
    assert out.count("written") == 2
    for stem, name in (("chelsea", "tiger cat"), ("coffee", "espresso")):
        assert [row["class"] for row in results(tmp_path, stem)[0]["targets"]] == [name]


def test_again_into_the_same_folder(run, tmp_path):
    for target in ("espresso", "cup"):
        assert run("explain", "sample:coffee", "--target", target, "--out", tmp_path).status == 0
    assert len(list(tmp_path.iterdir())) == 3
    assert set(results(tmp_path, "coffee")[1]) == {"grad_cam_968"}


@pytest.mark.slow
def test_odd_file_names(run, monkeypatch, tmp_path):
    """Blanks, other scripts, rich's markup and emoji, a leading dash, and a byte that is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    names = ["a b.png", "käse 猫.png", "[bold]x[.png", ":cat:.png", "-x.png"]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"bad\xff.png"))
    for name in names:
        with open(name, "wb") as file:
            Image.fromarray(coffee()[::8, ::8]).save(file, "PNG")
    status, out, err = run("explain", "--", *names)
    assert status == 0, err
    for name in names:
        stem = name.removesuffix(".png")
        printed = name.encode(errors="backslashreplace").decode()
        assert printed in [line.strip() for line in out.splitlines()]
        assert results(tmp_path / "out", stem)[0]["image"] == name


def test_dollars_in_a_name_are_no_formula(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()).save("$\\frac{$.png")
    assert run("explain", "$\\frac{$.png").status == 0


@pytest.mark.parametrize(
    ("images", "stems"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["a.jpg", "x/a.png", "sample:a"], ["a", "a~2", "a~3"]),
        (["a.jpg", "a~2.jpg", "b/a.jpg"], ["a", "a~2", "a~3"]),
        (["a.jpg", "b/a.jpg", "a~2.jpg"], ["a", "a~2", "a~2~2"]),
        (["A.jpg", "a.jpg"], ["A", "a~2"]),
        (["sample:chelsea", "chelsea.tar.png"], ["chelsea", "chelsea.tar"]),
    ],
)
def test_images_of_one_name_do_not_overwrite_each_other(images, stems):
    assert stems_of(images) == stems


def test_a_name_that_ends_like_a_figure_is_a_name(run, tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = ["a.jpg", "a.png.jpg", "a.pdf.jpg"]
    for name in names:
        Image.fromarray(coffee()).save(name)
    result = run("explain", *names, "--method=random", "--model=tiny", "--weights", tiny, "--out", "out")
    assert result.status == 0
    stems, kinds = ("a", "a.png", "a.pdf"), (".png", ".npz", ".json")
    assert {path.name for path in Path("out").iterdir()} == {stem + kind for stem in stems for kind in kinds}
    assert "out/a.pdf.png, .npz and .json written" in result.out


@pytest.mark.slow
def test_fine_tuned_resnet50_from_torch(run, tmp_path):
    torch.manual_seed(0)
    rival = torchvision.models.resnet50(num_classes=3).eval()
    torch.save(rival.state_dict(), tmp_path / "three.pth")
    arguments = "--model", "resnet50", "--weights", tmp_path / "three.pth", "--target", "class 2"
    status, out, err = run("explain", "sample:chelsea", *arguments, "--out", tmp_path)
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("jaxplain: note: the preprocessing is a guess")
    record, maps, _ = results(tmp_path, "chelsea")
    assert record["weights"]["notes"] == [err.removeprefix("jaxplain: note: ").strip()]
    assert maps["grad_cam_2"].shape == (7, 7)
    assert record["weights"]["sha256"] == hashlib.sha256((tmp_path / "three.pth").read_bytes()).hexdigest()
    x = np.array(load("resnet50", tmp_path / "three.pth").prepare(chelsea()))
    with torch.no_grad():
        expected = rival(torch.from_numpy(x.transpose(2, 0, 1)[None]))[0].numpy()
    ours = {row["index"]: row["logit"] for row in record["predictions"]}
    assert [ours[k] for k in range(3)] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)
    assert all(f"class {k}" in out for k in range(3))


def test_converted_folder_with_class_names_of_its_own(run, tmp_path):
    published = available()["efficientnet_lite0"]
    names = [f"[/b] :cat: {k}" for k in range(1000)]
    record = {"architecture": "efficientnet_lite0", "sha256": "of the source", "categories": names}
    save(tmp_path / "mine", convert(published, "efficientnet_lite0"), record)
    arguments = "--weights", tmp_path / "mine", "--target", "[/b] :cat: 5"
    status, out, err = run("explain", "sample:coffee", *arguments, "--out", tmp_path)
    assert (status, err) == (0, "")
    written, _, _ = results(tmp_path, "coffee")
    notes = written["weights"].pop("notes")
    assert written["weights"] == {"source": "mine", "sha256": "of the source"}
    assert [note[:30] for note in notes] == ["the preprocessing is a guess, "]
    assert written["targets"][0]["index"] == 5
    assert " [/b] :cat: 967 " in out


def shown_on(terminal):
    """Everything that is written to a pseudo-terminal until its last writer has gone."""
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # how Linux says that it is closed
            part = b""
        if not part:
            return shown.decode()
        shown += part


def test_as_a_program_from_nothing_and_with_stdout_in_a_file(program_path, monkeypatch, tmp_path):
    """A fresh cache; the bar is on a terminal, the tables are not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, stderr = pty.openpty()
    command = [program_path, "explain", "sample:chelsea", "sample:coffee", "--out", tmp_path / "out"]
    with open(tmp_path / "printed", "wb") as stdout, subprocess.Popen(command, stdout=stdout, stderr=stderr) as process:
        os.close(stderr)
        shown = shown_on(terminal)
    assert process.returncode == 0
    printed = (tmp_path / "printed").read_text()
    for words in ("tiger cat", "espresso", "chelsea.png, .npz and .json written"):
        assert words in printed
        assert words not in shown
    assert "2/2" in shown
    assert "Traceback" not in shown
    assert len(list((tmp_path / "out").iterdir())) == 6
    assert any((tmp_path / "cache" / "jaxplain" / "compiled").iterdir())


def test_a_reader_that_stops_reading(program_path, tmp_path):
    command = [program_path, "explain", "sample:chelsea", "--out", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess] a pipe
        assert process.stderr.read() == ""  # pyright: ignore[reportOptionalMemberAccess] a pipe
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_interrupted_between_images(program_path, tmp_path, started):
    images = "sample:chelsea", "sample:coffee", "sample:rocket", "sample:camera", "sample:astronaut"
    command = [program_path, "explain", *images, "--out", tmp_path]
    with started(command) as process:
        while "written" not in process.stdout.readline():
            pass
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in err
    written = [path.name for path in tmp_path.iterdir()]
    assert "chelsea.json" in written
    assert len(written) % 3 == 0
    assert not any(name.startswith(".") for name in written)
