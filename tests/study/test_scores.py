"""Scores of labels, groups of clusters and trends: by hand, and by literal definitions."""

import random

import numpy as np
import pytest
from compare import assert_close
from scipy.sparse.csgraph import connected_components

from jaxplain.study._plays import Play
from jaxplain.study._scores import Exemplar, Place, best, class_scores, label_scores, merged, merged_map, trends

PLACE: Place = ("image", "layer", 0)


def play(*labels, level=0, guess: str | None = "tench", place=PLACE, truth="tench"):
    outcome = "resign" if guess is None else "win" if guess == truth else "lose"
    return Play("ada", "person", place[0], place[1], place[2], truth, guess, outcome, level, labels)


WORDS = {(guess, label): label for guess in ("tench", "church") for label in "abcdefghijklmnop"}


def place(cluster, image="image", layer="layer") -> Place:
    return (image, layer, cluster)


def weights(*values, image="image", layer="layer"):
    return {place(cluster, image, layer): float(value) for cluster, value in enumerate(values)}


def random_study(seed=0, count=300):
    """Plays of 3 images' 2 layers with 4 clusters each, and the clusters' weights."""
    draw = random.Random(seed)
    heavy = {place(c, f"i{i}", f"l{k}"): draw.uniform(1, 40) for i in range(3) for k in range(2) for c in range(4)}
    plays = [
        play(
            *draw.choices("abcdefgh", k=draw.randrange(3)),
            level=draw.randrange(6),
            guess=draw.choice(["tench", "church", None]),
            place=draw.choice([*heavy]),
        )
        for _ in range(count)
    ]
    return plays, heavy


def test_scores_by_hand():
    plays = [play("a", level=level) for level in (0, 0, 1, 3)]
    assert label_scores(plays, WORDS) == {PLACE: {"a": 3.6}}
    wrong = [play("a", level=level, guess="church") for level in (0, 0, 1, 3)]
    assert label_scores(wrong, WORDS) == {PLACE: {"a": 0.9}}
    assert label_scores([*wrong[:3], play("a", level=3)], WORDS) == {PLACE: {"a": 3.6}}
    assert label_scores([play("a", "a", "b", level=5)], WORDS) == {PLACE: {"a": 1.0, "b": 0.5}}


def test_labels_without_a_word_and_resigned_plays_have_no_score():
    assert label_scores([play("z"), play("a", guess=None), play()], WORDS) == {}
    assert label_scores([play("fins"), play("fin")], dict.fromkeys([("tench", "fin"), ("tench", "fins")], "fin")) == {
        PLACE: {"fin": 2.0}
    }
    assert label_scores([play("a", guess="dog")], WORDS) == {}


def test_scores_are_their_definition():
    plays, heavy = random_study()
    found = label_scores(plays, WORDS)
    assert len(found) > 10
    for spot in heavy:
        for word in "abcdefgh":
            rows = [
                one for one in plays if (one.image, one.layer, one.cluster) == spot and one.guess
                for label in one.labels if label == word
            ]  # fmt: skip
            if not rows:
                assert word not in found.get(spot, {})
                continue
            right = 1 if any(one.outcome == "win" for one in rows) else 0.25
            expected = len(rows) * (1 - 0.1 * np.mean([one.level for one in rows])) * right
            assert found[spot][word] == pytest.approx(expected, rel=1e-12)


def test_all_of_the_best_labels_are_best():
    assert best({"b": 3.6, "a": 3.6, "c": 1.0}) == ("a", "b")
    assert best({}) == ()
    tied = label_scores([*[play("a", level=4)] * 3, *[play("b", level=1)] * 2], WORDS)[PLACE]  # 3 * 0.6 and 2 * 0.9
    assert best(tied) == ("a", "b")


def test_clusters_of_one_best_label_are_one_group():
    heavy = weights(29.6, 15.8, 15.57, 14.55)
    scores = {place(0): {"a": 2.0}, place(1): {"b": 3.6}, place(2): {"b": 0.9, "c": 0.5}, place(3): {"d": 1.0}}
    plays = [
        play("b", place=place(1)),
        play("c", place=place(2), guess="church", level=1),
        play(guess=None, place=place(2)),
    ]
    (group, *others) = merged(heavy, plays, scores)["image", "layer"]
    assert group.parts == (1, 2)
    assert group.weight == pytest.approx(31.37, abs=1e-12)
    assert (group.wins, group.losses, group.resigns) == (1, 1, 1)
    assert group.best == ("b",)
    assert group.level == 2  # of 0, 1 and 5
    (b, sb), (c, sc) = group.labels
    assert (b, c) == ("b", "c")
    assert sb == pytest.approx((15.8 * 3.6 + 15.57 * 0.9) / 31.37)
    assert sc == pytest.approx(15.57 * 0.5 / 31.37)
    assert [other.parts for other in others] == [(0,), (3,)]


