"""A study and what its plays say, as one HTML file."""

import base64
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxplain.features import Features
from jaxplain.render import sequential_rgba
from jaxplain.report import explorer
from jaxplain.study._explained import Explained
from jaxplain.study._masks import LEVELS, SIDE, blur_sigma, reveal_mask, revealed
from jaxplain.study._plays import Play
from jaxplain.study._progress import how_many
from jaxplain.study._scores import Group, Ranked, merged_map
from jaxplain.study._study import Study, StudyImage, picture
from jaxplain.workflows import write_file

EXAMPLE_LEVEL = 2  # is shown of what no play has labels for

_PHOTO, _PHOTO_QUALITY = 384, 75  # pixels of a photo's side, and WebP's quality
_SHOWN, _SHOWN_QUALITY = 256, 70  # of what players saw


def report(study: Study, found: Explained) -> str:
    """An HTML page that shows a study and what its plays say, with all pictures inside; it loads nothing.

    Of clusters whose plays have no labels 8 percent of the picture are shown. ValueError for pictures that cannot be
    read, and without jinja2.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        page = report(study, explained(study, plays))           # write_report writes it
    """
    return explorer(assembled(study, found))


def write_report(path: str | os.PathLike[str], study: Study, found: Explained) -> None:
    """Writes the page of `report` to a file, which appears when it is complete.

    write_report("study.html", study, explained(study, plays))
    """
    page = report(study, found)
    write_file(path, lambda draft: draft.write_text(page, encoding="utf-8"))


def assembled(study: Study, found: Explained) -> dict[str, Any]:
    """What `explorer` shows of a study."""
    truths = {image.truth for image in study.images}
    return {
        "study": study.folder.name,
        "model": study.model,
        "layers": study.layers,
        "levels": LEVELS,
        "example_level": EXAMPLE_LEVEL,
        "played": _played(found.plays),
        "notes": _notes(study, found),
        "classes": [_class(study, found, name) for name in study.classes if name in truths],
        "images": {image.id: _image(study, found, image) for image in study.images},
        "recognition": [
            found.recognition[layer]._asdict() if layer in found.recognition else None for layer in study.layers
        ],
    }


def _played(plays: Iterable[Play]) -> dict[str, dict[str, int]]:
    """The numbers of plays and of players of each kind."""
    plays = tuple(plays)
    count, players = Counter(play.kind for play in plays), {(play.kind, play.player) for play in plays}
    kinds = Counter(kind for kind, _ in players)
    return {kind: {"plays": count[kind], "players": kinds[kind]} for kind in ("person", "network", "file")}


def _notes(study: Study, found: Explained) -> list[str]:
    """What the page does not show."""
    foreign = (
        f"{how_many(found.foreign, 'play')} of clusters that the study has not, or of another class than the image's"
    )
    return [
        *[
            f"{how_many(count, 'label')} in the language \N{LEFT DOUBLE QUOTATION MARK}{language}"
            "\N{RIGHT DOUBLE QUOTATION MARK}, without a translation into English."
            for language, count in found.left_out.items()
            if count
        ],
        *([f"{foreign}."] if found.foreign else []),
        *[f"The image {name}: {error}" for name, error in study.failed],
    ]


def _class(study: Study, found: Explained, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "names": dict(study.names.get(name, {})),
        "images": [image.id for image in study.images if image.truth == name],
        "labels": [[_ranked(label) for label in found.ranked.get((name, layer), ())] for layer in study.layers],
        "trends": [trend._asdict() for trend in found.trends.get(name, ())],
    }


def _ranked(ranked: Ranked) -> dict[str, Any]:
    exemplars = [{"image": one.image, "group": _key(one.parts)} for one in ranked.exemplars]
    return {"label": ranked.label, "score": ranked.score, "weight": ranked.weight, "exemplars": exemplars}


def _image(study: Study, found: Explained, image: StudyImage) -> dict[str, Any]:
    pixels = picture(study, image.id)
    cells = max(max(features.maps.shape[1:]) for features in image.features.values())
    small = _resized(pixels, _SHOWN if cells <= _SHOWN else SIDE)
    return {
        "name": image.name,
        "class": image.truth,
        "photo": _webp(_resized(pixels, _PHOTO), quality=_PHOTO_QUALITY),
        "layers": [_layer(found, image, layer, small) for layer in study.layers],
    }


def _layer(found: Explained, image: StudyImage, layer: str, pixels: np.ndarray) -> dict[str, Any]:
    """The groups of a layer by their parts, and the parts of each view's, the heaviest first."""
    place = image.id, layer
    views = {name: getattr(found, name).get(place, ()) for name in ("clusters", "merged", "whole")}
    groups = {_key(group.parts): group for groups in views.values() for group in groups}
    scores = {part: found.scores.get((*place, part), {}) for part in range(len(image.features[layer].weights))}
    return {
        "groups": {key: _group(group, image.features[layer], scores, pixels) for key, group in groups.items()},
        **{name: [_key(group.parts) for group in groups] for name, groups in views.items()},
    }


def _key(parts: Iterable[int]) -> str:
    return "-".join(map(str, parts))


def _group(
    group: Group, features: Features, scores: Mapping[int, Mapping[str, float]], pixels: np.ndarray
) -> dict[str, Any]:
    """A group with its pictures; a label's shares are what each part adds to its score."""
    parts, weights = list(group.parts), np.asarray(features.weights, float)
    channels = [int(np.sum(np.asarray(features.cluster) == part)) for part in parts]
    heat = merged_map(np.asarray(features.maps)[parts], weights[parts])
    percent = LEVELS[EXAMPLE_LEVEL if group.level is None else group.level]
    return {
        "parts": [
            {"cluster": part, "weight": float(weights[part]), "channels": count}
            for part, count in zip(parts, channels, strict=True)
        ],
        "weight": group.weight,
        "channels": sum(channels),
        **{name: getattr(group, name) for name in ("wins", "losses", "resigns", "level")},
        "labels": [
            {
                "label": label,
                "score": score,
                "shares": [float(weights[part]) * scores[part].get(label, 0) / group.weight for part in parts],
            }
            for label, score in group.labels
        ],
        "heat": _webp(_coloured(heat), lossless=True),
        "revealed": _webp(_seen(pixels, heat, percent), quality=_SHOWN_QUALITY),
    }


def _coloured(heat: np.ndarray) -> np.ndarray:
    """A map in render's colours, (h, w, 4) uint8, more opaque the closer it is to its largest value."""
    return np.rint(255 * sequential_rgba(heat / (heat.max() or 1))).astype(np.uint8)


def _seen(pixels: np.ndarray, heat: np.ndarray, percent: float | int) -> np.ndarray:
    """What players see of a picture (side, side, 3) that is smaller than theirs."""
    side = len(pixels)
    sigma = blur_sigma(float(np.sqrt(heat.size))) * side / SIDE
    return revealed(pixels, reveal_mask(heat, percent, side, sigma=sigma))


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def _webp(pixels: np.ndarray, **options: Any) -> str:
    """The data URL of a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", **options)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
