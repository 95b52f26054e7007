"""jaxplain convert: what it stores is what the library loads, from every kind of file; the rest is refused."""

import argparse
import collections
import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.torch
import torch
from mirror import publish
from PIL import Image

from jaxplain.models import available, load
from jaxplain.weights_convert import convert, restore, save, sha256

LITE = "efficientnet_lite0"
NAMES = ["cat", "käse", "a cow, grazing"]


@pytest.fixture(scope="module")
def entries():
    """The published state dict of EfficientNet-Lite0, with three outputs."""
    entries = {n: v.contiguous() for n, v in torch.load(available()[LITE], weights_only=True).items()}  # pyright: ignore[reportArgumentType] it is installed
    return entries | {name: entries[name][:3].clone() for name in ("_fc.weight", "_fc.bias")}


@pytest.fixture(scope="module")
def params(entries):
    return convert(entries, LITE)


@pytest.fixture
def file(entries, tmp_path):
    torch.save(entries, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def converted(run, file, *arguments):
    """The folder that the command has written, and what it printed."""
    out = file.parent / "out"
    status, printed, err = run("convert", file, "--model", LITE, "--out", out, *arguments)
    assert status == 0, err
    assert all(line.startswith("jaxplain: note: ") for line in err.splitlines())
    return out, printed


def assert_parameters(folder, params):
    jax.tree.map(np.testing.assert_array_equal, restore(folder)[0], params)


def save_new(entries, path):
    torch.save(entries, path)


def save_old(entries, path):
    torch.save(entries, path, _use_new_zipfile_serialization=False)


def save_safetensors(entries, path):
    safetensors.torch.save_file(entries, path)


@pytest.mark.parametrize("write", [save_new, save_old, save_safetensors])
def test_every_format_of_files(write, run, entries, params, tmp_path):
    write(entries, tmp_path / "mine.bin")
    out, printed = converted(run, tmp_path / "mine.bin")
    model = load(LITE, out)
    jax.tree.map(np.testing.assert_array_equal, model.parameters, params)
    assert model.weights[:2] == ("mine.bin", sha256(tmp_path / "mine.bin"))
    assert model.spec.categories == ("class 0", "class 1", "class 2")
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    for words in (
        f"{count:,} parameters",
        "3 classes: class 0",
        model.weights.sha256,
        f"written to {out}",
    ):
        assert words in printed
    assert printed.splitlines()[-1].endswith(f" --model {LITE} --weights {out}")


def test_class_names(run, file, params):
    names = file.with_name("names.txt")
    names.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(NAMES).encode() + b"\r\n\r\n")
    out, printed = converted(run, file, "--categories", names)
    assert restore(out)[1]["categories"] == NAMES
    assert ", ".join(NAMES) in printed
    assert run("convert", out, "--model", LITE, "--out", file.with_name("again")).status == 0
    assert_parameters(file.with_name("again"), params)
    assert restore(file.with_name("again"))[1] == restore(out)[1]


def test_preprocessing_is_a_published_sets(run, file, entries, monkeypatch):
    publish(monkeypatch, b"other weights", None)
    out, _ = converted(run, file)
    assert restore(out)[1]["preprocessing"]["resize"] == 256
    shutil.rmtree(out)
    converted(run, file, "--preprocessing", "IMAGENET1K_V2")
    assert restore(out)[1]["preprocessing"]["resize"] == 232
    result = run("convert", file, "--model", LITE, "--out", file.with_name("no"), "--preprocessing", "V3")
    assert_refused(result, "no published weights 'V3'", "IMAGENET1K, IMAGENET1K_V2")


