"""Class names: torchvision's list, and finding a class without ever guessing between two."""

import numpy as np
import pytest
from torchvision.models import Inception_V3_Weights, ResNet50_Weights, VGG16_Weights

from jaxplain.models._categories import find_class
from jaxplain.weights_convert import imagenet


def message(name_or_index, categories):
    with pytest.raises(ValueError, match=r"^[A-Z][^\n]+\.$") as caught:
        find_class(name_or_index, categories)
    assert ". " not in str(caught.value)
    return str(caught.value)


def test_message_fails_where_nothing_is_refused():
    with pytest.raises(pytest.fail.Exception):
        message("goldfish", imagenet())


@pytest.mark.parametrize("weights", [ResNet50_Weights, VGG16_Weights, Inception_V3_Weights])
def test_imagenet_is_torchvisions_list(weights):
    assert list(imagenet()) == weights.IMAGENET1K_V1.meta["categories"]
    assert len(imagenet()) == 1000


def test_every_name_and_index_finds_its_class():
    assert [find_class(name, imagenet()) for name in imagenet()] == list(range(1000))
    assert [find_class(index, imagenet()) for index in range(1000)] == list(range(1000))
    assert [find_class(str(index), imagenet()) for index in range(0, 1000, 50)] == list(range(0, 1000, 50))


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ("EGYPTIAN CAT", 285),
        ("egyptian_cat", 285),
        ("egyptian-cat", 285),
        (" Egyptian  cat ", 285),
        ("egyptian", 285),
        ("great white", 2),
        ("jack-o'-lantern", 607),
        ("jack o lantern", 607),
        ("wire haired fox terrier", 188),
        ("crane", 517),
        ("Crane Bird", 134),
        ("maillot", 638),
        ("Cardigan", 264),
        ("cardigan", 474),
        (" 285 ", 285),
        (np.int64(285), 285),
    ],
)
def test_find(given, index):
    assert find_class(given, imagenet()) == index


def test_ambiguous_parts_list_the_candidates():
    said = message("cat", imagenet())
    for candidate in ("tiger cat (282)", "Egyptian cat (285)", "Madagascar cat (383)"):
        assert candidate in said
    assert said.startswith("The class 'cat' is ambiguous")
    assert said.endswith("give the index.")
    assert "catamaran" not in said


def test_names_that_differ_only_in_case_are_ambiguous():
    said = message("CARDIGAN", imagenet())
    assert "Cardigan (264), cardigan (474)" in said


def test_names_that_occur_twice_are_ambiguous():
    said = message("crane", ("crane", "ship", "crane", "crane fly"))
    assert "crane (0), crane (2); give the index." in said


def test_unknown_names_say_the_nearest():
    said = message("tabbi cat", imagenet())
    assert "no class 'tabbi cat'" in said
    assert said.count("(") == 3
    assert "tabby" in message("tabbi", imagenet())


@pytest.mark.parametrize("name", ["", " ", "_", "egypt", "gyptian cat"])
def test_only_whole_words_count(name):
    assert "nearest are" in message(name, imagenet())


@pytest.mark.parametrize("index", [1000, -1, "1000", "-1", np.int32(-7)])
def test_indices_out_of_range(index):
    assert "0 to 999" in message(index, imagenet())


@pytest.mark.parametrize("wrong", [1.5, None, ("cat",)])
def test_neither_name_nor_index(wrong):
    assert "expected a name or an integer" in message(wrong, imagenet())


def test_without_categories():
    assert find_class(5, ()) == find_class("5", ()) == 5
    assert "give an index" in message("cat", ())
    assert "0 or more" in message(-1, ())


def test_names_made_of_digits_come_before_indices():
    assert find_class("7", ("3", "5", "7")) == 2
    assert find_class(1, ("3", "5", "7")) == find_class("1", ("3", "5", "7")) == 1
