"""What a live torch module says that its state dict does not: how it computes, and what it expects of images."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxplain.models._inception import BasicConv
from jaxplain.models._layers import Conv, Dense, GlobalMean, MaxPool, Relu
from jaxplain.models._spec import Spec

LARGEST = 1e-3  # difference of outputs, in units of the largest one: several times what float32 rounds
SIDE = 96  # pixels of the image that both are given: all networks take 75, and strides divide a multiple of 32
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CONTAINERS = {"DataParallel": "module", "DistributedDataParallel": "module", "AveragedModel": "module",
              "OptimizedModule": "_orig_mod"}  # fmt: skip


def preprocessing_of(module: Any) -> dict[str, Any]:
    """The preprocessing that a live module knows of, by the names of Spec's fields; {} where it knows none.

    timm's modules have a `pretrained_cfg`. torchvision's Inception maps ImageNet's normalisation to its own if it has
    `transform_input`, which is a mean and deviation of 0.5; without, ImageNet's normalisation itself is what it gets.
    """
    for part in getattr(module, "modules", tuple)():
        if isinstance(facts := getattr(part, "pretrained_cfg", None), dict) and "crop_pct" in facts:
            return timms_preprocessing(facts)
        if isinstance(transforms := getattr(part, "transform_input", None), bool):
            return {"mean": (0.5,) * 3, "std": (0.5,) * 3} if transforms else IMAGENET
    return {}


def timms_preprocessing(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing of timm's `pretrained_cfg`, by the names of Spec's fields; ValueError where it is none."""
    try:
        return _timm(facts)
    except (KeyError, TypeError, ArithmeticError, IndexError) as error:
        raise ValueError(f"The pretrained_cfg {str(facts)[:60]!r}... has no preprocessing as timm has it.") from error


def _timm(facts):
    side = facts["input_size"][-1]
    return {
        "input_size": side,
        "resize": math.floor(side / facts["crop_pct"]),  # as timm's own transform rounds
        "interpolation": facts["interpolation"],
        "mean": tuple(facts["mean"]),
        "std": tuple(facts["std"]),
    }


def check_same(module: Any, ours: nn.Module, params: dict[str, Any], spec: Spec) -> None:
    """Raises ValueError unless the module and our network with its parameters have the same outputs for one image.

    The module runs in float32 on the CPU and in evaluation mode, and is left as it was. Ours runs layer by layer, with
    torch's convolutions: nothing is compiled.
    """
    module, name = _bare(module), type(module).__name__
    pixels = np.random.default_rng(0).random((1, SIDE, SIDE, len(spec.mean)), np.float32)
    theirs = _outputs(module, (pixels - _channels(_mean(module, spec))) / _channels(_std(module, spec)), name)
    with nn.intercept_methods(_in_torch):
        own = ours.apply({"params": params}, jnp.asarray((pixels - _channels(spec.mean)) / _channels(spec.std)))
    own = np.asarray(own)
    if theirs.shape != own.shape:
        raise ValueError(
            f"The live {name} has outputs of shape {theirs.shape}, but {spec.name} {own.shape}; {_WAY_OUT}"
        )
    error = np.abs(theirs - own).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny)
    if not error <= LARGEST:
        raise ValueError(
            f"The live {name} has {spec.name}'s entries, but computes something else: for one image the outputs differ "
            f"by {error:.2g} of the largest, expected at most {LARGEST:g}; {_WAY_OUT}"
        )


_WAY_OUT = (
    "look for another activation, pooling, stride, dilation or epsilon, or for what stands before or after the "
    "network, and explain such a module as a network of your own."
)


def _channels(values):
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def _mean(module, spec):
    return IMAGENET["mean"] if _transforms(module) else spec.mean


def _std(module, spec):
    return IMAGENET["std"] if _transforms(module) else spec.std


def _transforms(module):
    return any(getattr(part, "transform_input", None) is True for part in module.modules())


def _bare(module):
    """The module without containers that only call it."""
    while type(module).__name__ in CONTAINERS:
        module = getattr(module, CONTAINERS[type(module).__name__])
    return module


def _outputs(module, X, name):
    """The module's outputs (1, n) for a batch (1, H, W, C)."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    plain = all(value.device.type == "cpu" and value.dtype in (torch.float32, torch.int64) for value in state.values())
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _evaluating(module):
        try:
            if plain:
                found = module(tensor)
            else:
                moved = {key: _on_cpu(value) for key, value in state.items()}
                found = torch.func.functional_call(module, moved, (tensor,))
        except Exception as error:  # the module is anybody's
            raise ValueError(
                f"The live {name} cannot be run on an image of {SIDE} x {SIDE} pixels, which shows whether it computes "
                f"what its entries say ({type(error).__name__}: {error}); give its state_dict() instead."
            ) from error
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"The live {name} returns a {type(found).__name__}, expected a tensor of logits; {_WAY_OUT}")
    return found.numpy()


def _on_cpu(value):
    value = value.detach().cpu()
    return value.float() if value.is_floating_point() else value


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _in_torch(call: Callable[..., Any], args: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
    """An interceptor of Linen: the layers that XLA would compile for a while, computed by torch."""
    layer = context.module
    if type(layer) not in _LAYERS:
        return call(*args, **options)
    return jnp.asarray(_LAYERS[type(layer)](layer, np.asarray(args[0])))


def _convolved(layer, x):
    return _convolution(x, layer.variables["params"], layer, layer.groups)


def _inceptions(layer, x):
    """A convolution and the ReLU, a plain function, after it."""
    return np.maximum(_convolution(x, layer.variables["params"]["bn"], layer, 1, _mean3 if layer.pooled else None), 0)


def _convolution(x, params, layer, groups, before_bias=None):
    import torch

    padding = layer.padding if isinstance(layer.padding, tuple) else ((layer.padding,) * 2,) * 2
    kernel = torch.from_numpy(np.ascontiguousarray(np.asarray(params["kernel"]).transpose(3, 2, 0, 1)))
    padded = _tensor(np.pad(x, ((0, 0), *padding, (0, 0))))
    y = torch.nn.functional.conv2d(padded, kernel, stride=layer.stride, groups=groups)
    return _array(y if before_bias is None else before_bias(y)) + np.asarray(params["bias"])


def _mean3(y):
    import torch

    return torch.nn.functional.avg_pool2d(y, 3, 1, 1)


def _mean_over_all(_, x):
    return x.mean((1, 2), keepdims=True)


def _pooled(layer, x):
    import torch

    return _array(torch.nn.functional.max_pool2d(_tensor(x), layer.size, layer.stride, layer.padding))


def _dense(layer, x):
    return x @ np.asarray(layer.get_variable("params", "kernel")) + layer.get_variable("params", "bias")


def _relu(layer, x):
    return np.clip(x, 0, layer.maximum)


_LAYERS = {
    Conv: _convolved,
    BasicConv: _inceptions,
    MaxPool: _pooled,
    Dense: _dense,
    Relu: _relu,
    GlobalMean: _mean_over_all,
}


def _tensor(x):
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _array(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)