def test_preprocessing_is_recognised_by_the_hash(run, file, monkeypatch):
    publish(monkeypatch, file.read_bytes(), None)
    assert restore(converted(run, file)[0])[1]["preprocessing"]["resize"] == 232


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_folders_that_orbax_alone_has_written(wrapped, run, params, tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", {"params": params, "step": 3} if wrapped else params)
    out, printed = converted(run, tmp_path / "orbax")
    assert_parameters(out, params)
    source, digest, (note,) = load(LITE, out).weights
    assert (source, digest) == ("orbax", None)
    assert "the preprocessing is a guess" in note
    image = tmp_path / "photo.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(image)
    explained = run("explain", image, "--model", LITE, "--weights", tmp_path / "orbax", "--method", "random")
    assert "the preprocessing is a guess" in explained.err
    again = run("explain", image, "--model", LITE, "--weights", out, "--method", "random")
    assert "guess" not in again.err  # convert has said it
    assert "sha256 unknown" in printed


def prefixed(prefix):
    return lambda entries: {prefix + name: value for name, value in entries.items()}


GOOD = {
    "DataParallel": prefixed("module."),
    "torch.compile": prefixed("module._orig_mod."),
    "Lightning": lambda entries: {"epoch": 3, "state_dict": prefixed("model.backbone.")(entries)},
    "a net": lambda entries: {"net": entries, "acc": 93.0, "epoch": 3},
    "Lightning with a criterion and metrics": lambda entries: {
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {
            **prefixed("model.")(entries),
            "criterion.weight": torch.ones(3),
            "accuracy.tp": torch.zeros(3).long(),
        },
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.3)}},
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "lr_schedulers": [{"milestones": collections.Counter({3: 1})}],
    },
    "AveragedModel": lambda entries: {"model": {**prefixed("module.")(entries), "n_averaged": torch.tensor(3)}},
    "an optimizer beside": lambda entries: {"optimizer": {"lr": 0.1}, **entries},
    "a classifier in a Sequential": lambda entries: {n.replace("_fc.", "_fc.1."): v for n, v in entries.items()},
    "without counters": lambda entries: {n: v for n, v in entries.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("change", GOOD.values(), ids=GOOD)
def test_unambiguous_variants_are_taken(change, run, entries, params, tmp_path):
    torch.save(change(entries), tmp_path / "mine.pth")
    assert_parameters(converted(run, tmp_path / "mine.pth")[0], params)


def test_a_classifier_without_bias_has_a_bias_of_zero(run, entries, params, tmp_path):
    torch.save({n: v for n, v in entries.items() if n != "_fc.bias"}, tmp_path / "mine.pth")
    expected = params | {"_fc": params["_fc"] | {"bias": np.zeros(3, np.float32)}}
    assert_parameters(converted(run, tmp_path / "mine.pth")[0], expected)


def test_what_was_chosen_is_told_and_recorded(run, entries, params, tmp_path):
    other = {n: v + 1 if v.is_floating_point() else v for n, v in entries.items()}
    torch.save({"state_dict": {**other, "epoch": 3}, "state_dict_ema": entries}, tmp_path / "mine.pth")
    result = run("convert", tmp_path / "mine.pth", "--model", LITE, "--out", tmp_path / "a")
    notes = restore(tmp_path / "a")[1]["notes"]
    assert [line.removeprefix("jaxplain: note: ") for line in result.err.splitlines()] == notes
    assert notes[:2] == [
        "state_dict is taken; state_dict_ema beside it has weights too, and --entry (entry=) chooses",
        "left out: epoch",
    ]
    assert notes[2].startswith("the preprocessing is a guess, that of efficientnet_lite0's first published weights")
    out, printed = converted(run, tmp_path / "mine.pth", "--entry", "state_dict_ema", "--resize", 240)
    assert_parameters(out, params)
    assert "resize 240, interpolation bilinear" in printed
    assert "resize" not in restore(out)[1]["notes"][1]
    assert load(LITE, out).weights.notes == tuple(restore(out)[1]["notes"])
    result = run("convert", tmp_path / "mine.pth", "--model", LITE, "--out", tmp_path / "b", "--entry", "ema")
    assert_refused(result, "has no entry 'ema'", "state_dict, state_dict_ema")


TIMM = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.25] * 3}
OURS = {"input_size": 224, "resize": 235, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.25] * 3}
VALUES = ["--input-size", 224, "--resize", 235, "--interpolation", "bicubic"]
VALUES += ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"]


