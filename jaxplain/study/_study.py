"""A study on disk: the pictures of a few images, their clusters of features by layer, and what they were made by.

    study.json         the record: the network, the classes, the layers, the images and their classes
    images/ID.webp     what the network sees of an image, 512 x 512, in which nothing tells its name or class
    features/ID.npz    its levels as the network takes them, and its features by layer

A study may come from others: all of it is checked when it is read, and nothing in it is executed.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, cast

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, UInt8

from jaxplain._types import Clustering
from jaxplain.features import Features, layer_features
from jaxplain.models import (
    Asked,
    Failed,
    Model,
    Notes,
    Track,
    Weights,
    announce,
    find_target,
    fitted,
    normalised,
    notes_of,
    open_image,
    read_image,
    seen,
    untracked,
)
from jaxplain.study._masks import SIDE
from jaxplain.target import one_hot
from jaxplain.weights_convert import draft, vacant
from jaxplain.workflows import check_out, feature_layers, writing

FORMAT, VERSION = "jaxplain study", 1
FEWEST_CLASSES = 10  # that are offered for guessing, if the network has as many

_LARGEST_RECORD = 16_000_000  # bytes
_LARGEST_FEATURES = 256_000_000  # bytes of an image's file, and of its arrays
_LARGEST_STUDY = 4_000_000_000  # bytes of all images' arrays
_MOST_IMAGES = 10_000
_QUALITY = 90  # of pictures
_PARTS = ("cluster", "weights", "maps")

_outputs = jax.jit(lambda net, x: net(x))


class StudyImage(NamedTuple):
    """An image of a study: its id, which tells nothing of it, its file's name, and its class by name and index.

    `features` are those of each layer, in the order of the study's layers, and `levels` (S, S, C) uint8 what the
    network takes.
    """

    id: str
    name: str
    truth: str
    target: int
    features: Mapping[str, Features]
    levels: UInt8[np.ndarray, "S S C"]


class Study(NamedTuple):
    """Images whose clusters of features are to be recognised, in an order that tells nothing of their classes.

    `model`, `weights` and `outputs` are those of the network, and `classes` the names that a player chooses among.
    `seed` is that of ids, order and clusters, `made` says what else the study was made with, and `failed` are the
    images that were left out, each with its error. `names` {class: {language: name}} are what players know a class by.
    """

    folder: Path
    model: str
    weights: Weights
    outputs: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    seed: int
    images: tuple[StudyImage, ...]
    made: Mapping[str, Any] = {}
    failed: tuple[tuple[str, str], ...] = ()
    names: Mapping[str, Mapping[str, str]] = {}

    def __repr__(self) -> str:
        return f"Study({self.folder.name}: {len(self.images)} images, {len(rounds(self))} rounds of {self.model})"


class Round(NamedTuple):
    """A cluster of one image's layer, to be recognised, and its weight in percent of the layer."""

    image: str
    layer: str
    cluster: int
    weight: float


def rounds(study: Study) -> tuple[Round, ...]:
    """Every cluster with a weight above 0, by image, layer and cluster, but for constant maps, which hide nothing."""
    return tuple(
        Round(image.id, layer, cluster, float(weight))
        for image in study.images
        for layer, features in image.features.items()
        for cluster, weight in enumerate(np.asarray(features.weights))
        if weight > 0 and np.ptp(features.maps[cluster]) > 0
    )


def picture(study: Study, id: str) -> UInt8[np.ndarray, "512 512 3"]:
    """What people see of an image without a mask, (512, 512, 3) uint8; ValueError where it cannot be read."""
    if id not in {image.id for image in study.images}:
        raise ValueError(f"There is no image {id!r:.40} in the study: give the id of one of study.images.")
    opened = open_image(_file(study.folder, f"images/{id}.webp"))
    if opened.size != (SIDE, SIDE):
        raise ValueError(f"The picture of {id} is {opened.size}, expected {SIDE} x {SIDE}: make the study again.")
    return np.asarray(opened)


