"""Do clusters of features mean anything? python benchmarks/experiments/feature_meaning.py

The networks and images are those of controlled_concepts.py: photographed textures with a tag, which is the class's own
with probability p, and whether a class's tag matters is measured: covering it changes more than a tenth of the
predictions. All images that are explained have their class's own tag, and the class is what is explained.

In each layer the heaviest cluster of channels is held against the tag's box: by the share of the map that is inside,
and by the share of the box among as many of the map's highest pixels as the box has. Then the network sees only what a
cluster's map reveals, in steps of 2 to 30 %, as in a study: the level at which it takes the class for the most probable
one, from 0 to 5, or 6 where it never does; and its label, which is the most probable class of the first level where
that has a probability of at least 0.5, twice what chance gives. The rest is black, as in a study, or a crop of another
photograph, since a network that has never seen so much black may call it a class.

Beside the heaviest cluster are the lightest one of those that are kept, where there are two; random clusters, of as
many channels as the heaviest has, drawn from all that weigh enough to be kept and made a map by the same formula;
Grad-CAM's positive part; and random cells. Of what is drawn there are four of each. Where cells of a map are equal,
their order is random, so that every mask shows as much. Intervals are Student's over seeds, of each of which all images
make one number: the bootstrap is too short for so few.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import controlled_concepts as cc
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from signed_saliency import student, tiles, train

sys.path.append(str(Path(__file__).parents[1] / "speed"))
from harness import machine, reuse_memory

import jaxplain as jp
from jaxplain.explain import weighted
from jaxplain.features import Features, least_percent, summarised
from jaxplain.net import Net
from jaxplain.render import Curves, Panel
from jaxplain.study import LEVELS, SIDE, blur_sigma, reveal_masks

LAYERS = ("relu0", "relu1", "relu2", "relu3")
CLUSTERINGS = ("t-SNE", "k-means")
OTHERS = ("Grad-CAM", "random cells")
NAMES = tuple(f"{kind}, {name}" for name in CLUSTERINGS for kind in ("heaviest", "lightest", "random")) + OTHERS
GROUNDS = ("black", "a photograph")  # what is behind the mask
MEASURES = ("energy", "cover", *(f"{what}, {ground}" for ground in GROUNDS for what in ("level", "label")))
DRAWS = 4
SURE = 0.5
JUDGED = 60  # images of each class that say whether its tag matters
QUICK = {"seeds": 2, "epochs": 5, "train": 60, "images": 2}


class Found(NamedTuple):
    """Of one network and N images: p, whether their tags matter (N,), and values (measures, layers, names, N).

    `counts` (clusterings, layers, 3) are mean numbers of clusters, of channels in the heaviest, and of those that weigh
    enough to be kept. Values of clusters that there are not are NaN.
    """

    probability: float
    matters: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    accuracy: float


Value = Callable[[Found], np.ndarray]  # (layers, N)
Chosen = Callable[[Found], np.ndarray]  # (N,) bool


def matters(found: Found) -> np.ndarray:
    return found.matters


def matters_not(found: Found) -> np.ndarray:
    return ~found.matters


def trained_with(probability: float) -> Chosen:
    """All images of networks that were trained with this probability."""
    return lambda found: np.full(found.matters.shape, found.probability == probability)


def random_cluster(key: Array, kept: Array, size: Any) -> Array:
    """A clustering (C,): 0 for `size` channels drawn from those that are kept, and -1 for the others."""
    order = jnp.argsort(jnp.where(kept, jax.random.uniform(key, kept.shape), 1))
    return jnp.where(jnp.argsort(order) < size, 0, -1)


def without_ties(heat: Array, key: Array) -> Array:
    """The map (h, w) up to 1, with noise that decides the order of equal cells only."""
    noise = 1e-6 * jax.random.uniform(key, heat.shape)
    return (1 - 1e-6) * heat / jnp.maximum(jnp.max(heat), 1e-12) + noise


def cluster_maps(features: Features, activation: Array, percent: Array, key: Array) -> dict[str, Array]:
    """A layer's maps (draws, h, w) of clusters, NaN for those that there are not."""
    kept, count = percent > least_percent(len(percent)), jnp.sum(features.weights > 0)
    size, keys = jnp.sum(features.cluster == 0), jax.random.split(key, DRAWS)
    drawn = jax.vmap(lambda key: summarised(activation, percent, random_cluster(key, kept, size), 1).maps[0])(keys)
    lightest = features.maps[count - 1]
    found = {"heaviest": (features.maps[:1], count > 0), "lightest": (lightest[None], count > 1)}
    found["random"] = drawn, count > 0
    return {
        name: jnp.where(there, jax.vmap(without_ties)(heats, keys[: len(heats)]), jnp.nan)
        for name, (heats, there) in found.items()
    }


