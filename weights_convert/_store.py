"""Converted parameters on disk: a folder with `params`, written by Orbax, and `model.json`, the record.

The record is a plain dict: architecture, source file, sha256, categories, preprocessing. A folder is there completely
or not at all.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxplain.weights_convert._drafts import draft, undisturbed

FORMAT = 1
SPARE = 1.1  # bytes that Orbax writes, for each of the parameters


def save(
    folder: str | os.PathLike[str],
    params: dict[str, Any],
    record: dict[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Write the parameters (a nested dict of arrays) and the record into a new or empty folder.

    `extra` may write more files: it gets the path of the folder while that is still unfinished.
    """
    folder = vacant(folder)
    text = json.dumps({"format": FORMAT, **record}, indent=1)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with draft(folder.parent) as place:
        unfinished = place / folder.name
        unfinished.mkdir()
        (unfinished / "model.json").write_text(text, encoding="utf-8")
        if extra is not None:
            extra(unfinished)
        _check_room(unfinished, sum(np.asarray(leaf).nbytes for leaf in _leaves(params)))
        undisturbed(_write, unfinished / "params", params)
        os.replace(unfinished, folder)


def _check_room(folder: Path, size: int) -> None:
    """Raises OSError unless the disk takes so many bytes more, and the user's quota: Orbax's threads would each print a
    traceback."""
    free = shutil.disk_usage(folder).free
    if free < size * SPARE:
        what = f"{os.strerror(errno.ENOSPC)}: {free / 1e6:,.1f} MB free, {size * SPARE / 1e6:,.1f} MB needed"
        raise OSError(errno.ENOSPC, what)
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as place:
            _reserve(place.fileno(), int(size * SPARE) + 1)


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # other file systems cannot tell before


def _leaves(tree: Any) -> list[Any]:
    return [leaf for inner in tree.values() for leaf in _leaves(inner)] if isinstance(tree, dict) else [tree]


def vacant(folder: str | os.PathLike[str]) -> Path:
    """The folder's absolute path; ValueError unless it is new or empty."""
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} exists already, expected a new or empty folder: name another one or delete it")
    return folder


def restore(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(params, record) as they were saved: a nested dict of numpy arrays, and the record.

    A folder that Orbax alone has written has no record but notes: one with the parameters themselves or under "params",
    or of a CheckpointManager that kept them as its only item, whose last step is taken.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder, expected one that save or the convert command has written")
    if not (folder / "model.json").exists() and (item := _item(folder)) is not None:
        tree = _read(item)
        notes = () if item == folder else (f"{item.relative_to(folder)} is taken",)
        return tree.get("params", tree), {"notes": [*notes]}
    record = _record(folder / "model.json")
    if not (folder / "params").is_dir():
        raise ValueError(f"{folder} has no folder params, expected the parameters beside model.json: convert again")
    return _read(folder / "params"), record


def _item(folder: Path) -> Path | None:
    """The folder of a tree inside of one that Orbax has written, None inside of another."""
    if (folder / "_METADATA").is_file():
        return folder
    steps = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    if steps:
        return _item(max(steps, key=lambda path: int(path.name)))
    items = sorted(path.name for path in folder.iterdir() if (path / "_METADATA").is_file())
    if len(items) > 1:
        raise ValueError(f"{folder} has the items {', '.join(items)}: give the folder of the one with the parameters")
    if items == ["params"] and not (folder / "_CHECKPOINT_METADATA").exists():
        return None  # of a folder that has lost its record
    return folder / items[0] if items else None


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.parent} has no model.json, expected a folder that save has written: convert again")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.pop("format")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not the record of a converted model, expected JSON: convert again") from error
    if version != FORMAT:
        raise ValueError(f"{path} is in format {version}, expected at most {FORMAT}: update jaxplain to read it")
    return record


def _write(path: Path, params: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, params)
    except ValueError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def _read(path: Path) -> dict[str, Any]:
    import jax
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        try:
            shapes = checkpointer.metadata(path).item_metadata.tree
            # Restored into numpy arrays: without a target Orbax would place them on devices as they were when saved.
            tree = checkpointer.restore(path, jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes))
        except Exception as error:  # Orbax and its storage each have their own
            raise ValueError(f"{path} cannot be read as Orbax's parameters: convert them again") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds a {type(tree).__name__}, expected a nested dict of parameters: save that")
    return tree
