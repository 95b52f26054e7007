"""The explorer of a labelling study: a template, a style and a script, and the data that they show.

The template engine escapes what stands in the page, and the data is JSON without the characters that could end it. The
script builds everything else from texts, and the page's policy lets nothing run or load but what is in it.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_KEYS = (
    "study", "model", "layers", "levels", "example_level", "played", "notes", "classes", "images", "recognition",
)  # fmt: skip


def explorer(data: Mapping[str, Any]) -> str:
    """The page that shows a study's explanations, as HTML.

    `data` is of what JSON knows:

        study, model       what the study and its network are called
        layers, levels     the layers' names, shallow to deep, and the percentages of the reveal levels
        example_level      the level that is shown of clusters without any
        played             {"person", "network" and "file": {"plays": number, "players": number}}
        notes              sentences
        classes            [{"name", "names": {language: name}, "images": ids, "labels", "trends"}], where labels are,
                           layer by layer, [{"label", "score", "weight", "exemplars": [{"image": id, "group": key}]}],
                           and trends [{"label", "means": (L,), "slope"}]
        images             {id: {"name", "class", "photo": a data URL, "layers"}}, where layers are, one by one,
                           {"groups": {key: group}, "clusters", "merged" and "whole": their keys, the heaviest first}
                           and a group is {"parts": [{"cluster", "weight", "channels"}], "weight", "channels", "wins",
                           "losses", "resigns", "level": a number or None, "labels": [{"label", "score", "shares": one
                           a part}], "heat" and "revealed": data URLs}
        recognition        layer by layer, {"shares": one a level, "plays": number} or None

    ValueError for data that JSON does not know, and without jinja2.

        page = explorer(data)
    """
    missing = [name for name in _KEYS if name not in data]
    if missing:
        raise ValueError(f"The data has no {missing[0]!r}, expected {', '.join(_KEYS)}: add it.")
    page, style, script = _template(), _text("explorer.css"), _text("explorer.js")
    try:
        return page.render(data=data, style=style, script=script, policy=_policy(style, script))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The data cannot be written as JSON ({error}): give texts, finite numbers, lists.") from error


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ValueError('Reports are written by Jinja: pip install "jaxplain[study]".') from error
    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    rules.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return rules.from_string(_text("explorer.html"))


def _text(name: str) -> str:
    return (files("jaxplain.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may do: show pictures that are in it, and nothing else than its own style and script."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
