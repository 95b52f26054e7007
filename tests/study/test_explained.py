"""What a study's plays say, by hand."""

import pytest

pytest.importorskip("simplemma", reason="the extra study is not installed")

from studies import FOREIGN, PLAYS, A, B, C, embed, play, small_study

from jaxplain.study import _explained
from jaxplain.study._explained import explained, recognition
from jaxplain.study._scores import Exemplar


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("explained") / "study")


@pytest.fixture(scope="module")
def found(study):
    return explained(study, iter([*PLAYS, *FOREIGN]), embed)


def approximately(pairs):
    return [(label, pytest.approx(score, rel=1e-12)) for label, score in pairs]


def test_words_and_scores(found):
    assert found.words == {
        ("tench", "fin"): "fin", ("tench", "Fish fins"): "fin", ("tench", "tail"): "tail", ("church", "fin"): "fin",
    }  # fmt: skip
    assert found.scores == {(A, "one", 0): {"fin": 1.8, "tail": 1.0}, (A, "one", 1): {"fin": 0.225}}
    assert found.left_out == {"it": 1}


def test_what_is_not_the_studys_does_not_count(study, found):
    assert (found.plays, found.foreign) == (PLAYS, 4)
    assert found._replace(foreign=0) == explained(study, PLAYS, embed)


def test_clusters_by_themselves(found):
    heavy, light = found.clusters[A, "one"]
    assert (heavy.parts, heavy.weight, heavy.wins, heavy.losses, heavy.resigns) == ((0,), 30, 2, 1, 0)
    assert list(heavy.labels) == approximately([("fin", 1.8), ("tail", 1.0)])
    assert heavy.level == 2  # of 0, 2 and 2
    assert (light.parts, light.weight, light.losses, light.level) == ((1,), 20, 1, 1)
    assert list(light.labels) == approximately([("fin", 0.225)])


def test_clusters_that_share_their_best_label(found):
    (group,) = found.merged[A, "one"]
    assert (group.parts, group.weight, group.wins, group.losses, group.level) == ((0, 1), 50, 2, 2, 2)
    assert list(group.labels) == approximately([("fin", (30 * 1.8 + 20 * 0.225) / 50), ("tail", 0.6)])
    assert found.whole[A, "one"] == (group,)


def test_clusters_without_labels_stay(found):
    assert {key: [group.parts for group in groups] for key, groups in found.merged.items()} == {
        (A, "one"): [(0, 1)], (A, "two"): [(0,)], (B, "one"): [(0,)],
        (B, "two"): [(0,)], (C, "one"): [(0,)], (C, "two"): [(0,)],
    }  # fmt: skip
    (group,) = found.clusters[C, "one"]
    assert (group.resigns, group.labels, group.level) == (1, (), None)


def test_classes_and_trends(found):
    (fin,) = found.ranked["tench", "one"]
    assert (fin.label, fin.weight, fin.exemplars) == ("fin", 50, (Exemplar(A, (0, 1), 1.8 + 0.225),))
    assert [*found.ranked] == [("tench", "one")]
    assert [*found.trends] == ["tench"]
    tail, fin = found.trends["tench"]
    assert (tail.label, tail.means, tail.slope) == ("tail", (1.0, 0.0), -1.0)
    assert (fin.label, fin.slope) == ("fin", pytest.approx(-1.0125))


def test_recognition(found):
    assert found.recognition == {"one": ((0,) * 6, 1), "two": ((0, 0, 0, 0.5, 0.5, 0.5), 2)}
    plays = [play(A, "one", 0, "tench", level, kind="network") for level in (0, 0, 5)]
    lost = play(A, "one", 0, "dog", 0, kind="network")
    assert recognition([*plays, lost, *PLAYS[:5]], ("two", "one")) == {"one": ((0.5, 0.5, 0.5, 0.5, 0.5, 0.75), 4)}
    assert recognition([], ("one",)) == {}


def test_without_labels_no_encoder_is_loaded(study, monkeypatch):
    loaded = []
    monkeypatch.setattr(_explained, "encoder", lambda: loaded.append(1) or embed)
    nothing = explained(study, [])
    assert (nothing.plays, nothing.scores, nothing.ranked, nothing.trends) == ((), {}, {}, {})
    assert [group.weight for group in nothing.clusters[A, "one"]] == [30, 20]
    assert explained(study, PLAYS[3:]).left_out == {"it": 1}
    assert loaded == []
    assert explained(study, PLAYS) == explained(study, PLAYS, embed)
    assert loaded == [1]


def test_a_study_of_one_layer_has_no_trends(tmp_path):
    found = explained(small_study(tmp_path / "study", layers=("one",)), PLAYS, embed)
    assert found.trends == {}
    assert found.foreign == 2  # of the other layer
    assert found.merged[A, "one"][0].weight == 50
