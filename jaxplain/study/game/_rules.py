"""The rules of the game: what a round is worth, and what players may write."""

import re
import unicodedata
from collections.abc import Sequence

from jaxplain.study._labels import cleaned
from jaxplain.study._plays import End

MOST_LABELS = 10
LONGEST_LABEL = 100
LONGEST_NAME = 30
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 200

_WRITTEN = 4  # characters for each that may be kept: to normalise a text takes the square of its length

# These turn the text around them, and may make it read as another one: embeddings, overrides and isolates.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Nothing is seen of these, beside the characters of category Cf: fillers, joiners, variation selectors, empty Braille.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class RefusedError(ValueError):
    """What a player may not do, as the key of the text that says so and its values."""

    def __init__(self, key: str, status: int = 400, **values: object) -> None:
        super().__init__(key)
        self.key, self.status, self.values = key, status, values


def points_of(outcome: End, level: int, accepted: Sequence[str]) -> int:
    """round(100 (1 - 0.15 level)) for a win, and 10 for each accepted label; else 0. A choice: none is published.

    points_of("win", 2, ["fins"])                               # 80
    """
    return 0 if outcome != "win" else round(100 - 15 * level) + 10 * len(accepted)


def accepted(labels: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The labels that count: those of which something is left without the class's names, each once.

    accepted(["fins", "FINS ", "a tench"], ["tench"])           # ("fins", "a tench")
    """
    found: dict[str, str] = {}
    for label in labels:
        if plain := cleaned(label, names):
            found.setdefault(plain, label)
    return tuple(found.values())


def checked_labels(texts: Sequence[str]) -> tuple[str, ...]:
    """What a player wrote, each once, and no empty ones.

    RefusedError for too many, too long ones, and what cannot be shown.
    """
    if any(len(text) > _WRITTEN * LONGEST_LABEL for text in texts):
        raise RefusedError("error_label_length", most=LONGEST_LABEL)
    labels = tuple(dict.fromkeys(label for text in texts if (label := _plain(text))))
    if len(labels) > MOST_LABELS:
        raise RefusedError("error_labels", most=MOST_LABELS)
    if any(len(label) > LONGEST_LABEL for label in labels):
        raise RefusedError("error_label_length", most=LONGEST_LABEL)
    return labels


def checked_name(text: str) -> str:
    """A nickname; RefusedError unless it has 2 to 30 characters that can be shown, not all of them invisible."""
    name = _plain(text) if len(text) <= _WRITTEN * LONGEST_NAME else ""
    if not (2 <= len(name) <= LONGEST_NAME and account_of(name)):
        raise RefusedError("error_name", most=LONGEST_NAME)
    return name


def checked_password(text: str) -> str:
    """A password; RefusedError unless it has 8 to 200 characters."""
    if not SHORTEST_PASSWORD <= len(text) <= LONGEST_PASSWORD:
        raise RefusedError("error_password", least=SHORTEST_PASSWORD, most=LONGEST_PASSWORD)
    return text


def account_of(name: str) -> str:
    """The name as names are compared: those that differ in capitals, widths, spaces and what is invisible are one.

    "" for what is too long for a name.

        account_of("Ada  L"), account_of("ada l")               # equal
    """
    if len(name) > _WRITTEN * LONGEST_NAME:
        return ""
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", _UNSEEN.sub("", name)).casefold())
    return " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())


def _plain(text: str) -> str:
    """The text in Unicode's form C with single spaces; RefusedError for control characters and halves of characters.

    What joins the parts of emoji, and what marks a direction, may be there.
    """
    unseen = ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")
    if _TURNING.search(text) or any(unicodedata.category(c) in unseen for c in text):
        raise RefusedError("error_characters")
    return " ".join(unicodedata.normalize("NFC", text).split())
