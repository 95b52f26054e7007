import _thread
import errno
import hashlib
import json
import os
import shutil
import signal
import time

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxplain.weights_convert import _store as module
from jaxplain.weights_convert import restore, save, sha256

RECORD = {"architecture": "resnet50", "sha256": "0" * 64, "categories": ["cat", "d\u00f6g"], "mean": [0.5, 0.25, 0.1]}


@pytest.fixture
def params():
    random = np.random.default_rng(0)
    return {
        "layer1": {"0": {"bn1": {"kernel": random.normal(size=(3, 3, 2, 4)).astype(np.float32)}}},
        "fc": {"kernel": random.normal(size=(4, 3)).astype(np.float32), "bias": np.zeros(3, np.float32)},
    }


def test_what_is_restored_is_what_was_saved(params, tmp_path):
    save(tmp_path / "new" / "model", params, RECORD)
    restored, record = restore(tmp_path / "new" / "model")
    assert record == RECORD
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), restored, params)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(restored))
    assert os.listdir(tmp_path / "new") == ["model"]


def test_relative_paths_and_arrays_of_jax(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("model", jax.tree.map(jax.numpy.asarray, params), RECORD)
    jax.tree.map(np.testing.assert_array_equal, restore("model")[0], params)


def test_an_empty_folder_is_filled_and_a_full_one_is_kept(params, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save(folder, params, RECORD)
    with pytest.raises(ValueError, match="exists already"):
        save(folder, params, {})
    assert restore(folder)[1] == RECORD


def test_a_file_is_not_replaced(params, tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        save(tmp_path / "model", params, RECORD)


def times(factor, params):
    return jax.tree.map(lambda a: a * factor, params)


@pytest.mark.parametrize("inside", ["", "9", "10", "10/default"])
def test_a_managers_folder_its_steps_and_their_item_are_read(inside, params, tmp_path):
    """Of a training's state the parameters; of several steps the last, as a number."""
    adam = optax.adam(1e-3).init(params)
    with ocp.CheckpointManager(tmp_path) as manager:
        for step in (9, 10):
            state = {"params": times(step, params), "opt_state": adam, "step": step}
            manager.save(step, args=ocp.args.StandardSave(state))
    found, record = restore(tmp_path / inside)
    step = 9 if inside == "9" else 10
    jax.tree.map(np.testing.assert_array_equal, found, times(step, params))
    taken = {"": ["10/default is taken"], "9": ["default is taken"], "10": ["default is taken"], "10/default": []}
    assert record == {"notes": taken[inside]}


def test_of_several_items_one_has_to_be_named(params, tmp_path):
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(3, args=ocp.args.Composite(ema=ocp.args.StandardSave(params), net=ocp.args.StandardSave(params)))
    with pytest.raises(ValueError, match="3 has the items ema, net: give the folder of the one"):
        restore(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, restore(tmp_path / "3" / "net")[0], params)


@pytest.mark.parametrize("step", ["_write", "os.replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_nothing(step, error, params, tmp_path, monkeypatch):
    def interrupted(*_):
        raise error("no space")

    monkeypatch.setattr(f"{module.__name__}.{step}", interrupted)
    with pytest.raises(error):
        save(tmp_path / "model", params, RECORD)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_told_before_anything_is_written(params, tmp_path, monkeypatch, capfd):
    """The disk's free space is made up; on a file system of 1 MB it is the same."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - size, size))  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match=r"No space left on device: 0.0 MB free, 0.0 MB needed"):
        save(tmp_path / "model", params, RECORD)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    save(tmp_path / "model", params, RECORD)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing is reserved on this system")
def test_a_quota_is_told_before_anything_is_written(params, tmp_path, monkeypatch, capfd):
    def refused(descriptor, offset, size):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    number = errno.EDQUOT
    with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
        save(tmp_path / "model", params, RECORD)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().err == ""
    number = errno.EOPNOTSUPP  # a file system that cannot tell
    save(tmp_path / "model", params, RECORD)


def test_what_is_undisturbed_ends_before_an_interruption_is_told():
    ended = []

    def interrupted():
        time.sleep(0.5)  # until it is waited for
        _thread.interrupt_main()
        time.sleep(0.5)
        ended.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            module.undisturbed(interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]
    assert module.undisturbed(max, 3, 4) == 4
    with pytest.raises(ZeroDivisionError):
        module.undisturbed(divmod, 3, 0)


def test_a_record_that_is_not_json_leaves_nothing(params, tmp_path):
    with pytest.raises(TypeError):
        save(tmp_path / "model", params, {"net": object()})
    assert os.listdir(tmp_path) == []


def test_a_newer_format_asks_for_an_update(params, tmp_path):
    save(tmp_path / "model", params, RECORD)
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": module.FORMAT + 1}))
    with pytest.raises(ValueError, match=r"format 2, expected at most 1: update jaxplain"):
        restore(tmp_path / "model")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '"a"', "\xff"])
def test_broken_records_are_refused(text, params, tmp_path):
    save(tmp_path / "model", params, RECORD)
    (tmp_path / "model" / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"model.json is not the record"):
        restore(tmp_path / "model")


def test_missing_parts_are_named(params, tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(ValueError, match="is not a folder"):
        restore(folder)
    save(folder, params, RECORD)
    shutil.rmtree(folder / "params")
    with pytest.raises(ValueError, match="has no folder params"):
        restore(folder)
    (folder / "params").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        restore(folder)
    (folder / "model.json").unlink()
    with pytest.raises(ValueError, match=r"has no model.json"):
        restore(folder)
    save(tmp_path / "whole", params, RECORD)
    (tmp_path / "whole" / "model.json").unlink()
    with pytest.raises(ValueError, match=r"has no model.json"):
        restore(tmp_path / "whole")


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
