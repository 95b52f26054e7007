"""Tables of labels: what they say, and what is no table of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxplain.models import Spec, read_labels, sigmoid_cross_entropy
from jaxplain.models import _labels as module
from jaxplain.models._finetune import split_labels

SPEC = Spec("small", 8, 8, (0.0,) * 3, (1.0,) * 3)  # pyright: ignore[reportArgumentType]
FILES = ("a.png", "b/c.png", "d.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for level, name in enumerate(FILES):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (50 * level,) * 3).save(folder / name)
    (folder / "no.png").write_text("no image")
    return folder


def table(folder, text):
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "file,cat,out doors\na.png,1,0\nb/c.png,1,1\nd.png,0,0\n",
        "\ufeffimage, cat ,out doors\r\na.png, 1,0\r\n\r\nb/c.png,1,1\r\nd.png,0,0",
        'file,labels\na.png,cat\n"b/c.png","out doors; cat"\nd.png,\n',
    ],
)
def test_tables(folder, text):
    found = read_labels(table(folder, text), folder, SPEC)
    assert found.categories == ("cat", "out doors")
    assert found.labels.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert [str(path.relative_to(folder)) for path in found.files] == [*FILES]
    assert found.images[:, 0, 0, 0].tolist() == [0, 50, 100]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff\xfe\x00", "is no CSV in UTF-8"),
        ('file,cat\n"a.png,1\n', "is no CSV in UTF-8"),
        ("", "has no names of labels or no images"),
        ("file,cat\n", "has no names of labels or no images"),
        ("file\na.png\n", "has no names of labels"),
        ("file,cat\na.png,1,0\n", "has 3 cells in line 2, expected 2"),
        ("file,cat\na.png,yes\n", "has 'yes' in line 2, expected 0 or 1"),
        ("file,cat\na.png,0.5\n", "has '0.5' in line 2"),
        ("file,cat\na.png,1\na.png,0\n", "names .*a.png twice"),
        ("file,cat,cat\na.png,1,0\n", "has the label 'cat', expected a name that is there once"),
        ("file,cat,\na.png,1,0\n", "has the label '', expected a name"),
        ("file,c\x1bat,dog\na.png,1,0\n", r"has the label 'c\\x1bat'"),
        ("file,labels\na.png,\n", "has 0 labels, expected 1 to 10,000"),
        ("file,cat\nx.png,1\n", "has 'x.png' in line 2, which is no file in"),
        ("file,cat\n../images/a.png,1\n", "which is no file in"),
        ("file,cat\n/etc/hostname,1\n", "which is no file in"),
        ("file,cat\nb,1\n", "which is no file in"),
        ("file,cat\na\0.png,1\n", "in line 2, which is no file in|is no CSV in UTF-8"),
        ("file,cat\n" + 100 * "\u202e" + ",1\n", r"has '(\\u202e)+' in line 2, which is no file in"),
        ("file,cat\na.png,1\nno.png,1\n", "1 of 2 files cannot be used as images"),
        ("file," + ",".join(map(str, range(10_001))) + "\na.png" + 10_001 * ",1", "has 10,001 labels"),
        ("file,cat\na.png," + 200_000 * "1", "is no CSV in UTF-8"),
    ],
)
def test_what_is_no_table_of_labels(folder, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        read_labels(table(folder, text), folder, SPEC)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_or_too_large(folder, monkeypatch):
    with pytest.raises(ValueError, match="There is no file"):
        read_labels(folder / "nix.csv", folder, SPEC)
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(ValueError, match="has more than 10 bytes"):
        read_labels(table(folder, "file,cat\na.png,1\n"), folder, SPEC)


def test_a_share_of_each_label_is_held_out():
    labels = np.zeros((60, 3), int)
    labels[:40, 0] = labels[30:50, 1] = labels[[3, 33, 45], 2] = 1
    training, held_out = split_labels(labels, 0.25, key=jax.random.key(0))
    assert sorted([*training, *held_out]) == list(range(60))
    assert labels[held_out].sum(0)[1:].tolist() == [5, 1]
    assert 8 <= labels[held_out, 0].sum() <= 12
    assert 13 <= len(held_out) <= 17
    again = split_labels(labels, 0.25, key=jax.random.key(0))
    assert again[1].tolist() == held_out.tolist()


def test_the_loss_of_labels_by_hand():
    logits = np.array([[-8.44, 2.0], [20.0, -20.0], [0.0, 1.0]], np.float32)
    labels, weights = np.array([[1, 1], [1, 0], [0, 0]]), np.array([1.0, 2.0, 0.0], np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    losses = -np.where(labels == 1, np.log(p), np.log1p(-p)).mean(1)
    found = sigmoid_cross_entropy(jnp.asarray(logits), labels, weights)
    np.testing.assert_allclose(found, [3, losses[0] + 2 * losses[1], 0.5 + 2 * 1], rtol=1e-5)
