"""jaxplain evaluate: what it writes is what the library computes, and what it prints is true."""

import csv
import errno
import functools
import itertools
import json
import os
import sys
from importlib.metadata import version

import jax
import numpy as np
import pytest
from compare import assert_close
from PIL import Image

import jaxplain as jp
from jaxplain import metrics, workflows
from jaxplain.methods import METHODS
from jaxplain.models import load
from jaxplain.workflows import MEASURES, _result
from jaxplain.workflows._measures import blurred

WRITTEN = ["evaluation.csv", "evaluation.json", "evaluation.png"]


@pytest.fixture
def photos(tmp_path):
    """Three photographs of 48 x 32 pixels, of which a network of 16 x 16 sees columns 8 to 40."""
    paths = []
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(noise).resize((48, 32), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    return paths


@pytest.fixture
def evaluate(run, tiny, tmp_path):
    """Runs the command with the tiny network; returns its Result, and the record if there is one."""

    def evaluate(*arguments, **options):
        words = [word for name, values in options.items() for value in values for word in (f"--{name}", value)]
        result = run("evaluate", *arguments, *words, "--model", "tiny", "--weights", tiny, "--out", tmp_path / "out")
        path = tmp_path / "out" / "evaluation.json"
        return result, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    return evaluate


@pytest.fixture
def figures(monkeypatch):
    """The rows of panels of every figure that is drawn."""
    drawn, figure = [], _result.figure
    monkeypatch.setattr(_result, "figure", lambda rows, **options: drawn.append(rows) or figure(rows, **options))
    return drawn


def cells(out):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def written(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def number(value):
    return f"{value:.3f}" if value == 0 or 0.001 <= value < 1000 else f"{value:.2g}"


def values_written(tmp_path):
    with open(tmp_path / "out" / "evaluation.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


AGAIN, BOXES = ("max_sensitivity", "randomisation"), ("pointing_game", "energy_in_box")
ONCE = [name for name in MEASURES if name not in AGAIN + BOXES]


def by_library(model, pixels, target, key):
    """{method: (explainer, its map, that at the image's size)} and {metric: function of these}."""
    net, x = model.net, model.normalise(pixels)
    seen = jp.then(jp.before(net, model.normalise), jax.nn.softmax)
    noise = jax.random.uniform(key, (16, 16))
    explainers = {
        "grad_cam": lambda net, x, target: jp.grad_cam(net, x, target, layer="relu"),
        "gradient": jp.gradient,
        "random": lambda net, x, target: noise,
    }
    heats = {
        "grad_cam": lambda cam: np.maximum(cam, 0),
        "gradient": lambda gradient: np.maximum(np.sum(gradient, -1), 0),
        "random": lambda noise: noise,
    }
    maps = {name: np.asarray(explain(net, x, target)) for name, explain in explainers.items()}
    methods = {name: (explain, maps[name], heats[name](maps[name])) for name, explain in explainers.items()}
    start = np.asarray(blurred(pixels))
    measures = {
        "deletion": lambda explain, raw, heat: metrics.deletion(seen, pixels, target, heat, fill=0),
        "insertion": lambda explain, raw, heat: metrics.insertion(seen, pixels, target, heat, fill=start),
        "allegiance": lambda explain, raw, heat: metrics.allegiance(seen, pixels, heat, fill=0),
        "allegiance_white": lambda explain, raw, heat: metrics.allegiance(seen, pixels, heat, fill=1),
        "average_drop": lambda explain, raw, heat: metrics.average_drop(seen, pixels, target, heat),
        "increase_in_confidence": lambda explain, raw, heat: metrics.increase_in_confidence(seen, pixels, target, heat),
        "max_sensitivity": lambda explain, raw, heat: metrics.max_sensitivity(explain, net, x, target, key=key),
        "infidelity": lambda explain, raw, heat: metrics.infidelity(net, x, target, raw, key=key, normalise=True),
        "randomisation": lambda explain, raw, heat: metrics.randomisation(explain, net, x, target, key=key),
    }
    return methods, measures


@pytest.mark.parametrize(
    ("methods", "wanted"),
    [(["gradient"], ONCE), (["grad_cam", "random"], ["deletion", "infidelity"]), (["grad_cam"], AGAIN)],
    ids=["channels", "kinds of maps", "methods"],
)
def test_values_are_the_librarys(evaluate, tiny, photos, methods, wanted):
    result, record = evaluate(*photos[:2], method=methods, metric=wanted)
    assert result.status == 0, result.err
    model = load("tiny", tiny)
    pixels = model.pixels(photos[1])
    top = int(np.argmax(model.net(model.normalise(pixels))))
    image = record["images"][1]
    assert image["target"]["index"] == top
    key = jax.random.fold_in(jax.random.key(0), 1)
    found, measures = by_library(model, pixels, np.eye(1000, dtype=np.float32)[top], key)
    for method, metric in itertools.product(methods, wanted):
        explain, *maps = found[method]
        theirs = jax.jit(functools.partial(measures[metric], explain))(*maps)
        ours = image["scores"][method][metric]
        steps = record["summary"][method][metric].get("curve", {}).get("steps")
        if metric == "randomisation":
            assert steps == ["fc", "conv"]
            assert_close(np.array(ours["curve"]), np.array([theirs[layer] for layer in steps]), 1e-4)
            assert ours["value"] == pytest.approx(np.mean(ours["curve"]))
        elif MEASURES[metric].axes:
            assert_close(np.array(steps), theirs.fractions)
            assert_close(np.array(ours["curve"]), theirs.scores, 1e-4)
            assert ours["value"] == pytest.approx(float(theirs.area), rel=1e-4)
        else:
            assert ours["value"] == pytest.approx(float(theirs), rel=1e-3, abs=1e-9)


def test_noise_follows_no_network(evaluate, photos):
    _, record = evaluate(photos[0], method=["random"], metric=AGAIN)
    scores = record["images"][0]["scores"]["random"]
    assert scores["randomisation"]["curve"] == pytest.approx([1, 1])
    assert scores["max_sensitivity"]["value"] == 0


def test_record_says_what_was_done(evaluate, tiny, photos):
    result, record = evaluate(*photos[:2], method=["grad_cam", "saliency"], target=["espresso"])
    assert result.status == 0
    model = load("tiny", tiny)
    assert (record["model"], record["weights"]) == ("tiny", json.loads(json.dumps(model.weights._asdict())))
    assert record["methods"] == {"grad_cam": {"layer": "relu"}, "saliency": {"layer": None}}
    assert {name: metric["better"] for name, metric in record["metrics"].items()} == {
        "deletion": "lower", "insertion": "higher",
    }  # fmt: skip
    assert record["conventions"]["fill of deletion"] == "black"
    assert record["conventions"]["start of insertion"] == "blur"
    assert "softmax" in record["conventions"]["outputs"]
    assert record["versions"]["jaxplain"] == version("jaxplain")
    assert [row["image"] for row in record["images"]] == list(map(str, photos[:2]))
    for row, photo in zip(record["images"], photos, strict=False):
        assert (row["size"], row["seen"]) == ([48, 32], [8, 0, 40, 32])
        assert (row["target"]["index"], row["target"]["class"]) == (967, "espresso")
        probability = jax.nn.softmax(model.net(model.prepare(photo)))[967]
        assert row["target"]["probability"] == pytest.approx(float(probability), rel=1e-4)
        assert row["scores"]["saliency"]["deletion"]["curve"][0] == pytest.approx(float(probability), rel=1e-4)
    assert record["failed"] == []


def test_table_values_and_curves_agree(evaluate, photos, figures, tmp_path):
    """Three images are too few for an interval."""
    result, record = evaluate(*photos, photos[0], method=["hires_cam", "random"], metric=["insertion", "average_drop"])
    assert result.status == 0
    assert "3/3" in result.err  # an image that is named twice is evaluated once
    rows = values_written(tmp_path)
    assert len(rows) == 3 * 2 * 2
    assert set(rows[0]) == {"image", "target", "class", "method", "metric", "value", "left out"}
    printed = {row[0]: row[1:] for row in cells(result.out)}
    ((panel,),) = figures[0]
    for place, (method, metric) in enumerate(itertools.product(printed, ("insertion", "average_drop"))):
        values = [float(row["value"]) for row in rows if (row["method"], row["metric"]) == (method, metric)]
        assert values == [row["scores"][method][metric]["value"] for row in record["images"]]
        summary = record["summary"][method][metric]
        assert summary["mean"] == pytest.approx(np.mean(values))
        assert summary["interval"] is None
        assert printed[method][place % 2] == number(np.mean(values))
    for method in printed:
        curves = np.array([row["scores"][method]["insertion"]["curve"] for row in record["images"]])
        assert_close(panel.values[method], curves.mean(0))
    assert (panel.title, panel.steps) == ("insertion: higher is better", "share of pixels shown")
    assert panel.height == "probability of the target"
    assert_close(np.array(panel.places), np.linspace(0, 1, 21))
    assert f"{tmp_path / 'out' / 'evaluation'}.png, .csv and .json written" in result.out
    assert written(tmp_path) == WRITTEN


def test_one_image_has_no_interval_and_values_alone_are_bars(evaluate, photos, figures, tmp_path):
    result, record = evaluate(photos[0])
    assert (result.status, result.err) == (0, "")
    assert [row[0] for row in cells(result.out)] == ["grad_cam", "random"]
    assert cells(result.out)[0][1] == number(record["summary"]["grad_cam"]["deletion"]["mean"])
    assert record["summary"]["random"]["insertion"]["interval"] is None
    assert [panel.bands for panel in figures[0][0]] == [{}, {}]
    assert written(tmp_path) == WRITTEN
    result, record = evaluate(photos[0], metric=["average_drop"])
    assert result.status == 0
    assert f"{tmp_path / 'out' / 'evaluation'}.png, .csv and .json written" in result.out
    means = {name: row["average_drop"]["mean"] for name, row in record["summary"].items()}
    (bars,) = figures[-1][0]
    assert dict(zip(bars.names, bars.values, strict=True)) == means


@pytest.mark.parametrize(("fill", "level"), [("white", 1.0), ("grey", 0.5)])
def test_fill_is_of_both(evaluate, tiny, photos, fill, level):
    _, record = evaluate(photos[0], method=["saliency"], fill=[fill], target=["3"])
    model, target = load("tiny", tiny), jp.one_hot(3, 1000)
    seen, pixels = jp.then(jp.before(model.net, model.normalise), jax.nn.softmax), model.pixels(photos[0])
    heat = jp.saliency(model.net, model.normalise(pixels), target)
    for name in ("deletion", "insertion"):
        theirs = getattr(metrics, name)(seen, pixels, target, heat, fill=level)
        curve = record["images"][0]["scores"]["saliency"][name]["curve"]
        assert_close(np.array(curve), theirs.scores, 1e-4)
    assert record["conventions"]["fill of deletion"] == record["conventions"]["start of insertion"] == fill


def spot(net, x, target):
    """3 in row 3 and column 5, rows 6 to 8 and columns 18 to 20 of the photographs, and 1 in row 10 and column 2."""
    return jax.numpy.zeros((16, 16)).at[3, 5].set(3.0).at[10, 2].set(1.0)


@pytest.mark.parametrize(
    ("box", "hits", "energy"),
    [
        ("18,6,20,8", 1, 0.75),
        ("17.2,5.4,20.3,8", 1, 0.75),
        ("20,6,24,8", 0, 0),
        ("0,0,20,32", 1, 1),
        ("12,20,14,22", 0, 0.25),
    ],
)
def test_the_box_is_in_pixels_of_the_photograph(evaluate, monkeypatch, photos, box, hits, energy):
    monkeypatch.setitem(METHODS, "saliency", METHODS["saliency"]._replace(explain=spot))
    result, record = evaluate(photos[0], method=["saliency"], metric=BOXES, box=[box])
    assert (result.status, result.err) == (0, "")
    assert [record["summary"]["saliency"][name]["mean"] for name in BOXES] == pytest.approx([hits, energy])
    assert record["images"][0]["box"] == list(map(float, box.split(",")))


def test_everything_is_compiled_once(evaluate, monkeypatch, photos):
    traced = []

    def counted(name, f):
        return lambda *args, **options: traced.append(name) or f(*args, **options)

    for name in ("deletion", "max_sensitivity"):
        monkeypatch.setattr(metrics, name, counted(name, getattr(metrics, name)))
    monkeypatch.setitem(METHODS, "gradient", METHODS["gradient"]._replace(explain=counted("gradient", jp.gradient)))
    metric, fill = ["deletion", "max_sensitivity"], ["blur"]  # which no other test deletes with
    result, _ = evaluate(*photos, method=["gradient", "random"], metric=metric, fill=fill)
    assert result.status == 0
    assert traced.count("deletion") == 1  # for all methods
    assert traced.count("max_sensitivity") == 2  # it calls the method
    assert traced.count("gradient") == 1 + 2  # its map, and before and after noise


def test_the_other_images_are_still_evaluated(evaluate, photos, tmp_path):
    photos[1].write_bytes(photos[1].read_bytes()[:200])
    result, record = evaluate(photos[0], photos[1], tmp_path / "nix.png", photos[2], metric=["deletion"])
    assert result.status == 1
    summary, *failures = [line for line in result.err.splitlines() if line.startswith("jaxplain: ")]
    assert summary == "jaxplain: 2 of 4 images could not be evaluated:"
    assert "1.png cannot be decoded" in failures[0]
    assert "nix.png" in failures[1]
    assert [row["image"] for row in record["images"]] == [str(photos[0]), str(photos[2])]
    assert [row["image"] for row in record["failed"]] == [str(photos[1]), str(tmp_path / "nix.png")]
    assert "mean of 2 images" in result.out


def test_all_images_fail(evaluate, tmp_path):
    result, record = evaluate(tmp_path / "nix.png", tmp_path / "nox.png")
    assert (result.status, result.out, record) == (2, "", None)
    assert "None of 2 images can be evaluated" in result.err
    assert "nix.png" in result.err
    assert "nox.png" in result.err
    assert not (tmp_path / "out").exists()


def test_a_map_that_is_not_finite_is_no_result(evaluate, monkeypatch, photos, tmp_path):
    row = METHODS["saliency"]._replace(explain=lambda net, x, target: jax.numpy.full((16, 16), np.nan))
    monkeypatch.setitem(METHODS, "saliency", row)
    result, record = evaluate(photos[0], method=["saliency"])
    assert (result.status, record) == (2, None)
    says = "No map can be measured, since none has an order: saliency 1 of 1 maps (1 not finite).\n"
    assert result.err == f"jaxplain: {says}"


def test_odd_file_names(evaluate, photos, tmp_path):
    names = ["a,b.png", "käse 猫 [bold].png"] + [os.fsdecode(b"bad\xff.png")] * (sys.platform == "linux")
    for name in names:
        Image.open(photos[0]).save(tmp_path / "copy.png")
        os.replace(tmp_path / "copy.png", tmp_path / name)
    result, record = evaluate(*(tmp_path / name for name in names), method=["random"], metric=["average_drop"])
    assert result.status == 0, result.err
    assert [row["image"] for row in record["images"]] == [str(tmp_path / name) for name in names]
    rows = values_written(tmp_path)
    printed = [name.encode(errors="backslashreplace").decode() for name in names]
    assert [row["image"] for row in rows] == [str(tmp_path / name) for name in printed]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [(OSError(errno.ENOSPC, "No space left on device"), 2, "out cannot be written to (No space left"),
     (KeyboardInterrupt(), 130, "")],
    ids=["full", "interrupted"],
)  # fmt: skip
def test_all_files_or_none(evaluate, monkeypatch, photos, tmp_path, error, status, words):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(_result, "figure", fails)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "evaluation.csv").write_text("an earlier result")
    result, _ = evaluate(photos[0], method=["random"], metric=["deletion"])
    assert (result.status, result.out) == (status, "")
    assert words in result.err
    assert "Traceback" not in result.err
    assert written(tmp_path) == WRITTEN[:1]
    assert (tmp_path / "out" / "evaluation.csv").read_text() == "an earlier result"


def test_the_command_is_the_workflow(evaluate, tiny, photos):
    methods, metric = ["grad_cam", "secam", "random"], ["insertion", "average_drop"]
    result, record = evaluate(*photos[:2], method=methods, metric=metric)
    assert result.status == 0, result.err
    found = workflows.evaluate(load("tiny", tiny), list(map(str, photos[:2])), methods=methods, metrics=metric)  # pyright: ignore[reportArgumentType] names of metrics
    for row, outcome in zip(record["images"], found.images, strict=True):
        for method, name in itertools.product(methods, metric):
            score = outcome.scores[method][name]
            assert row["scores"][method][name]["value"] == score.value
            assert row["scores"][method][name].get("curve", []) == list(score.curve)
    for method, name in itertools.product(methods, metric):
        summary = found.summaries[method][name]
        written = record["summary"][method][name]
        assert (written["mean"], written["interval"]) == (summary.mean[0], None)


def test_a_method_about_a_reference(evaluate, photos):
    options = {"method": ["fam"], "metric": ["insertion"]}
    result, record = evaluate(photos[0], reference=[photos[1]], layer=["conv"], **options)
    assert (result.status, result.err) == (0, "")
    assert record["methods"] == {"fam": {"layer": "conv", "reference": str(photos[1])}}
    image = record["images"][0]
    assert image["scores"]["fam"]["insertion"]["curve"][-1] == pytest.approx(image["similarity"], rel=1e-4)


PHOTO = "sample:coffee"
CASES = {
    "no image": ("", "IMAGE", "jaxplain evaluate --help"),
    "missing": ("nix.png", "no file nix.png", "check the path"),
    "method": (f"{PHOTO} --method gradcam", "no method 'gradcam'", "grad_cam"),
    "metric": (f"{PHOTO} --metric deletoin", "no metric 'deletoin'", "deletion"),
    "fill": (f"{PHOTO} --fill whit", "no fill 'whit'", "white"),
    "layer": (f"{PHOTO} --layer _block.10", "no layer '_block.10'", "_blocks.10", "jaxplain layers"),
    "flat layer": (f"{PHOTO} --layer _fc", "'_fc' has no height and width", "jaxplain layers"),
    "class": (f"{PHOTO} --target espreso", "no class 'espreso'", "espresso (967)"),
    "model": (f"{PHOTO} --model resnet51", "no model 'resnet51'", "resnet50"),
    "no box": (f"{PHOTO} --metric pointing_game", "pointing_game compares", "add --box LEFT,TOP,RIGHT,BOTTOM"),
    "box for nothing": (f"{PHOTO} --box 1,2,3,4", "--box is for metrics of the object's box", "--metric pointing_game"),
    "box for two": (f"{PHOTO} sample:cat --metric pointing_game --box 1,2,3,4", "one image", "there are 2"),
    "box of words": (f"{PHOTO} --metric energy_in_box --box 1,2,x,4", "--box is '1,2,x,4'", "four numbers"),
    "box of three": (f"{PHOTO} --metric energy_in_box --box 1,2,3", "--box is '1,2,3'", "four numbers"),
    "box outside": (f"{PHOTO} --metric energy_in_box --box 1,2,3,401", "3,401, which is not in", "600 x 400"),
    "box turned": (f"{PHOTO} --metric energy_in_box --box 9,2,3,4", "9,2,3,4, which is not in", "LEFT < RIGHT"),
    "box of nan": (f"{PHOTO} --metric energy_in_box --box nan,2,3,4", "nan,2,3,4, which is not in the image"),
    "box unseen": (f"{PHOTO} --metric energy_in_box --box 0,0,30,30", "no pixel of the part", "125,25,475,375"),
    "no reference": (f"{PHOTO} --method fam", "a reference, which is not given", "add --reference IMAGE"),
    "reference for nothing": (f"{PHOTO} --reference {PHOTO}", "--reference is for methods", "--method fam"),
    "segmenter": (f"{PHOTO} --method secam --segmenter slick", "no segmenter 'slick'", "slic"),
    "out is a file": (f"{PHOTO} --out text", "text cannot be written to", "--out"),
    "out refused": (f"{PHOTO} --out /proc/out", "/proc/out cannot be written to", "--out"),
    "out over the photograph": ("evaluation.png --out .", "evaluation.png is one of the images", "--out"),
}


@pytest.mark.parametrize(("arguments", "words"), [(a, words) for a, *words in CASES.values()], ids=CASES)
def test_mistakes_are_told_in_one_sentence(run, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("a file")
    status, out, err = run("evaluate", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("jaxplain: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_help_names_every_option_method_metric_and_convention(run):
    status, out, err = run("evaluate", "--help")
    assert (status, err) == (0, "")
    options = (
        "--model",
        "--weights",
        "--method",
        "--metric",
        "--layer",
        "--target",
        "--fill",
        "--box",
        "--reference",
        "--out",
    )
    for word in (*options, *METHODS, *MEASURES, "softmax", "black", "blur"):
        assert word in out