def test_ties_join_the_groups_of_both():
    scores = {
        place(0): {"a": 1.0},
        place(1): {"a": 2.0, "b": 2.0},
        place(2): {"b": 1.0},
        place(3): {"a": 1.0, "c": 2.0},
    }
    groups = merged(weights(1, 1, 1, 1), [], scores)["image", "layer"]
    assert [group.parts for group in groups] == [(0, 1, 2), (3,)]
    assert groups[0].best == ("a", "b")


def test_joining_is_transitive_whatever_the_order():
    draw = random.Random(0)
    for _ in range(30):
        labels = [draw.sample("abcdefghijkl", draw.randrange(3)) for _ in range(8)]
        scores = {place(c): dict.fromkeys(some, 1.0) for c, some in enumerate(labels)}
        shared = np.array([[bool({*one} & {*two}) for two in labels] for one in labels])
        _, number = connected_components(shared)
        expected = {tuple(np.flatnonzero(number == k).tolist()) for k in {*number.tolist()}}
        assert {group.parts for group in merged(weights(*[1] * 8), [], scores)["image", "layer"]} == expected


def test_images_and_layers_are_not_joined():
    heavy = weights(1, image="x") | weights(2, image="y") | weights(3, image="x", layer="other")
    groups = merged(heavy, [], {spot: {"a": 1.0} for spot in heavy})
    assert {key: [group.weight for group in some] for key, some in groups.items()} == {
        ("x", "layer"): [1],
        ("y", "layer"): [2],
        ("x", "other"): [3],
    }


def test_a_cluster_that_nobody_labelled_is_kept():
    plays = [play("a"), play(place=place(1), level=2), play(guess=None, place=place(1))]
    first, second = merged(weights(2, 1), plays, label_scores(plays, WORDS))["image", "layer"]
    assert (first.labels, first.level) == ((("a", 1.0),), 0)
    assert second == ((1,), 1, 1, 0, 1, (), (), None)
    assert merged({}, plays, {}) == {}
    assert merged(weights(0.0), [], {PLACE: {"a": 1.0}})["image", "layer"][0].labels == (("a", 0.0),)


def test_levels_are_rounded_up_and_a_resigned_play_counts_as_the_last():
    levels = [((0, 0), 0), ((0, 1), 1), ((1, 1, 2), 2), ((0, None), 3), ((4, 5), 5)]
    for given, expected in levels:
        plays = [play("a", level=level or 0, guess=None if level is None else "tench") for level in given]
        assert merged(weights(1), plays, {})["image", "layer"][0].level == expected


def test_all_clusters_of_a_layer_are_one_or_each_by_itself():
    scores = {place(0): {"a": 1.0}, place(1): {"b": 3.0}}
    (group,) = merged(weights(3, 1, 1), [], scores, join="layer")["image", "layer"]
    alone = merged(weights(1, 3, 1), [], {place(0): {"a": 1.0}, place(1): {"a": 3.0}}, join="none")["image", "layer"]
    assert [(one.parts, one.weight, one.best) for one in alone] == [((1,), 3, ("a",)), ((0,), 1, ("a",)), ((2,), 1, ())]
    assert (group.parts, group.weight, group.best) == ((0, 1, 2), 5, ("a", "b"))
    assert dict(group.labels) == pytest.approx({"a": 0.6, "b": 0.6})


def test_ten_labels_are_shown_the_highest_first_then_by_the_alphabet():
    scores = {place(0): {label: 2.0 if label in "op" else 1.0 for label in "ponmlkjihgfedcba"}}
    (group,) = merged(weights(4), [], scores)["image", "layer"]
    assert [label for label, _ in group.labels] == [*"opabcdefgh"]
    assert len(merged(weights(4), [], scores, most=2)["image", "layer"][0].labels) == 2


def test_maps_are_merged_by_their_weights():
    maps = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    heavy = np.array([15.8, 15.57, 3])
    assert_close(
        merged_map(maps, heavy), sum(w * m for w, m in zip(heavy, maps.astype(np.float64), strict=True)) / heavy.sum()
    )
    for wrong in ([1, 2], [0, 0, 0], [[1, 1, 1]], [1, 1, np.nan]):
        with pytest.raises(ValueError, match=r"^There are maps \(3, 4, 5\) and weights"):
            merged_map(maps, wrong)


