"""From plays and the words for their labels to explanations: of images, and of classes over their images."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxplain.study._plays import HIGHEST_LEVEL, Play, is_english

Place = tuple[str, str, int]  # an image, a layer and one of its clusters
Join = Literal["labels", "layer", "none"]
Scores = Mapping[Place, Mapping[str, float]]


class Group(NamedTuple):
    """Clusters of one image's layer that share their best labels, as one.

    `parts` are the clusters' numbers, `weight` the sum of their weights, and `best` all their best labels. `labels` are
    at most ten (label, score), the highest first. `level` is None where no play has labels.
    """

    parts: tuple[int, ...]
    weight: float
    wins: int
    losses: int
    resigns: int
    best: tuple[str, ...]
    labels: tuple[tuple[str, float], ...]
    level: int | None


class Exemplar(NamedTuple):
    """A group of an image's clusters, and the sum of their scores for a label."""

    image: str
    parts: tuple[int, ...]
    score: float


class Ranked(NamedTuple):
    """A label of a class in a layer: its score, the mean weight of the groups it is best of, and its exemplars."""

    label: str
    score: float
    weight: float
    exemplars: tuple[Exemplar, ...]


class Trend(NamedTuple):
    """A label's mean score in each layer (L,), 0 where no cluster has it, and its slope over the layers' numbers."""

    label: str
    means: tuple[float, ...]
    slope: float


def label_scores(plays: Iterable[Play], synonyms: Mapping[tuple[str, str], str]) -> dict[Place, dict[str, float]]:
    """{(image, layer, cluster): {word: s}} with s = f (1 - 0.1 q), a quarter of it if no guess behind it was right.

    `synonyms` {(guess, label): word} has the words. f is how many of the cluster's labels have that word, and q the
    mean reveal level of their plays. Labels that are not English do not count, as in `synonyms`, and clusters
    without any are not in the result.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024; all functions here are theirs.

        label_scores(plays, words)["3f2a", "layer4", 0]             # {"fins": 3.6}
    """
    rows: dict[Place, dict[str, list[tuple[int, bool]]]] = defaultdict(lambda: defaultdict(list))
    for play in filter(is_english, plays):
        for label in play.labels:
            if play.guess is not None and (word := synonyms.get((play.guess, label))):
                rows[play.image, play.layer, play.cluster][word].append((play.level, play.guess == play.truth))
    return {place: {word: _score(found) for word, found in sorted(rows[place].items())} for place in sorted(rows)}


def best(scores: Mapping[str, float]) -> tuple[str, ...]:
    """All labels with the largest score, in the order of the alphabet.

    best({"fin": 3.6, "tail": 3.6, "eye": 1.0})                 # ("fin", "tail")
    """
    largest = max(scores.values(), default=None)
    return tuple(sorted(label for label, score in scores.items() if score == largest))


def merged(
    weights: Mapping[Place, float],
    plays: Iterable[Play],
    scores: Scores,
    *,
    join: Join = "labels",
    most: int = 10,
) -> dict[tuple[str, str], tuple[Group, ...]]:
    """{(image, layer): groups, the heaviest first}: clusters that share a best label, directly or through others.

    `weights` {(image, layer, cluster): weight} names all clusters, also those that nobody labelled; plays of others do
    not count. A group's score of a label is sum over parts of weight s / sum of weights, where s is 0 for a part
    without it; the `most` largest are shown, equal ones in the order of the alphabet. Its level is the mean reveal
    level of its plays, 5 for one that was resigned, rounded up. With join="layer" all clusters of a layer are one
    group, and with "none" each is one by itself.

        merged({("3f2a", "layer4", 0): 15.8, ("3f2a", "layer4", 1): 15.57}, plays, scores)
    """
    played: dict[Place, list[Play]] = defaultdict(list)
    for play in plays:
        played[play.image, play.layer, play.cluster].append(play)
    layers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for image, layer, cluster in sorted(weights):
        layers[image, layer].append(cluster)
    found: dict[tuple[str, str], tuple[Group, ...]] = {}
    for (image, layer), clusters in layers.items():
        bests = {cluster: best(scores.get((image, layer, cluster), {})) for cluster in clusters}
        sets = {"labels": _joined(bests), "layer": [tuple(clusters)], "none": [(one,) for one in clusters]}[join]
        groups = [_group([(image, layer, part) for part in parts], weights, played, scores, most) for parts in sets]
        found[image, layer] = tuple(sorted(groups, key=lambda group: (-group.weight, group.parts)))
    return found


