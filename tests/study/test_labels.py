"""Labels: how they are cleaned, grouped and named, beside literal definitions."""

import random
import subprocess
import sys

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.metrics import silhouette_score

pytest.importorskip("simplemma", reason="the extra labels is not installed")
pytest.importorskip("symspellpy", reason="the extra labels is not installed")

from jaxplain.study._labels import (
    STOP_WORDS,
    cleaned,
    corrected,
    grouped,
    left_out,
    read_translations,
    representative,
    synonyms,
    translated,
)
from jaxplain.study._plays import Play
from jaxplain.study._scores import label_scores

WORDS = ["fin", "fins", "tail", "tails", "scale", "scales", "red", "green", "wheel", "wheels", "gooses", "geese"]
LEMMAS = {"fins": "fin", "tails": "tail", "scales": "scale", "wheels": "wheel"}


def bag(texts):
    """Unit vectors that count words, in which singular and plural differ a little."""
    rows = np.full((len(texts), len(WORDS)), 1e-3)
    for row, text in zip(rows, texts, strict=True):
        for word in text.split():
            if word in WORDS:
                row[WORDS.index(word)] += 1
            if word in LEMMAS:
                row[WORDS.index(LEMMAS[word])] += 0.9
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def play(*labels, guess: str | None = "tench", truth="tench", language="en"):
    outcome = "resign" if guess is None else "win" if guess == truth else "lose"
    return Play("ada", "person", "image", "layer", 0, truth, guess, outcome, 0, labels, language)


def same(one, two):
    return bool(((one[:, None] == one) == (two[:, None] == two)).all())


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("  The\tRED  fin\n", [], "the red fin"),
        ("tench", ["tench"], ""),
        ("the Tench's fin", ["tench"], "the fin"),
        ("the tench\u2019s fins of tenches", ["Tench"], "the fins of"),
        ("stench", ["tench"], "stench"),
        ("golf-balls and a golf  ball's dimples", ["golf ball"], "and a dimples"),
        ("a golf club", ["golf ball"], "a golf club"),
        ("ladies' hats, a lady", ["lady"], "hats, a"),
        ("la coda del pesce", ["fish", "pesce"], "la coda del"),
        ("an english springer's ear", ["springer", "English springer"], "an ear"),
        ("c++ (red)", ["c++ (red)"], ""),
        ("a-b _ -", ["-", "", "  "], "a-b _ -"),
        ("caf\u0065\u0301", ["caf\u00e9"], ""),
        ("<b>Red</b> & <script>", [], "<b>red</b> & <script>"),
        ("a\x00b\x1b[31m\u202ec\u200b \ud800", [], "ab[31mc"),
        ("\u05d6\u05e0\u05d1 \u05d0\u05d3\u05d5\u05dd", [], "\u05d6\u05e0\u05d1 \u05d0\u05d3\u05d5\u05dd"),
        ("🔥🔥 hot", [], "🔥🔥 hot"),
        ("", ["a"], ""),
        ("fin " * 2500, ["tench"], "fin " * 2499 + "fin"),
    ],
)
def test_cleaned(text, names, expected):
    assert cleaned(text, names) == expected
    assert cleaned(expected, names) == expected


def test_words_are_corrected_within_their_edits():
    assert corrected("grey feathrs, parachutte") == "grey feathers, parachute"
    assert corrected("a tyre is a tire of a colour") == "a tyre is a tire of a colour"
    assert corrected("don't 4x4 qwzxv x" + "y" * 10_000) == "don't 4x4 qwzxv x" + "y" * 10_000
    assert corrected("whel") != "whel"
    assert corrected("whel", {"whel"}) == "whel"
    assert corrected("fathrs") == "fathers"  # six letters, one edit
    assert corrected("fathrz") == "fathrz"  # which two would correct


@pytest.mark.parametrize("reference", [False, True])
def test_groups_are_those_of_the_largest_silhouette(reference):
    for seed in range(8):
        vectors = np.random.default_rng(seed).normal(size=(25, 5))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        tree = linkage(vectors, "complete", metric="cosine")
        cuts = [cut_tree(tree, count)[:, 0] for count in range(2, 25)]
        metric = "euclidean" if reference else "cosine"
        values = [silhouette_score(vectors, cut, metric=metric) for cut in cuts]
        assert same(grouped(vectors, reference=reference), cuts[int(np.argmax(values))])