def other_maps(cam: Array, key: Array) -> dict[str, Array]:
    """Grad-CAM's positive part and random cells, (draws, h, w) each."""
    cells = jax.vmap(functools.partial(without_ties, jnp.zeros(cam.shape)))(jax.random.split(key, DRAWS))
    return {"Grad-CAM": without_ties(jp.positive(cam), key)[None], "random cells": cells}


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
def without_clusters(net: Net, x: Array, target: Array, key: Array) -> tuple[Any, Any]:
    """By layer the activation (h, w, C) with the channels' percent (C,), and maps (draws, h, w) by name."""
    cams = jp.grad_cam(net, x, target, layer=LAYERS)
    return weighted(net, x, target, LAYERS, True), {layer: other_maps(cam, key) for layer, cam in cams.items()}


@jax.jit
@jax.vmap
def with_clusters(features: dict[str, Features], parts: dict[str, tuple[Array, Array]], key: Array) -> tuple[Any, Any]:
    """By layer maps (draws, h, w) by name, and the numbers of clusters, of the heaviest's channels and of all kept."""
    maps = {layer: cluster_maps(features[layer], *part, key) for layer, part in parts.items()}
    kept = {layer: percent > least_percent(len(percent)) for layer, (_, percent) in parts.items()}
    flags = [(features[layer].weights > 0, features[layer].cluster == 0, kept[layer]) for layer in LAYERS]
    return maps, jnp.array([[jnp.sum(flag) for flag in row] for row in flags])


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
def by_kmeans(net: Net, x: Array, target: Array, key: Array) -> Any:
    return jp.layer_features(net, x, target, layers=LAYERS, key=key, clustering="kmeans")


