"""The run-time checks of types: beartype, except that options with few values take any string.

A wrong one is for the functions to refuse, in a sentence of theirs, and tests ask for it.
"""

import runpy
from pathlib import Path
from typing import Literal, get_origin

from beartype import BeartypeConf, FrozenDict, beartype

_TYPES = runpy.run_path(str(Path(__file__).parent.parent / "jaxplain" / "_types.py"))
_LITERALS = {hint: str for hint in _TYPES.values() if get_origin(hint) is Literal}

check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict(_LITERALS)))
