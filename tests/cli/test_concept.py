"""jaxplain concept: what it writes is what the library computes, and what cannot be is told in one sentence."""

import csv
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from PIL import Image

import jaxplain as jp
from jaxplain import concepts, stats, workflows
from jaxplain.concepts import read, save
from jaxplain.explain import Concept
from jaxplain.models import load

LAYERS = "conv", "relu"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Images of two textures in two colours, which every network can tell apart, and random ones."""
    folder = tmp_path_factory.mktemp("images")
    for name, colour in (("dots", [1, 0.2, 0]), ("stripes", [0, 0.3, 1])):
        for path in concepts.write(folder, name, 6, size=24).iterdir():
            Image.fromarray((np.asarray(Image.open(path)) * np.array(colour)).astype(np.uint8)).save(path)
    concepts.write(folder, "random", 12, size=24)
    return folder


@pytest.fixture
def place(tiny, folders, monkeypatch):
    """A working folder beside the tiny network's weights, with the images."""
    monkeypatch.chdir(tiny.parent)
    for name in ("dots", "stripes", "random"):
        shutil.copytree(folders / name, tiny.parent / name)
    return tiny.parent


def fit(run, name, *options, images=None, layers=LAYERS):
    given = [part for layer in layers for part in ("--layer", layer)]
    where = "--images", images or name, "--random", "random", "--model", "tiny", "--weights", "tiny"
    return run("concept", "fit", name, *where, *given, "--nulls", 5, *options)


@pytest.fixture
def fitted(run, place):
    for name in ("dots", "stripes"):
        assert fit(run, name).status == 0
    return {name: read(place / f"{name}.concept") for name in ("dots", "stripes")}


def activations(model, folder, layer):
    X = np.stack([model.prepare(path) for path in sorted(folder.iterdir())])
    return jax.vmap(lambda x: jp.view(model.net, layer, x)[0])(X)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_fitted_concept_is_the_librarys(fitted, place):
    model = load("tiny", place / "tiny")
    for layer in LAYERS:
        ours, random = (activations(model, place / name, layer) for name in ("dots", "random"))
        assert_close(fitted["dots"].concepts[layer], jp.fit_concept(ours, random), 1e-4)
        assert_close(fitted["dots"].nulls[layer], concepts.null_concepts(random, 5, size=6), 1e-4)
    assert (fitted["dots"].images, fitted["dots"].random, fitted["dots"].model) == (6, 12, "tiny")
    first = Image.open(place / "dots" / "000.png").resize((16, 16), Image.Resampling.BILINEAR)
    shown = Image.fromarray(fitted["dots"].examples[0]).resize((16, 16), Image.Resampling.BOX)
    assert np.abs(np.asarray(first, float) - np.asarray(shown, float)).mean() < 20


def everything(fitted, layer):
    """Both concepts and then their null concepts, and {name: places of its null concepts}."""
    stack = jp.stack_concepts([fitted[name].concepts[layer] for name in fitted])
    nulls = [fitted[name].nulls[layer] for name in fitted]
    return jax.tree.map(lambda *a: np.concatenate(a), stack, *nulls), {"dots": slice(2, 7), "stripes": slice(7, 12)}


