"""jaxplain retrieve: the most similar images of a folder, and what they have in common with the query."""

import csv
import functools
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import typer

import jaxplain as jp
from jaxplain.cli.common import (
    Layer,
    ModelName,
    Out,
    Skip,
    WeightsPath,
    bars,
    check_layer,
    check_out,
    picture_of,
    readable,
    spare,
    stems,
)
from jaxplain.cli.errors import told, writing
from jaxplain.cli.methods import embedded, named
from jaxplain.cli.tables import show
from jaxplain.similarity import POOLED, normalised

BATCH = 16


class Match(NamedTuple):
    """An image of the gallery, how similar it is, and maps (h, w) of what both have in common, on each of them."""

    path: Path
    similarity: float
    on_query: np.ndarray
    on_match: np.ndarray


class Setting(NamedTuple):
    """What images are compared with: a loaded model, its layer, and the name of a similarity in POOLED."""

    model: Any
    layer: str
    similarity: str


def retrieve(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A file, or sample:chelsea, sample:coffee...")],
    gallery: Annotated[Path, typer.Option(metavar="DIR", help="The folder of images to look through.")],
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    layer: Layer = None,
    similarity: Annotated[
        str, typer.Option(metavar="NAME", help=f"Of the embeddings: {', '.join(POOLED)}.")
    ] = "cosine",
    top: Annotated[int, typer.Option(help="How many images.", min=1)] = 5,
    explain: Annotated[bool, typer.Option("--explain", help="Draw what each pair has in common on both.")] = False,
    skip: Skip = False,
    out: Out = Path("out"),
) -> None:
    """Find the most similar images of a folder.

    Images are compared by the means of a layer's activations over positions. Writes a figure, a table of the whole
    gallery (.csv) and a record (.json); with --explain the figure has feature activation maps. The query's own file is
    left out.
    """
    from jaxplain.models import load, open_image

    with told():
        named("similarity", similarity, POOLED)
        loaded = load(model, weights)
        setting = Setting(loaded, check_layer(loaded, layer or loaded.spec.cam_layer, ["grad_cam"]), similarity)
        path = out / f"{stems([query])[0]}_matches"
        check_out(out)
        photo = open_image(query)
        x = loaded.prepare(photo)
        paths, similarities = _compared(
            setting, gallery, query, np.asarray(embedded(loaded.net, x, setting.layer)), skip
        )
        order = np.argsort(-similarities, kind="stable")
        spare([query, *map(str, paths)], [path])
        matches = [_match(setting, x, paths[i], float(similarities[i])) for i in order[:top]]
        _write(setting, query, photo, matches, [(paths[i], similarities[i]) for i in order], explain, path)
    rows = [(str(rank), match.path.name, f"{match.similarity:.4g}") for rank, match in enumerate(matches, 1)]
    show(("rank", "image", similarity), rows, title=f"{query}, among {len(paths)} images\n{_title(setting)}")
    print(f"{path}.png, .csv and .json written", flush=True)


def _compared(setting, gallery, query, reference, skip):
    """The gallery's paths without the query's own, and their similarities (N,), a few images in memory at a time."""
    picture, net = picture_of(setting.model.spec), setting.model.net
    with bars() as track:
        paths = readable(gallery, lambda path: (picture(path), path)[1], skip, track)
        paths = [path for path in paths if os.path.realpath(path) != os.path.realpath(query)]
        if not paths:
            raise ValueError(f"{gallery} has no image but the query: add images to compare it with.")
        found = []
        for start in track(range(0, len(paths), BATCH), "comparing"):
            rows = np.minimum(np.arange(start, start + BATCH), len(paths) - 1)  # one shape, compiled once
            images = np.stack([picture(paths[i]) for i in rows])
            values = _similarities(net, setting.model.normalise, images, reference, setting.layer, setting.similarity)
            found.append(np.asarray(values)[: len(paths) - start])
    similarities = np.concatenate(found)
    if not np.isfinite(similarities).all():
        raise ValueError(f"The activations at {setting.layer!r} are not finite: look at the images and the weights.")
    return paths, similarities


@functools.partial(jax.jit, static_argnames=("layer", "similarity"))
def _similarities(net, normalise, images, reference, layer, similarity):
    def one(image):
        activation, _ = jp.view(net, layer, normalise(image.astype(jnp.float32) / 255))
        return jnp.sum(jp.fam_contributions(activation, reference, split=similarity))

    return jax.vmap(one)(images)


@functools.partial(jax.jit, static_argnames=("layer", "similarity"))
def _in_common(net, x, other, layer, similarity):
    """Maps of the same channels' weights on two images."""
    contributions = jp.fam_contributions(jp.view(net, layer, x)[0], jp.embedding(net, layer)(other), split=similarity)
    return [jp.channel_map(net, image, normalised(contributions), layer=layer) for image in (x, other)]


def _match(setting, x, path, similarity):
    model = setting.model
    maps = _in_common(model.net, x, model.prepare(path), setting.layer, setting.similarity)
    return Match(path, similarity, *map(np.asarray, maps))


def _title(setting):
    return f"{setting.model.spec.name}  ·  {setting.model.weights.source}  ·  {setting.similarity} at {setting.layer}"


def _panels(setting, query, photo, matches, explain):
    """The query and its matches in a row; with maps, each match below the query as it is seen for that match."""
    from jaxplain.models import open_image
    from jaxplain.render import Panel

    def seen(photo):
        return np.asarray(photo.resize((448, 448), box=setting.model.placement(photo)))

    pictures = [seen(open_image(match.path)) for match in matches]
    titles = [f"{rank}: {_readable_name(m.path)}\n{m.similarity:.3g}" for rank, m in enumerate(matches, 1)]
    first = Panel(f"query: {_readable_name(query)}", seen(photo))
    if not explain:
        return [[first, *map(Panel, titles, pictures)]]
    above = [Panel(f"in common with {rank}", seen(photo), match.on_query) for rank, match in enumerate(matches, 1)]
    below = [Panel(title, picture, m.on_match) for title, picture, m in zip(titles, pictures, matches, strict=True)]
    return [[first, *above], [None, *below]]


def _readable_name(path):
    return Path(path).name.encode(errors="replace").decode()


def _write(setting, query, photo, matches, ranking, explain, path):
    """path.png, .csv and .json, all or none."""
    record = {
        "query": query,
        "model": setting.model.spec.name,
        "weights": setting.model.weights._asdict(),
        "layer": setting.layer,
        "similarity": setting.similarity,
        "gallery": len(ranking),
        "matches": [{"image": str(match.path), "similarity": match.similarity} for match in matches],
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "numpy")},
    }
    rows = [(rank, str(image), float(similarity)) for rank, (image, similarity) in enumerate(ranking, 1)]
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            beside = Path(folder) / path.name
            with open(f"{beside}.csv", "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerows([("rank", "image", "similarity"), *rows])
            # A surrogate, which stands for a byte of a file name that is no UTF-8, is escaped as JSON does it.
            text = json.dumps(record, indent=1, ensure_ascii=False)
            Path(f"{beside}.json").write_text(text, encoding="utf-8", errors="backslashreplace")
            panels = _panels(setting, query, photo, matches, explain)
            jp.figure(panels, title=_title(setting), path=f"{beside}.png")
            for kind in ("png", "csv", "json"):
                os.replace(f"{beside}.{kind}", f"{path}.{kind}")
