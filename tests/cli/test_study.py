"""jaxplain study: a study from its images to its report, and what is wrong with one."""

import json
import re
import time
import urllib.error
import urllib.request

import pytest

from jaxplain.models import load
from jaxplain.study import Play, load_study, play, rounds, write_plays

TINY = ("--model", "tiny", "--weights", "tiny")
LAYERS = ("--layer", "conv", "--layer", "relu", "--clustering", "kmeans")


@pytest.fixture
def place(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    return tiny.parent


@pytest.fixture
def made(run, place):
    done = run("study", "new", "s", "--images", "sample:chelsea", "--images", "sample:coffee", *TINY, *LAYERS)
    assert (done.status, done.err) == (0, "")
    return load_study("s")


def test_a_study_from_its_images_to_its_table(run, made, place):
    count = len(rounds(made))
    assert count > 2
    done = run("study", "play", "s", "--weights", "tiny")
    assert (done.status, done.err) == (0, "")
    one = rounds(made)[0]
    truth = next(image.truth for image in made.images if image.id == one.image)
    theirs = Play("ada", "person", one.image, one.layer, one.cluster, truth, truth, "win", 1, ("a fin", "a tail"))
    write_plays(place / "theirs.csv", [theirs])
    assert run("study", "add", "s", "theirs.csv").out == "theirs.csv: plays added: 1, there already: 0\n"
    done = run("study", "status", "s", "--plays", 3)
    assert f"{count}, of which 0 have 3 plays or more" in done.out
    assert f"{count}, of which 0 have 3 plays" in run("study", "status", "s").out  # the target is kept
    assert re.search(rf"tiny \(network\)\W+{count} plays", done.out)
    assert run("study", "export", "s", "out/all.csv").out == f"out/all.csv written: {count + 1} plays\n"
    assert run("study", "add", "s", "out/all.csv").out.endswith(f"plays added: 0, there already: {count + 1}\n")
    from jaxplain.study import read_plays

    assert read_plays("out/all.csv") == (*play(load("tiny", "tiny"), made), theirs)


def test_the_report_is_the_librarys(run, made, place):
    for needed in ("jinja2", "sentence_transformers", "simplemma"):
        pytest.importorskip(needed, reason="the extra study is not installed")
    from jaxplain.study import explained, report

    assert run("study", "report", "s").out == "s/report.html written\n"
    assert (place / "s" / "report.html").read_text() == report(made, explained(made, ()))
    one = rounds(made)[0]
    truth = next(image.truth for image in made.images if image.id == one.image)
    place_of = (one.image, one.layer, one.cluster, truth, truth)
    write_plays(place / "it.csv", [Play("ada", "person", *place_of, "win", 0, ("pinne rosse",), "it")])
    run("study", "add", "s", "it.csv")
    (place / "english.csv").write_text("language,label,english\nit,pinne rosse,scarlet plumage\n")
    assert run("study", "report", "s").status == 0
    assert "without a translation" in (place / "s" / "report.html").read_text()
    assert run("study", "report", "s", "--translations", "english.csv").status == 0
    assert "plumage" in (place / "s" / "report.html").read_text()
    assert run("study", "report", "s", "--out", "there/r.html").status == 0
    assert (place / "there" / "r.html").exists()


def test_classes_and_their_names(run, place):
    (place / "names.json").write_text(json.dumps({"1": {"it": "pesce"}}))
    options = ("--target", 1, "--class", 1, "--class", 0, "--names", "names.json")
    assert run("study", "new", "s", "--images", "sample:chelsea", *TINY, *LAYERS, *options).status == 0
    study = load_study("s")
    assert study.classes == ("tench", "goldfish")
    assert study.names == {"goldfish": {"it": "pesce"}}


def test_invitations_are_links(run, made):
    pytest.importorskip("starlette", reason="the extra study is not installed")
    links = run("study", "invite", "s", "--count", 3, "--url", "https://game.example/").out.split()
    assert len({*links}) == 3
    assert all(re.fullmatch(r"https://game\.example/join/[\w-]{22}", link) for link in links)
    assert "No player is called 'eve'" in run("study", "invite", "s", "--player", "eve").err


def test_the_game_is_served(started, made, place):
    """As a program of its own, which tells where it is and ends with Ctrl-C."""
    pytest.importorskip("uvicorn", reason="the extra study is not installed")
    serving = started(["jaxplain", "study", "serve", "s", "--port", "8765"], cwd=place)
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen("http://127.0.0.1:8765/") as answer:
                    assert b"What do you see?" in answer.read()
                break
            except urllib.error.URLError:
                assert serving.poll() is None, serving.stderr.read()
                time.sleep(0.1)
        second = started(["jaxplain", "study", "serve", "s", "--port", "8765"], cwd=place)
        out, err = second.communicate()
        assert second.returncode == 2
        assert out == ""
        assert "127.0.0.1:8765 cannot be served on (Address already in use)" in err
    finally:
        serving.send_signal(2)
        out, err = serving.communicate(timeout=20)
    assert out == "The game is at http://127.0.0.1:8765; Ctrl-C ends it.\n"
    assert (serving.returncode, err) == (0, "")


def test_what_is_wrong_is_told(run, made, place):
    for needed in ("sentence_transformers", "uvicorn"):
        pytest.importorskip(needed, reason="the extra study is not installed")
    (place / "names.json").write_text("[]")
    (place / "bad.csv").write_text("image,layer,cluster,truth,label\nx,relu,0,0,a\n")
    new = ("study", "new", "other", "--images", "sample:chelsea", *TINY, *LAYERS)
    for arguments, says in (
        (("study", "new", "s", "--images", "sample:chelsea", *TINY), "s"),
        ((*new, "--target", "dog cat"), "no class"),
        ((*new, "--names", "names.json"), "names.json is no JSON of names"),
        ((*new, "--target", 0, "--class", 1), "not among the classes"),
        (("study", "new", "other", *TINY), "--images"),
        (("study", "new", "other", "--images", "nowhere", *TINY), "nowhere"),
        (("study", "status", "nowhere"), "There is no study in nowhere"),
        (("study", "report", "nowhere"), "There is no study in nowhere"),
        (("study", "export", "s", "plays.txt"), "ends in '.txt'"),
        (("study", "add", "s", "bad.csv"), "which is no round of the study"),
        (("study", "add", "s", "nothing.csv"), "There is no file nothing.csv"),
        (("study", "report", "s", "--translations", "bad.csv"), "it has the columns image, layer"),
        (("study", "report", "s", "--encoder", "nowhere"), "There is no model 'nowhere'"),
        (("study", "serve", "s", "--host", "999.1.1.1"), "999.1.1.1:8000 cannot be served on"),
        (("study", "invite", "s", "--url", ""), "'' is no address"),
        (("study", "report", "s", "--out", place), "is a folder, but a file is expected"),
        (("study", "play", "s", "--player", "resnet51"), "resnet51"),
    ):
        done = run(*arguments)
        assert done.status == 2, arguments
        assert says in done.err, done.err
        assert "Traceback" not in done.err
        assert not (place / "other").exists()
