"""Networks as Flax modules, with their weights and the preprocessing that belongs to them.

model = load("efficientnet_lite0")
model.net(model.prepare("cat.jpg"))          # logits (1000,)
"""

from jaxplain.models._categories import Asked, find_class, find_target
from jaxplain.models._efficientnet_lite import efficientnet_lite0
from jaxplain.models._finetune import Examples, Recipe, Tuned, checked_recipe, finetune, read_folder
from jaxplain.models._inception import inception_v3
from jaxplain.models._labels import read_labels
from jaxplain.models._layers import Conv, Dense, GlobalMean, MaxPool, Relu
from jaxplain.models._live import timms_preprocessing
from jaxplain.models._load import (
    GUESS,
    available,
    checked_preprocessing,
    guess,
    load,
    on_this_machine,
    outline,
    published_set,
    sound,
    way_to,
)
from jaxplain.models._model import PREPROCESSING_FIELDS, Model, Prediction, Weights
from jaxplain.models._notes import Note, Notes, announce, notes_of
from jaxplain.models._outputs import output_kind, probabilities, probability, probable
from jaxplain.models._pipeline import Batch, Failed, batches, decoded, normalised
from jaxplain.models._preprocess import Levels, fitted, levels, open_image, read_image, sample, samples, seen
from jaxplain.models._registry import Architecture, architecture
from jaxplain.models._resnet import resnet50
from jaxplain.models._spec import Spec
from jaxplain.models._training import Track, Trained, cross_entropy, sigmoid_cross_entropy, train, untracked
from jaxplain.models._vgg import vgg16

__all__ = [
    "GUESS",
    "PREPROCESSING_FIELDS",
    "Architecture",
    "Asked",
    "Batch",
    "Conv",
    "Dense",
    "Examples",
    "Failed",
    "GlobalMean",
    "Levels",
    "MaxPool",
    "Model",
    "Note",
    "Notes",
    "Prediction",
    "Recipe",
    "Relu",
    "Spec",
    "Track",
    "Trained",
    "Tuned",
    "Weights",
    "announce",
    "architecture",
    "available",
    "batches",
    "checked_preprocessing",
    "checked_recipe",
    "cross_entropy",
    "decoded",
    "efficientnet_lite0",
    "find_class",
    "find_target",
    "finetune",
    "fitted",
    "guess",
    "inception_v3",
    "levels",
    "load",
    "normalised",
    "notes_of",
    "on_this_machine",
    "open_image",
    "outline",
    "output_kind",
    "probabilities",
    "probability",
    "probable",
    "published_set",
    "read_folder",
    "read_image",
    "read_labels",
    "resnet50",
    "sample",
    "samples",
    "seen",
    "sigmoid_cross_entropy",
    "sound",
    "timms_preprocessing",
    "train",
    "untracked",
    "vgg16",
    "way_to",
]
