"""Do concept attributions say what a network relies on? python benchmarks/experiments/controlled_concepts.py

Images are crops of photographed textures, grey, which are the classes, with a tag at a random place. With probability p
the tag is the class's own, and else that of any class; small networks are trained for each p. How much a network relies
on the tags is measured, not assumed: by how much a class's logit falls when the tag is covered by the texture behind
it, and when the texture is replaced by a crop of another photograph. Of both falls, the tag's share is the truth.

Tag and texture are concepts: tags on crops of other photographs, and crops of the textures that training has not seen.
Visual-TCAV's mean attribution and TCAV's score of both are compared with the truth over classes and probabilities, and
so are the shares of Grad-CAM's and of integrated gradients' positive values inside the tag's box and outside. A tag
matters where covering it changes more than a tenth of the predictions; the AUC says how well a score tells whether it
does. Concept maps are held against the tag's box. All images that are explained have their class's own tag, and are
of parts of the photographs that were not trained on.
"""

import argparse
import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array
from scipy.stats import spearmanr
from signed_saliency import CROP, Data, crops, photograph, student, tiles, train
from sklearn.metrics import roc_auc_score

sys.path.append(str(Path(__file__).parents[1] / "speed"))
from harness import machine, reuse_memory

import jaxplain as jp
from jaxplain.concepts import linear_direction
from jaxplain.models import Conv, Dense, GlobalMean, Relu
from jaxplain.net import Net
from jaxplain.render import Curves, Panel