def test_the_reference_may_group_otherwise():
    draws = [np.random.default_rng(seed).normal(size=(25, 5)) for seed in range(8)]
    assert not all(same(grouped(vectors), grouped(vectors, reference=True)) for vectors in draws)


def test_few_and_equal_vectors_are_grouped():
    assert grouped(np.zeros((0, 3))).tolist() == []
    assert grouped(np.eye(1, 3)).tolist() == [0]
    assert grouped(np.eye(2, 3)).tolist() == [0, 0]
    assert grouped(np.array([[1, 0.0], [0, 1], [1, 0.1]])).tolist() == [0, 1, 0]
    assert grouped(np.ones((4, 3))).shape == (4,)


def test_the_representative_is_the_word_nearest_to_all_phrases():
    draw = random.Random(0)
    for _ in range(20):
        phrases = [" ".join(draw.sample([*WORDS, "the", "of", "left"], 3)) for _ in range(5)]
        counts = [draw.randrange(1, 9) for _ in phrases]
        words = sorted({word for phrase in phrases for word in phrase.split()} - STOP_WORDS)
        sums = [
            sum(n * float(bag([word])[0] @ bag([phrase])[0]) for phrase, n in zip(phrases, counts, strict=True))
            for word in words
        ]
        expected = next(word for word, value in zip(words, sums, strict=True) if value > max(sums) - 1e-5)
        assert representative(phrases, counts, bag) == expected


def test_representatives_by_hand():
    assert representative(["red fin", "green fin"], [1, 1], bag) == "fin"
    assert representative(["red fin", "green tail"], [1, 5], bag) == "green"  # as near as tail
    assert representative(["fin, red!", "(fin)"], [1, 1], bag) == "fin"
    assert representative(["something on the left", "🔥 ..."], [3, 1], bag) is None


def test_stop_words_name_nothing_that_can_be_seen():
    seen = "bill fire top bottom side sides front back face round thick thin ring tip wheel full empty"
    assert not STOP_WORDS & {*seen.split()}
    assert {"the", "of", "it's", "something", "left", "next"} < STOP_WORDS


def test_labels_of_one_meaning_have_one_word():
    plays = [play("red FIN", "a fin", "fin"), play("the tail", "tail (tail)"), play("tail", "tench", "")]
    assert synonyms(plays, bag, {}) == {
        ("tench", "red FIN"): "fin",
        ("tench", "a fin"): "fin",
        ("tench", "fin"): "fin",
        ("tench", "the tail"): "tail",
        ("tench", "tail (tail)"): "tail",
        ("tench", "tail"): "tail",
    }


@pytest.mark.parametrize(("singular", "plural", "shown"), [(2, 3, "geese"), (3, 2, "gooses"), (2, 2, "geese")])
def test_of_one_lemma_the_form_of_most_labels_is_shown(singular, plural, shown):
    """Two groups, since the embedding knows nothing of geese; the alphabet decides between equally frequent ones."""
    plays = [play("gooses")] * singular + [play("geese")] * plural + [play("fin", "fins", "tail", "tails")]
    found = synonyms(plays, bag, {})
    assert found["tench", "gooses"] == found["tench", "geese"] == shown
    assert len({*found.values()}) == 3


def test_classes_are_grouped_each_for_itself():
    plays = [play("fin of a fish"), play("fin of a fish", guess="church"), play("church", guess="church")]
    found = synonyms(plays, bag, {"tench": ["fish"]})
    assert found == {("tench", "fin of a fish"): "fin", ("church", "fin of a fish"): "fin"}
    assert synonyms([play("fish")], bag, {"tench": ["fish"]}) == {}
    assert synonyms([play("fish")], bag, {}) == {("tench", "fish"): "fish"}


def test_resigned_plays_and_foreign_labels_are_left_out():
    plays = [play("fin", guess=None), play("coda", "pinna", language="it"), play("tail", language="EN_us")]
    assert synonyms(plays, bag, {}) == {("tench", "tail"): "tail"}
    assert left_out(plays) == {"it": 2}
    assert left_out([play("fin"), play("x", guess=None, language="it")]) == {}