def test_explaining_writes_what_the_library_computes(run, fitted, place):
    image = "dots/003.png"
    shutil.copy(image, place / "photo.png")
    model = load("tiny", "tiny")
    x = model.prepare("photo.png")
    classes = np.argsort(model.net(x))[[-2, -1]].tolist()
    targets = [part for k in classes for part in ("--target", k)]
    options = "--weights", "tiny", *targets, "--steps", 8
    done = run("concept", "explain", "photo.png", *options, "--concepts", "dots.concept", "stripes.concept")
    assert done.status == 0, done.err
    rows, record = table("out/photo_concepts.csv"), json.loads((place / "out/photo_concepts.json").read_text())
    assert len(rows) == 2 * 2 * 2
    p = np.array([float(row["p"]) for row in rows])
    assert_close(np.array([row["p_holm"] for row in record["attributions"]]), stats.holm(p))
    for layer in LAYERS:
        concepts, places = everything(fitted, layer)
        explain = jp.over_classes(jp.concept_attribution)
        expected = explain(model.net, x, jp.one_hot(np.array(classes), 1000), layer=layer, concepts=concepts, steps=8)
        assert_close(record["shares"][layer], expected.share.tolist(), 1e-4)
        assert record["completeness_error"][layer] == pytest.approx(float(expected.error.max()), abs=1e-5)
        for i, name in enumerate(fitted):
            mine = [row for row in rows if row["layer"] == layer and row["concept"] == name]
            assert [int(row["target"]) for row in mine] == classes
            values, nulls = np.asarray(expected.values)[:, i], np.asarray(expected.values)[:, places[name]].T
            assert (values.max() > 0) or name == "stripes"  # which are blue, and the photograph is red
            assert_close([float(row["value"]) for row in mine], values.tolist(), 1e-3)
            bands = np.transpose(stats.null_band(nulls))
            assert_close(np.array([[float(row["null_low"]), float(row["null_high"])] for row in mine]), bands, 1e-3)
            p = stats.compare(values[None], nulls)
            assert_close([float(row["p"]) for row in mine], p.tolist(), 1e-2)
    assert [one["index"] for one in record["classes"]] == classes
    assert all(one["class"].split()[0] in done.out for one in record["classes"])
    with Image.open("out/photo_concepts.png") as figure:
        assert figure.size[0] == pytest.approx(3 * 416, abs=10)  # photograph, dots, stripes


def same(value, path, folder):
    """Whether saving the workflow's value writes what the command has written to the last bit, and its rows."""
    suffixes = (".png", ".csv", ".json")
    assert value.save(folder / "again") == tuple(folder / f"again{suffix}" for suffix in suffixes)
    rows = json.loads(path.with_suffix(".json").read_text())["attributions"]
    assert rows == [row._asdict() for row in value.rows]
    for suffix in suffixes:
        assert (folder / f"again{suffix}").read_bytes() == path.with_suffix(suffix).read_bytes()
    return True


def test_a_concept_is_fitted_as_by_the_workflow(fitted, place):
    ours = workflows.fit_concept(load("tiny", "tiny"), "dots", "dots", "random", layers=LAYERS, nulls=5)
    assert_close((ours.concepts, ours.nulls), (fitted["dots"].concepts, fitted["dots"].nulls), 0)
    save("ours.concept", ours)
    assert (place / "ours.concept").read_bytes() == (place / "dots.concept").read_bytes()


@pytest.mark.slow
def test_explanations_are_those_of_the_workflow(run, fitted, place):
    files, options = ["dots.concept", "stripes.concept"], ["--weights", "tiny", "--steps", 4]
    done = run("concept", "explain", "dots/000.png", "stripes/001.png", *options, "--concepts", *files)
    assert done.status == 0, done.err
    model, images = load("tiny", "tiny"), ["dots/000.png", "stripes/001.png"]
    found = workflows.explain_concepts(model, images, files, steps=4)
    assert len(found) == 2
    assert same(found[0], place / "out/000_concepts.json", place)
    assert same(found[1], place / "out/001_concepts.json", place)
    one = workflows.explain_concepts(model, images[1], [fitted["dots"], files[1]], steps=4)
    assert_close((one.maps, one.values, one.nulls), (found[1].maps, found[1].values, found[1].nulls), 0)


def test_concepts_of_a_class_are_those_of_the_workflow(run, fitted, place):
    (place / "stripes" / "note.txt").write_text("no image")
    options = "--weights", "tiny", "--target", 5, "--steps", 4, "--skip-unreadable"
    done = run("concept", "global", "stripes", *options, "--concepts", "dots.concept")
    assert done.status == 0, done.err
    assert "left out: stripes/note.txt" in done.err
    found = workflows.global_concepts(
        load("tiny", "tiny"), "stripes", "dots.concept", 5, steps=4, failed=lambda *_: None
    )
    assert same(found, place / "out/concepts_5.json", place)


