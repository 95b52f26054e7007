"""Weights of torch networks as parameters of ours, and their store.

A source is the path of a .pth or .pt file (both of torch's formats) or of a .safetensors file, a live torch module, or
a mapping of names to arrays. Files are read without executing anything in them, and without torch.

Parameters are nested dicts of float32 numpy arrays, one scope a layer, by torchvision's module names. Kernels of
convolutions are HWIO (a depthwise one is (h, w, 1, C)), of dense layers (in, out). BatchNorm is folded, in float64: a
convolution and its BatchNorm are one scope with a kernel and a bias, under the BatchNorm's name.
"""

from jaxplain.weights_convert._convert import Converted, convert, converted, parameter_shapes, stem
from jaxplain.weights_convert._drafts import draft, remove_drafts, sweep, undivided
from jaxplain.weights_convert._fetch import cache_folder, fetch, fetched
from jaxplain.weights_convert._published import Published, find_network, find_set, imagenet, published
from jaxplain.weights_convert._state_dict import read_state_dict
from jaxplain.weights_convert._store import restore, save, sha256, vacant
from jaxplain.weights_convert._text import few

__all__ = [
    "Converted",
    "Published",
    "cache_folder",
    "convert",
    "converted",
    "draft",
    "fetch",
    "fetched",
    "few",
    "find_network",
    "find_set",
    "imagenet",
    "parameter_shapes",
    "published",
    "read_state_dict",
    "remove_drafts",
    "restore",
    "save",
    "sha256",
    "stem",
    "sweep",
    "undivided",
    "vacant",
]
