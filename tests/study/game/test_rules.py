"""Points, names and words, attempts, languages: by hand."""

import inspect
import json
import threading

import pytest

from jaxplain.study.game._limits import limit, same_origin
from jaxplain.study.game._rules import RefusedError, accepted, account_of, checked_labels, checked_name, points_of
from jaxplain.study.game._texts import language_for, read_texts, speaking


def test_points_by_hand():
    assert [points_of("win", level, ()) for level in range(6)] == [100, 85, 70, 55, 40, 25]
    assert points_of("win", 3, ["a", "b"]) == 75
    assert points_of("lose", 0, ["a"]) == points_of("resign", 0, ["a"]) == 0


def test_words_count_once_and_without_the_class():
    labels = ["Fins", " fins", "tench", "a tench's fin", "TENCHES", "pesce", "squame"]
    assert accepted(labels, ["tench", "pesce"]) == ("Fins", "a tench's fin", "squame")
    assert accepted([], ["tench"]) == ()


def test_labels_as_they_are_written():
    assert checked_labels(["  a fin ", "", "a fin", "  ", "e\u0301"]) == ("a fin", "\u00e9")
    assert checked_labels(["\U0001f469\u200d\U0001f52c"]) == ("\U0001f469\u200d\U0001f52c",)
    assert checked_labels(["x" * 100, *"abcdefghi"]) == ("x" * 100, *"abcdefghi")
    assert checked_labels(["a   b"]) == ("a b",)
    for wrong in (["x" * 101], list("abcdefghijk"), ["a\tb"], ["\ud800"], ["\ue000"], ["a\u2066b"]):
        with pytest.raises(RefusedError):
            checked_labels(wrong)


def test_names_that_look_alike_are_one():
    assert account_of("Ada  L") == account_of(" ada l") == account_of("\uff21DA\u00a0L") == account_of("a\u00adda l")
    assert account_of("Stra\u00dfe") == account_of("STRASSE")
    assert account_of("ada") != account_of("adb")
    assert checked_name("  Ada ") == "Ada"


def test_a_limit_forgets_with_time():
    now = [0.0]
    allowed, forgiven = limit(2, 60, clock=lambda: now[0])
    assert [allowed("ada"), allowed("ada"), allowed("ada"), allowed("bob")] == [True, True, False, True]
    now[0] = 59.9
    assert not allowed("ada")
    now[0] = 60.0
    assert [allowed("ada"), allowed("ada"), allowed("ada")] == [True, True, False]
    forgiven("ada")
    forgiven("nobody")
    assert [allowed("ada"), allowed("ada")] == [True, False]


def test_a_limit_keeps_no_more_keys_than_it_must():
    now = [0.0]
    allowed, _ = limit(1, 60, clock=lambda: now[0])
    for number in range(1000):
        assert allowed(str(number))
    now[0] = 61.0
    allowed("one more")
    assert list(inspect.getclosurevars(inspect.unwrap(allowed)).nonlocals["calls"]) == ["one more"]


def test_a_limit_holds_in_threads():
    (allowed, _), found = limit(100, 60), []
    threads = [threading.Thread(target=lambda: found.extend(allowed("x") for _ in range(50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), sum(found)) == (400, 100)


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "a.example"}, True),  # no browser
        ({"host": "a.example", "origin": "https://a.example"}, True),
        ({"host": "a.example:8000", "origin": "http://a.example:8000"}, True),
        ({"host": "a.example", "origin": "https://b.example"}, False),
        ({"host": "a.example", "origin": "https://a.example.b.example"}, False),
        ({"host": "a.example", "origin": "null"}, False),
        ({"host": "a.example", "origin": ""}, False),
        ({"host": "a.example", "origin": "http://["}, False),
        ({"host": "a.example", "origin": "https://b.example", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a.example", "origin": "https://a.example", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a.example", "sec-fetch-site": "none"}, True),  # typed by the user
    ],
)
def test_who_may_post(headers, same):
    assert same_origin(headers) == same


def test_a_language_is_a_file(tmp_path):
    texts = read_texts(tmp_path / "none")
    assert {"en", "it"} <= {*texts}
    (tmp_path / "pt-br.json").write_text(json.dumps(texts["en"]))
    german = {key: text.replace("Play a round", "Spielen") for key, text in texts["en"].items()}
    (tmp_path / "de.json").write_text(json.dumps(german))
    found = read_texts(tmp_path)
    assert {*found} == {*texts, "de", "pt-br"}
    assert language_for(found, None, "pt-BR,pt;q=0.9") == "pt-br"
    assert speaking(found, "de")("play") == "Spielen"
    assert speaking(found, "en")("worth", points=85) == "A right guess is worth 85 points now."


def test_texts_of_all_languages_have_the_same_keys_and_values(tmp_path):
    texts = read_texts(tmp_path)
    from jaxplain.study.game._texts import _values

    for language, of in texts.items():
        assert of.keys() == texts["en"].keys(), language
        assert {key: _values(text) for key, text in of.items()} == {k: _values(t) for k, t in texts["en"].items()}


def test_languages_that_are_not_whole_are_refused(tmp_path):
    english = dict(read_texts(tmp_path)["en"])
    wrong = {
        "lacks key 'play'": {key: text for key, text in english.items() if key != "play"},
        "has the unknown key 'more_and_more'": english | {"more_and_more": "x"},
        r"has other \$values in worth": english | {"worth": "$pionts points"},
        r"has other \$values in play": english | {"play": "100 $"},
        "is no {key: text}": english | {"play": 3},
    }
    for reason, texts in wrong.items():
        (tmp_path / "de.json").write_text(json.dumps(texts))
        with pytest.raises(ValueError, match=reason):
            read_texts(tmp_path)
    (tmp_path / "de.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no file of JSON"):
        read_texts(tmp_path)
    (tmp_path / "de.json").rename(tmp_path / "German.json")
    with pytest.raises(ValueError, match="called by no language"):
        read_texts(tmp_path)


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "it-IT,it;q=0.9", "it"),
        (None, "fr, it;q=0.5, en;q=0.1", "it"),
        ("it", "en", "it"),
        ("xx", "it", "it"),
        (None, "x" * 100_000, "en"),
    ],
)
def test_the_language_of_a_browser(chosen, accepted, language, tmp_path):
    assert language_for(read_texts(tmp_path), chosen, accepted) == language
