"""A network fine-tuned on images of one's own classes.

model = load("efficientnet_lite0")
examples = read_folder("pets", model.spec)                 # pets/cat/*.jpg, pets/dog/*.jpg
tuned = finetune(model, examples, key=jax.random.key(0))
tuned.model.save("my_pets")

The classifier is replaced and trained alone first, on features that the frozen rest of the network computes once; then,
if asked for, all layers are trained together. BatchNorm is folded into the convolutions, so its statistics stay as they
are. A part of each class is held out; its loss says when to stop, and which parameters are kept.

Labels (N,) number classes that exclude each other, and the loss is the cross-entropy of their softmax. Labels (N, n),
0 or 1, do not (see read_labels): each output is the logit of one, and the loss is the mean of their sigmoid
cross-entropies. Then each image is held out by chance, with a share of those of each label.

Images are (N, S, S, C) uint8, resized and cropped as the network wants them: 150 kB each for S = 224. Any array that is
indexed by rows will do, so one in a file (`np.memmap`) is read batch by batch. Batches have one size: rows that fill
the last one have weight 0. All randomness comes from `key`.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.tree_util import Partial
from jaxtyping import Float, Int, PRNGKeyArray, UInt8

from jaxplain.adapt import from_linen
from jaxplain.models._categories import is_text
from jaxplain.models._model import Model, Weights
from jaxplain.models._notes import Notes
from jaxplain.models._pipeline import batches, normalised
from jaxplain.models._registry import architecture
from jaxplain.models._spec import Spec
from jaxplain.models._training import Track, cross_entropy, sigmoid_cross_entropy, train, untracked
from jaxplain.net import Net, embedding, layers
from jaxplain.weights_convert import few

CLASSIFIER, ALL_LAYERS = "classifier", "all layers"  # the phases

_READ_AT_ONCE = 32  # images
_SLOWER = 100  # all layers move by so much less in a step than the classifier does


class Examples(NamedTuple):
    """Images (N, S, S, C) with their labels, the categories that these are of, and the files they came from.

    Labels (N,) are numbers of categories, labels (N, n) are 1 where an image has a category, else 0. `notes` are what
    was chosen for each file's image; see `open_image`.
    """

    images: UInt8[np.ndarray, "N S S C"]
    labels: Int[np.ndarray, "N *n"]
    categories: tuple[str, ...]
    files: tuple[Path, ...] = ()
    notes: tuple[Notes, ...] = ()

    def __repr__(self) -> str:
        return f"Examples({len(self.labels)} images {self.images.shape[1:]}, {len(self.categories)} categories)"


class Recipe(NamedTuple):
    """How to train: the share that is held out, at most how many epochs in each phase, the size of batches.

    `rate` is Adam's learning rate for the classifier; all layers get a hundredth of it. A phase ends early after
    `patience` epochs in a row without a smaller loss on the held-out images.
    """

    validation: float = 0.2
    epochs: int = 50
    batch: int = 16
    rate: float = 0.001
    patience: int = 5
    all_layers: bool = False


class Score(NamedTuple):
    """The mean cross-entropy and the share of right answers, of labels (N, n) that of the labels told right."""

    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """The scores of an epoch: on its own batches while the parameters moved, and on the held-out images after it."""

    phase: str
    training: Score
    validation: Score


class Tuned(NamedTuple):
    """The model with the parameters of the epoch history[best], and the rows that were held out."""

    model: Model
    history: tuple[Epoch, ...]
    best: int
    held_out: Int[np.ndarray, " M"]


class _Phase(NamedTuple):
    """What a phase trains on: rows of X, made ready for the function, and their labels."""

    name: str
    X: np.ndarray
    labels: np.ndarray
    parts: tuple[np.ndarray, np.ndarray]
    ready: Partial
    rate: float
    mirrored: bool = False


def finetune(
    model: Model, examples: Examples, recipe: Recipe | None = None, *, key: PRNGKeyArray, track: Track = untracked
) -> Tuned:
    """The model with a classifier for other categories, trained on examples.

    Its outputs are softmax of labels (N,), and sigmoid of labels (N, n). Training is Adam's on the mean cross-entropy.
    With `recipe.all_layers`, half of the images are mirrored at random, anew in each epoch, in the second phase.
    ValueError if the examples or the recipe cannot be trained with, or if the loss does not stay finite.
    """
    recipe = checked_recipe(Recipe() if recipe is None else recipe)
    _check(model, examples)
    splitting, *shuffling = jax.random.split(key, 3)
    parts = (split if examples.labels.ndim == 1 else split_labels)(examples.labels, recipe.validation, key=splitting)
    X, labels = features(model, examples.images, recipe.batch, track), examples.labels
    start = _classifier(X.shape[1], len(examples.categories))
    phase = _Phase(CLASSIFIER, X, labels, parts, Partial(_as_it_is), recipe.rate)
    head, history = _trained(start, phase, recipe, shuffling[0], math.inf, track)
    trained = _network(model, head)
    if recipe.all_layers:
        ready, slow = Partial(normalised, model.normalise), recipe.rate / _SLOWER
        phase = _Phase(ALL_LAYERS, examples.images, labels, parts, ready, slow, mirrored=True)
        lowest = min(epoch.validation.loss for epoch in history)
        trained, more = _trained(trained, phase, recipe, shuffling[1], lowest, track)
        history += more
    best = int(np.argmin([epoch.validation.loss for epoch in history]))
    return Tuned(_model(model, trained.args[0], examples), tuple(history), best, parts[1])


def read_folder(folder: str | Path, spec: Spec, track: Track = untracked) -> Examples:
    """The images of a folder with a folder for each class, as the spec has them: (N, S, S, C).

    The categories are the folders' names in alphabetical order. Hidden files, and files beside the folders, are left
    out. ValueError if there are fewer than two folders, if one has fewer than two files, or, with their names, if any
    of these is no image that can be read.
    """
    classes = _listed(Path(folder))
    files = [file for inside in classes.values() for file in inside]
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in classes.values()])
    images, notes = read_images(files, spec, track)
    return Examples(images, labels, tuple(classes), tuple(files), notes)


def read_images(files: Sequence[Path], spec: Spec, track: Track = untracked) -> tuple[np.ndarray, tuple[Notes, ...]]:
    """The images of files (N, S, S, C) as the spec has them, with notes; ValueError with their names if any is none."""
    images, unreadable, notes, count = np.empty((len(files), *spec.image.shape), np.uint8), {}, (), 0
    for batch in batches(track(files, "reading"), spec, _READ_AT_ONCE, failed=unreadable.__setitem__):
        rows = len(batch.images)
        images[count : count + rows] = batch.levels[:rows]
        notes, count = notes + batch.notes, count + rows
    if unreadable:
        first, names = next(iter(unreadable.values())), [str(file) for file in unreadable]
        raise ValueError(
            f"{len(names)} of {len(files)} files cannot be used as images, {few(names)}: replace or remove "
            f"them; of the first, {first}"
        ) from first
    return images, notes


def split(labels: Int[np.ndarray, " N"], share: float, *, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """The rows (n,) to train on and the rows (m,) to hold out, a share of each class, drawn at random.

    Of each class at least one row is on either side.
    """
    draw, held_out = _draw(key), []
    for rows in (np.flatnonzero(labels == label) for label in np.unique(labels)):
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        held_out.append(draw.permutation(rows)[:count])
    held = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held), held


def split_labels(labels: Int[np.ndarray, "N n"], share: float, *, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """As `split`, of labels that do not exclude each other: a share of the images with each label, the rarest first.

    At least one row is on either side, and of each label, as far as the images that have several allow it.
    """
    draw, held_out, free = _draw(key), np.zeros(len(labels), bool), np.ones(len(labels), bool)
    for label in [*np.argsort(labels.sum(axis=0), kind="stable"), None]:
        among = np.ones(len(labels), bool) if label is None else labels[:, label] == 1
        count = min(max(round(share * among.sum()), 1), among.sum() - 1) - (held_out & among).sum()
        chosen = draw.permutation(np.flatnonzero(among & free))[: max(count, 0)]
        held_out[chosen] = True
        free &= ~among
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def features(
    model: Model, images: UInt8[np.ndarray, "N S S K"], batch: int = 16, track: Track = untracked
) -> Float[np.ndarray, "N C"]:
    """What the model's classifier, its last layer, gets for each image."""
    net, work = trunk(model.net, model.spec), track(_batches(np.arange(len(images)), batch), "features")
    found = [np.asarray(_through(net, model.normalise, images[rows])) for rows, _ in work]
    return np.concatenate(found)[: len(images)]