@pytest.mark.parametrize("given", [VALUES, OURS, {"pretrained_cfg": TIMM}], ids=["options", "JSON", "timm"])
def test_preprocessing_of_ones_own(given, run, file):
    arguments = given
    if isinstance(given, dict):
        file.with_name("own.json").write_text(json.dumps(given))
        arguments = ["--preprocessing", file.with_name("own.json")]
    out, _ = converted(run, file, *arguments)
    assert restore(out)[1]["preprocessing"] == OURS
    assert restore(out)[1]["notes"] == []
    assert load(LITE, out).levels("sample:coffee").shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--std", "1,one,1"], "Invalid value for '--std': Value error, could not convert string to float: 'one'"),
        (["--mean", "0.5"], "What is given has the preprocessing mean = (0.5,), which cannot be"),
        (["--std", "1e-300,1,1"], "What is given has the preprocessing std = (1e-300, 1.0, 1.0), which cannot be"),
        (["--resize", 200], "resize = 200, less than input_size = 224"),
        (["--interpolation", "cubic"], "interpolation = 'cubic', which cannot be"),
        (["--resize", 300, "--preprocessing", "IMAGENET1K"], "--preprocessing says all of it"),
        (["--preprocessing", "no.json"], "no.json cannot be read (No such file or directory)"),
    ],
)
def test_preprocessing_that_cannot_be(arguments, words, run, file):
    assert_refused(run("convert", file, "--model", LITE, "--out", file.with_name("out"), *arguments), words)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_taken(dtype, run, entries, tmp_path):
    halves = {n: v.to(getattr(torch, dtype)) if v.is_floating_point() else v for n, v in entries.items()}
    torch.save(halves, tmp_path / "half.pth")
    floats = {n: v.float() if v.is_floating_point() else v for n, v in halves.items()}
    assert_parameters(converted(run, tmp_path / "half.pth")[0], convert(floats, LITE))


