"""torch's own files, read without torch and without running what they ask for.

Both formats pickle a state dict whose tensors are views (offset, sizes, strides) of storages, and keep the storages'
bytes outside the pickle: as uncompressed entries of a zip archive or, before torch 1.6, one after another behind it.
Unpickling therefore yields descriptions, which become arrays once they have been checked against the storages.

A pickle may ask for any function to be called. Here it gets stand-ins from this file alone, which it can neither change
nor make to do anything: of the few functions that a state dict needs they describe a tensor, and of all others (an
optimizer's or a scheduler's, a torch.device, an argparse.Namespace) they keep the name, which is refused where a weight
should be.
"""

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxplain.weights_convert._entries import BadFileError, Entries, decode, entries, holds, itemsize

OLD_MAGIC = b"\x8a\n" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
OLD_PROTOCOL = 1001
STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}


class Storage(NamedTuple):
    """`numel` values that lie in the file under `key`."""

    key: str
    dtype: str
    numel: int


class Tensor(NamedTuple):
    """A view of a storage, all in numbers of values."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Names(dict[Any, Any]):
    """Stands in for OrderedDict; a state dict's attributes (its `_metadata`) are left unread."""

    __slots__ = ()

    def __setstate__(self, state):
        pass


class _Inert:
    """Stands in for anything else that a file names: calling it or setting its state does nothing."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, *_, **__):  # a pickle calls this with an instance in place of the class
        return cls if isinstance(cls, _Inert) else super().__new__(cls)

    def __call__(self, *_, **__):
        return self

    def ignore(self, *_):
        pass

    __setstate__ = __setitem__ = append = extend = add = update = ignore


def _inert(kind):
    stand_in = _Inert()
    stand_in.kind = kind
    return stand_in


class _RebuildTensor(NamedTuple):
    def __call__(self, storage, offset, size, stride, *_):
        if isinstance(storage, _Inert):
            return storage
        whole = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= 64
        if not (isinstance(storage, Storage) and whole and all(map(_is_count, (offset, *size, *stride)))):
            raise BadFileError("describes a tensor by something other than a storage, an offset, sizes and strides")
        return Tensor(storage, offset, size, stride)


class _RebuildParameter(NamedTuple):
    def __call__(self, tensor, *_):
        return tensor


STAND_INS = STORAGES | {
    "collections.OrderedDict": _Names,
    "torch._utils._rebuild_tensor_v2": _RebuildTensor(),
    "torch._utils._rebuild_parameter": _RebuildParameter(),
}


# The interpreted unpickler: the compiled one allocates (and fills) a memo as long as the largest index in the file.
class _Unpickler(pickle._Unpickler):
    def __init__(self, stream):
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module, name):
        wanted = f"{module}.{name}"
        return STAND_INS[wanted] if wanted in STAND_INS else _inert(wanted)

    def persistent_load(self, pid):
        kind, dtype, *_ = pid
        if isinstance(dtype, _Inert):  # a whole module, or complex numbers
            return dtype
        _, _, key, _, numel, *view = pid
        known = kind == "storage" and dtype in STORAGES.values() and isinstance(key, str) and _is_count(numel)
        storage = Storage(key, dtype, numel)
        if not known or self.storages.setdefault(key, storage) != storage:
            raise BadFileError("describes a storage by something other than its type, its key and its length")
        if any(part is not None for part in view):
            raise BadFileError("stores views of storages as torch did before 0.4; load and save it with a newer torch")
        return storage


def _is_count(value) -> bool:
    return type(value) is int and value >= 0


def _unpickle(stream) -> tuple[Any, dict[str, Storage]]:
    reader = _Unpickler(stream)
    return reader.load(), reader.storages


def read_zip(path: Path, entry: str | None = None) -> Entries:
    """The entries of a file in torch's zip format, in its order; arrays are read-only views of the storages."""
    with zipfile.ZipFile(path) as archive:
        folder = _folder(archive, path.stat().st_size)
        tree, _ = _unpickle(io.BytesIO(archive.read(folder + "data.pkl")))
        found = entries(tree, _is_tensor, _kind, entry)
        needed = {tensor.storage.key: tensor.storage for tensor in found.tensors.values()}
        arrays = {key: _read_entry(archive, folder, storage) for key, storage in needed.items()}
    return _viewed(found, arrays)