def test_translations_are_read_from_a_table(tmp_path):
    path = tmp_path / "italian.csv"
    path.write_text("label,language,english\nPinne  rosse,it,red fins\nruota,IT,a wheel\nnulla,it,\n", encoding="utf-8")
    translate = read_translations(path)
    found = [translate(label, "it", "tench") for label in ("pinne rosse", "RUOTA", "nulla", "altro")]
    assert found == ["red fins", "a wheel", None, None]
    assert translate("ruota", "de", "tench") is None
    play = Play("ada", "person", "3f2a", "relu", 0, "tench", "tench", "win", 0, ("ruota", "pinne rosse"), "it")
    partly = play._replace(labels=("ruota", "altro"))
    assert translated([play, partly], translate) == (
        play._replace(labels=("a wheel", "red fins"), language="en"),
        partly,
    )
    assert left_out(translated([play, partly], translate)) == {"it": 2}
    for text, says in (
        ("label,language\na,it\n", "it has the columns label, language"),
        ("label,language,english\na,it\n", "row 2"),
        ("", "it has the columns none"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_translations(path)


def test_foreign_labels_are_translated():
    asked = []

    def translate(text, language, name):
        asked.append((text, language, name))
        return {"coda": "Tail", "coda di pesce": "a fish's tail"}[text]

    plays = [play("coda", "coda di pesce", language="it"), play("tail")]
    resigned = play("pinna", guess=None, language="it")
    found = translated([*plays, *plays, resigned], translate)
    assert found == (*[play("Tail", "a fish's tail"), play("tail")] * 2, resigned)
    assert asked == [("coda", "it", "tench"), ("coda di pesce", "it", "tench")]  # once
    words = synonyms(found, bag, {"tench": ["fish"]})
    assert words == {("tench", label): "tail" for label in ("Tail", "a fish's tail", "tail")}


def test_a_foreign_label_that_is_spelt_like_an_english_one_is_not_counted():
    plays = [play("pane"), play("pane", language="it"), play("pane", language="it")]
    words = synonyms(plays, bag, {})
    assert label_scores(plays, words) == {("image", "layer", 0): {"pane": 1.0}}
    both = translated(plays, lambda *_: "bread")
    assert label_scores(both, {("tench", "pane"): "pane", ("tench", "bread"): "bread"}) == {
        ("image", "layer", 0): {"bread": 2.0, "pane": 1.0}
    }


def test_spelling_is_corrected_on_demand():
    plays = [play("tial", guess="parachute"), play("wheeel"), play("parachuttes", guess="parachute")]
    assert synonyms(plays, bag, {})["tench", "wheeel"] == "wheeel"
    corrected_words = synonyms(plays, bag, {}, spelling=True)
    assert corrected_words["tench", "wheeel"] == "wheel"
    assert ("parachute", "parachuttes") not in corrected_words  # the class's own name
    assert synonyms(plays, bag, {}, spelling=True, keep=["Wheeel"])["tench", "wheeel"] == "wheeel"


def test_the_order_of_plays_makes_no_difference():
    draw = random.Random(1)
    plays = [
        play(" ".join(draw.sample(WORDS, 2)), guess=draw.choice(["tench", "church"]), truth="tench") for _ in range(80)
    ]
    found = synonyms(plays, bag, {})
    assert len(set(found.values())) > 3
    for _ in range(3):
        draw.shuffle(plays)
        assert synonyms(plays, bag, {}) == found


def test_multiplicity_counts():
    once = synonyms([play("red fin"), play("green fin")], bag, {})
    often = synonyms([*[play("red red fin")] * 9, play("green fin")], bag, {})
    assert {*once.values()} == {"fin"}
    assert {*often.values()} == {"red"}


def test_hostile_labels_pass_through():
    labels = ["\u202eevil", "<img src=x onerror=alert(1)>", "fin " * 2500, "\u05d6\u05e0\u05d1"]
    found = synonyms([play(*labels, "", "\x00\x1b", "\ud800")], bag, {})
    assert {label for _, label in found} == {*labels}
    assert synonyms([play("🔥", "...")], bag, {}) == {}
    assert found["tench", "fin " * 2500]
    assert not any(c in word for word in found.values() for c in "\x00\x1b\u202e<>")


def test_every_text_is_embedded_once_and_in_one_call():
    calls = []

    def embed(texts):
        calls.append(texts)
        return bag(texts)

    synonyms([play("red fin", "fin", "fin"), play("green fin", guess="church")], embed, {})
    assert calls == [sorted({*calls[0]})]  # in one order, on which batches and with them last digits depend


def test_there_may_be_no_plays():
    assert synonyms([], bag, {}) == {}
    assert synonyms([play()], bag, {}) == {}


def test_importing_needs_no_language_library():
    script = "import sys, jaxplain.study._labels; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"simplemma", "symspellpy", "torch", "scipy", "sklearn"} & {*done.stdout.split()}
