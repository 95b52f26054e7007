"""jaxplain retrieve: the ranking and the maps are the library's, and what cannot be is told in one sentence."""

import csv
import json
import shutil

import numpy as np
import pytest
from compare import assert_close
from PIL import Image
from skimage import data

import jaxplain as jp
from jaxplain import workflows
from jaxplain.models import load
from jaxplain.similarity import normalised
from jaxplain.workflows import _result

NAMES = ("chelsea", "coffee", "astronaut", "rocket", "moon")


@pytest.fixture
def place(tiny, monkeypatch):
    """A working folder beside the tiny network's weights, with a gallery of 20 images and a query."""
    monkeypatch.chdir(tiny.parent)
    (tiny.parent / "gallery").mkdir()
    for name in NAMES:
        photo = Image.fromarray(getattr(data, name)()).convert("RGB").resize((96, 96))
        for number in range(4):
            photo.crop((8 * number, 0, 64 + 8 * number, 64)).save(f"gallery/{name} {number}.png")
    photo = Image.fromarray(data.chelsea()).resize((96, 96))
    photo.crop((30, 30, 90, 90)).save("query.png")
    return tiny.parent


def retrieve(run, *options, query="query.png"):
    gallery = () if "--gallery" in options else ("--gallery", "gallery")
    return run("retrieve", query, *gallery, "--model", "tiny", "--weights", "tiny", *options)


def similarity(name, q, r):
    if name == "cosine":
        return q @ r / np.linalg.norm(q) / np.linalg.norm(r)
    return -np.sum((q - r) ** 2)


@pytest.mark.parametrize("name", ["cosine", "squared_euclidean"])
def test_the_ranking_is_that_of_the_embeddings(run, place, name):
    done = retrieve(run, "--similarity", name, "--top", 3, "--layer", "conv")
    assert (done.status, done.err) == (0, "")
    model = load("tiny", "tiny")
    embed = jp.embedding(model.net, "conv")
    q = np.asarray(embed(model.prepare("query.png")))
    files = sorted((place / "gallery").iterdir())
    values = np.array([similarity(name, q, np.asarray(embed(model.prepare(path)))) for path in files])
    order = np.argsort(-values)
    with open("out/query_matches.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"gallery/{files[i].name}" for i in order]
    assert_close(np.array([float(row["similarity"]) for row in rows]), values[order], 1e-4)
    record = json.loads((place / "out/query_matches.json").read_text())
    assert [match["image"] for match in record["matches"]] == [f"gallery/{files[i].name}" for i in order[:3]]
    assert (record["layer"], record["similarity"], record["gallery"]) == ("conv", name, 20)
    assert all(files[i].name in done.out for i in order[:3])
    assert files[order[3]].name not in done.out
    with Image.open("out/query_matches.png") as figure:
        assert figure.size[0] == 4 * 416  # the query and three matches


def test_maps_are_on_both_sides_of_each_pair(run, monkeypatch, place):
    figures, figure = [], _result.figure
    monkeypatch.setattr(_result, "figure", lambda rows, **options: figures.append(rows) or figure(rows, **options))
    done = retrieve(run, "--explain", "--top", 2)
    assert (done.status, done.err) == (0, "")
    record = json.loads((place / "out/query_matches.json").read_text())
    model = load("tiny", "tiny")
    x = model.prepare("query.png")
    (_, *above), (_, *below) = figures[0]
    for match, upper, lower in zip(record["matches"], above, below, strict=True):
        other = model.prepare(match["image"])
        reference = jp.embedding(model.net, "relu")(other)
        assert_close(upper.heat, jp.fam(model.net, x, reference, layer="relu"), 1e-4)
        weights = normalised(jp.fam_contributions(jp.view(model.net, "relu", x)[0], reference, split="cosine"))
        assert_close(lower.heat, jp.channel_map(model.net, other, weights, layer="relu"), 1e-4)


def test_the_querys_own_file_is_left_out(run, place):
    done = retrieve(run, query="gallery/../gallery/moon 2.png")
    assert done.status == 0
    assert "among 19 images" in done.out
    with open("out/moon 2_matches.csv") as file:
        assert "moon 2.png" not in file.read()


def test_unreadable_files_are_left_out_only_when_asked(run, place):
    (place / "gallery" / "notes.txt").write_text("no image")
    refused = retrieve(run)
    assert refused.status == 2
    assert "1 of 21 files cannot be used as images, gallery/notes.txt" in refused.err
    assert not (place / "out").exists()
    done = retrieve(run, "--skip-unreadable")
    assert done.status == 0
    assert "left out: gallery/notes.txt" in done.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--similarity", "angle"], "no similarity 'angle'"),
        (["--layer", "fc"], "Layer 'fc' has no height and width"),
        (["--layer", "rely"], "no layer 'rely'; near are relu"),
        (["--top", 0], "--top"),
        (["--gallery", "nowhere"], "nowhere is not there"),
        (["--gallery", "query.png"], "query.png is a file"),
        (["--gallery", "empty"], "no images in empty"),
        (["--gallery", "alone"], "no image but the query"),
        (["--out", "query.png"], "query.png cannot be written to"),
    ],
)
def test_what_cannot_be_searched(run, place, options, says):
    (place / "empty").mkdir()
    (place / "alone").mkdir()
    shutil.move("query.png", "alone/query.png")
    (place / "query.png").symlink_to("alone/query.png")
    done = retrieve(run, *options)
    assert done.status == 2
    assert says in done.err
    assert done.err.count("\n") == 1
    assert not (place / "out").exists()


def test_missing_query(run, place):
    done = retrieve(run, query="nix.jpg")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "no file nix.jpg" in done.err


def test_the_command_is_the_workflow(run, place):
    assert retrieve(run, "--layer", "conv", "--top", 3).status == 0
    found = workflows.retrieve(load("tiny", "tiny"), "query.png", "gallery", layer="conv", top=3)
    record = json.loads((place / "out/query_matches.json").read_text())
    assert record["matches"] == [{"image": str(m.image), "similarity": m.similarity} for m in found.matches]
    with open("out/query_matches.csv", newline="") as file:
        assert [float(row["similarity"]) for row in csv.DictReader(file)] == found.similarities.tolist()