def test_the_top_three_are_explained_and_a_map_shows_its_concept(run, fitted, place):
    assert run("concept", "explain", "dots/000.png", "--weights", "tiny", "--concepts", "dots.concept").status == 0
    record = json.loads((place / "out/000_concepts.json").read_text())
    model = load("tiny", "tiny")
    best = np.argsort(-np.asarray(model.net(model.prepare("dots/000.png"))))[:3]
    assert [one["index"] for one in record["classes"]] == best.tolist()


def test_a_class_over_a_folder(run, fitted, place):
    options = "--weights", "tiny", "--target", 5, "--rule", "gauss_legendre", "--steps", 4, "--test", "permutation"
    done = run("concept", "global", "stripes", *options, "--concepts", "dots.concept", "--concepts", "stripes.concept")
    assert done.status == 0, done.err
    rows, record = table("out/concepts_5.csv"), json.loads((place / "out/concepts_5.json").read_text())
    model = load("tiny", "tiny")
    X = jnp.stack([model.prepare(path) for path in sorted((place / "stripes").iterdir())])
    explain = jp.batched(jp.concept_attribution)
    for layer in LAYERS:
        concepts, places = everything(fitted, layer)
        targets = np.tile(jp.one_hot(5, 1000), (6, 1))
        found = explain(model.net, X, targets, layer=layer, concepts=concepts, rule="gauss_legendre", steps=4).values
        for i, name in enumerate(fitted):
            (row,) = [row for row in rows if row["layer"] == layer and row["concept"] == name]
            values, nulls = np.asarray(found)[:, i], np.asarray(found)[:, places[name]].mean(axis=0)
            assert (values.max() > 0) or name == "dots"
            ends = [float(row[key]) for key in ("value", "deviation", "low", "high")]
            assert_close(np.array(ends), np.array(stats.interval(values)), 1e-3)
            assert float(row["p"]) == pytest.approx(np.mean(np.append(nulls, values.mean()) >= values.mean()))
            each = [image["values"][layer][name] for image in record["images"]]
            assert_close(np.array(each), values, 1e-3)
    assert [image["image"] for image in record["images"]] == [f"{number:03}.png" for number in range(6)]
    assert record["images"][2]["predicted"] == int(np.argmax(model.net(X[2])))


def test_unreadable_files_are_named_and_left_out_only_when_asked(run, place):
    (place / "dots" / "a note.txt").write_text("no image")
    refused = fit(run, "dots")
    assert refused.status == 2
    assert "1 of 7 files" in refused.err
    assert "a note.txt" in refused.err
    assert "--skip-unreadable" in refused.err
    assert not (place / "dots.concept").exists()
    assert not (place / "out").exists()
    done = fit(run, "dots", "--skip-unreadable")
    assert done.status == 0
    assert "left out" in done.err
    assert read(place / "dots.concept").images == 6


def test_a_concept_that_is_not_recognised_is_told(run, fitted, place):
    lost = {layer: concept._replace(high=concept.low - 1) for layer, concept in fitted["dots"].concepts.items()}
    save("dots.concept", fitted["dots"]._replace(concepts=lost))
    done = run("concept", "explain", "dots/000.png", "--weights", "tiny", "--concepts", "dots.concept")
    assert done.status == 0
    assert "dots (not" in done.out
    rows = table("out/000_concepts.csv")
    assert {(row["recognised"], float(row["value"])) for row in rows} == {("False", 0.0)}


def repeated(concept):
    return jax.tree.map(lambda a: np.stack([a] * 5), concept)


def test_what_is_beyond_random_concepts_has_a_star(run, fitted, place):
    """At one layer random concepts see nothing, and at the other the same as the concept itself."""
    blind = fitted["dots"].nulls["relu"]
    nulls = {"relu": blind._replace(direction=-abs(blind.direction)), "conv": repeated(fitted["dots"].concepts["conv"])}
    save("dots.concept", fitted["dots"]._replace(nulls=nulls))
    done = run("concept", "explain", "dots/000.png", "--weights", "tiny", "--concepts", "dots.concept")
    assert done.status == 0
    starred = {(row["layer"], float(row["p_holm"]) < 0.05) for row in table("out/000_concepts.csv")}
    assert starred == {("relu", True), ("conv", False)}
    assert done.out.count(" *") == 1 + 3  # one of them explains it


