"""Concepts fitted to activations and to images, what they are compared with, and their files. On the host."""

from jaxplain.concepts._activations import LayerActivations
from jaxplain.concepts._files import read, save
from jaxplain.concepts._fitting import Activations, emblems, fit_concept, fit_concepts, pooled, rank_median
from jaxplain.concepts._images import Fitted, check_model, fingerprint, fit_images
from jaxplain.concepts._nulls import linear_direction, null_concepts
from jaxplain.concepts._textures import NAMES, PHOTOGRAPHS, draw, photograph, random_crops, write

__all__ = [
    "NAMES",
    "PHOTOGRAPHS",
    "Activations",
    "Fitted",
    "LayerActivations",
    "check_model",
    "draw",
    "emblems",
    "fingerprint",
    "fit_concept",
    "fit_concepts",
    "fit_images",
    "linear_direction",
    "null_concepts",
    "photograph",
    "pooled",
    "random_crops",
    "rank_median",
    "read",
    "save",
    "write",
]
