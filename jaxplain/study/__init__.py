"""The labelling study: rounds in which a part of a picture is to be recognised, the masks that show it, the plays,
and what their labels say.

study = new_study("study", load("efficientnet_lite0"), "photos")
plays = play(model, study)                                  # the network's; people's have the same form
scores = label_scores(plays, synonyms(plays, encoder(), {}))
"""

from jaxplain.study._encoder import Embed, encoder
from jaxplain.study._explained import Explained, Recognition, explained, recognition
from jaxplain.study._labels import (
    STOP_WORDS,
    cleaned,
    corrected,
    grouped,
    left_out,
    read_translations,
    representative,
    synonyms,
    translated,
)
from jaxplain.study._masks import LEVELS, SIDE, blur_sigma, reveal_mask, reveal_masks, revealed
from jaxplain.study._player import Revealed, play, played, recognised, reveal_probabilities
from jaxplain.study._plays import COLUMNS, Play, is_english, outcome_of, read_plays, write_plays
from jaxplain.study._progress import Progress, progress, status_table
from jaxplain.study._report import report, write_report
from jaxplain.study._scores import (
    Exemplar,
    Group,
    Ranked,
    Trend,
    best,
    class_scores,
    label_scores,
    merged,
    merged_map,
    trends,
)
from jaxplain.study._store import Store, add_plays, kept_target, opened, stored_plays
from jaxplain.study._study import Round, Study, StudyImage, load_study, new_study, picture, read_names, rounds

__all__ = [
    "COLUMNS",
    "LEVELS",
    "SIDE",
    "STOP_WORDS",
    "Embed",
    "Exemplar",
    "Explained",
    "Group",
    "Play",
    "Progress",
    "Ranked",
    "Recognition",
    "Revealed",
    "Round",
    "Store",
    "Study",
    "StudyImage",
    "Trend",
    "add_plays",
    "best",
    "blur_sigma",
    "class_scores",
    "cleaned",
    "corrected",
    "encoder",
    "explained",
    "grouped",
    "is_english",
    "kept_target",
    "label_scores",
    "left_out",
    "load_study",
    "merged",
    "merged_map",
    "new_study",
    "opened",
    "outcome_of",
    "picture",
    "play",
    "played",
    "progress",
    "read_names",
    "read_plays",
    "read_translations",
    "recognised",
    "recognition",
    "report",
    "representative",
    "reveal_mask",
    "reveal_masks",
    "reveal_probabilities",
    "revealed",
    "rounds",
    "status_table",
    "stored_plays",
    "synonyms",
    "translated",
    "trends",
    "write_plays",
    "write_report",
]
