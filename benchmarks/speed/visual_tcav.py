"""Concept attributions against PyTorch: python benchmarks/speed/visual_tcav.py

ResNet50, random weights, float32; 6 concepts, 3 classes, layers layer3 and layer4 of one image. The rival is the
published scheme, written well: the network cut at the layer, the 51 points of a path as one batch, a loop over layers
and classes, all concepts from one integration. What it returns is compared first. Then the same with as few
Gauss-Legendre points as have no larger completeness error; what memory the compiled program takes; and what a global
explanation costs by the number of concepts.

BatchNorms have random biases: without any, a network is positively homogeneous, and one point is exact. How many points
a network needs depends on its weights; the last table has the steps of the published ones of EfficientNet-Lite0.
"""

import argparse
import functools
import os
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from harness import Rival, check_agreement, machine, reuse_memory, table, time_interleaved
from torch import nn

import jaxplain as jp
from jaxplain.explain import Attribution, Concept
from jaxplain.models import load

SIDE, CLASSES, CONCEPTS, STEPS, LAYERS, KEY = 224, 3, 6, 50, ("layer3", "layer4"), jax.random.key(0)
TOLERANCE = 1e-3
LEAST = 1e-5  # a completeness error that is rounding

Explain = Callable[..., dict[str, Attribution]]


