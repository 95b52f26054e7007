"""The game's texts in several languages: one JSON file each, {key: text with $values}, all with English's keys."""

import json
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

Texts = Mapping[str, Mapping[str, str]]

FOLDER = "texts"  # of a study, for further languages
ENGLISH = "en"


def read_texts(folder: Path) -> Texts:
    """{language: {key: text}}: the game's own languages, and those in the folder, which may replace them.

    ValueError for a file that has other keys than English, or other values in a text.
    """
    found = {_language(path): json.loads(path.read_text("utf-8")) for path in _own()}
    for path in sorted(folder.glob("*.json")):
        language = _language(path)
        found[language] = _checked(path, found[ENGLISH])
    return found


def speaking(texts: Texts, language: str) -> Callable[..., str]:
    """The function of a key and its values that gives the text."""
    return lambda key, **values: Template(texts[language][key]).substitute({k: str(v) for k, v in values.items()})


def language_for(texts: Texts, chosen: str | None, accepted: str) -> str:
    """The language chosen, or the first of an Accept-Language header that there is, or English."""
    wanted = [chosen or "", *(part.split(";")[0].strip() for part in accepted[:1000].split(","))]
    asked = [one for full in map(str.lower, wanted) for one in (full, full.split("-")[0])]
    return next((one for one in asked if one in texts), ENGLISH)


def _own() -> list[Any]:
    folder = files("jaxplain.study.game") / FOLDER
    return sorted((path for path in folder.iterdir() if path.name.endswith(".json")), key=lambda path: path.name)


def _language(path: Any) -> str:
    name = path.name.removesuffix(".json")
    if not re.fullmatch("[a-z]{2,3}(-[a-z0-9]+)*", name):
        raise ValueError(f"{path} is called by no language, expected a name such as de.json or pt-br.json: rename it.")
    return name


def _checked(path: Path, english: Mapping[str, str]) -> dict[str, str]:
    try:
        texts = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path} is no file of JSON in UTF-8: mend it, or move it away.") from error
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"{path} is no {{key: text}}: write it as the game's own en.json.")
    differing = sorted(english.keys() ^ texts.keys())
    if differing:
        state = "lacks" if differing[0] in english else "has the unknown"
        raise ValueError(f"{path} {state} key {differing[0]!r:.60}: write it with the keys of the game's own en.json.")
    for key, text in texts.items():
        if _values(text) != _values(english[key]):
            expected = ", ".join(sorted(_values(english[key]) or ())) or "none"
            raise ValueError(f"{path} has other $values in {key}, expected {expected}: mend that text.")
    return texts


def _values(text: str) -> set[str] | None:
    """The names of the values in a text; None if a $ stands alone."""
    template = Template(text)
    return {*template.get_identifiers()} if template.is_valid() else None