def by_tsne(net: Net, X: np.ndarray, targets: np.ndarray, keys: Array) -> Any:
    each = [jp.layer_features(net, *one, layers=LAYERS, key=key) for *one, key in zip(X, targets, keys, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def all_maps(net: Net, images: cc.Tagged, key: Array) -> tuple[dict[str, dict[str, Array]], np.ndarray]:
    """Maps (N, draws, h, w) by layer and name, and the mean numbers (clusterings, layers, 3) of `with_clusters`."""
    targets = np.eye(len(cc.CLASSES), dtype=np.float32)[images.labels]
    each = images.whole, targets, jax.random.split(key, len(targets))
    parts, maps = without_clusters(net, *each)
    counts = []
    for name, clusters in zip(CLUSTERINGS, (by_tsne, by_kmeans), strict=True):
        found, numbers = with_clusters(clusters(net, *each), parts, each[-1])
        counts.append(numbers.mean(axis=0))
        for layer in LAYERS:
            maps[layer] |= {f"{kind}, {name}": heats for kind, heats in found[layer].items()}
    return maps, np.array(counts)


def first_level(right: Array) -> Array:
    """The first of the levels (L,) at which it is right, and L where it never is."""
    return jnp.where(jnp.any(right), jnp.argmax(right), len(right))


def well_named(probabilities: Array, label: Any) -> Array:
    """Whether the best class of the first level (L, classes) where it is probable enough is the label."""
    sure = jnp.max(probabilities, axis=-1) >= SURE
    return jnp.any(sure) & (jnp.argmax(probabilities[jnp.argmax(sure)]) == label)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
@functools.partial(jax.vmap, in_axes=(None, None, None, 0, None))
def played(net: Net, x: Array, label: Array, heat: Array, ground: Array) -> Array:
    """The level and the label's rightness (2,) where an image is shown where a map is high, and else the ground."""
    sigma = blur_sigma(math.sqrt(heat.size)) * len(x) / SIDE
    masks = reveal_masks(heat, LEVELS, len(x), sigma=sigma)[..., None]
    probabilities = jax.nn.softmax(jax.vmap(net)(masks * x[None] + (1 - masks) * ground[None]))
    right = jnp.argmax(probabilities, axis=-1) == label
    return jnp.stack([first_level(right), well_named(probabilities, label)])


def cover(heats: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The share of each box among as many of the map's highest pixels as the box has, (N,)."""
    flat = boxes.reshape(len(boxes), -1)
    ranks = np.argsort(np.argsort(-heats.reshape(flat.shape), axis=1), axis=1)
    sizes = flat.sum(axis=1)
    return (flat & (ranks < sizes[:, None])).sum(axis=1) / sizes


def measured(net: Net, images: cc.Tagged, grounds: np.ndarray, heats: Array) -> np.ndarray:
    """All measures (measures, N) of maps (N, draws, h, w), means over draws; grounds are (grounds, N, H, W, 3)."""
    count, draws = heats.shape[:2]
    size = images.boxes.shape[1:]
    large = np.asarray(jax.vmap(lambda heat: jp.upsample(heat, size))(heats.reshape(-1, *heats.shape[2:])))
    boxes = np.repeat(images.boxes, draws, axis=0)
    found = [f(large, boxes).reshape(count, draws) for f in (cc.energy, cover)]
    for ground in grounds:
        found += [*np.moveaxis(played(net, images.whole, images.labels, heats, ground), -1, 0)]
    return np.where(np.isfinite(heats).all(axis=(2, 3)), found, np.nan).mean(axis=-1)


def judged(
    net: Net, images: cc.Tagged, many: cc.Tagged, grounds: np.ndarray, probability: float, key: Array
) -> tuple[Found, Any]:
    """What clusters and their rivals are worth on the images, while many others say which tags matter; and all maps."""
    _, of_class, accuracy = cc.truth(net, many, len(cc.CLASSES))
    maps, counts = all_maps(net, images, key)
    values = np.array([[measured(net, images, grounds, maps[layer][name]) for name in NAMES] for layer in LAYERS])
    return Found(probability, of_class[images.labels], np.moveaxis(values, 2, 0), counts, accuracy), maps


def of(measure: str, name: str, minus: str | None = None) -> Value:
    """The values of a kind of map, or how much larger they are than another's on the same image."""

    def value(one):
        values = one.values[MEASURES.index(measure)]
        return values[:, NAMES.index(name)] - (values[:, NAMES.index(minus)] if minus else 0)

    return value


def by_seed(runs: Sequence[Sequence[Found]], value: Value, chosen: Chosen) -> np.ndarray:
    """Means over the chosen images (seeds, layers), NaN where there are none."""

    def mean(row):
        finite = row[np.isfinite(row)]
        return finite.mean() if finite.size else np.nan

    pooled = [np.concatenate([value(one)[:, chosen(one)] for one in run], axis=1) for run in runs]
    return np.array([[mean(row) for row in rows] for rows in pooled])


def cell(values: np.ndarray) -> str:
    """The mean of seeds and its interval, of those seeds that have a value."""
    values = values[np.isfinite(values)]
    return "{:.2f} ({:.2f} to {:.2f})".format(values.mean(), *student(values)) if len(values) > 1 else "-"


def rivals(measure: str, clustering: str) -> list[str]:
    """What the heaviest clusters are compared with."""
    if measure.startswith("label"):
        return []
    others = OTHERS if measure.startswith("level") else OTHERS[:1]
    return [f"random, {clustering}", f"lightest, {clustering}", *others]


def rows_of(measure: str) -> dict[str, Value]:
    """The measure of all maps, and what the heaviest clusters have more than their rivals on the same images."""
    pairs = [(f"heaviest, {name}", rival) for name in CLUSTERINGS for rival in rivals(measure, name)]
    rows = {name: of(measure, name) for name in NAMES}
    return rows | {f"{name} - {rival}": of(measure, name, rival) for name, rival in pairs}


def table(runs: Sequence[Sequence[Found]], measure: str, title: str, chosen: Chosen, less: Chosen | None = None) -> str:
    """Means over the chosen images by layer, or how much larger they are than those over the images of `less`."""
    lines = [f"| {title} | {' | '.join(LAYERS)} |", "|---" * (1 + len(LAYERS)) + "|"]
    for name, value in rows_of(measure).items():
        means = by_seed(runs, value, chosen) - (by_seed(runs, value, less) if less else 0)
        lines.append(f"| {name} | {' | '.join(map(cell, means.T))} |")
    return "\n".join(lines)


def by_probability(runs: Sequence[Sequence[Found]]) -> str:
    rows = ["| p | accuracy | tags that matter |", "|---|---|---|"]
    for found in zip(*runs, strict=True):
        numbers = (np.mean([getattr(one, name) for one in found]) for name in ("accuracy", "matters"))
        rows.append(f"| {found[0].probability:g} | {' | '.join(f'{number:.2f}' for number in numbers)} |")
    return "\n".join(rows)


def sizes(runs: Sequence[Sequence[Found]]) -> str:
    """Mean numbers of clusters and channels by layer."""
    means = np.mean([one.counts for run in runs for one in run], axis=0)
    rows = ["| layer | channels that are kept | clusters, in the heaviest: t-SNE | k-means |", "|---|---|---|---|"]
    for column, layer in enumerate(LAYERS):
        cells = [f"{clusters:.1f}, {heaviest:.1f}" for clusters, heaviest, _ in means[:, column]]
        rows.append(f"| {layer} | {means[0, column, 2]:.1f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def report(runs: Sequence[Sequence[Found]]) -> str:
    inside = {
        "energy": "Share of the map inside the tag's box (chance: 0.06)",
        "cover": "Share of the box among as many of the map's highest pixels (chance: 0.06)",
    }
    played = {f"level, {ground}": f"Level of recognition (0 to 5, 6: never), behind it {ground}" for ground in GROUNDS}
    played |= {f"label, {ground}": f"Share of labels that are the class, behind it {ground}" for ground in GROUNDS}
    parts = [by_probability(runs), sizes(runs)]
    for measure, title in inside.items():
        parts += [f"## {title}", table(runs, measure, "the tag matters", matters)]
        parts += [table(runs, measure, "the tag does not matter", matters_not)]
    parts.append(table(runs, "cover", "more where the tag matters by", matters, matters_not))
    for measure, title in played.items():
        parts += [f"## {title}", *(table(runs, measure, f"p = {p}", trained_with(p)) for p in (0, 1))]
    return "\n\n".join(parts)


def curves(runs: Sequence[Sequence[Found]], measure: str, layer: str, title: str, top: float) -> Curves:
    """Values by probability, with intervals over seeds."""
    column, shown = LAYERS.index(layer), ("heaviest, t-SNE", "random, t-SNE", *OTHERS)
    means, bands = {}, {}
    for name in shown:
        values = [by_seed(runs, of(measure, name), trained_with(p))[:, column] for p in cc.PROBABILITIES]
        means[name] = np.mean(values, axis=1)
        bands[name] = np.clip([student(row) for row in values], 0, top).T
    return Curves(f"{layer}: {title} by p", means, top=top, places=cc.PROBABILITIES, bands=bands)


def example(images: cc.Tagged, maps: dict[str, dict[str, Array]], layer: str = "relu2") -> list[Panel]:
    x, (rows, columns) = images.whole[0], np.nonzero(images.boxes[0])
    box = columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5
    names = ("heaviest, t-SNE", "heaviest, k-means", "Grad-CAM")
    panels = [Panel(f"{name}\nat {layer}, p = 1", x, maps[layer][name][0, 0], box, (0.0, 1.0)) for name in names]
    return [Panel("an image of the class brick,\nwith its tag", x, box=box), *panels]


def run(seed: int, options: argparse.Namespace, parts: list, others: list) -> tuple[list[Found], list[Panel]]:
    """All probabilities for one seed, and examples of maps of the last."""
    many, images = (cc.tagged(parts, others, each, seed) for each in (JUDGED, options.images))
    other = cc.elsewhere(others, len(images.labels), np.random.default_rng([seed, 3000]))
    grounds, found, maps = np.stack([np.zeros_like(other), other]), [], {}
    for number, p in enumerate(cc.PROBABILITIES):
        net = train(cc.data(parts, p, options.train, seed), jax.random.key(seed), options.epochs, cc.Net4)
        one, maps = judged(net, images, many, grounds, p, jax.random.fold_in(jax.random.key(seed), number))
        found.append(one)
    return found, example(images, maps)


def picture(runs: Sequence[Sequence[Found]], shown: Sequence[Panel], path: Path) -> None:
    rows = [
        [curves(runs, "cover", layer, "cover of the tag", 1) for layer in LAYERS],
        [curves(runs, "level, a photograph", layer, "level", 6) for layer in LAYERS],
    ]
    title = "Cover of the tag, used the more the larger p is, and level of recognition before a photograph (6: never)"
    jp.figure([*rows, shown], title=title, path=path)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--train", type=int, default=300, help="training images of each class")
    parser.add_argument("--images", type=int, default=10, help="explained images of each class")
    parser.add_argument("--quick", action="store_true", help="so little of everything that it means nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "feature_meaning.png")
    options = parser.parse_args(given)
    if options.quick:
        vars(options).update(QUICK)
    if options.seeds < 2 or min(options.epochs, options.train, options.images) < 1:
        parser.error("an interval needs 2 --seeds, and there is at least 1 of everything else")
    return options


def main(given: Sequence[str] | None = None) -> list[list[Found]]:
    options = arguments(given)
    print(f"{machine('jaxplain', 'jax', 'flax')}\n", flush=True)
    start = time.perf_counter()
    parts, others = ([tiles(cc.grey(name)) for name in names] for names in (cc.CLASSES, cc.OTHERS))
    runs, shown = zip(*(run(seed, options, parts, others) for seed in range(options.seeds)), strict=True)
    print(f"{report(runs)}\n\n{time.perf_counter() - start:.0f} s")
    picture(runs, shown[0], options.out)
    return list(runs)


if __name__ == "__main__":
    reuse_memory()
    main()
