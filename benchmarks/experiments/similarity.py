"""Do maps of similarity find what makes images similar? python benchmarks/experiments/similarity.py

Three uses of networks without a classifier, whose similarity is explained:
few-shot: a prototypical network, trained on episodes of six digits in four rotations each, tells four other digits
    apart, from five images of each;
contrastive: the same network, trained to bring two pictures of one drawing together (SimCLR), compares such a pair;
retrieval: EfficientNet-Lite0's pooled features find a photograph by a part of it.
Digits are scikit-learn's drawings at a random place of a crop of a photograph; parts of photographs are pasted on
crops of a texture. So the box of what is similar is known, and is held against the map: its energy in the box, and
deletion and insertion of the query's pixels, which become grey, measured on the similarity (on the probability of the
class among the prototypes, for few-shot). Feature activation maps are compared with Grad-CAM of the similarity, with
the exact split of the similarity over places, with RISE of the similarity, and with noise. A map that is
constant puts pixels in no order, and is left out of the means of deletion and insertion.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from controlled_concepts import OTHERS, elsewhere, grey
from flax import linen as nn
from jax.tree_util import Partial
from jaxtyping import Array
from signed_saliency import CROP, photograph, tiles
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parents[1] / "speed"))
from harness import machine, reuse_memory

import jaxplain as jp
from jaxplain.models import Conv, GlobalMean, Relu, load, train
from jaxplain.net import Net
from jaxplain.render import Panel, scale_of
from jaxplain.stats import bootstrap_interval

METHODS = ("FAM", "Grad-CAM", "split over places", "RISE", "noise")
KNOWN, NEW = (
    [digit + 10 * turns for turns in range(4) for digit in range(6)],
    range(6, 10),
)  # to train on, to tell apart
WAYS = 8  # classes of an episode in training
SHOTS, BATCH, TEMPERATURE = 5, 64, 0.2
DIGIT, DIM = 24, 0.4  # pixels of a digit, and how bright its background is
LAYER = "relu3"


class Embed(nn.Module):
    """Four convolutions and the mean over positions: (B, H, W, 3) to embeddings (B, 64)."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for number, (width, size, stride) in enumerate(((16, 5, 2), (32, 3, 2), (64, 3, 1), (64, 3, 1))):
            x = Relu(name=f"relu{number}")(Conv(width, size, stride, size // 2)(x))
        return GlobalMean()(x)[:, 0, 0]


class Case(NamedTuple):
    """A query with the box (left, top, right, bottom) of what is similar, and a picture of what it is compared with.

    `references` are embeddings (n, C), of which the one at `target` is explained.
    """

    query: np.ndarray
    box: tuple[int, int, int, int]
    references: np.ndarray
    target: int
    other: np.ndarray


class Use(NamedTuple):
    """A use's cases, its network of embeddings, the layer, the similarity, and from similarities (n,) to outputs."""

    name: str
    net: Net
    layer: str
    similarity: Literal["cosine", "squared_euclidean"]
    outputs: Callable[[Array], Array]
    cases: list[Case]


def drawings() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits at DIGIT pixels in four rotations, (N, DIGIT, DIGIT) in [0, 1], and digit + 10 turns."""
    grey, labels = load_digits(return_X_y=True)
    large = jax.image.resize(grey.reshape(-1, 8, 8) / 16, (len(grey), DIGIT, DIGIT), "linear")
    turned = np.concatenate([np.rot90(np.clip(large, 0, 1), turns, (1, 2)) for turns in range(4)])
    return turned.astype(np.float32), np.concatenate([labels + 10 * turns for turns in range(4)])


def paste(digits: np.ndarray, backgrounds: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """White digits at random places of darkened backgrounds, (N, CROP, CROP, 3), and their corners (N, 2)."""
    images, places = DIM * backgrounds, draw.integers(0, CROP - DIGIT + 1, (len(digits), 2))
    for image, digit, (y, x) in zip(images, digits, places, strict=True):
        part = image[y : y + DIGIT, x : x + DIGIT]
        part += digit[..., None] * (1 - part)
    return images.astype(np.float32), places


class Pictures:
    """Digits on backgrounds, drawn anew each time."""

    def __init__(self, seed: int) -> None:
        self.digits, self.labels = drawings()
        self.others = [tiles(grey(name)) for name in OTHERS]
        self.draw = np.random.default_rng(seed)

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return paste(self.digits[rows], elsewhere(self.others, len(rows), self.draw), self.draw)

    def episode(self, classes: Any, count: int) -> np.ndarray:
        """Rows (classes, count) of different drawings."""
        return np.stack([self.draw.choice(np.flatnonzero(self.labels == k), count, replace=False) for k in classes])


def squared_distances(q: Array, r: Array | np.ndarray) -> Array:
    return jnp.sum((q[:, None] - r[None]) ** 2, axis=-1)


def prototypical(embed: Callable[[Array], Array], images: Array) -> Array:
    """The loss of an episode (classes, 2 SHOTS, H, W, 3): the first half of each class makes its prototype."""
    classes = len(images)
    q = embed(images.reshape(-1, *images.shape[2:])).reshape(classes, 2 * SHOTS, -1)
    logits = -squared_distances(q[:, SHOTS:].reshape(classes * SHOTS, -1), jnp.mean(q[:, :SHOTS], axis=1))
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.repeat(jnp.arange(classes), SHOTS)).mean()


def contrastive(embed: Callable[[Array], Array], images: Array) -> Array:
    """SimCLR's loss of pairs (2, B, H, W, 3): each picture's partner among all others, by cosine."""
    q = embed(images.reshape(-1, *images.shape[2:]))
    q = q / jnp.maximum(jnp.linalg.norm(q, axis=1, keepdims=True), 1e-6)
    n = len(q)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, q @ q.T / TEMPERATURE)
    return optax.softmax_cross_entropy_with_integer_labels(logits, (jnp.arange(n) + n // 2) % n).mean()


def total(loss: Callable[..., Array], embed: Callable[[Array], Array], images: Array) -> Array:
    """A batch's count, which is 1 since the pictures of a batch share its loss, and its loss."""
    return jnp.stack([1.0, loss(embed, images)])


def trained(loss: Callable[..., Array], batch: Callable[[], np.ndarray], steps: int) -> Net:
    """The network after so many steps, each on a new batch."""
    f = Partial(Embed().apply, Embed().init(jax.random.key(0), jnp.zeros((1, CROP, CROP, 3))))
    found = train(f, lambda _: [(batch(),)], functools.partial(total, loss), epochs=steps, rate=1e-3)
    values = np.ravel(found.training)
    print(f"{loss.__name__} loss: {np.mean(values[:20]):.2f} at first, {np.mean(values[-50:]):.2f} at last", flush=True)
    return jp.from_linen(Embed(), *found.f.args)


embeddings = jax.jit(jax.vmap(lambda net, x: net(x), (None, 0)))


def few_shot(steps: int, count: int) -> Use:
    pictures = Pictures(0)

    def episode():
        return _shaped(pictures, pictures.episode(pictures.draw.choice(KNOWN, WAYS, replace=False), 2 * SHOTS))

    net = trained(prototypical, episode, steps)
    cases, right = [], []
    while len(cases) < count:
        rows = pictures.episode(NEW, SHOTS + 1)
        supports = _shaped(pictures, rows[:, :SHOTS])
        prototypes = np.stack([np.asarray(embeddings(net, X)).mean(axis=0) for X in supports])
        queries, places = pictures.of(rows[:, SHOTS])
        distances = np.asarray(squared_distances(embeddings(net, queries), prototypes))
        for k, (query, (y, x)) in enumerate(zip(queries, places, strict=True)):
            right.append(distances[k].argmin() == k)
            cases.append(Case(query, (x, y, x + DIGIT, y + DIGIT), prototypes, k, supports[k, 0]))
    print(f"few-shot: {np.mean(right):.2f} of the queries are nearest to their own prototype", flush=True)
    return Use("few-shot", net, LAYER, "squared_euclidean", jax.nn.softmax, cases[:count])


def _shaped(pictures, rows):
    images, _ = pictures.of(rows.ravel())
    return images.reshape(*rows.shape, *images.shape[1:])


def _same(similarities: Array) -> Array:
    return similarities


def contrasts(steps: int, count: int) -> Use:
    pictures = Pictures(1)

    def pairs():
        rows = pictures.draw.choice(len(pictures.digits), BATCH, replace=False)
        return np.stack([pictures.of(rows)[0] for _ in range(2)])

    net = trained(contrastive, pairs, steps)
    rows = pictures.draw.choice(len(pictures.digits), count, replace=False)
    (queries, places), (others, _) = pictures.of(rows), pictures.of(rows)
    references = np.asarray(embeddings(net, others))
    cases = [
        Case(query, (x, y, x + DIGIT, y + DIGIT), reference[None], 0, other)
        for query, (y, x), reference, other in zip(queries, places, references, others, strict=True)
    ]
    return Use("contrastive", net, LAYER, "cosine", _same, cases)


def retrievals(count: int, side: int = 112) -> Use:
    """Parts of photographs on textures, and the photograph each is of, the nearest of all."""
    model = load("efficientnet_lite0")
    draw, textures = np.random.default_rng(2), [photograph(name) for name in ("grass.png", "gravel.png", "brick.png")]
    whole = [np.asarray(model.pixels(_levels(photograph(name)))) for name in OTHERS]
    net = jp.before(jp.embedding(model.net, model.spec.cam_layer), model.normalise)
    gallery = np.asarray(embeddings(net, np.stack(whole)))
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    cases, right = [], []
    for number in range(count):
        k, background = number % len(whole), textures[number % len(textures)]
        (v, u), (y, x) = draw.integers(0, 224 - side + 1, (2, 2))
        query = np.array(background[:224, :224])
        query[y : y + side, x : x + side] = whole[k][v : v + side, u : u + side]
        q = np.asarray(embeddings(net, query[None]))[0]
        right.append((gallery @ q).argmax() == k)
        cases.append(Case(query, (x, y, x + side, y + side), gallery[[k]], 0, whole[k]))
    print(f"retrieval: {np.mean(right):.2f} of the queries find their photograph first", flush=True)
    return Use("retrieval", net, model.spec.cam_layer, "cosine", _same, cases)


def _levels(photo):
    return np.rint(255 * photo).astype(np.uint8)


def _similarities(split, references, q):
    """The similarities (n,) of an embedding q (C,)."""
    return jax.vmap(lambda r: jnp.sum(jp.fam_contributions(q[None, None], r, split=split)))(references)


def _outputs(net, use, references):
    """The net whose outputs are what is measured, of the similarities with references (n, C)."""
    return jp.then(jp.then(net, Partial(functools.partial(_similarities, use.similarity), references)), use.outputs)


def split_weights(similarity: str, q: Any, r: Any) -> Any:
    """Weights of the channels whose map's mean is the similarity, but for what no place has a part in."""
    if similarity == "cosine":
        return r / jnp.maximum(jnp.linalg.norm(q) * jnp.linalg.norm(r), 1e-9)
    return 2 * r - q  # of -|q - r|^2 = mean of (2 r - q) A - |r|^2


def maps(use: Use, samples: int) -> Callable[..., dict[str, Array]]:
    """f(net, x, references, target, key) -> maps (H, W) by method; those of a layer are rectified and upsampled."""

    @jax.jit
    def all_of(net, x, references, target, key):
        size, r = x.shape[:2], target @ references
        explained = _outputs(net, use._replace(outputs=_same), references)
        found = {
            "FAM": jp.fam(net, x, r, layer=use.layer, similarity=use.similarity),
            "Grad-CAM": jp.grad_cam(explained, x, target, layer=use.layer),
            "split over places": jp.channel_map(net, x, split_weights(use.similarity, net(x), r), layer=use.layer),
        }
        found = {name: jp.upsample(jp.positive(heat), size) for name, heat in found.items()}
        measured = _outputs(net, use, references)
        found["RISE"] = jp.rise(measured, x, target, key=key, samples=samples, fill=0.5)
        return found | {"noise": jax.random.uniform(jax.random.fold_in(key, 1), size)}

    return all_of


def scored(use: Use) -> Callable[..., Array]:
    """f(net, x, references, target, heat, box) -> deletion, insertion and energy in the box, (3,)."""

    @jax.jit
    def score(net, x, references, target, heat, box):
        seen = _outputs(net, use, references)
        curves = [f(seen, x, target, heat, fill=0.5).area for f in (jp.metrics.deletion, jp.metrics.insertion)]
        return jnp.stack([*curves, jp.metrics.energy_in_box(heat, box)])

    return score


def measured(use: Use, samples: int) -> tuple[dict[str, np.ndarray], list[Panel]]:
    """Numbers (N, 3) by method, and the first case's pictures."""
    explain, score = maps(use, samples), scored(use)
    numbers, panels = {name: [] for name in METHODS}, []
    for number, case in enumerate(use.cases):
        target = np.eye(len(case.references), dtype=np.float32)[case.target]
        heats = explain(use.net, case.query, case.references, target, jax.random.key(number))
        for name in METHODS:
            numbers[name].append(score(use.net, case.query, case.references, target, heats[name], np.array(case.box)))
        if not panels:
            first = Panel(f"{use.name}: query,\nframed what is similar", case.query, box=_drawn(case.box))
            panels = [first, Panel("compared with", case.other)]
            for name in METHODS[:-1]:
                scale = scale_of(heats[name], signed=False, relative=name == "RISE")
                panels.append(Panel(name, case.query, heats[name], scale=scale))
    return {name: np.array(rows) for name, rows in numbers.items()}, panels


def _drawn(box):
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom


def table(use: Use, numbers: dict[str, np.ndarray]) -> str:
    rows = [
        f"| {use.name} | deletion: less is better | insertion: more is better | energy in the box |",
        "|---|---|---|---|",
    ]
    for name, values in numbers.items():
        columns = [column[np.isfinite(column)] for column in values.T]
        cells = [
            "{:.3f} ({:.3f} to {:.3f})".format(column.mean(), *bootstrap_interval(column)) if len(column) > 1 else "-"
            for column in columns
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use", choices=("few-shot", "contrastive", "retrieval"), action="append", help="default: all")
    parser.add_argument("--steps", type=int, default=1500, help="of training")
    parser.add_argument("--images", type=int, default=48, help="queries of few-shot and contrastive")
    parser.add_argument("--retrievals", type=int, default=20, help="queries of retrieval")
    parser.add_argument("--samples", type=int, default=500, help="of RISE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "similarity.png")
    options = parser.parse_args()
    print(f"{machine('jaxplain', 'jax', 'flax')}\n", flush=True)
    uses = {
        "few-shot": functools.partial(few_shot, options.steps, options.images),
        "contrastive": functools.partial(contrasts, options.steps, options.images),
        "retrieval": functools.partial(retrievals, options.retrievals),
    }
    rows = []
    for name in options.use or uses:
        use = uses[name]
        start, made = time.perf_counter(), use()
        numbers, panels = measured(made, options.samples)
        rows.append(panels)
        print(f"\n{table(made, numbers)}\n\n{time.perf_counter() - start:.0f} s\n", flush=True)
    jp.figure(rows, title="What makes a query similar to what it is compared with", path=options.out)


if __name__ == "__main__":
    reuse_memory()
    main()
