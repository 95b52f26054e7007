"""The images of a gallery that are most similar to a query, and what they have in common with it."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxplain._types import PooledSimilarity
from jaxplain.explain import channel_map, fam_contributions
from jaxplain.methods import check_name
from jaxplain.models import (
    Failed,
    Levels,
    Model,
    Notes,
    Track,
    Weights,
    normalised,
    notes_of,
    read_image,
    seen,
    untracked,
)
from jaxplain.net import embedding, view
from jaxplain.render import Panel, scale_of
from jaxplain.similarity import POOLED
from jaxplain.similarity import normalised as channel_weights
from jaxplain.workflows._files import Writer, csv_writer, file_name, json_writer
from jaxplain.workflows._images import Reading, image_name, images_in, noted, read_batches, reading_of
from jaxplain.workflows._layers import checked_layer
from jaxplain.workflows._result import Result, Table

_AT_ONCE = 16  # images compared in one call


class Match(NamedTuple):
    """An image of the gallery, its similarity to the query, and what the network sees of it, (448, 448, 3) uint8.

    `on_query` and `on_match` (h, w) are maps of what the two have in common; None where they were not asked for.
    """

    image: Any
    similarity: float
    picture: np.ndarray
    on_query: np.ndarray | None = None
    on_match: np.ndarray | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Retrieval(Result):
    """A gallery in the order of its similarity to a query.

    `images` are the N images of the gallery, best first, with their `similarities` (N,), and `matches` the first few
    of them; `picture` (448, 448, 3) uint8 is what the network sees of the query. `failed` are the images that were
    left out, each with its error, and `reading` says how images were asked to be read, with the notes of some.
    """

    query: Any
    model: str
    weights: Weights
    layer: str
    similarity: str
    picture: np.ndarray
    images: tuple[Any, ...]
    similarities: np.ndarray
    matches: tuple[Match, ...]
    failed: tuple[tuple[Any, Exception], ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        best = ", ".join(f"{file_name(image_name(match.image))} {match.similarity:.3g}" for match in self.matches)
        return f"Retrieval({file_name(image_name(self.query))} among {len(self.images)} images: {best})"

    @property
    def title(self) -> str:
        """The network, its weights, and what images are compared by."""
        return f"{self.model}  ·  {self.weights.source}  ·  {self.similarity} at {self.layer}"

    def table(self) -> Table:
        """The matches, best first."""
        ranked = enumerate(self.matches, 1)
        rows = [(str(rank), Path(image_name(m.image)).name, f"{m.similarity:.4g}") for rank, m in ranked]
        title = f"{image_name(self.query)}, among {len(self.images)} images\n{self.title}"
        return Table(title, ("rank", "image", self.similarity), tuple(rows))

    def _title(self) -> str:
        return self.title

    def _panels(self) -> Sequence[Sequence[Any]]:
        """The query and its matches in a row; with maps, each match below the query as it is seen for that match."""
        ranked = [*enumerate(self.matches, 1)]
        titles = [f"{rank}: {file_name(image_name(m.image))}\n{m.similarity:.3g}" for rank, m in ranked]
        below = [_shown(title, m.picture, m.on_match) for title, m in zip(titles, self.matches, strict=True)]
        first = Panel(f"query: {file_name(image_name(self.query))}", self.picture)
        if self.matches[0].on_query is None:
            return [[first, *below]]
        above = [_shown(f"in common with {rank}", self.picture, match.on_query) for rank, match in ranked]
        return [[first, *above], [None, *below]]

    def _writers(self) -> dict[str, Writer]:
        names, values = [image_name(image) for image in self.images], self.similarities.tolist()
        rows = zip(range(1, len(names) + 1), names, values, strict=True)
        record = {
            "query": image_name(self.query),
            "model": self.model,
            "weights": self.weights._asdict(),
            "layer": self.layer,
            "similarity": self.similarity,
            "gallery": len(names),
            "matches": [{"image": image_name(m.image), "similarity": m.similarity} for m in self.matches],
            "reading": self.reading,
            "failed": [{"image": image_name(image), "error": str(error)} for image, error in self.failed],
        }
        return {".csv": csv_writer(("rank", "image", "similarity"), rows), ".json": json_writer(record)}


def retrieve(
    model: Model,
    query: Any,
    gallery: Any,
    *,
    layer: str | None = None,
    similarity: PooledSimilarity = "cosine",
    top: int = 5,
    explain: bool = False,
    background: str | None = None,
    levels: Levels | None = None,
    failed: Failed | None = None,
    track: Track = untracked,
) -> Retrieval:
    """The images of a gallery by how similar they are to a query, most similar first.

    Images are compared by the means of a layer's activations over positions, with a `similarity` of
    jaxplain.similarity.POOLED; the layer is by default that of class activation maps. The gallery is a folder or a
    sequence of images, of which the query's own file is left out. With `explain` each of the `top` matches has its
    feature activation map, and the map of the same channels' weights on the query, both (h, w). Files that are no
    images are an error, or are left out, each after failed(image, error). `background` and `levels` say how images are
    read, as `Model.reading` has it.

        found = retrieve(load("efficientnet_lite0"), "sample:brick", ["sample:gravel", "sample:coffee"])
        found.matches[0].image                                                  # 'sample:gravel'
    """
    check_name("similarity", similarity, POOLED)
    if top < 1:
        raise ValueError(f"top is {top}, expected a whole number from 1; give a larger one.")
    model = model.reading(background, levels)
    layer = checked_layer(model, layer)
    photo = model.open(query)
    x, unreadable = model.prepare(photo), list[tuple[Any, Exception]]()
    others = [image for image in images_in(gallery) if not _same(image, query)]
    if not others:
        raise ValueError(f"{_gallery_name(gallery)} has no image but the query: add images to compare it with.")

    def leave_out(image: Any, error: Exception) -> None:
        unreadable.append((image, error))
        if failed is not None:
            failed(image, error)

    reading = Reading(None if failed is None else leave_out, track)
    reference = _embedded(model.net, x, layer)
    images, values, notes = zip(*_compared(model, others, reference, layer, similarity, reading), strict=True)
    similarities = np.array(values)
    if not np.isfinite(similarities).all():
        raise ValueError(f"The activations at {layer!r} are not finite: look at the images and the weights.")
    order = np.argsort(-similarities, kind="stable")
    shared = functools.partial(_in_common, model.net, x, layer=layer, similarity=similarity) if explain else None
    notes = noted((query, *images), (notes_of(photo), *notes))
    matches = tuple(_match(model, images[i], float(similarities[i]), shared) for i in order[:top])
    ranked = tuple(images[i] for i in order)
    return Retrieval(
        query, model.spec.name, model.weights, layer, similarity, seen(photo, model.spec), ranked, similarities[order],
        matches, tuple(unreadable), reading_of(model.spec) | {"notes": notes},
    )  # fmt: skip


def _same(image, query):
    """Whether two images are the same file, or the same object."""
    if isinstance(image, str | os.PathLike) and isinstance(query, str | os.PathLike):
        return os.path.realpath(image) == os.path.realpath(query)
    return image is query


def _gallery_name(gallery):
    return gallery if isinstance(gallery, str | os.PathLike) else "The gallery"


def _compared(model, images, reference, layer, similarity, reading) -> Iterator[tuple[Any, np.float32, Notes]]:
    """The images that can be read, with their similarities and notes."""
    for batch in read_batches(images, model.spec, _AT_ONCE, reading, "comparing"):
        values = _similarities(model.net, model.normalise, batch.levels, reference, layer, similarity)
        yield from zip(batch.images, np.asarray(values), batch.notes, strict=False)  # rows beyond repeat the last one


@functools.partial(jax.jit, static_argnames="layer")
def _embedded(net, x, layer):
    return embedding(net, layer)(x)


@functools.partial(jax.jit, static_argnames=("layer", "similarity"))
def _similarities(net, normalise, levels, reference, layer, similarity):
    def one(x):
        return jnp.sum(fam_contributions(view(net, layer, x)[0], reference, split=similarity))

    return jax.vmap(one)(normalised(normalise, levels))


@functools.partial(jax.jit, static_argnames=("layer", "similarity"))
def _in_common(net, x, other, layer, similarity):
    """Maps of the same channels' weights on two images."""
    contributions = fam_contributions(view(net, layer, x)[0], embedding(net, layer)(other), split=similarity)
    return [channel_map(net, image, channel_weights(contributions), layer=layer) for image in (x, other)]


def _match(model, image, similarity, in_common):
    photo = read_image(image, model.spec)
    maps = () if in_common is None else map(np.asarray, in_common(model.prepare(photo)))
    return Match(image, similarity, seen(photo, model.spec), *maps)


def _shown(title, picture, heat):
    """A picture under a map of what is in common, which is not signed, if there is one."""
    return Panel(title, picture, heat, scale=None if heat is None else scale_of(heat, signed=False))
