"""State dicts from wherever they are: torch's files in both formats, .safetensors, a live module, a mapping.

Nothing in a file is ever executed, and neither torch nor safetensors is needed to read one. A file is hostile until
checked: whatever is wrong with its content is a ValueError that begins with its path.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxplain.weights_convert._entries import BadFileError, Entries, entries, holds
from jaxplain.weights_convert._safetensors_file import read_safetensors
from jaxplain.weights_convert._torch_file import OLD_MAGIC, read_old, read_zip


def read_state_dict(source: Any, entry: str | None = None) -> dict[str, np.ndarray]:
    """{name: array} in the source's own order, names without DataParallel's `module.`, bfloat16 as float32.

    `source` is the path of a .pth, .pt or .safetensors file, a torch module, or a mapping of names to arrays or
    tensors; in a training checkpoint the state dict is found under "state_dict", "model_state_dict", "model"
    or "net", or under the `entry` that is named. ValueError where an entry of it is no tensor.
    """
    found = read_entries(source, entry)
    for name, kind in found.others.items():
        raise ValueError(f"{named(source)} {holds(kind, name)}, not a tensor: save the module's state_dict()")
    return found.tensors


def read_entries(source: Any, entry: str | None = None) -> Entries:
    """The same, with what is no tensor beside them, and notes on what was chosen."""
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source), entry)
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    try:
        found = entries(source, _is_array, lambda value: type(value).__name__, entry)
        return found._replace(tensors={name: _array(name, value) for name, value in found.tensors.items()})
    except BadFileError as error:
        raise ValueError(f"the source {error}") from error


def named(source: Any) -> str:
    """A source in a message: its path, or what it is."""
    return str(source) if isinstance(source, str | os.PathLike) else f"the {type(source).__name__}"


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _read_file(path: Path, entry: str | None) -> Entries:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a .pth or .safetensors file; restore reads converted folders")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; expected a .pth, .pt or .safetensors file")
    try:
        return _reader(path)(path, entry)
    except BadFileError as error:
        raise ValueError(f"{path} {error}") from error
    except PermissionError as error:
        raise ValueError(f"{path} may not be read by this user; change its permissions") from error
    except Exception as error:  # a damaged pickle, zip or header can end in any of them
        raise ValueError(f"{path} is damaged or cut short ({type(error).__name__}: {error}); get it again") from error


def _reader(path: Path):
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK\x03\x04"):
        return read_zip
    if OLD_MAGIC in head:
        return read_old
    if head[8:9] == b"{":
        return read_safetensors
    what = "is not a checkpoint" if head else "is empty"
    raise BadFileError(f"{what}: expected a file by torch.save or safetensors; get the file again or name another one")


def _array(name: str, value: Any) -> np.ndarray:
    """A copy, so that training a live module further does not change what was read."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    array = np.array(value)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise BadFileError(f"holds a {type(value).__name__} named {name!r}, expected arrays: pass a state dict")
    return array
