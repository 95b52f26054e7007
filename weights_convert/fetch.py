"""Published weights, downloaded once and kept as converted folders in the user's cache."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxplain.models.registry import Published


def cache_folder() -> Path:
    """The user's cache folder of jaxplain, which may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxplain"


def fetched(model: str, published: "Published") -> Path:
    """The converted folder in which `fetch` keeps a published set of weights, there or not."""
    return cache_folder() / "weights" / f"{model}-{published.name}"
