"""Networks of torch beside ours with the same weights, and what torch computes at each of our sites."""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from compare import assert_close
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from jaxplain.models import available, load
from jaxplain.net import Net, run

Relus = dict[str, jax.Array]
Explain = Callable[[Net, Any, Any], Any]
Points = Callable[[Net, Any], jax.Array]

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
# torchvision's networks, and how each is made without initialising what is drawn here anyway
NETWORKS = {"resnet50": {}, "vgg16": {"init_weights": False}, "inception_v3": {"init_weights": False}}
# Where the outputs of ReLUs are sites. Inception's ReLUs are plain functions: there it is what goes into them.
KINKS = re.compile(r"relu\d?$|_swish\d$|\.bn$|^(features|classifier)\.\d+$")
# The open interval in which each layer is linear, of its input or, where all is linear, of its output.
LINEAR = {nn.ReLU: (0, torch.inf), nn.ReLU6: (0, 6), nn.BatchNorm2d: (-torch.inf, torch.inf)}


class Twins(NamedTuple):
    """A module of torch, our net with its weights, and the module that has the output of one of our sites."""

    module: nn.Module
    net: Net
    layer: Callable[[str], nn.Module]


class WithFeatures(nn.Module):
    """The EfficientNet-Lite with a module, `features`, whose output is the last activation before the pooling."""

    def __init__(self, lite):
        super().__init__()
        self.lite, self.features = lite, nn.Identity()

    def forward(self, x):
        a = self.features(self.lite.extract_features(x))
        return self.lite._fc(self.lite._avg_pooling(a).flatten(1))


def twins(name: str, seed: int = 0, classes: int = 1000) -> Twins:
    """One of NETWORKS with random weights, biases and statistics, all of them drawn from the seed."""
    module = torchvision.models.get_model(name, num_classes=classes, **NETWORKS[name])
    module = _drawn(module, torch.Generator().manual_seed(seed))
    net = load(name, module, None if classes == 1000 else [str(k) for k in range(classes)]).net
    module = _frozen(module)
    return Twins(module, net, module.get_submodule)


def _drawn(module, draw):
    """Sizes of activations stay about the same from layer to layer, so that no layer is drowned by biases."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 2, generator=draw)  # pyright: ignore[reportArgumentType] torch is typed too wide
            nn.init.normal_(layer.running_mean, 0, 0.1, generator=draw)  # pyright: ignore[reportArgumentType] torch is typed too wide
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=draw)
            nn.init.normal_(layer.bias, 0, 0.1, generator=draw)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=draw)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, 0, 0.1, generator=draw)
    return module


@functools.cache
def lite() -> Twins:
    """EfficientNet-Lite0 with its published weights."""
    path = str(available()["efficientnet_lite0"])
    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(path, weights_only=True))
    wrapped = _frozen(WithFeatures(module))

    def layer(name):
        return wrapped.features if name == "_swish2" else module.get_submodule(name.replace("_swish2", "_swish"))

    return Twins(wrapped, load("efficientnet_lite0").net, layer)


def _frozen(module):
    """For inference, without gradients by parameters, and with no ReLU in place: captum needs that."""
    for layer in module.eval().requires_grad_(False).modules():
        if isinstance(layer, nn.ReLU | nn.ReLU6):
            layer.inplace = False
    return module


def to_torch(x) -> torch.Tensor:
    """An image (H, W, 3) as a batch (1, 3, H, W) that wants its gradient."""
    return torch.tensor(np.asarray(x).transpose(2, 0, 1)[None].copy(), requires_grad=True)


def from_torch(a: torch.Tensor) -> np.ndarray:
    """The only row of a batch, (1, C, h, w) or (1, n), as (h, w, C) or (n,)."""
    return np.moveaxis(a.detach().numpy()[0], 0, -1).copy()


def noise(height: int, width: int, seed: int = 1) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(height, width, 3)), jnp.float32)


def torch_sites(module: nn.Module, x, left_out: tuple[type, ...] = ()) -> dict[str, np.ndarray]:
    """What torch computes at our sites, in the order of its calls, from the outputs of all its modules.

    No sites are those of the types `left_out`, what is inside convolutions, and where there are BatchNorms, into which
    they are folded, the convolutions. A module called several times is numbered; the blocks of EfficientNet-Lite,
    which torch keeps in a list that is not called, are a chain.
    """
    calls = []
    if any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
        left_out = (*left_out, nn.Conv2d)

    def keep(name, output):
        calls.append((name, from_torch(output)))  # a copy: a later module may write in place

    named = [(name, layer) for name, layer in module.named_modules() if name]
    folded = tuple(f"{name}." for name, layer in named if isinstance(layer, nn.Conv2d))
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, layer in named
        if not isinstance(layer, left_out) and not name.startswith(folded)
    ]
    with torch.no_grad():
        module(to_torch(x))
    for hook in hooks:
        hook.remove()

    found, total, count = {}, Counter(name for name, _ in calls), Counter()
    for name, a in calls:
        count[name] += 1
        numbered = total[name] > 1 or name.endswith("_swish")
        found[f"{name}{count[name]}" if numbered else name] = a
        if name == "_blocks.15":
            found["_blocks"] = a
    return found


@jax.jit
def our_sites(net: Net, x) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(outputs, every site's activation)."""
    found = {}

    def keep(name, a):
        found[name] = a
        return a

    return run(net, x, keep), found