def merged_map(maps: ArrayLike, weights: ArrayLike) -> Float[np.ndarray, "h w"]:
    """sum_J weights[J] maps[J] / sum_J weights[J], (h, w), of a group's maps (J, h, w) and their weights (J,).

    ValueError for other shapes, and for weights that do not sum to more than 0.
    """
    maps, weights = np.asarray(maps, np.float64), np.asarray(weights, np.float64)
    if maps.ndim != 3 or weights.shape != maps.shape[:1] or not weights.sum() > 0:
        raise ValueError(
            f"There are maps {maps.shape} and weights {weights.shape} with the sum {weights.sum():g}, but (J, h, w) "
            "and (J,) with a positive sum are expected: give one weight for each map."
        )
    return np.tensordot(weights / weights.sum(), maps, axes=1)


def class_scores(
    groups: Mapping[tuple[str, str], Sequence[Group]],
    scores: Scores,
    classes: Mapping[str, str],
    *,
    most: int = 5,
    exemplars: int = 3,
) -> dict[tuple[str, str], tuple[Ranked, ...]]:
    """{(class, layer): the labels with the largest scores}, over all images of the class.

    `groups` are those of `merged`, and `classes` {image: class}. A label's score is the sum over the groups it is best
    of, and over their parts, of s; parts count alike, whatever their weights. Exemplars are of different images.

        class_scores(merged(weights, plays, scores), scores, {"3f2a": "tench"})["tench", "layer4"][0].label
    """
    found: dict[tuple[str, str], dict[str, list[tuple[Exemplar, float]]]] = defaultdict(lambda: defaultdict(list))
    for (image, layer), several in groups.items():
        for group in several:
            parts = [scores.get((image, layer, part), {}) for part in group.parts]
            for label in group.best:
                exemplar = Exemplar(image, group.parts, math.fsum(part.get(label, 0) for part in parts))
                found[_class_of(image, classes), layer][label].append((exemplar, group.weight))
    return {
        key: _largest([_ranked(label, pairs, exemplars) for label, pairs in labels.items()])[:most]
        for key, labels in sorted(found.items())
    }


def trends(
    scores: Scores, classes: Mapping[str, str], layers: Sequence[str], *, ends: int = 6
) -> dict[str, tuple[Trend, ...]]:
    """{class: labels that appear or fade with depth}: those with the `ends` largest slopes and the `ends` smallest.

    A label's mean in a layer is over the clusters of the class's images that have it. Its slope over the layers, which
    are numbered in the order given, is that of ordinary least squares: sum (l - mean l) m[l] / sum (l - mean l)^2. They
    are sorted from the largest to the smallest. ValueError for fewer than two layers.

        trends(scores, {"3f2a": "tench"}, ("layer1", "layer2", "layer3"))["tench"][0].label
    """
    if len(layers) < 2:
        raise ValueError(f"There are the layers {tuple(layers)!r}, but two or more are expected, which a slope needs.")
    values: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for (image, layer, _), labels in scores.items():
        if layer in layers:
            for label, score in labels.items():
                values[_class_of(image, classes)][label][layer].append(score)
    return {
        name: _ends(ends, [_trend(label, by_layer, layers) for label, by_layer in labels.items()])
        for name, labels in sorted(values.items())
    }