CLASSES = ("brick.png", "grass.png", "gravel.png", "ihc.png")
OTHERS = (
    "astronaut.png", "camera.png", "chelsea.png", "china.jpg", "coffee.png", "coins.png", "flower.jpg", "moon.png",
    "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
PROBABILITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
TAGS = np.array([  # one for each class, 6 x 6
    ["......", ".####.", ".####.", ".####.", ".####.", "......"],
    ["#....#", ".#..#.", "..##..", "..##..", ".#..#.", "#....#"],
    ["######", "......", "######", "......", "######", "......"],
    ["..##..", "..##..", "######", "######", "..##..", "..##.."],
])  # fmt: skip
SCALE = 2
SIDE = 6 * SCALE
LAYERS = ("relu2", "relu3")
METHODS = ("Visual-TCAV", "TCAV", "Grad-CAM", "integrated gradients")
EXAMPLES = 60  # images of each concept, and so many random ones for each of them
MATTERS = 0.1


class Net4(nn.Module):
    """Four convolutions: (B, H, W, 3) to logits (B, classes)."""

    classes: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for number, (width, size, stride) in enumerate(((16, 5, 2), (32, 3, 2), (64, 3, 1), (64, 3, 2))):
            x = Relu(name=f"relu{number}")(Conv(width, size, stride, size // 2)(x))
        return Dense(self.classes)(GlobalMean()(x)[:, 0, 0])


class Tagged(NamedTuple):
    """N images of classes with tags: as they are, with the tag covered, with another texture, and the tags' boxes."""

    labels: np.ndarray
    whole: np.ndarray
    without_tag: np.ndarray
    without_texture: np.ndarray
    boxes: np.ndarray


class Found(NamedTuple):
    """Of K classes: the truth (K,), whether the tag matters (K,), and by method the scores of tag and texture (2, K).

    `inside` are the energy and the intersection over union of tag maps and Grad-CAM with the box, by the map's name.
    """

    truth: np.ndarray
    matters: np.ndarray
    scores: dict[str, np.ndarray]
    inside: dict[str, tuple[float, float]]
    accuracy: float


def grey(name: str) -> np.ndarray:
    """A photograph in levels of grey, (H, W, 3) in [0, 1]."""
    return np.repeat(photograph(name) @ np.float32([0.299, 0.587, 0.114])[:, None], 3, axis=2)


def tag_pictures() -> np.ndarray:
    """(classes, SIDE, SIDE, 3): white on black."""
    white = np.array([[[pixel == "#" for pixel in row] for row in tag] for tag in TAGS], np.float32)
    return np.repeat(np.kron(white, np.ones((1, SCALE, SCALE), np.float32))[..., None], 3, axis=3)


def stick(images: np.ndarray, tags: Sequence[int], draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Copies of images with tags at random places, and the tags' boxes (N, H, W) bool."""
    pictures, images, boxes = tag_pictures(), images.copy(), np.zeros(images.shape[:3], bool)
    for number, (tag, (y, x)) in enumerate(zip(tags, draw.integers(0, CROP - SIDE + 1, (len(images), 2)), strict=True)):
        place = number, slice(y, y + SIDE), slice(x, x + SIDE)
        images[place], boxes[place] = pictures[tag], True
    return images, boxes


def data(parts: list, probability: float, each: int, seed: int) -> Data:
    """Crops to train on, whose tag is the class's own with this probability, and any class's else."""
    draw = np.random.default_rng([seed, round(100 * probability)])
    X = np.concatenate([crops(part[0], each, draw) for part in parts])
    labels = np.repeat(np.arange(len(parts)), each)
    own = draw.uniform(size=len(labels)) < probability
    tags = np.where(own, labels, draw.integers(0, len(parts), len(labels)))
    X, _ = stick(X, tags, draw)
    return Data("tagged", X, labels, X[:0], labels[:0])


def tagged(parts: list, others: list, each: int, seed: int) -> Tagged:
    """Crops that were not trained on, with their class's own tag."""
    draw = np.random.default_rng([seed, 1000])
    labels = np.repeat(np.arange(len(parts)), each)
    plain = np.concatenate([crops(part[1], each, draw) for part in parts])
    whole, boxes = stick(plain, labels, draw)
    other = np.where(boxes[..., None], whole, elsewhere(others, len(labels), draw))
    return Tagged(labels, whole, plain, other, boxes)


def elsewhere(others: list, count: int, draw: np.random.Generator) -> np.ndarray:
    """Crops of photographs that are no class."""
    return crops([tile for part in others for side in part for tile in side], count, draw)


def concept_images(parts: list, others: list, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The images of the tags and of the textures, 2 x classes, and random ones."""
    draw = np.random.default_rng([seed, 2000])
    tags = [stick(elsewhere(others, EXAMPLES, draw), [k] * EXAMPLES, draw)[0] for k in range(len(parts))]
    return [*tags, *(crops(part[1], EXAMPLES, draw) for part in parts)], elsewhere(others, 2 * EXAMPLES, draw)


logits = jax.jit(jax.vmap(lambda net, x: net(x), (None, 0)))
activations = jax.jit(jax.vmap(lambda net, x: {layer: jp.view(net, layer, x)[0] for layer in LAYERS}, (None, 0)))


@jax.jit
def attributions(net: Net, X: Array, targets: Array, concepts: Any) -> tuple[Any, Any]:
    """Visual-TCAV's values (N, concepts) and maps (N, concepts, h, w), by layer."""

    def one(x, target):
        values = jp.at_layers(jp.concept_attribution, LAYERS)(net, x, target, concepts=concepts)
        maps = {layer: jp.concept_map(net, x, layer=layer, concept=concepts[layer]) for layer in LAYERS}
        return {layer: found.values for layer, found in values.items()}, maps

    return jax.vmap(one)(X, targets)


@jax.jit
def tcav(net: Net, X: Array, target: Array, directions: dict[str, Array]) -> dict[str, Array]:
    """TCAV's scores (concepts,) by layer."""
    return {layer: jp.tcav_score(net, X, target, layer=layer, directions=directions[layer]) for layer in LAYERS}


@jax.jit
def heatmaps(net: Net, X: Array, targets: Array) -> dict[str, Array]:
    """Positive parts (N, H, W) of Grad-CAM at the last layer and of integrated gradients of the image."""
    cam = jp.batched(jp.grad_cam)(net, X, targets, layer="relu3")
    ig = jp.batched(functools.partial(jp.integrated_gradients, steps=16))(net, X, targets)
    large = jax.vmap(lambda heat: jp.upsample(jp.positive(heat), X.shape[1:3]))(cam)
    return {"Grad-CAM": large, "integrated gradients": jax.vmap(lambda a: jp.positive(jp.over_channels(a)))(ig)}


def energy(heats: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The share of each map's sum inside its box, (N,); 0 for a map of zeros."""
    total = heats.sum(axis=(1, 2))
    return (heats * boxes).sum(axis=(1, 2)) / np.where(total > 0, total, 1)


def overlap(heats: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of the box and where a map is at least half its largest value, (N,)."""
    most = heats.max(axis=(1, 2), keepdims=True)
    seen = (heats >= most / 2) & (most > 0)
    return (seen & boxes).sum(axis=(1, 2)) / (seen | boxes).sum(axis=(1, 2))


def truth(net: Net, images: Tagged, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The tag's share of what covering tag and texture costs, and whether the tag matters, (K,) each; the accuracy."""
    outputs = [np.asarray(logits(net, X)) for X in (images.whole, images.without_tag, images.without_texture)]
    rows = np.arange(len(images.labels))
    whole, no_tag, no_texture = (z[rows, images.labels] for z in outputs)
    of_class = [images.labels == k for k in range(count)]
    by_tag, by_texture = (
        np.maximum([d[some].mean() for some in of_class], 0) for d in (whole - no_tag, whole - no_texture)
    )
    total = by_tag + by_texture
    predicted = [z.argmax(1) for z in outputs[:2]]
    changed = np.array([(predicted[0] != predicted[1])[some].mean() for some in of_class])
    return by_tag / np.where(total > 0, total, 1), changed > MATTERS, float((predicted[0] == images.labels).mean())


def measured(net: Net, images: Tagged, examples: list[np.ndarray], random: np.ndarray) -> Found:
    """What all methods say of one network, beside the truth."""
    count = len(examples) // 2
    one_hot = np.eye(count, dtype=np.float32)
    taken, chance = [activations(net, X) for X in examples], activations(net, random)
    concepts = {layer: jp.fit_concepts([a[layer] for a in taken], chance[layer]) for layer in LAYERS}
    directions = {layer: np.stack([linear_direction(a[layer], chance[layer]) for a in taken]) for layer in LAYERS}
    values, maps = attributions(net, images.whole, one_hot[images.labels], concepts)
    heats = {name: np.asarray(heat) for name, heat in heatmaps(net, images.whole, one_hot[images.labels]).items()}
    scores = {name: np.zeros((2, count)) for name in named_methods()}
    for k in range(count):
        some = images.labels == k
        share = tcav(net, images.whole[some], one_hot[k], directions)
        for layer in LAYERS:
            for i, concept in enumerate((k, count + k)):
                scores[f"Visual-TCAV at {layer}"][i, k] = np.asarray(values[layer])[some, concept].mean()
                scores[f"TCAV at {layer}"][i, k] = share[layer][concept]
        for name, heat in heats.items():
            inside = energy(heat[some], images.boxes[some]).mean()
            scores[name][:, k] = inside, 1 - inside
    own = {
        f"Visual-TCAV at {layer}": np.stack(
            [jp.upsample(maps[layer][n, k], images.boxes.shape[1:]) for n, k in enumerate(images.labels)]
        )
        for layer in LAYERS
    }
    inside = {
        name: (float(energy(heat, images.boxes).mean()), float(overlap(heat, images.boxes).mean()))
        for name, heat in (own | heats).items()
    }
    share, matters, accuracy = truth(net, images, count)
    return Found(share, matters, scores, inside, accuracy)


def named_methods() -> list[str]:
    return [f"{name} at {layer}" for name in METHODS[:2] for layer in LAYERS] + list(METHODS[2:])


def correlation(found: Sequence[Found], name: str, concept: int) -> float:
    """Spearman's, over classes and probabilities, of a method's scores of tag (0) or texture (1) with the truth."""
    scores = np.concatenate([one.scores[name][concept] for one in found])
    shares = np.concatenate([one.truth if concept == 0 else 1 - one.truth for one in found])
    return 0.0 if np.ptp(scores) == 0 else float(spearmanr(scores, shares).statistic)


def area(found: Sequence[Found], name: str) -> float:
    """The area under the curve of a score of tags as a detector of those that matter."""
    return float(
        roc_auc_score(np.concatenate([f.matters for f in found]), np.concatenate([f.scores[name][0] for f in found]))
    )


def table(runs: list[list[Found]]) -> str:
    """Rows of methods; intervals are over seeds, of each of which all probabilities and classes make one number."""

    def cell(values):
        return "{:.2f} ({:.2f} to {:.2f})".format(np.mean(values), *np.clip(student(np.array(values)), -1, 1))

    rows = [
        "| | correlation, tag | correlation, texture | AUC | energy in the box | IoU |",
        "|---|---|---|---|---|---|",
    ]
    for name in named_methods():
        columns = [[correlation(run, name, concept) for run in runs] for concept in (0, 1)]
        columns.append([area(run, name) for run in runs])
        if name in runs[0][0].inside:
            columns += [[np.mean([one.inside[name][i] for one in run]) for run in runs] for i in (0, 1)]
        cells = [*map(cell, columns), "", ""][:5]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def by_probability(runs: list[list[Found]]) -> str:
    """Means over classes and seeds for each probability."""
    rows = ["| p | accuracy | truth: share of the tag | tags that matter | " + " | ".join(named_methods()) + " |"]
    rows.append("|---" * (4 + len(named_methods())) + "|")
    for column, p in enumerate(PROBABILITIES):
        found = [run[column] for run in runs]
        numbers = [np.mean([f.accuracy for f in found]), np.mean([f.truth for f in found])]
        numbers += [np.mean([f.matters for f in found])]
        numbers += [np.mean([f.scores[name][0] for f in found]) for name in named_methods()]
        rows.append(f"| {p:g} | " + " | ".join(f"{n:.2f}" for n in numbers) + " |")
    return "\n".join(rows)


def curves(runs: list[list[Found]], names: Sequence[str], title: str) -> Curves:
    """Scores of tags by probability, means over classes, with intervals over seeds, beside the truth."""
    lines = {"truth": [[one.truth.mean() for one in run] for run in runs]}
    lines |= {name: [[one.scores[name][0].mean() for one in run] for run in runs] for name in names}
    bands = {name: np.clip([student(column) for column in np.transpose(rows)], 0, 1).T for name, rows in lines.items()}
    means = {name: np.mean(rows, axis=0) for name, rows in lines.items()}
    label = "probability that the tag is the class's own"
    return Curves(title, means, label, top=1.05, places=PROBABILITIES, bands=bands, height="score of the tag")


def picture(runs: list[list[Found]], shown: Sequence[Panel], path: Path) -> None:
    concepts, maps = named_methods()[:4], named_methods()[4:]
    first = [curves(runs, [concepts[1], concepts[3]], "concepts at the last layer"),
             curves(runs, [concepts[0], concepts[2]], "concepts one layer before"),
             curves(runs, maps, "share of heatmaps inside the tag")]  # fmt: skip
    title = "How much networks rely on a tag, and what explanations say: near the truth is good."
    jp.figure([first, list(shown)], title=title, path=path)


def example(net: Net, images: Tagged, examples: list[np.ndarray], random: np.ndarray, title: str) -> list[Panel]:
    """The map of the first class's tag on an image of it."""
    layer = LAYERS[0]
    concept = jp.fit_concept(activations(net, examples[0])[layer], activations(net, random)[layer])
    x = images.whole[0]
    return [Panel(f"the tag's map\n{title}", x, jp.concept_map(net, x, layer=layer, concept=concept), scale=(0.0, 1.0))]


def run(seed: int, options: argparse.Namespace, parts: list, others: list) -> tuple[list[Found], list[Panel]]:
    """All probabilities for one seed, and examples of maps."""
    images = tagged(parts, others, options.images, seed)
    examples, random = concept_images(parts, others, seed)
    found, shown = [], []
    for p in PROBABILITIES:
        net = train(data(parts, p, options.train, seed), jax.random.key(seed), options.epochs, Net4)
        found.append(measured(net, images, examples, random))
        if p in (0, 1):
            shown += example(net, images, examples, random, f"of a network trained with p = {p:g}")
    return found, [Panel("an image of the class brick,\nwith its tag", images.whole[0]), *shown]


def main(given: Sequence[str] | None = None) -> list[list[Found]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--train", type=int, default=300, help="training images of each class")
    parser.add_argument("--images", type=int, default=30, help="explained images of each class")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "controlled_concepts.png")
    options = parser.parse_args(given)
    if options.seeds < 2 or min(options.epochs, options.train, options.images) < 1:
        parser.error("an interval needs 2 --seeds, and there is at least 1 of everything else")
    print(f"{machine('jaxplain', 'jax', 'flax')}\n", flush=True)
    start = time.perf_counter()
    parts, others = ([tiles(grey(name)) for name in names] for names in (CLASSES, OTHERS))
    runs, shown = zip(*(run(seed, options, parts, others) for seed in range(options.seeds)), strict=True)
    networks = f"{len(PROBABILITIES)} probabilities, {options.seeds} seeds, {len(CLASSES)} classes"
    print(f"## Agreement with the truth ({networks})\n\n{table(list(runs))}\n")
    print(f"## Tags by probability\n\n{by_probability(list(runs))}\n\n{time.perf_counter() - start:.0f} s")
    picture(list(runs), shown[0], options.out)
    return list(runs)


if __name__ == "__main__":
    reuse_memory()
    main()