def trunk(net: Net, spec: Spec) -> Net:
    """The net up to its classifier: its outputs (C,) are what the classifier gets, or would get."""
    names = list(layers(net, spec.image))
    number = next((i for i, name in enumerate(names) if _in_head(name, spec)), None)
    return net if number is None else embedding(net, names[number - 1])  # that layer is (C,), or 1 x 1


def _in_head(path, spec):
    """Whether a layer or a parameter is the classifier, or of what stands in its place."""
    return f"{path}.".startswith(f"{architecture(spec.name).classifier}.")


def checked_recipe(recipe: Recipe) -> Recipe:
    """The recipe; ValueError that names what cannot be followed in it."""
    for name in ("epochs", "batch", "patience"):
        if getattr(recipe, name) < 1:
            raise ValueError(f"{name} is {getattr(recipe, name)}, expected a whole number from 1; give a larger one.")
    if not 0 < recipe.validation < 1:
        raise ValueError(f"validation is {recipe.validation}, expected a share between 0 and 1, such as 0.2; give one.")
    if not 0 < recipe.rate < math.inf:
        raise ValueError(f"rate is {recipe.rate}, expected a positive learning rate, such as 0.001; give one.")
    return recipe


def _check(model, examples):
    images, labels, categories, *_ = examples
    shape = model.spec.image.shape
    if images.dtype != np.uint8 or images.shape != (len(labels), *shape):
        raise ValueError(
            f"The images are {images.dtype} of shape {images.shape}, expected uint8 of shape {(len(labels), *shape)}, "
            "an image for each label; see read_folder."
        )
    if any(leaf.dtype != jnp.float32 for leaf in jax.tree.leaves(model.net)):
        raise ValueError("The model's parameters are not float32, which training needs; load it without dtype.")
    if labels.ndim == 2:
        return _check_labels(labels, categories)
    counts = np.bincount(labels[labels >= 0], minlength=len(categories))
    if len(categories) < 2 or len(counts) > len(categories) or sum(counts) < len(labels) or min(counts) < 2:
        raise ValueError(
            f"Got labels from {min(labels, default=0)} to {max(labels, default=0)} for {len(categories)} categories, "
            f"the rarest of {min(counts, default=0)} images; expected labels from 0 for at least two categories, and "
            "at least two images of each."
        )
    return None