def _score(rows: Sequence[tuple[int, bool]]) -> float:
    """f (1 - q / 10) of (level, whether it was right), in one division, so that equal scores are equal numbers."""
    tenths = 10 * len(rows) - sum(level for level, _ in rows)
    return tenths / (10 if any(right for _, right in rows) else 40)


def _joined(bests: Mapping[int, Sequence[str]]) -> list[tuple[int, ...]]:
    """The clusters in sets that share a label, directly or through others: by union and find."""
    parent = {cluster: cluster for cluster in bests}

    def root(cluster: int) -> int:
        while parent[cluster] != cluster:
            cluster = parent[cluster]
        return cluster

    first: dict[str, int] = {}
    for cluster, labels in bests.items():
        for label in labels:
            parent[root(cluster)] = root(first.setdefault(label, cluster))
    sets: dict[int, list[int]] = defaultdict(list)
    for cluster in bests:
        sets[root(cluster)].append(cluster)
    return [tuple(sorted(parts)) for parts in sets.values()]


def _group(
    places: Sequence[Place],
    weights: Mapping[Place, float],
    played: Mapping[Place, Sequence[Play]],
    scores: Scores,
    most: int,
) -> Group:
    plays = [play for place in places for play in played.get(place, ())]
    ends = [play.outcome for play in plays]
    weight = math.fsum(weights[place] for place in places)
    parts = [(weights[place], scores.get(place, {})) for place in places]
    means = {
        label: math.fsum(share * part.get(label, 0) for share, part in parts) / (weight or 1)
        for label in {label for _, part in parts for label in part}
    }
    return Group(
        parts=tuple(cluster for _, _, cluster in places),
        weight=weight,
        wins=ends.count("win"),
        losses=ends.count("lose"),
        resigns=ends.count("resign"),
        best=tuple(sorted({label for _, part in parts for label in best(part)})),
        labels=tuple(sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))[:most]),
        level=_level(plays),
    )


def _level(plays: Sequence[Play]) -> int | None:
    if not any(play.labels for play in plays):
        return None
    levels = [HIGHEST_LEVEL if play.outcome == "resign" else play.level for play in plays]
    return -(-sum(levels) // len(levels))


def _class_of(image: str, classes: Mapping[str, str]) -> str:
    if image not in classes:
        raise ValueError(
            f"The image {image!r:.60} has no class, but {{image: class}} of all images is expected: add it."
        )
    return classes[image]


def _ranked(label: str, pairs: Sequence[tuple[Exemplar, float]], count: int) -> Ranked:
    clearest: dict[str, Exemplar] = {}
    for exemplar, _ in sorted(pairs, key=lambda pair: (-pair[0].score, pair[0].image, pair[0].parts)):
        clearest.setdefault(exemplar.image, exemplar)
    score = math.fsum(exemplar.score for exemplar, _ in pairs)
    weight = math.fsum(weight for _, weight in pairs) / len(pairs)
    return Ranked(label, score, weight, tuple(clearest.values())[:count])


def _largest(labels: Iterable[Ranked]) -> tuple[Ranked, ...]:
    return tuple(sorted(labels, key=lambda label: (-label.score, label.label)))


def _trend(label: str, values: Mapping[str, Sequence[float]], layers: Sequence[str]) -> Trend:
    means = [math.fsum(values[layer]) / len(values[layer]) if values.get(layer) else 0.0 for layer in layers]
    centred = [number - (len(layers) - 1) / 2 for number in range(len(layers))]
    slope = math.fsum(x * y for x, y in zip(centred, means, strict=True)) / math.fsum(x * x for x in centred)
    return Trend(label, tuple(means), slope)


def _ends(count: int, found: Iterable[Trend]) -> tuple[Trend, ...]:
    ranked = sorted(found, key=lambda trend: (-trend.slope, trend.label))
    return tuple(ranked if len(ranked) <= 2 * count else ranked[:count] + ranked[-count:])