def _folder(archive: zipfile.ZipFile, length: int) -> str:
    """The archive's one folder, after checking that reading its entries takes no more memory than the file's length."""
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    if not stored or sum(max(entry.file_size, entry.compress_size) for entry in archive.infolist()) > length:
        raise BadFileError("has compressed or overlapping entries, unlike what torch.save writes; save it with torch")
    folders = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise BadFileError(f"is a zip archive with {len(folders)} data.pkl, expected the 1 of torch.save")
    if folders[0] + "constants.pkl" in archive.namelist():
        raise BadFileError("is a TorchScript archive, expected a state dict: save the module's state_dict()")
    if folders[0] + "byteorder" in archive.namelist() and archive.read(folders[0] + "byteorder") != b"little":
        raise BadFileError("was written on a big-endian machine; load and save it with torch on a little-endian one")
    return folders[0]


def _read_entry(archive: zipfile.ZipFile, folder: str, storage: Storage) -> np.ndarray:
    data = archive.read(f"{folder}data/{storage.key}")
    _check_length(len(data), storage)
    return decode(data, storage.dtype)


def _check_length(length: int, storage: Storage) -> None:
    expected = storage.numel * itemsize(storage.dtype)
    if length != expected:
        raise BadFileError(
            f"is damaged or cut short: storage {storage.key[:80]!r} has {length} bytes, not {expected}; get it again"
        )


def read_old(path: Path, entry: str | None = None) -> Entries:
    """The entries of a file in torch's format before 1.6, in its order; arrays are read-only views of the storages."""
    data = path.read_bytes()
    stream = io.BytesIO(data)
    (_, _), (protocol, _), (system, _) = _unpickle(stream), _unpickle(stream), _unpickle(stream)
    if protocol != OLD_PROTOCOL or not system["little_endian"]:
        raise BadFileError("is not of protocol 1001 and little-endian; load and save it with a newer torch")
    tree, storages = _unpickle(stream)
    found = entries(tree, _is_tensor, _kind, entry)
    keys, _ = _unpickle(stream)
    if any(key not in storages for key in keys):  # of a kind, and so of a length, that is not known
        name, kind = next(iter(found.others.items()), ("", "storage of an unknown kind"))
        raise BadFileError(f"{holds(kind, name)}; save the module's state_dict() alone")
    arrays = _storages(memoryview(data)[stream.tell() :], [storages[key] for key in keys])
    return _viewed(found, arrays)


def _storages(data: memoryview, storages: list[Storage]) -> dict[str, np.ndarray]:
    arrays = {}
    for storage in storages:
        numel, end = int.from_bytes(data[:8], "little"), 8 + storage.numel * itemsize(storage.dtype)
        _check_length(len(data[8:end]) if numel == storage.numel else numel * itemsize(storage.dtype), storage)
        arrays[storage.key] = decode(data[8:end], storage.dtype)
        data = data[end:]
    return arrays


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _kind(value: Any) -> str:
    """What something is called in a message: never by the name of a stand-in."""
    if isinstance(value, _Inert):
        return value.kind
    return {_Names: "OrderedDict", Storage: "storage"}.get(type(value), type(value).__name__)


def _viewed(found: Entries, arrays: dict[str, np.ndarray]) -> Entries:
    views = {name: _view(name, tensor, arrays[tensor.storage.key]) for name, tensor in found.tensors.items()}
    return found._replace(tensors=views)


def _view(name: str, tensor: Tensor, values: np.ndarray) -> np.ndarray:
    count = math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    # More values than the storage has (an expanded tensor) would let a small file ask for any amount of memory.
    if count and (last >= len(values) or count > len(values)):
        raise BadFileError(
            f"describes {name[:80]!r} as sizes {tensor.size}, strides {tensor.stride} from {tensor.offset}, more than "
            f"its storage of {len(values)} values; save it with .contiguous()"
        )
    if not count:
        return np.zeros(tensor.size, values.dtype)
    strides = [step * values.itemsize if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides, writeable=False)