def changed(fitted, **values):
    save("other.concept", fitted["dots"]._replace(**values))


WRONG = {
    "another model": (lambda f: changed(f, model="resnet50"), ["--model", "tiny"], "was fitted in resnet50, but"),
    "other weights": (lambda f: changed(f, parameters="0" * 64), [], "with other weights than"),
    "preprocessing": (lambda f: changed(f, preprocessing={"resize": 3}), [], "another preprocessing"),
    "another layer": (
        lambda f: changed(f, concepts={"fc": f["dots"].concepts["relu"]}, nulls={"fc": f["dots"].nulls["relu"]}),
        [], "Layer 'fc' has no height and width",
    ),
    "no such layer": (
        lambda f: changed(f, concepts={"no": f["dots"].concepts["relu"]}, nulls={"no": f["dots"].nulls["relu"]}),
        [], "no layer 'no'",
    ),
    "another width": (
        lambda f: changed(
            f, concepts={"relu": Concept(np.ones(9), *np.array([0, 1], np.float32))},  # pyright: ignore[reportArgumentType] numpy does here
            nulls={"relu": Concept(np.ones((2, 9)), *np.array([[0, 0], [1, 1]], np.float32))},  # pyright: ignore[reportArgumentType] numpy does here
        ),
        [], "'dots' has 9 channels, but 'relu' has 6",
    ),
    "cut short": (lambda f: shorten("dots.concept"), [], "is no concept, or is cut short"),
    "no file": (lambda f: None, [], "no file other.concept"),
    "twice": (changed, ["--concepts", "dots.concept"], "Two of the files hold a concept 'dots'"),
    "rule": (changed, ["--rule", "simpson"], "no rule 'simpson'"),
    "test": (changed, ["--test", "t"], "no test 't'"),
    "class": (changed, ["--target", "zebra crossing"], "zebra crossing"),
}  # fmt: skip


def shorten(name):
    with open(name) as file, open("other.concept", "w") as other:
        other.write(file.read()[:500])


@pytest.mark.parametrize("case", WRONG)
def test_concepts_that_are_not_at_home_are_refused(run, fitted, place, case):
    prepare, options, says = WRONG[case]
    prepare(fitted)
    done = run("concept", "explain", "dots/000.png", "--weights", "tiny", "--concepts", "other.concept", *options)
    assert done.status == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert not (place / "out").exists()


def test_what_cannot_be_fitted(run, place):
    shutil.copy("dots/000.png", "random/copy.png")
    (place / "one").mkdir()
    shutil.copy("dots/000.png", "one/only.png")
    (place / "none").mkdir()
    for done, says in (
        (fit(run, "dots"), "1 of the images are among the random ones"),
        (fit(run, "one"), "There are 1 images of 'one'"),
        (fit(run, "none"), "There are no images in none"),
        (fit(run, "nowhere"), "nowhere is not there"),
        (fit(run, "stripes", layers=["fc"]), "Layer 'fc' has no height and width"),
        (fit(run, "stripes", layers=["rely"]), "no layer 'rely'; near are relu"),
        (fit(run, "stripes", "--out", "none"), "none is a folder, but a file is expected"),
    ):
        assert done.status == 2
        assert says in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert not list(place.glob("*.concept"))


def test_a_folder_and_a_class_are_needed(run, fitted, place):
    options = "--weights", "tiny", "--concepts", "dots.concept"
    for done, says in (
        (run("concept", "global", "dots", *options), "--target"),
        (run("concept", "global", "dots", "stripes", "--target", 3, *options), "There are 2 folders"),
        (run("concept", "global", "nowhere", "--target", 3, *options), "nowhere is not there"),
        (run("concept", "explain", *options), "IMAGE"),
        (run("concept", "explain", "dots/000.png"), "--concepts"),
    ):
        assert done.status == 2
        assert says in done.err