def _check_labels(labels, categories):
    if labels.shape[1] != len(categories) or not len(categories) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"Got labels of shape {labels.shape} from {labels.min(initial=0)} to {labels.max(initial=0)} for "
            f"{len(categories)} categories, expected 0 or 1 for each of them; see read_labels."
        )
    for name, count in zip(categories, labels.sum(axis=0), strict=True):
        if not 2 <= count <= len(labels) - 2:
            raise ValueError(
                f"{count} of {len(labels)} images have the label {name!r}, expected two or more with it and as many "
                "without it, one to train on and one to hold out; add images, or leave the label out."
            )


def _listed(folder):
    """{class: files} of a folder of folders."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise ValueError(f"{folder} {what}, expected a folder with a folder of images for each class; check the path.")
    classes = {inside.name: _visible(inside) for inside in _visible(folder) if inside.is_dir()}
    if strange := next((name for name in classes if not is_text(name)), None):
        raise ValueError(
            f"{folder} has the class {strange!a}, which cannot be shown, expected a printable name; rename the folder."
        )
    if len(classes) < 2:
        raise ValueError(
            f"{folder} has {len(classes)} folders in it, expected one for each of at least two classes; sort the "
            "images into folders named by their classes."
        )
    scarce = [name for name, files in classes.items() if len(files) < 2]
    if scarce:
        raise ValueError(
            f"{folder} has fewer than two images of {few([*map(repr, scarce)])}, expected one to train on and one "
            "to hold out; add images, or remove the folder."
        )
    return classes


def _visible(folder):
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _trained(f, phase, recipe, key, lowest, track):
    """f with the parameters of the epoch whose held-out loss is the first below `lowest` and all others; the epochs."""
    draw, (training, held_out) = _draw(key), phase.parts
    trained = train(
        f,
        lambda _: _examples(phase, draw.permutation(training), recipe.batch, draw if phase.mirrored else None),
        _sums,
        epochs=recipe.epochs,
        rate=phase.rate,
        held_out=lambda: _examples(phase, held_out, recipe.batch),
        patience=recipe.patience,
        lowest=lowest,
        track=track,
        title=phase.name,
    )
    scores = zip(trained.training, trained.held_out, strict=True)
    return trained.f, [Epoch(phase.name, Score(*training), Score(*held_out)) for training, held_out in scores]


def _examples(phase, order, size, mirror=None):
    """The rows in that order as batches (ready, X, labels, weights); half of them mirrored by chance, if by any."""
    for rows, weights in _batches(order, size):
        X = phase.X[rows]
        if mirror is not None:
            coins = mirror.random(len(rows)) < 0.5
            X[coins] = X[coins, :, ::-1]
        yield phase.ready, X, phase.labels[rows], weights


def _batches(order, size):
    """[(rows (size,), weights (size,))]: the order cut into batches, the last one filled up with weight 0."""
    size = min(size, len(order))
    filled = np.resize(order, -(-len(order) // size) * size)
    weights = (np.arange(len(filled)) < len(order)).astype(np.float32)
    return list(zip(filled.reshape(-1, size), weights.reshape(-1, size), strict=True))


def _sums(f, ready, X, labels, weights):
    return (cross_entropy if labels.ndim == 1 else sigmoid_cross_entropy)(f(ready(X)), labels, weights)


@jax.jit
def _through(trunk, normalise, images):
    return jax.vmap(trunk)(normalised(normalise, images))


def _as_it_is(X):
    return X


def _classifier(inputs, outputs):
    """A dense layer of zeros: its loss is convex, so nothing has to be drawn at random."""
    return Partial(_dense, {"kernel": jnp.zeros((inputs, outputs)), "bias": jnp.zeros(outputs)})


def _dense(params, X):
    return X @ params["kernel"] + params["bias"][None]


def _network(model, head):
    """The network with that classifier in place of its own, as a function of batches."""
    (layer,), known = head.args, architecture(model.spec.name)
    params = flatten_dict(model.parameters, sep=".")
    params = {path: array for path, array in params.items() if not _in_head(path, model.spec)}
    params |= {f"{known.classifier}.{name}": array for name, array in layer.items()}
    return Partial(_on_batches(known.module(len(layer["bias"]))), unflatten_dict(params, sep="."))


@functools.cache  # one function per module: jit knows a function by its identity
def _on_batches(module):
    return lambda params, X: module.apply({"params": params}, X)


def _model(model, params, examples):
    categories, kind = examples.categories, "softmax" if examples.labels.ndim == 1 else "sigmoid"
    net = from_linen(architecture(model.spec.name).module(len(categories)), {"params": params})
    source = Weights(f"fine-tuned from {model.weights.source}", None)
    return Model(net, model.spec._replace(categories=categories, outputs=kind), source)


def _draw(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
