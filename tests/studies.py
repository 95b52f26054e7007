"""A small study made by hand, plays of it, and an encoder of its few words."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxplain.features import Features
from jaxplain.models import Weights
from jaxplain.study import Play, Study, StudyImage

A, B, C = "a" * 16, "b" * 16, "c" * 16
RISING = np.arange(16, dtype=np.float32).reshape(4, 4) / 15
FALLING = RISING[::-1].copy()
DIAGONAL = np.eye(4, dtype=np.float32)

_VECTORS = {"fin": (1, 0, 0), "fins": (0.96, 0.28, 0), "tail": (0, 0, 1), "door": (0, 1, 0)}


def embed(texts):
    return np.array([_VECTORS[text] for text in texts], np.float32).reshape(-1, 3)


def features(weights, *maps):
    """A cluster a map, of 3, 2, 1, ... channels, one channel that was dropped, and a row that is not used."""
    channels: Any = np.array([-1, *(n for n in range(len(maps)) for _ in range(len(maps) - n))], np.int32)
    return Features(channels, np.array([*weights, 0], np.float32), np.array([*maps, 0 * maps[0]], np.float32))  # pyright: ignore[reportArgumentType] numpy's arrays are arrays


def small_study(folder: Path, layers=("one", "two")) -> Study:
    """Two tenches and a church. Cluster 2 of the first one's layer "one" is constant, and so no round."""
    found = {
        A: {"one": features([30, 20, 10], RISING, FALLING, 0 * RISING + 1), "two": features([40], DIAGONAL)},
        B: {"one": features([25], FALLING), "two": features([35], RISING)},
        C: {"one": features([15], DIAGONAL), "two": features([45], FALLING)},
    }
    (folder / "images").mkdir(parents=True)
    for number, id in enumerate(found):
        Image.fromarray(_photo(number)).save(folder / "images" / f"{id}.webp", lossless=True)
    black = np.zeros((8, 8, 3), np.uint8)
    images = [
        StudyImage(id, f"{id[0]}.png", truth, 0, {layer: found[id][layer] for layer in layers}, black)
        for id, truth in ((A, "tench"), (B, "tench"), (C, "church"))
    ]
    return Study(
        folder, "tiny", Weights("random", None), "softmax", ("tench", "church", "dog"), layers, 0, tuple(images),
        names={"tench": {"en": "fish", "it": "pesce"}},
    )  # fmt: skip


def _photo(seed):
    """Smooth colours (512, 512, 3), of which WebP loses little."""
    corners = np.random.default_rng(seed).integers(40, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((512, 512), Image.Resampling.BICUBIC))


def play(image, layer, cluster, guess: str | None, level, *labels, player="ada", kind: Any = "person", language="en"):
    truth = "church" if image == C else "tench"
    outcome = "resign" if guess is None else "win" if guess == truth else "lose"
    return Play(player, kind, image, layer, cluster, truth, guess, outcome, level, labels, language)


PLAYS = (
    play(A, "one", 0, "tench", 0, "fin", "tail"),
    play(A, "one", 0, "tench", 2, "Fish fins", player="bob"),
    play(A, "one", 1, "church", 1, "fin"),
    play(B, "one", 0, "tench", 0, "pinna", language="it"),
    play(C, "one", 0, None, 5),
    play(A, "two", 0, "tench", 3, player="net", kind="network"),
    play(B, "two", 0, None, 5, player="net", kind="network"),
    play(A, "one", 0, "dog", 2, player="net", kind="network"),
)
FOREIGN = (
    play(A, "one", 9, "tench", 0, "fin"),
    play(A, "one", 2, "tench", 0, "fin"),
    play("f" * 16, "one", 0, "tench", 0, "fin"),
    play(A, "one", 0, "tench", 0, "fin")._replace(truth="dog", outcome="lose"),
)