def test_class_scores_by_hand():
    """Parts add up alike; a group is listed under each of its best labels; one exemplar an image."""
    scores = {
        place(0, "x"): {"a": 2.0, "b": 2.0}, place(1, "x"): {"a": 1.0, "c": 0.5}, place(2, "x"): {"c": 1.0},
        place(0, "y"): {"a": 5.0}, place(0, "z"): {"a": 9.0},
    }  # fmt: skip
    heavy = weights(30, 10, 5, image="x") | weights(20, image="y") | weights(50, image="z")
    found = class_scores(merged(heavy, [], scores), scores, {"x": "tench", "y": "tench", "z": "church"})
    assert {*found} == {("tench", "layer"), ("church", "layer")}
    a, b, c = found["tench", "layer"]
    assert a == ("a", 8.0, 30.0, (Exemplar("y", (0,), 5.0), Exemplar("x", (0, 1), 3.0)))
    assert b == ("b", 2.0, 40.0, (Exemplar("x", (0, 1), 2.0),))
    assert c == ("c", 1.0, 5.0, (Exemplar("x", (2,), 1.0),))
    assert [label.label for label in found["church", "layer"]] == ["a"]


def test_class_scores_show_few_labels_and_exemplars():
    scores = {place(0, f"i{i}"): {"a": 1.0 + i} for i in range(5)}
    scores[place(1, "i0")] = dict.fromkeys("bcdefgh", 1.0)
    groups = merged(dict.fromkeys(scores, 1.0), [], scores)
    ranked = class_scores(groups, scores, {f"i{i}": "tench" for i in range(5)})["tench", "layer"]
    assert [label.label for label in ranked] == [*"abcde"]
    assert [exemplar.image for exemplar in ranked[0].exemplars] == ["i4", "i3", "i2"]
    with pytest.raises(ValueError, match=r"^The image 'i0' has no class, but"):
        class_scores(groups, scores, {})


def test_clusters_of_one_image_with_the_same_label_are_one_exemplar_with_the_larger_score():
    scores = {place(c, "x"): {"a": 1.0 + c} for c in range(3)}
    groups = {("x", "layer"): [merged({spot: 1.0}, [], scores)["x", "layer"][0] for spot in scores]}
    (label,) = class_scores(groups, scores, {"x": "tench"})["tench", "layer"]
    assert (label.score, label.exemplars) == (6.0, (Exemplar("x", (2,), 3.0),))


def test_trends_are_least_squares():
    layers = [f"l{k}" for k in range(5)]
    draw = random.Random(0)
    scores = {
        place(c, f"i{i}", layer): {label: draw.uniform(0, 4) for label in draw.sample("abcdefghijklmnop", 5)}
        for i in range(3) for layer in layers for c in range(2)
    }  # fmt: skip
    found = trends(scores, dict.fromkeys(["i0", "i1", "i2"], "tench"), layers, ends=99)["tench"]
    assert len(found) == 16
    for trend in found:
        values = [[s[trend.label] for (_, at, _), s in scores.items() if at == k and trend.label in s] for k in layers]
        means = [float(np.mean(some)) if some else 0.0 for some in values]
        assert trend.means == pytest.approx(means)
        assert trend.slope == pytest.approx(np.polyfit(np.arange(5, 10), np.array(means), 1)[0])
    assert [t.slope for t in found] == sorted((t.slope for t in found), reverse=True)
    shown = trends(scores, dict.fromkeys(["i0", "i1", "i2"], "tench"), layers)["tench"]
    assert shown == found[:6] + found[-6:]


def test_trends_by_hand():
    scores = {place(0, "x", "l0"): {"a": 1.0}, place(0, "x", "l2"): {"a": 2.0, "b": 3.0}}
    scores |= {place(1, "x", "l2"): {"a": 4.0}, place(0, "x", "elsewhere"): {"z": 9.0}}
    b, a = trends(scores, {"x": "tench"}, ("l0", "l1", "l2"))["tench"]
    assert b == ("b", (0.0, 0.0, 3.0), 1.5)
    assert a == ("a", (1.0, 0.0, 3.0), 1.0)
    assert trends({}, {}, ("l0", "l1")) == {}
    with pytest.raises(ValueError, match=r"^There are the layers \('l0',\), but two"):
        trends(scores, {"x": "tench"}, ("l0",))


def test_the_order_of_plays_and_clusters_makes_no_difference():
    plays, heavy = random_study(2)
    classes = {f"i{i}": "tench" for i in range(3)}

    def everything(plays, heavy):
        scores = label_scores(plays, WORDS)
        groups = merged(heavy, plays, scores)
        return scores, groups, class_scores(groups, scores, classes), trends(scores, classes, ("l0", "l1"))

    expected = everything(plays, heavy)
    assert [*map(len, expected)] == [24, 6, 2, 1]
    for seed in range(3):
        draw = random.Random(seed)
        shuffled = draw.sample(plays, len(plays)), dict(draw.sample([*heavy.items()], len(heavy)))
        assert everything(*shuffled) == expected
    assert everything(plays[1:], heavy) != expected
