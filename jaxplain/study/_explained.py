"""What all plays of a study say together: of its images, of its classes, and of the network itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxplain.study._encoder import Embed, encoder
from jaxplain.study._labels import left_out, synonyms
from jaxplain.study._plays import HIGHEST_LEVEL, Play
from jaxplain.study._scores import (
    Group,
    Place,
    Ranked,
    Trend,
    class_scores,
    label_scores,
    merged,
    trends,
)
from jaxplain.study._study import Study, rounds

Groups = Mapping[tuple[str, str], tuple[Group, ...]]


class Recognition(NamedTuple):
    """How soon networks recognise a layer's clusters.

    `shares` (6,) are those of their plays that were won at reveal level l or before, for l from 0 to 5, and `plays` is
    how many plays that are.
    """

    shares: tuple[float, ...]
    plays: int


class Explained(NamedTuple):
    """A study's explanations: local ones by (image, layer), and global ones by class.

    `plays` are those that count, and `foreign` is the number of the others, which are of clusters that the study has
    not, or of another class than the image's. `left_out` {language: labels} are the labels that are not English,
    `words` {(guess, label): word} stand for the others, and `scores` are the words' in each cluster.

    `clusters` {(image, layer): groups} are each cluster by itself, `merged` those that share their best labels, and
    `whole` all of a layer as one; the heaviest are first. `ranked` {(class, layer): labels} are the best labels over
    the images of a class, `trends` {class: labels} those that appear or fade with depth, none in a study of one layer,
    and `recognition` {layer: Recognition} are of layers that networks played.
    """

    plays: tuple[Play, ...]
    foreign: int
    left_out: Mapping[str, int]
    words: Mapping[tuple[str, str], str]
    scores: Mapping[Place, Mapping[str, float]]
    clusters: Groups
    merged: Groups
    whole: Groups
    ranked: Mapping[tuple[str, str], tuple[Ranked, ...]]
    trends: Mapping[str, tuple[Trend, ...]]
    recognition: Mapping[str, Recognition]


def explained(
    study: Study,
    plays: Iterable[Play],
    embed: Embed | None = None,
    *,
    spelling: bool = False,
    reference: bool = False,
) -> Explained:
    """What the plays of a study say of its images and classes, from `synonyms` to `trends`.

    Labels are cleaned of all names of their classes, and with `spelling` they are corrected; `reference` is that of
    `synonyms`. `embed` is by default encoder(), which is loaded where there are labels only. Clusters that nobody
    played are there too, without labels.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        found = explained(study, read_plays("plays.csv"))
        found.merged["3f2a", "layer4"][0].labels                    # (("fins", 3.6), ("scales", 0.9))
    """
    given = tuple(plays)
    weights: dict[Place, float] = {(one.image, one.layer, one.cluster): one.weight for one in rounds(study)}
    classes = {image.id: image.truth for image in study.images}
    counted = tuple(play for play in given if _place(play) in weights and play.truth == classes[play.image])
    names = {known: tuple(by_language.values()) for known, by_language in study.names.items()}
    words = synonyms(counted, embed or _embedded, names, spelling=spelling, reference=reference)
    scores = label_scores(counted, words)
    groups = merged(weights, counted, scores)
    return Explained(
        plays=counted,
        foreign=len(given) - len(counted),
        left_out=left_out(counted),
        words=words,
        scores=scores,
        clusters=merged(weights, counted, scores, join="none"),
        merged=groups,
        whole=merged(weights, counted, scores, join="layer"),
        ranked=class_scores(groups, scores, classes),
        trends=trends(scores, classes, study.layers) if len(study.layers) > 1 else {},
        recognition=recognition(counted, study.layers),
    )


def recognition(plays: Iterable[Play], layers: Sequence[str]) -> dict[str, Recognition]:
    """{layer: how soon networks recognise its clusters}, of the plays of kind "network" and the layers that have any.

    recognition(play(model, study), study.layers)["layer4"].shares  # (0.25, 0.25, 0.5, 0.5, 0.75, 0.75)
    """
    ends: dict[str, list[int | None]] = defaultdict(list)
    for play in plays:
        if play.kind == "network":
            ends[play.layer].append(play.level if play.outcome == "win" else None)
    return {layer: _recognition(ends[layer]) for layer in layers if layer in ends}


def _recognition(ends: Sequence[int | None]) -> Recognition:
    """Of the levels at which plays were won, None for those that were not."""
    won = [end for end in ends if end is not None]
    reached = np.cumsum(np.bincount(np.asarray(won, int), minlength=HIGHEST_LEVEL + 1))
    return Recognition(tuple((reached / len(ends)).tolist()), len(ends))


def _embedded(texts: Sequence[str]) -> np.ndarray:
    return encoder()(texts)


def _place(play: Play) -> Place:
    return play.image, play.layer, play.cluster