class Changed:
    """A state dict with one entry changed, left out or renamed."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def __call__(self, entries):
        entries = dict(entries)
        value = entries.pop(self.name)
        return entries | self.change(self.name, value)


def filled(number):
    def change(name, value):
        value = value.clone()
        value.view(-1)[1] = number
        return {name: value}

    return change


BAD = {
    "NaN": (Changed("_fc.weight", filled(torch.nan)), "not finite (1): _fc.weight has NaN"),
    "inf": (Changed("_bn0.running_var", filled(torch.inf)), "not finite (1): _bn0.running_var has inf"),
    "negative variance": (Changed("_bn0.running_var", filled(-1.0)), "not finite (1): _bn0"),
    "missing": (Changed("_bn0.bias", lambda name, value: {}), "missing (1): _bn0.bias for _bn0/bias"),
    "extra": (lambda entries: entries | {"more": torch.ones(2)}, "unexpected (1): more"),
    "renamed": (
        Changed("_fc.bias", lambda name, value: {"fc.bias": value}),
        "entries match, expected 247; unexpected (1): fc.bias",
    ),
    "wrong shape": (
        Changed("_conv_stem.weight", lambda name, value: {name: value[..., :2]}),
        "wrong shape (1): _conv_stem.weight for _bn0/kernel: given (32, 3, 3, 2), expected (32, 3, 3, 3)",
    ),
    "integers": (Changed("_fc.bias", lambda name, value: {name: value.char()}), "no floats (1): _fc.bias has int8"),
    "two dense layers": (
        Changed("_fc.weight", lambda name, value: {"_fc.0.weight": value, "_fc.2.weight": value[:, :3]}),
        "missing (1): _fc.weight for _fc/kernel; unexpected (2): _fc.0.weight, _fc.2.weight",
    ),
    "no weight but a dict": (
        Changed("_fc.bias", lambda name, value: {name: {"lr": 0.1}}),
        "holds a dict named '_fc.bias', not a tensor",
    ),
    "no entries": (lambda entries: {}, "holds no entries"),
    "a whole module": (lambda entries: torch.nn.Linear(2, 2), "save the module's state_dict()"),
}


def assert_refused(result, *words):
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("jaxplain: ")
    assert result.err.count("\n") == 1
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_bad_weights_are_told_in_one_sentence(change, words, run, entries, tmp_path):
    torch.save(change(entries), tmp_path / "bad.pth")
    result = run("convert", tmp_path / "bad.pth", "--model", LITE, "--out", tmp_path / "out")
    assert_refused(result, str(tmp_path / "bad.pth"), words)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_cut_short_and_absent(run, file):
    file.write_bytes(file.read_bytes()[:100_000])
    out = "--model", LITE, "--out", file.with_name("out")
    assert_refused(run("convert", file, *out), "mine.pth is damaged or cut short")
    assert_refused(run("convert", file.with_name("absent.pth"), *out), "no file", "absent.pth", ".safetensors")
    assert_refused(run("convert", "/dev/zero", *out), "no file /dev/zero")
    assert [path.name for path in file.parent.iterdir()] == ["mine.pth"]


def stored(params, folder, **changes):
    record = {"architecture": LITE, "sha256": None} | changes
    save(folder, params, record)
    return folder


def test_bad_folders(run, params, tmp_path):
    out = "--model", LITE, "--out", tmp_path / "out"
    another = stored({"fc": {"bias": np.ones(3, np.float32)}}, tmp_path / "another", architecture="resnet50")
    assert_refused(run("convert", another, *out), "holds weights of 'resnet50'", f"{LITE} was asked for")
    newer = stored(params, tmp_path / "newer")
    (newer / "model.json").write_text(json.dumps({"format": 2}))
    assert_refused(run("convert", newer, *out), "in format 2", "update jaxplain")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", {"fc": {"bias": np.ones(3, np.float32)}})
        checkpointer.save(tmp_path / "list", [np.ones(3, np.float32)])
    assert_refused(run("convert", tmp_path / "orbax", *out), f"orbax does not fit {LITE}", "is missing, expected")
    assert_refused(run("convert", tmp_path / "list", *out), "holds a list, expected a nested dict")
    (tmp_path / "empty").mkdir()
    assert_refused(run("convert", tmp_path / "empty", *out), "has no model.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\ndog\n", ("2 categories", "3 outputs", "name each")),
        (b"cat\n\ncow\n", ("no class name in line 2",)),
        (b"cat\ndog\x1b[2J\ncow\n", ("no class name in line 2", r"dog\x1b[2J")),
        (b"", ("no class name in line 1",)),
        (b"k\xe4se\n", ("no text in UTF-8",)),
        (b"cat\n" * 300_000, ("more than 1,048,576 bytes",)),
        (None, ("no file", "names.txt")),
    ],
    ids=["too few", "empty line", "escape sequence", "empty", "Latin-1", "large", "absent"],
)
def test_bad_class_names(content, words, run, file):
    names = file.with_name("names.txt")
    if content is not None:
        names.write_bytes(content)
    result = run("convert", file, "--model", LITE, "--out", file.with_name("out"), "--categories", names)
    assert_refused(result, *words)
    assert not file.with_name("out").exists()


def test_places(run, file):
    full = file.with_name("full")
    full.mkdir()
    (full / "mine").touch()
    arguments = "convert", file, "--model", LITE, "--out"
    assert_refused(run(*arguments, full), "full exists already", "new or empty folder")
    assert_refused(run(*arguments, file / "below"), "below cannot be written to", "--out")
    assert [path.name for path in full.iterdir()] == ["mine"]
    (file.parent / "empty folder").mkdir()
    printed = run(*arguments, file.parent / "empty folder").out
    assert printed.splitlines()[-1].endswith(f"--weights '{file.parent / 'empty folder'}'")