def assert_sites(ours: dict, theirs: dict, tolerance: float = 1e-4) -> None:
    """The same names, and at each the same values, up to `tolerance` times the site's own maximum."""
    assert sorted(ours) == sorted(theirs)
    for name, expected in theirs.items():
        try:
            assert_close(ours[name], expected, tolerance)
        except AssertionError as error:
            error.add_note(f"at the site {name}")
            raise


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def with_relus(explain: Explain, points: Points, layer: str | None, net: Net, x, target) -> tuple[Any, Relus]:
    """(explain(net, x, target), the activations at KINKS at each of points(net, x)), in one program, rounded alike.

    Points are images, or activations of the layer.
    """

    def relus(point):
        found = {}

        def keep(name, a):
            if name == layer:
                return point
            if KINKS.search(name):
                found[name] = a
            return a

        run(net, point if layer is None else x, keep)
        return found

    where = points(net, x)
    mapped = jax.vmap(relus)(where) if len(where) > 1 else jax.tree.map(lambda a: a[None], relus(where[0]))
    return explain(net, x, target), mapped


def the_image(net: Net, x) -> jax.Array:
    """The only point of explainers that look at the image itself."""
    return x[None]


@contextmanager
def same_kinks(module: nn.Module, relus: Relus) -> Iterator[None]:
    """While it lasts, every ReLU of a module has our output as its output, and lets gradients through where that is
    inside the linear piece; where our site is what goes into a ReLU, that is ours.

    A unit within a rounding error of a kink may be on one side there and on the other here. Its value is the same, but
    its gradient is 0 or 1, and one such unit near the input is a thousandth of an input gradient: EfficientNet-Lite0
    has several on most photographs. So gradients are compared on the same linear piece. That the outputs which are
    replaced were equal up to rounding is asserted.
    """
    module = getattr(module, "lite", module)
    hooks = []
    for name, layer in module.named_modules():
        names = [name] if name in relus else sorted(ours for ours in relus if re.sub(r"\d$", "", ours) == name)
        if names and type(layer) in LINEAR:
            values = itertools.cycle([torch.tensor(np.moveaxis(np.asarray(relus[ours]), -1, 1)) for ours in names])
            hooks.append(layer.register_forward_hook(functools.partial(_replaced, values)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _replaced(values, layer, inputs, output):
    ours, (low, high) = next(values), LINEAR[type(layer)]
    if ours.shape != output.shape:
        return output  # a pass of captum's for the layer's activation
    assert_close(ours.numpy(), output.detach().numpy(), 1e-4)
    z = output if isinstance(layer, nn.BatchNorm2d) else inputs[0]
    return ours + ((ours > low) & (ours < high)) * (z - z.detach())


def torch_gradient(module: nn.Module, x, target) -> np.ndarray:
    """d <target, outputs> / d x by torch, (H, W, 3)."""
    x = to_torch(x)
    score = module(x)[0] @ torch.tensor(np.asarray(target))
    return from_torch(torch.autograd.grad(score, x)[0])