def torch_network(layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    return network.requires_grad_(False).to(memory_format=layout)


def fitted(activation: jax.Array, key: jax.Array) -> Concept:
    """Concepts that the layer knows: random directions with scales from its responses."""
    directions = 0.3 + jax.random.normal(key, (CONCEPTS, activation.shape[-1]))
    responses = jax.nn.relu(jnp.einsum("hwc,kc->khw", activation, directions))
    return Concept(directions, *(jnp.quantile(responses, q, axis=(1, 2)) for q in (0.3, 0.95)))


def explainer(chunk: int | None, rule: str, steps: int | dict[str, int]) -> Explain:
    """All layers and classes of one image, as one compiled program."""
    explain = jp.over_classes(jp.at_layers(jp.concept_attribution, LAYERS))
    return jax.jit(functools.partial(explain, steps=steps, rule=rule, chunk=chunk))


def through(path: torch.Tensor, z: torch.Tensor, g: torch.Tensor, k: int, concepts: Sequence[torch.Tensor]):
    """The attributions (6,) of class k, from the points of a path, their outputs and gradients."""
    b = ((g[:-1] + g[1:]) / 2).mean(0) * path[-1]
    gains = (z[-1] - z[0]).clamp(min=0)
    positive = b.clamp(min=0)
    scaled = positive / (positive.sum() + 1e-7) * gains[k] / gains.max()
    directions, low, high = concepts
    responses = torch.einsum("chw,kc->khw", path[-1], directions).clamp(min=0)
    heat = ((responses - low[:, None, None]) / (high - low)[:, None, None]).clamp(0, 1)
    sign = torch.where(torch.einsum("chw,khw->kc", path[-1], heat) < 0, -1.0, 1.0)
    u = (directions * sign).clamp(min=0)
    u = u / u.amax(1, keepdim=True)
    return (u * torch.einsum("chw,khw->kc", scaled, heat)).sum(1)


def published(network: nn.Module, x: torch.Tensor, classes: Sequence[int], concepts: dict) -> np.ndarray:
    """The attributions (2, 3, 6) at both layers."""
    children = dict(network.named_children())
    stem = [children[name] for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")]
    last = [nn.Sequential(children["avgpool"], nn.Flatten(), children["fc"])]
    with torch.no_grad():
        third = nn.Sequential(*stem)(x)
        fourth = children["layer4"](third)
    found = []
    for name, activation, rest in (("layer3", third, [children["layer4"], *last]), ("layer4", fourth, last)):
        head = nn.Sequential(*rest)
        for k in classes:
            points = torch.linspace(0, 1, STEPS + 1)[:, None, None, None]
            path = (points * activation).requires_grad_(True)
            z = head(path)
            (g,) = torch.autograd.grad(z[:, k].sum(), path)
            found.append(through(path.detach(), z.detach(), g, k, concepts[name]))
    return torch.stack(found).reshape(len(LAYERS), len(classes), -1).numpy()


def values(found: dict) -> np.ndarray:
    return np.stack([np.asarray(found[layer].values) for layer in LAYERS])


def fewest(net: jp.net.Net, x: jax.Array, targets: jax.Array, found: dict) -> dict[str, int]:
    """Gauss-Legendre steps at each layer with no more than the largest error of its classes, at least LEAST."""
    worst = {layer: max(float(found[layer].error.max()), LEAST) for layer in LAYERS}
    print("completeness errors with 50 trapezoid steps: " + ", ".join(f"{k} {e:.1e}" for k, e in worst.items()))
    return {
        layer: max(jp.steps_for(net, x, target, layer=layer, tolerance=worst[layer]) for target in targets)
        for layer in LAYERS
    }


def memory(net: jp.net.Net, concepts: dict, chunk: int | None, steps: int, classes: int) -> str:
    """The memory that one image's explanation needs, by the compiler's own account."""
    x, targets = jax.ShapeDtypeStruct((SIDE, SIDE, 3), jnp.float32), jax.ShapeDtypeStruct((classes, 1000), jnp.float32)
    compiled = explainer(chunk, "trapezoid", steps).lower(net, x, targets, concepts=concepts).compile()
    return f"| {chunk} | {steps} | {classes} | {compiled.memory_analysis().temp_size_in_bytes / 1e6:.0f} |"


def global_rivals(net: jp.net.Net, X: np.ndarray, concepts: Concept, steps: int) -> list[Rival]:
    """A class's explanation over the images of a folder at layer3, with all concepts and with one."""
    explain = functools.partial(jp.concept_attribution, layer="layer3", rule="gauss_legendre", steps=steps, chunk=4)
    explain = jp.chunked(jax.jit(jp.batched(explain)), 4)
    targets = np.tile(np.asarray(jp.one_hot(0, 1000)), (len(X), 1))

    def run(count):
        return explain(net, X, targets, concepts=jax.tree.map(lambda a: a[:count], concepts)).values

    return [Rival(f"{count} concept{'s' * (count > 1)}", functools.partial(run, count)) for count in (CONCEPTS, 1)]


def photographs() -> str:
    """The fewest steps of either rule whose completeness error is at most 2 %, for a photograph's likeliest class."""
    model = load("efficientnet_lite0")
    rows = ["| photograph | layer | trapezoid | Gauss-Legendre |", "|---|---|---|---|"]
    for photo in ("chelsea", "coffee"):
        x = model.prepare(f"sample:{photo}")
        find = functools.partial(jp.steps_for, model.net, x, jp.top(model.net(x)), tolerance=0.02, most=512)
        for layer in ("_blocks.10", "_blocks.12", "_blocks.14", "_swish2"):
            steps = [find(layer=layer, rule=rule) for rule in ("trapezoid", "gauss_legendre")]
            rows.append(f"| {photo} | {layer} | {steps[0]} | {steps[1]} |")
    return "\n".join(rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--images", type=int, default=64, help="of the global explanation")
    arguments.add_argument("--chunk", type=int, default=17, help="points at a time")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")  # torch's
    torch.set_num_threads(os.cpu_count() or 1)
    print(machine("jaxplain", "jax", "torch"), flush=True)

    network = torch_network(torch.contiguous_format)
    net = load("resnet50", network).net
    X = np.random.default_rng(1).normal(size=(options.images, SIDE, SIDE, 3)).astype(np.float32)
    x = jnp.asarray(X[0])
    targets = jp.top(net(x), CLASSES)
    concepts = {
        layer: fitted(jp.view(net, layer, x)[0], key) for layer, key in zip(LAYERS, jax.random.split(KEY), strict=True)
    }

    explain = explainer(options.chunk, "trapezoid", STEPS)
    found = explain(net, x, targets, concepts=concepts)
    steps = fewest(net, x, targets, found)
    sparing = explainer(None, "gauss_legendre", steps)
    print(f"Gauss-Legendre steps with that error: {steps}\n", flush=True)

    rivals = [
        Rival("jaxplain", lambda: values(explain(net, x, targets, concepts=concepts))),
        Rival("jaxplain, Gauss-Legendre", lambda: values(sparing(net, x, targets, concepts=concepts))),
    ]
    classes = [int(k) for k in np.argmax(np.asarray(targets), axis=1)]
    theirs = {layer: [torch.tensor(np.asarray(a)) for a in concept] for layer, concept in concepts.items()}
    for name, layout in {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}.items():
        image = torch.tensor(X[:1]).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        run = functools.partial(published, torch_network(layout), image, classes, theirs)
        rivals.append(Rival(f"torch, {name}", run))
        check_agreement(values(found), run(), name, TOLERANCE)
    seconds = time_interleaved(rivals, options.rounds, warm_up=1)
    print(f"## {CONCEPTS} concepts, {CLASSES} classes, {len(LAYERS)} layers, one image\n\n{table(seconds, 1)}\n")
    sparing = {name: seconds[name] for name in seconds if name != "jaxplain"}
    print(f"## With as few steps as have the same error\n\n{table(sparing, 1)}\n", flush=True)

    print("## Memory\n\n| chunk | steps | classes | MB |\n|---|---|---|---|")
    for chunk, count, classes in ((None, 50, 3), (8, 50, 3), (8, 200, 3), (8, 50, 1)):
        print(memory(net, concepts, chunk, count, classes), flush=True)

    rivals = global_rivals(net, X, concepts["layer3"], max(steps["layer3"], 4))
    seconds = time_interleaved(rivals, min(options.rounds, 3), warm_up=1)
    print(f"\n## A class over {len(X)} images\n\n{table(seconds, len(X))}\n", flush=True)
    print(f"## Steps for an error of 2 %, EfficientNet-Lite0\n\n{photographs()}")


if __name__ == "__main__":
    reuse_memory()
    main()