def read_names(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """The `names` for `new_study` in a JSON file {class: {language: name}}; ValueError for another file.

    read_names("names.json")                                    # {"tench": {"en": "fish", "it": "pesce"}}
    """
    path, names = Path(path), None
    if path.is_file() and path.stat().st_size <= _LARGEST_RECORD:
        with contextlib.suppress(ValueError, RecursionError):
            names = json.loads(path.read_bytes())
    if not isinstance(names, dict) or not all(
        isinstance(of, dict) and all(isinstance(name, str) for name in of.values()) for of in names.values()
    ):
        raise ValueError(f'{path} is no JSON of names, expected {{"tench": {{"en": "fish", "it": "pesce"}}}}: mend it.')
    return names


# Making a study


class _Plan(NamedTuple):
    """How each image is explained. Players choose among the classes `offered`, indices, if they are given."""

    model: Model
    layers: tuple[str, ...]
    offered: frozenset[int] | None
    options: Mapping[str, Any]

    def name(self, index: int) -> str:
        return Asked(index).name(self.model.spec.categories)


class _Found(NamedTuple):
    """An image of a study with its picture, the network's outputs for it, and what was chosen for it."""

    image: StudyImage
    picture: np.ndarray
    outputs: np.ndarray
    notes: Notes


def new_study(
    folder: str | os.PathLike[str],
    model: Model,
    images: Any,
    *,
    targets: Any = None,
    layers: Sequence[str] | None = None,
    classes: Sequence[str | SupportsIndex] | None = None,
    names: Mapping[str, Mapping[str, str]] | None = None,
    seed: int = 0,
    clustering: Clustering = "tsne",
    max_clusters: int = 8,
    failed: Failed | None = None,
    track: Track = untracked,
) -> Study:
    """Writes the study of images to a new or empty folder, all of it or nothing, and returns it.

    `images` are a folder of images, a folder of folders that are called as classes of the model, or a sequence. An
    image's class is its target: `targets` has one for all or one for each, and by default it is the class that its
    folder is called by, or the network's top class. `layers` are by default the model's; their features are found with
    `clustering` and `max_clusters`, as in jaxplain.layer_features, with keys of `seed`. Players choose among `classes`:
    by default those of the images, and where these are fewer than ten, as many more as the network holds likeliest.
    They are shown by their `names` {class: {language: name}}, such as {"tench": {"en": "fish", "it": "pesce"}}.
    Images that cannot be read or explained, or are of none of the `classes`, are an error, or are left out, each after
    failed(image, error). ValueError where the folder has files, and where no image is left.

        study = new_study("study", load("efficientnet_lite0"), ["sample:coffee", "sample:chelsea"])
        len(rounds(study)), study.images[0].features.keys()
    """
    folder, categories = vacant(folder), model.spec.categories
    check_out(folder)
    options = {"clustering": clustering, "max_clusters": max_clusters}
    shown = {Asked(_class(one, categories)).name(categories): dict(of) for one, of in (names or {}).items()}
    offered = None if classes is None else frozenset(_class(one, categories) for one in classes)
    plan = _Plan(model, feature_layers(model, layers), offered, options)
    given, by_folder = _images(images, categories, named=targets is None)
    asked = by_folder if targets is None else _targets(targets, len(given), categories)
    left_out: list[tuple[str, str]] = []

    def leave_out(image: Any, error: Exception) -> None:
        left_out.append((_name(image), str(error)))
        if failed is not None:
            failed(image, error)

    with draft(_made(folder.parent)) as place:
        unfinished = place / folder.name
        kept = _kept(plan, given, asked, seed, unfinished, None if failed is None else leave_out, track)
        record = _record(plan, kept, seed, left_out, shown)
        _names(record["names"], record["classes"])
        with writing(folder.parent):
            text = json.dumps(record, indent=1, ensure_ascii=False)
            (unfinished / "study.json").write_text(text, encoding="utf-8")
            load_study(unfinished)  # what cannot be read again is not kept
            os.replace(unfinished, folder)
    announce((found.image.name, found.notes) for found in kept)
    return load_study(folder)


def _made(folder: Path) -> Path:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(plan, images, asked, seed, folder, failed, track) -> list[_Found]:
    """The images that can be explained, in the order of their ids, with files in a folder."""
    key, kept = jax.random.key(seed), []
    for number, (image, one) in enumerate(track(list(zip(images, asked, strict=True)), "finding features")):
        try:
            found = _explained(plan, image, one, f"{seed} {number} ", jax.random.fold_in(key, number))
        except Exception as error:
            if failed is None:
                raise
            failed(image, error)
        else:
            _write(folder, found)
            slim = found.image._replace(features={}, levels=np.empty((0, 0, 0), np.uint8))
            kept.append(found._replace(image=slim, picture=np.empty((0, 0, 3), np.uint8)))  # they are in the files
    if not kept:
        raise ValueError("None of the images can be explained: give others.")
    return sorted(kept, key=lambda found: found.image.id)


def _explained(plan: _Plan, image: Any, asked: int | None, salt: str, key: PRNGKeyArray) -> _Found:
    model, spec = plan.model, plan.model.spec
    photo = read_image(image, spec)
    levels = fitted(photo, spec)
    x = normalised(model.normalise, levels[None])[0]
    outputs = np.asarray(_outputs(model.net, x))
    if outputs.ndim != 1 or not np.isfinite(outputs).all():
        raise ValueError(f"The network's outputs for {_name(image)} are not finite numbers (n,): check its weights.")
    target = int(np.argmax(outputs)) if asked is None else asked
    if target >= len(outputs):
        raise ValueError(f"There is no class {target}, expected 0 to {len(outputs) - 1}; give one of these.")
    if plan.offered is not None and target not in plan.offered:
        raise ValueError(f"{_name(image)} is {plan.name(target)!r}, which is not among the classes: add that.")
    found = layer_features(
        model.net, x, one_hot(target, len(outputs)), layers=plan.layers, key=key, **cast(Any, plan.options)
    )
    features = {layer: jax.tree.map(np.asarray, found[layer]) for layer in plan.layers}
    id = hashlib.sha256(salt.encode() + levels.tobytes()).hexdigest()[:16]  # another one in another study
    kept = StudyImage(id, _name(image), plan.name(target), target, features, levels)
    return _Found(kept, seen(photo, spec, SIDE), outputs, notes_of(photo))


def _write(folder: Path, found: _Found) -> None:
    """The picture and the features of an image."""
    from PIL import Image

    image = found.image
    arrays: dict[str, Any] = {"levels": image.levels}
    for number, features in enumerate(image.features.values()):
        types = (np.int32, np.float32, np.float32)
        for part, array, dtype in zip(_PARTS, features, types, strict=True):
            arrays[f"{number}.{part}"] = np.ascontiguousarray(array, dtype)
    with writing(folder):
        for part in ("images", "features"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(found.picture).save(folder / "images" / f"{image.id}.webp", quality=_QUALITY)
        np.savez_compressed(folder / "features" / f"{image.id}.npz", **arrays)


def _record(
    plan: _Plan,
    kept: list[_Found],
    seed: int,
    left_out: list[tuple[str, str]],
    names: dict[str, dict[str, str]],
) -> dict[str, Any]:
    model, images = plan.model, [found.image for found in kept]
    offered = plan.offered or _likely({image.target for image in images}, [found.outputs for found in kept])
    reading = {"background": model.spec.background, "levels": model.spec.levels}
    notes = {image.id: list(found.notes) for image, found in zip(images, kept, strict=True) if found.notes}
    versions = {name: version(name) for name in ("jaxplain", "jax", "numpy", "scikit-learn")}
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": model.spec.name,
        "weights": model.weights._asdict() | {"source": _printable(model.weights.source)},
        "outputs": model.outputs,
        "classes": list(dict.fromkeys(plan.name(index) for index in sorted(offered))),
        "names": names,
        "layers": list(plan.layers),
        "seed": seed,
        "images": [{"id": im.id, "name": im.name, "truth": im.truth, "target": im.target} for im in images],
        "made": {**plan.options, "reading": reading, "notes": notes, "versions": versions},
        "failed": [[name, _printable(error)] for name, error in left_out],
    }


def _likely(targets: set[int], outputs: list[np.ndarray]) -> set[int]:
    """The targets, and the classes with the largest mean outputs until there are enough."""
    order = np.argsort(-np.mean(outputs, axis=0), kind="stable").tolist()
    others = [index for index in order if index not in targets]
    return targets | set(others[: max(0, FEWEST_CLASSES - len(targets))])


def _images(images: Any, categories: tuple[str, ...], *, named: bool) -> tuple[list[Any], list[int | None]]:
    """The images, and the classes that their folders are called by if they are `named`, else None."""
    if not isinstance(images, str | os.PathLike):
        found = list(images)
        return found, [None] * len(found)
    folder = Path(images)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder, but one of images, or of folders of them, is expected.")
    files, folders = _visible(folder, Path.is_file), _visible(folder, Path.is_dir)
    if files and folders:
        raise ValueError(f"{folder} has the file {files[0].name} beside folders, expected one or the other: move it.")
    if files:
        return [*files], [None] * len(files)
    inside = [(file, sub) for sub in folders for file in _visible(sub, Path.is_file)]
    classes = {sub: _folder_class(sub, categories) if named else None for _, sub in inside}
    return [file for file, _ in inside], [classes[sub] for _, sub in inside]


def _visible(folder, kind):
    return sorted(path for path in folder.iterdir() if kind(path) and not path.name.startswith("."))


def _folder_class(folder: Path, categories: tuple[str, ...]) -> int:
    try:
        return _class(folder.name, categories)
    except ValueError as error:
        raise ValueError(
            f"{folder} is called by no class of the network: rename it, or give targets. {error}"
        ) from error


def _targets(targets: Any, count: int, categories: tuple[str, ...]) -> list[int | None]:
    """The class of each image, None for the network's own."""
    one = isinstance(targets, str | SupportsIndex | Asked) and not getattr(
        targets, "ndim", 0
    )  # arrays have __index__ too
    several = [targets] * count if one else list(cast(Any, targets))
    if len(several) != count:
        raise ValueError(f"There are {len(several)} targets for {count} images: give one for all, or one for each.")
    return [None if asked is None else _class(asked, categories) for asked in several]


def _class(asked: Any, categories: tuple[str, ...]) -> int:
    found = find_target(asked, categories)
    if found.sign < 0:
        raise ValueError(f"The target is {found.name(categories)!r}, but players look for a class: name one.")
    return found.index


def _name(image: Any) -> str:
    path = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    return _printable(Path(os.fspath(path)).name) or "image"


def _printable(text: str) -> str:
    """The text with escapes in place of what cannot be printed."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# Reading one


def load_study(folder: str | os.PathLike[str]) -> Study:
    """The study in a folder that `new_study` wrote; ValueError for one that is none, is damaged, or is newer.

    study = load_study("study")
    """
    folder = Path(folder)
    record = _read_record(folder / "study.json")
    try:
        return _study(folder, record)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ValueError(f"{folder} is a damaged study ({error}): make it again, or get a whole copy.") from error


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"There is no study in {path.parent}, which has no study.json: check the path.")
    if path.stat().st_size > _LARGEST_RECORD:
        raise ValueError(f"{path} is larger than a study's record of {_LARGEST_RECORD:,} bytes: check the path.")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no study's record, or is cut short: get a whole copy.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} is no study's record: give the folder of a study.")
    if record.get("version") != VERSION:
        raise ValueError(f"{path} is of version {record.get('version')!r:.20}, expected {VERSION}: update jaxplain.")
    return record


def _study(folder: Path, record: dict[str, Any]) -> Study:
    layers, classes = (_texts(record[name], name) for name in ("layers", "classes"))
    entries = _checked(list, record["images"], "images")
    images, room = list[StudyImage](), _LARGEST_STUDY
    for entry in entries[: _MOST_IMAGES + 1]:
        images.append(_image(folder, entry, layers, classes))
        room -= images[-1].levels.nbytes + sum(np.asarray(part).nbytes for part in jax.tree.leaves(images[-1].features))
        if room < 0:
            raise ValueError(f"its features are larger than {_LARGEST_STUDY:,} bytes")
    if not 0 < len(images) <= _MOST_IMAGES or len({image.id for image in images}) < len(images):
        raise ValueError(f"it has {len(images)} images, expected 1 to {_MOST_IMAGES:,} with different ids")
    weights = _checked(dict, record["weights"], "weights")
    sha256 = weights["sha256"] if weights["sha256"] is None else _text(weights["sha256"], "sha256")
    failed = [_texts(entry, "failed", count=2) for entry in _checked(list, record["failed"], "failed")]
    return Study(
        folder,
        _text(record["model"], "model"),
        Weights(_text(weights["source"], "source"), sha256, _texts(weights["notes"], "notes", least=0)),
        _one_of(record["outputs"], ("softmax", "sigmoid", "scores"), "outputs"),
        classes,
        layers,
        _checked(int, record["seed"], "seed"),
        tuple(images),
        _checked(dict, record["made"], "made"),
        tuple((name, error) for name, error in failed),
        _names(record.get("names", {}), classes),
    )


def _names(given: Any, classes: Iterable[str]) -> dict[str, dict[str, str]]:
    """{class: {language: name}}, in which no two classes are called the same in a language."""
    found = {
        _one_of(known, classes, "a class of the names"): {
            _text(language, "a language"): _text(name, "a name") for language, name in _checked(dict, of, known).items()
        }
        for known, of in _checked(dict, given, "names").items()
    }
    for language in {language for of in found.values() for language in of}:
        shown = [found.get(known, {}).get(language, known) for known in classes]
        if len(set(shown)) < len(shown):
            raise ValueError(f"two classes have the same name in the language {language}")
    return found


def _image(folder: Path, entry: Any, layers: tuple[str, ...], classes: tuple[str, ...]) -> StudyImage:
    id = _text(_checked(dict, entry, "image")["id"], "id")
    if not re.fullmatch("[0-9a-f]{16}", id):
        raise ValueError(f"the id {id!r:.40} is not of 16 hexadecimal digits")
    _file(folder, f"images/{id}.webp")
    try:
        arrays = _arrays(_file(folder, f"features/{id}.npz"))
        levels = _levels(arrays.pop("levels"))
        if set(arrays) != {f"{number}.{part}" for number in range(len(layers)) for part in _PARTS}:
            raise ValueError("it has not the arrays of each layer")
        features = {layer: _features(arrays, number) for number, layer in enumerate(layers)}
    except Exception as error:  # numpy's and zipfile's are of many kinds
        raise ValueError(f"the features of {id} cannot be used: {error}") from error
    truth, target = _one_of(entry["truth"], classes, "truth"), _checked(int, entry["target"], "target")
    if target < 0:
        raise ValueError(f"the target {target} is no index")
    return StudyImage(id, _text(entry["name"], "name"), truth, target, features, levels)


def _file(folder: Path, name: str) -> Path:
    """The path of a file of the study, which is no link to another place."""
    path = folder / name
    if not path.is_file() or path.resolve() != folder.resolve() / name:
        raise ValueError(f"it has no file {name}, or one that is a link")
    return path


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which may claim any size: nothing is read that is larger than it may be."""
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        if max(path.stat().st_size, sum(entry.file_size for entry in entries)) > _LARGEST_FEATURES:
            raise ValueError(f"they are larger than {_LARGEST_FEATURES:,} bytes")
        if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
            raise ValueError("they are compressed in another way than numpy does it")
        found = {}
        for entry in entries:
            with file.open(entry) as part:
                found[entry.filename.removesuffix(".npy")] = _array(part.read(entry.file_size))
        return found


def _array(content: bytes) -> np.ndarray:
    """The array of an .npy file's bytes: of plain numbers, and of the size that its header says."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of another version of numpy's format")
    shape, backwards, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype not in (np.uint8, np.int32, np.float32) or backwards or min(shape, default=0) < 1:
        raise ValueError(f"an array of {dtype!s:.40} and shape {shape!s:.40} is none of a study's")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("an array is cut short")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)


def _levels(levels: np.ndarray) -> np.ndarray:
    if levels.dtype != np.uint8 or levels.ndim != 3 or levels.shape[0] != levels.shape[1]:
        raise ValueError(f"the levels are {levels.dtype} of shape {levels.shape}, expected uint8 (S, S, C)")
    return levels


def _features(arrays: Mapping[str, np.ndarray], number: int) -> Features:
    cluster, weights, maps = (arrays[f"{number}.{part}"] for part in _PARTS)
    kinds = [(array.dtype, array.ndim) for array in (cluster, weights, maps)]
    if kinds != [(np.int32, 1), (np.float32, 1), (np.float32, 3)] or len(weights) != len(maps):
        raise ValueError(f"layer {number} has arrays of other types or shapes than (C,), (K,) and (K, h, w)")
    if not (_within(cluster, -1, len(weights) - 1) and _within(weights, 0, 101) and _within(maps, 0, 1)):
        raise ValueError(f"layer {number} has clusters, weights or maps out of their ranges")
    return cast(Any, Features)(cluster, weights, maps)


def _within(array: np.ndarray, low: int, high: int) -> bool:
    return bool(np.all((array >= low) & (array <= high)))  # and no NaN


def _checked(kind: type, value: Any, what: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{what} is {value!r:.40}, expected {kind.__name__}")
    return value


def _text(value: Any, what: str) -> str:
    text: str = _checked(str, value, what)
    if not text.isprintable():  # it goes to terminals and pages
        raise ValueError(f"{what} {text!r:.60} has characters that cannot be shown")
    return text


def _one_of(value: Any, allowed: Iterable[str], what: str) -> str:
    if value not in tuple(allowed):
        raise ValueError(f"{what} is {value!r:.40}, which is not among the possible ones")
    return value


def _texts(values: Any, what: str, *, least: int = 1, count: int | None = None) -> tuple[str, ...]:
    texts = tuple(_text(value, what) for value in _checked(list, values, what))
    if len(texts) < least or (count is None and len(set(texts)) < len(texts)) or len(texts) != (count or len(texts)):
        raise ValueError(f"{what} are too few, too many, or not different")
    return texts
