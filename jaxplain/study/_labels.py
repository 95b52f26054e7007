"""From what people wrote to one word for each group of phrases that mean the same."""
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxplain.clusters import best_cut
from jaxplain.study._encoder import Embed
from jaxplain.study._plays import Play, is_english, read_rows

Translate = Callable[[str, str, str], str | None]

# Function words, as in the English list of the Snowball stemmer that NLTK carries; longer lists have top, bottom, side,
# front, back, bill and fire, by which people know things.
_FUNCTION_WORDS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its
itself they them their theirs themselves what which who whom this that these those am is are was were be been being have
has had having do does did doing a an the and but if or because as until while of at by for with about against between
into through during before after above below to from up down in out on off over under again further then once here there
when where why how all any both each few more most other some such no nor not only own same so than too very s t can
will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan
shouldn wasn weren won wouldn don't should've aren't couldn't didn't doesn't hadn't hasn't haven't isn't mightn't
mustn't needn't shan't shouldn't wasn't weren't won't wouldn't you're you've you'll you'd she's it's that'll he's he'd
he'll i'm i've i'd i'll they're they've they'd they'll we're we've we'd we'll she'd she'll it'd it'll
"""
_VAGUE_WORDS = "something like multiple lower upper typical maybe center least most previous next left right"
STOP_WORDS = frozenset(f"{_FUNCTION_WORDS} {_VAGUE_WORDS}".split())

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SHORT = 6  # letters, up to which one edit is corrected, and two beyond


def cleaned(text: str, names: Iterable[str] = ()) -> str:
    """The text in lower case and Unicode's form C, without the names, control characters and superfluous spaces.

    A name is removed where it is a whole word, or several with any spaces or hyphens between them, in the singular or
    plural and the possessive. Nothing may be left.

        cleaned("The DOG's  ears", ["dog"])                         # "the ears"
    """
    text = _plain(text)
    forms = sorted({_form(plain) for name in names if (plain := _plain(name).strip("_- "))}, key=len, reverse=True)
    if forms:
        text = re.sub(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", " ", text)
    return " ".join(text.split())


def corrected(text: str, keep: Collection[str] = ()) -> str:
    """The text with each word that is in no dictionary replaced by the most frequent of the most similar English words.

    Words of 3 to 6 letters may change by one insertion, deletion, substitution or swap, longer ones by two; words in
    `keep`, which are lower-case, and those with nothing similar stay.

    Garbe, "1000x Faster Spelling Correction algorithm", 2012.

        corrected("grey feathrs")                                   # "grey feathers"
    """
    return _WORD.sub(lambda found: found[0] if found[0] in keep else _corrected_word(found[0]), text)


def grouped(vectors: Float[np.ndarray, "n d"], *, reference: bool = False) -> Int[np.ndarray, " n"]:
    """The group 0, 1, ... of each vector: complete linkage of 1 - cosine, cut where the mean silhouette is largest.

    The silhouette is of the same distances; with `reference=True` of Euclidean ones between unit vectors, as published.
    All of 2 to n - 1 groups are tried, so that one or two vectors are one group. Groups are numbered in the order of
    their first vectors.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        grouped(embed(["round wheel", "big wheel", "red paint"]))   # [0, 0, 1]
    """
    n = len(vectors)
    if n < 3:
        return np.zeros(n, int)
    from scipy.cluster.hierarchy import complete
    from scipy.spatial.distance import squareform

    units = np.asarray(vectors, np.float64)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    distances = np.maximum(1 - units @ units.T, 0)
    np.fill_diagonal(distances, 0)
    linkage = complete(squareform(distances, checks=False))
    return best_cut(linkage, np.sqrt(2 * distances) if reference else distances, range(2, n))


def representative(phrases: Sequence[str], counts: Sequence[int], embed: Embed) -> str | None:
    """The word w with the largest sum over phrases s of counts[s] cos(e(w), e(s)).

    The words are those of the phrases that are no STOP_WORDS; the alphabet decides ties, and there may be none. `embed`
    gives rows of length 1.

        representative(["a round wheel", "the big wheel"], [1, 4], encoder())    # "wheel"
    """
    words = sorted({word for phrase in phrases for word in _candidates(phrase)})
    if not words:
        return None
    weights = np.asarray(counts, np.float64) / sum(counts)
    values = np.asarray(embed(words), np.float64) @ (weights @ embed(phrases))
    return words[int(np.argmax(np.round(values, 6)))]  # a rounding error decides no tie


def synonyms(
    plays: Iterable[Play],
    embed: Embed,
    names: Mapping[str, Sequence[str]],
    *,
    spelling: bool = False,
    keep: Iterable[str] = (),
    reference: bool = False,
) -> dict[tuple[str, str], str]:
    """{(guessed class, label): the word that stands for it}: labels of a class that mean the same have the same word.

    Labels are `cleaned` of the class's name and of `names`, {class: further names in any language}, with `spelling`
    also `corrected`, except for words in `keep`. They are `grouped` class by class, whatever the images, and each group
    has its `representative`; of words with the same lemma the one that stands for most labels replaces the others.
    Labels without a word are not in the result.

    Labels that are not English are left out, and `left_out` counts them: `translated` makes English ones of them. A
    resigned play has no guessed class, and is left out too.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        words = synonyms(plays, encoder(), {"tench": ["fish", "pesce"]})
        words["tench", "orange fins"]                               # "fins"
    """
    kept = frozenset(word.lower() for word in keep)
    phrases: dict[tuple[str, str], str] = {}
    counts: dict[str, Counter[str]] = {}
    for (guess, label), count in sorted(_labels(plays).items()):
        text = _prepared(label, [guess, *names.get(guess, ())], spelling, kept)
        phrases[guess, label] = text
        counts.setdefault(guess, Counter())[text] += count
    known = _embedded(embed, counts.values())
    words = {guess: _words(counter, known, reference) for guess, counter in counts.items()}
    return {(guess, label): words[guess][text] for (guess, label), text in phrases.items() if text in words[guess]}


def translated(plays: Iterable[Play], translate: Translate) -> tuple[Play, ...]:
    """The plays, in English: each label of another language is translate(label, language, guessed class).

    Of equal labels it is asked once. A play stays as it is if it was resigned, or if one of its labels has no
    translation, which is None.

        plays = translated(plays, my_translate)
    """
    known: dict[tuple[str, str, str], str | None] = {}

    def english(label: str, language: str, guess: str) -> str | None:
        if (label, language, guess) not in known:
            known[label, language, guess] = translate(label, language, guess)
        return known[label, language, guess]

    def turned(play: Play) -> Play:
        if is_english(play) or play.guess is None:
            return play
        labels = [english(label, play.language, play.guess) for label in play.labels]
        found = tuple(label for label in labels if label)
        return play._replace(labels=found, language="en") if len(found) == len(labels) else play

    return tuple(map(turned, plays))


def read_translations(path: str | os.PathLike[str]) -> Translate:
    """A function for `translated` from a .csv or .parquet file with the columns language, label and english.

    Labels are compared as `cleaned` makes them. ValueError for another file, with the number of the row.

        plays = translated(plays, read_translations("italian.csv"))
    """
    rows = read_rows(path, ("language", "label", "english"))
    known = {(language.lower(), cleaned(label)): english for language, label, english in rows if english}
    return lambda label, language, _guess: known.get((language.lower(), cleaned(label)))


def left_out(plays: Iterable[Play]) -> dict[str, int]:
    """{language: the number of labels} that `synonyms` leaves out without a translation.

    left_out(plays)                                             # {"it": 12}
    """
    found: Counter[str] = Counter()
    for play in plays:
        if not is_english(play) and play.guess is not None:
            found[play.language] += len(play.labels)
    return dict(sorted(found.items()))


def _plain(text: str) -> str:
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return unicodedata.normalize("NFC", text.lower().replace("\u2019", "'")).strip()


def _form(name: str) -> str:
    """The pattern of a name, its plural and their possessives."""
    *first, last = (re.escape(word) for word in re.split(r"[\s_-]+", name))
    ends = rf"(?:{last}(?:e?s)?|{last[:-1]}ies)" if last.endswith("y") else rf"{last}(?:e?s)?"
    return r"[\s_-]+".join([*first, ends]) + "(?:'s?)?"


def _corrected_word(word: str) -> str:
    if len(word) < 3 or "'" in word:
        return word
    from symspellpy import Verbosity

    edits = 1 if len(word) <= _SHORT else 2
    found = _dictionary().lookup(word.lower(), Verbosity.TOP, max_edit_distance=edits)
    return found[0].term if found and found[0].distance else word


@lru_cache(maxsize=1)
def _dictionary() -> Any:
    """Of 82,765 English words with their frequencies."""
    from importlib.resources import as_file, files

    from symspellpy import SymSpell

    words = SymSpell(max_dictionary_edit_distance=2)
    with as_file(files("symspellpy") / "frequency_dictionary_en_82_765.txt") as path:
        words.load_dictionary(str(path), 0, 1, encoding="utf-8")
    return words


def _candidates(phrase: str) -> list[str]:
    return [word for word in map(_bare, phrase.split()) if word and word not in STOP_WORDS]


def _bare(word: str) -> str:
    """A word without the punctuation and symbols around it."""
    return word.strip("".join(c for c in {*word} if unicodedata.category(c)[0] not in "LNM"))


def _labels(plays: Iterable[Play]) -> Counter[tuple[str, str]]:
    """How often each (guess, English label) is there."""
    return Counter(
        (play.guess, label) for play in plays if play.guess is not None and is_english(play) for label in play.labels
    )


def _prepared(text: str, names: Sequence[str], spelling: bool, keep: Collection[str]) -> str:
    text = cleaned(text, names)
    if not spelling:
        return text
    known = {word for name in names for word in _plain(name).split()}
    return cleaned(corrected(text, {*keep, *known}), names)  # of a name that was misspelt


def _embedded(embed: Embed, counters: Iterable[Counter[str]]) -> Embed:
    """The embedding of these phrases and their words, computed once and all together."""
    phrases = {phrase for counter in counters for phrase in counter}
    texts = sorted(phrases | {word for phrase in phrases for word in _candidates(phrase)})
    places = {text: place for place, text in enumerate(texts)}
    vectors = embed(texts) if texts else np.zeros((0, 1), np.float32)
    return lambda some: vectors[[places[text] for text in some]]


def _words(counter: Counter[str], embed: Embed, reference: bool) -> dict[str, str]:
    """The word of each phrase that has one."""
    phrases = sorted(phrase for phrase in counter if phrase)
    groups = grouped(embed(phrases), reference=reference)
    words: dict[str, str] = {}
    for group in range(groups.max(initial=-1) + 1):
        members = [phrases[place] for place in np.flatnonzero(groups == group)]
        if word := representative(members, [counter[phrase] for phrase in members], embed):
            words |= dict.fromkeys(members, word)
    frequent = Counter[str]()
    for phrase, word in words.items():
        frequent[word] += counter[phrase]
    surface = _surfaces(frequent)
    return {phrase: surface[word] for phrase, word in words.items()}


def _surfaces(frequent: Mapping[str, int]) -> dict[str, str]:
    """For each word the most frequent one of its lemma, the first in the alphabet of equally frequent ones."""
    from simplemma import lemmatize

    lemma = {word: lemmatize(word, lang="en") for word in frequent}
    best: dict[str, str] = {}
    for word in sorted(frequent, key=lambda word: (-frequent[word], word)):
        best.setdefault(lemma[word], word)
    return {word: best[lemma[word]] for word in frequent}
