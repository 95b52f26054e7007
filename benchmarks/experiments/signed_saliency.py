"""Do signed saliency maps find what a network needs? python benchmarks/experiments/signed_saliency.py

The deletion experiment of Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active
gradients to boost saliency maps", 2023, on images that install with scikit-learn and scikit-image. The paper's basic
CNN is trained from scratch on digits and on crops of photographs; EfficientNet-Lite0 comes with its published weights.
Pixels are in [0, 1] and not normalised, and every map is of the predicted class.

Pixels go in the order of a map, and become black or white. Pixels where the map is 0 never go, so that maps with many
zeros lose fewer. Matched maps keep, within an image and a fill, only as many of their largest values as the map with
the fewest has: all of them lose equally many pixels. Areas are under the published fractions, so at most 0.9.
"""

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int
from scipy import stats
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parents[1] / "speed"))
from harness import machine, reuse_memory

import jaxplain as jp
from jaxplain import models
from jaxplain._loops import each
from jaxplain.metrics import PUBLISHED_FRACTIONS, Curve, allegiance
from jaxplain.models import Conv, Dense, MaxPool, load, open_image
from jaxplain.net import Net
from jaxplain.render import Curves
from jaxplain.stats import bootstrap_interval
from jaxplain.transform import active_and_inactive

FILLS = {"black": 0.0, "white": 1.0}
MAPS = {"black": ("standard", "positive", "active"), "white": ("standard", "negative", "inactive")}
RULES = ("as published", "matched")
PAPER = {  # areas in the order of MAPS
    "CIFAR-10, basic CNN": {"black": (0.23, 0.14, 0.15), "white": (0.21, 0.14, 0.15)},
    "Imagenette, basic CNN": {"black": (0.24, 0.12, 0.16), "white": (0.21, 0.11, 0.14)},
    "Imagenette, ResNet-18": {"black": (0.28, 0.21, 0.24), "white": (0.26, 0.20, 0.23)},
    "Imagenette, ConvNeXt-Tiny": {"black": (0.49, 0.37, 0.39), "white": (0.46, 0.37, 0.42)},
}
FROM_SCRATCH, PRETRAINED = list(PAPER)[:2], list(PAPER)[2:]

CLASSES = (
    "brick.png", "chelsea.png", "china.jpg", "coins.png", "flower.jpg", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "rocket.jpg",
)  # fmt: skip
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "china.jpg", "coffee.png", "coins.png", "flower.jpg",
    "grass.png", "gravel.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
CROP, TILE = 48, 96  # crops of photographs lie inside of tiles, which are for training or for testing

BATCH = 128
CHUNK = 32  # images that are explained at a time
ADAMW = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-2))


class Data(NamedTuple):
    """Images (N, H, W, 3) in [0, 1] with labels (N,): to train on, and to test with."""

    name: str
    X: np.ndarray
    labels: np.ndarray
    X_test: np.ndarray
    labels_test: np.ndarray


class Deletion(NamedTuple):
    """By fill (2), rule (2) and map (4, the last one random): the curve, and the share of pixels that are not 0."""

    curve: Curve
    share: Array


class Experiment(NamedTuple):
    """Deletions of S independent samples, the function that makes an interval of S values, and what it compares to."""

    name: str
    about: str
    samples: Deletion
    interval: Callable[[np.ndarray], tuple[float, float]]
    paper: list[str]


class BasicCNN(nn.Module):
    """The paper's network: (B, H, W, 3) to logits (B, classes)."""

    classes: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = MaxPool(3, 2, 1)(nn.relu(Conv(32, 7, 2, 3)(x)))
        for width in (32, 64, 128):
            for stride in (1, 2, 1):
                x = nn.relu(Conv(width, 3, stride, 1)(x))
        return Dense(self.classes)(jnp.mean(x, axis=(1, 2)))


