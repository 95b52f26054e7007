"""A network as the player of its own study: what it recognises of its clusters through the masks that people see."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxplain.models import Model, Track, untracked
from jaxplain.study._masks import LEVELS, SIDE, blur_sigma, reveal_masks
from jaxplain.study._plays import HIGHEST_LEVEL, Play, outcome_of
from jaxplain.study._study import Round, Study, StudyImage, rounds

Cluster = tuple[str, str, int]  # image, layer, number


class Revealed(NamedTuple):
    """The network's probabilities of R rounds at L levels, of which `percents` of the picture are shown.

    `values` (R, L, n) are those of its n classes with their `names`, `offered` (m,) the indices of classes that may be
    guessed, and `truths` each round's class.
    """

    rounds: tuple[Round, ...]
    truths: tuple[str, ...]
    percents: tuple[float | int, ...]
    names: tuple[str, ...]
    offered: Int[np.ndarray, " m"]
    values: Float[np.ndarray, "R L n"]


def play(
    model: Model,
    study: Study,
    *,
    resign_below: float | int = 0.2,
    labels: int = 3,
    levels: Sequence[float | int] = LEVELS,
    batch: int = 32,
    player: str | None = None,
    track: Track = untracked,
) -> tuple[Play, ...]:
    """A play of every round by the network, called by its name or as `player`; in the order of `rounds`.

    `played` of `reveal_probabilities`, which say how it plays, and what they refuse.

        plays = play(load("efficientnet_lite0"), study)
        write_plays("network.csv", plays)
    """
    found = reveal_probabilities(model, study, levels=levels, batch=batch, track=track)
    return played(found, player or model.spec.name, resign_below=resign_below, labels=labels)


def played(found: Revealed, player: str, *, resign_below: float | int = 0.2, labels: int = 3) -> tuple[Play, ...]:
    """A play of each round by its probabilities.

    The network goes up the levels while the best class of those offered is less probable than `resign_below`, guesses
    that class at the first level where it is not, and resigns where there is none. Its labels are the names of the most
    probable of all its classes at that level, as many as `labels`, best first; none where it resigns. 0.2 is a choice:
    twice what chance gives one of ten classes. The same network holds what it guesses for likelier where it is told
    that it is one of few: probabilities are those of all classes, as the network gives them.
    """
    if not 0 <= resign_below <= 1 or labels < 0:
        given = f"resign_below is {resign_below} and labels is {labels}"
        raise ValueError(f"{given}, expected a probability and a number from 0: give others.")
    return tuple(
        _played(found, number, guesses.tolist(), player, resign_below, labels)
        for number, guesses in enumerate(_best(found))
    )


def recognised(found: Revealed) -> dict[Cluster, int | None]:
    """{(image, layer, cluster): the first level at which the truth is the best guess}, None where it never is.

    This does not ask how probable it is, unlike the level at which a play ends.
    """
    best = _best(found)
    first: dict[Cluster, int | None] = {}
    for (image, layer, cluster, _), truth, row in zip(found.rounds, found.truths, best, strict=True):
        right = (level for level, index in enumerate(row) if found.names[index] == truth)
        first[image, layer, cluster] = next(right, None)
    return first


def reveal_probabilities(
    model: Model,
    study: Study,
    *,
    levels: Sequence[float | int] = LEVELS,
    batch: int = 32,
    track: Track = untracked,
) -> Revealed:
    """The network's probabilities for each round at each level, R L forward passes; about `batch` of them at once.

    It sees its own levels of the image times the mask that a person sees, at its own size S: blurred by
    blur_sigma(cells) S / 512. The classes that may be guessed are the study's, if all of them are names of the
    network's, and else all that it has. ValueError for outputs that are scores; for a network of another input size
    than the study's; for levels that do not rise from above 0 to at most 100 percent; and where the study has no round.

        found = reveal_probabilities(model, study)
        found.values.shape                                              # (R, 6, 1000)
    """
    percents = _checked_levels(levels)
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected a whole number from 1: give a larger one.")
    if model.outputs == "scores":
        raise ValueError("The network's outputs are scores, which have no probabilities: play with a classifier.")
    all_rounds, images = rounds(study), {image.id: image for image in study.images}
    if not all_rounds:
        raise ValueError("The study has no cluster to be recognised: give it more images or layers.")
    _check_levels_of(model, images.values())
    chunks = list(_chunks(all_rounds, images, max(1, batch // len(percents))))
    values: Any = None
    for rows, size in track(chunks, "playing"):
        chunk = [all_rounds[row] for row in rows + rows[-1:] * (size - len(rows))]
        found = np.asarray(_of_rounds(model, images, chunk, percents))[: len(rows)]
        values = np.empty((len(all_rounds), *found.shape[1:]), np.float32) if values is None else values
        values[rows] = found
    if not np.isfinite(values).all():
        raise ValueError("The network's probabilities are not finite: look at its weights.")
    truths = tuple(images[one.image].truth for one in all_rounds)
    names = model.spec.categories or tuple(map(str, range(values.shape[-1])))
    return Revealed(all_rounds, truths, percents, names, _offered(names, study.classes), values)


def _checked_levels(levels: Sequence[float | int]) -> tuple[float | int, ...]:
    percents = tuple(levels)
    rising = all(low < high for low, high in zip((0, *percents), percents, strict=False))
    if not 0 < len(percents) <= HIGHEST_LEVEL + 1 or not rising or percents[-1] > 100:
        expected = f"1 to {HIGHEST_LEVEL + 1} percentages that rise from above 0 to at most 100"
        raise ValueError(f"levels is {percents}, expected {expected}: LEVELS are those of the game.")
    return percents


def _check_levels_of(model, images):
    for image in images:
        if image.levels.shape != model.spec.image.shape:
            given = f"The study has images of {image.levels.shape} and {model.spec.name} takes {model.spec.image.shape}"
            raise ValueError(f"{given}, expected the same: play with {model.spec.name}'s own study.")


def _offered(names: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    wanted = set(classes) if set(classes) <= set(names) else set(names)
    return np.array([index for index, name in enumerate(names) if name in wanted])


def _chunks(all_rounds: Sequence[Round], images: dict[str, StudyImage], size: int) -> Iterator[tuple[list[int], int]]:
    """Numbers of rounds whose maps have one shape, and the number of rounds that their batch is to have."""
    by_shape: dict[Any, list[int]] = {}
    for number, (image, layer, *_) in enumerate(all_rounds):
        by_shape.setdefault(images[image].features[layer].maps.shape[1:], []).append(number)
    size = min(size, max(map(len, by_shape.values())))
    for numbers in by_shape.values():
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size], size


def _of_rounds(
    model: Model, images: dict[str, StudyImage], chunk: Sequence[Round], percents: tuple[float | int, ...]
) -> Any:
    """The probabilities (R, L, n) of rounds whose maps have one shape."""
    levels = np.stack([images[one.image].levels for one in chunk])
    maps = np.stack([images[one.image].features[one.layer].maps[one.cluster] for one in chunk])
    side = levels.shape[1]
    sigma = blur_sigma(float(np.sqrt(maps[0].size))) * side / SIDE
    return _probabilities(model.probable, model.normalise, levels, _masks(maps, percents, side, sigma))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _masks(maps, percents, side, sigma):
    return jax.vmap(lambda heat: reveal_masks(heat, percents, side, sigma=sigma))(maps)


@jax.jit
def _probabilities(net, normalise, levels, masks):
    """Of images (R, S, S, C) times their masks (R, L, S, S)."""
    pixels = levels.astype(jnp.float32)[:, None] / 255 * masks[..., None]
    outputs = jax.vmap(lambda shown: net(normalise(shown)))(pixels.reshape(-1, *levels.shape[1:]))
    return outputs.reshape(*masks.shape[:2], -1)


def _best(found: Revealed) -> np.ndarray:
    """The index (R, L) of the most probable class that may be guessed."""
    return found.offered[np.argmax(found.values[..., found.offered], axis=-1)]


def _played(
    found: Revealed, number: int, guesses: list[int], player: str, resign_below: float | int, labels: int
) -> Play:
    (image, layer, cluster, _), truth = found.rounds[number], found.truths[number]
    sure = [found.values[number, level, guess] >= resign_below for level, guess in enumerate(guesses)]
    level = next((level for level, enough in enumerate(sure) if enough), None)
    end = partial(Play, player, "network", image, layer, cluster, truth)
    if level is None:
        return end(None, "resign", len(guesses) - 1)
    guess = found.names[guesses[level]]
    order = np.argsort(-found.values[number, level], kind="stable").tolist()
    names = tuple(dict.fromkeys(found.names[index] for index in order))[:labels]
    return end(guess, outcome_of(truth, guess), level, names)