def digits() -> Data:
    """scikit-learn's digits, 8 x 8 and grey, enlarged to (32, 32, 3); a quarter is for testing."""
    grey, labels = load_digits(return_X_y=True)
    grey = jnp.asarray(grey, jnp.float32).reshape(-1, 8, 8, 1) / 16
    X = np.repeat(jax.image.resize(grey, (len(grey), 32, 32, 1), "bilinear"), 3, axis=3)
    test, rest = np.split(np.random.default_rng(0).permutation(len(X)), [len(X) // 4])
    return Data("digits", X[rest], labels[rest], X[test], labels[test])


def photograph(name: str) -> np.ndarray:
    """(H, W, 3) in [0, 1], from the files of scikit-image, or else of scikit-learn."""
    path = files("skimage") / "data" / name
    path = path if path.is_file() else files("sklearn") / "datasets" / "images" / name
    return np.asarray(open_image(str(path)), np.float32) / 255


def textures(train: int = 180, test: int = 30) -> Data:
    """So many crops of each photograph, which is a class. Crops to train on and to test with share no pixel."""
    draw = np.random.default_rng(0)
    parts = [tiles(photograph(name)) for name in CLASSES]
    X, X_test = (np.concatenate([crops(part[i], n, draw) for part in parts]) for i, n in enumerate((train, test)))
    labels = np.arange(len(CLASSES))
    return Data("crops of photographs", X, np.repeat(labels, train), X_test, np.repeat(labels, test))


def tiles(photo: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The photograph in tiles: two thirds to train on, and every third diagonal to test with."""
    parts = [], []
    for row in range(photo.shape[0] // TILE):
        for column in range(photo.shape[1] // TILE):
            tile = photo[row * TILE :, column * TILE :][:TILE, :TILE]
            parts[(row + column) % 3 == 0].append(tile)
    return parts


def crops(parts: list[np.ndarray], count: int, draw: np.random.Generator) -> np.ndarray:
    """(count, CROP, CROP, 3) at random places, equally many of each part."""
    places = draw.integers(0, TILE - CROP + 1, (count, 2))
    return np.stack([parts[i % len(parts)][y : y + CROP, x : x + CROP] for i, (y, x) in enumerate(places)])


def ends(photo: np.ndarray) -> list[np.ndarray]:
    """Two squares in opposite corners, as large as they can be without sharing a pixel."""
    side = min(max(photo.shape[:2]) // 2, *photo.shape[:2])
    return [photo[:side, :side], photo[-side:, -side:]]


def train(data: Data, key: Array, epochs: int, network: Callable[[int], nn.Module] = BasicCNN) -> Net:
    """The network after so many epochs of AdamW, as the paper has it: no schedule, no augmentation, no selection.

    It is `network` of the number of classes.
    """
    start, *shuffling = jax.random.split(key, 1 + epochs)
    module = network(int(data.labels.max()) + 1)
    size = min(BATCH, len(data.X))

    def batches(epoch):
        order = np.asarray(jax.random.permutation(shuffling[epoch], len(data.X)))
        for rows in order[: len(order) // size * size].reshape(-1, size):
            yield data.X[rows], data.labels[rows]

    f = Partial(module.apply, module.init(start, data.X[:1]))
    trained = models.train(f, batches, losses, epochs=epochs, rate=1e-3, optimiser=ADAMW)
    return jp.from_linen(module, *trained.f.args)


def losses(f: Callable[[Array], Array], X: Array, labels: Array) -> Float[Array, "3"]:
    return models.cross_entropy(f(X), labels)


@jax.jit
def predicted(net: Net, X: Float[Array, "B H W 3"]) -> Int[Array, " B"]:
    """The number of each image's largest output."""
    return jnp.argmax(jax.vmap(net)(X), axis=-1)


def maps(net: Net, x: Float[Array, "H W 3"]) -> Float[Array, "2 3 H W"]:
    """The maps of the predicted class, by fill, as MAPS names them."""
    target = jp.top(net(x))
    standard = jp.saliency(net, x, target)
    chosen = [jnp.max(jnp.abs(g), axis=-1) for g in active_and_inactive(jp.gradient)(net, x, target)]
    signed = [jp.positive_saliency(net, x, target), jp.negative_saliency(net, x, target)]
    return jnp.stack([jnp.stack([standard, *pair]) for pair in zip(signed, chosen, strict=True)])


def matched(heats: Float[Array, "M H W"]) -> Float[Array, "M H W"]:
    """The maps, none of them negative, with all but their k largest values 0; k is the fewest that one has above 0."""
    flat = heats.reshape(len(heats), -1)
    places = jnp.argsort(jnp.argsort(-flat, stable=True), stable=True)
    fewest = jnp.min(jnp.count_nonzero(flat, axis=-1))
    return jnp.where(places < fewest, flat, 0).reshape(heats.shape)


def delete(net: Net, x: Float[Array, "H W 3"], *, key: Array) -> Deletion:
    """The deletion of one image by all maps."""
    heats = maps(net, x)
    count = 2 * x.shape[0] * x.shape[1]
    random = jax.random.uniform(key, (count,), minval=1e-3)  # flat, since XLA takes seconds to compile several axes
    heats = jnp.concatenate([heats, random.reshape(2, 1, *x.shape[:2])], axis=1)
    heats = jnp.stack([heats, jax.vmap(matched)(heats)], axis=1)

    def by_fill(fill, heats):
        flat = heats.reshape(-1, *x.shape[:2])
        curves = each(lambda heat: allegiance(net, x, heat, fill=fill), flat, 1)
        return jax.tree.map(lambda a: a.reshape(*heats.shape[:2], *a.shape[1:]), curves)

    curves = [by_fill(fill, pair) for fill, pair in zip(FILLS.values(), heats, strict=True)]
    curve = jax.tree.map(lambda *fills: jnp.stack(fills), *curves)
    return Deletion(curve, jnp.mean(heats != 0, axis=(-2, -1)))


deletions = jax.jit(jp.batched(delete))


@jax.jit
def certainty(net: Net, X: Float[Array, "B H W 3"]) -> Float[Array, " B"]:
    """The probability of each image's predicted class."""
    return jnp.max(jax.nn.softmax(jax.vmap(net)(X)), axis=-1)


def from_scratch(data: Data, seeds: int, epochs: int, images: int) -> Experiment:
    """The basic CNN's deletions: a sample is the mean over test images, drawn anew for each network."""
    right, samples = [], []
    for seed, key in enumerate(jax.random.split(jax.random.key(0), seeds)):
        training, noise = jax.random.split(key)
        net = train(data, training, epochs)
        right.append(np.mean(predicted(net, data.X_test) == data.labels_test))
        rows = np.random.default_rng(seed).permutation(len(data.X_test))[:images]
        samples.append(mean(jp.chunked(deletions, CHUNK)(net, data.X_test[rows], key=noise)))
    about = (
        f"{seeds} basic CNNs, {epochs} epochs, {min(images, len(data.X_test))} test images for each; "
        f"test accuracy {np.mean(right):.3f} (from {min(right):.3f} to {max(right):.3f})."
    )
    return Experiment(data.name, about, stacked(samples), student, FROM_SCRATCH)


def pretrained(names: Sequence[str] = PHOTOGRAPHS) -> Experiment:
    """EfficientNet-Lite0's deletions: a sample is the mean over the two crops of a photograph."""
    model = load("efficientnet_lite0")
    net = jp.before(model.net, model.normalise)
    samples, sure = [], []
    for name, key in zip(names, jax.random.split(jax.random.key(0), len(names)), strict=True):
        X = np.stack([model.pixels(np.rint(255 * crop).astype(np.uint8)) for crop in ends(photograph(name))])
        samples.append(mean(jp.chunked(deletions, 1)(net, X, key=key)))
        sure.extend(certainty(net, X))
    about = f"{len(names)} photographs, two crops of each, mean probability of the predicted class {np.mean(sure):.2f}."
    interval = functools.partial(bootstrap_interval, draws=10_000)
    return Experiment("EfficientNet-Lite0", about, stacked(samples), interval, PRETRAINED)  # pyright: ignore[reportArgumentType]


def mean(samples: Any) -> Any:
    """The mean over the leading axis of each leaf."""
    return jax.tree.map(lambda a: np.mean(a, axis=0), samples)


def stacked(samples: Sequence[Any]) -> Any:
    """Trees as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *samples)


def student(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of values (S,), by Student's t."""
    reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def table(experiment: Experiment, fill: str) -> str:
    """A Markdown table of the areas with their intervals, the shares of pixels that can go, and the paper's areas."""
    at, names = list(FILLS).index(fill), (*MAPS[fill], "random")
    shares = np.mean(experiment.samples.share[:, at], axis=0)
    areas = experiment.samples.curve.area[:, at].transpose(1, 2, 0)
    published, alike = (map(_interval(experiment), of_maps) for of_maps in areas)
    rows = [
        (f"{fill} deletion", *names),
        ("---",) * (1 + len(names)),
        ("area, as published", *published),
        ("pixels that are not 0", *(f"{share:.0%}" for share in shares[0])),
        (f"area, matched ({shares[1, 0]:.0%} of the pixels)", *alike),
        *((f"the paper's area: {name}", *(f"{a:.2f}" for a in PAPER[name][fill]), "") for name in experiment.paper),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _interval(experiment):
    return lambda values: "{:.3f} ({:.3f} to {:.3f})".format(np.mean(values), *experiment.interval(values))


def order(experiment: Experiment, fill: str, rule: str) -> str:
    """A line on the order of the three maps: "<" where the 95 % interval of a difference excludes 0, else "~"."""
    areas = np.asarray(experiment.samples.curve.area)[:, list(FILLS).index(fill), RULES.index(rule)]
    theirs = np.argsort(PAPER[experiment.paper[0]][fill])
    ours = np.argsort(np.mean(areas[:, :3], axis=0))

    def surely(first, second):
        return experiment.interval(areas[:, second] - areas[:, first])[0] > 0

    def name(i):
        return MAPS[fill][i]

    pairs = list(itertools.combinations(theirs, 2))
    same, against = (sum(surely(*pair[::turn]) for pair in pairs) for turn in (1, -1))
    text = name(ours[0]) + "".join(f" {'<' if surely(a, b) else '~'} {name(b)}" for a, b in itertools.pairwise(ours))
    verdict = "agrees" if same == len(pairs) else "disagrees" if against else "is not settled"
    return (
        f"- {fill} deletion, {rule}: {text}; the paper has {' < '.join(map(name, theirs))}. The order {verdict}: "
        f"of {len(pairs)} pairs {same} as in the paper, {against} the other way round."
    )


def report(experiment: Experiment) -> str:
    """Its tables, and what they say about the order of the maps."""
    tables = [table(experiment, fill) for fill in FILLS]
    orders = [order(experiment, fill, rule) for fill in FILLS for rule in RULES]
    return "\n\n".join([f"## {experiment.name}", experiment.about, *tables, "\n".join(orders)])


def picture(experiments: Sequence[Experiment], path: Path) -> None:
    """Writes the mean curves with their intervals: a row for each experiment, a column for each fill and rule."""
    rows = [[panel(experiment, fill, rule) for fill in FILLS for rule in RULES] for experiment in experiments]
    title = "Predictions that stay when the most important pixels of a map become black or white: fewer is better.\n"
    jp.figure(rows, title=f"{title}A map's zeros always stay; matched: every map loses equally many pixels.", path=path)


def panel(experiment: Experiment, fill: str, rule: str) -> Curves:
    """The four maps' mean curves, with 95 % intervals as bands."""
    at = (slice(None), list(FILLS).index(fill), RULES.index(rule))
    scores, areas = experiment.samples.curve.scores[at], np.mean(experiment.samples.curve.area[at], axis=0)
    names = [f"{name}, area {area:.2f}" for name, area in zip((*MAPS[fill], "random"), areas, strict=True)]
    ends = np.array([[experiment.interval(values) for values in curve] for curve in scores.transpose(1, 2, 0)])
    return Curves(
        f"{experiment.name}: {fill}, {rule}",
        dict(zip(names, np.mean(scores, axis=0), strict=True)),
        f"share of pixels that become {fill}, at most",
        top=1.02,
        places=PUBLISHED_FRACTIONS,
        bands=dict(zip(names, np.clip(ends, 0, 1).swapaxes(1, 2), strict=True)),
        height="predictions that stay",
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="networks to train on each data set, at least 2")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=64, help="test images for each trained network")
    parser.add_argument("--skip-imagenet", action="store_true", help="only the networks that are trained here")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "signed_saliency.png")
    options = parser.parse_args()
    if options.seeds < 2 or options.epochs < 1 or options.images < 1:
        parser.error("an interval needs 2 --seeds, and there is at least 1 of --epochs and --images")
    if not options.out.parent.is_dir() or options.out.suffix not in (".png", ".jpg", ".pdf", ".svg"):
        parser.error(f"--out is {options.out}, but a .png, .jpg, .pdf or .svg in a folder that exists is expected")
    return options


def main() -> None:
    options = arguments()
    print(f"{machine('jaxplain', 'jax', 'flax')}\n", flush=True)
    sizes, experiments = (options.seeds, options.epochs, options.images), []
    runs = [functools.partial(from_scratch, data, *sizes) for data in (digits(), textures())]
    for run in runs + [pretrained] * (not options.skip_imagenet):
        start = time.perf_counter()
        experiments.append(run())
        print(f"{report(experiments[-1])}\n\n{time.perf_counter() - start:.0f} s\n", flush=True)
    picture(experiments, options.out)


if __name__ == "__main__":
    reuse_memory()
    main()
