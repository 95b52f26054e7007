"""The three networks against PyTorch's: python benchmarks/speed/networks.py

Forward pass, saliency, and Grad-CAM at the last layer, with the same random weights and images everywhere, float32. The
rivals are torchvision's networks in both of torch's layouts, captum, and pytorch-grad-cam, which rectifies, scales and
upsamples its maps, and is timed against ours with that preset. torch.compile is a rival where it is asked for. What the
rivals return is compared first.
"""

import argparse
import functools
import os
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from captum.attr import LayerGradCam
from harness import Rival, check_agreement, machine, ratio, reuse_memory, table, time_interleaved
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import jaxplain as jp
from jaxplain.models import Model, load

NETWORKS = ("resnet50", "vgg16", "inception_v3")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
# Gradients by pixels jump where a unit is within a rounding error of a kink, and differ there by a few per cent.
TOLERANCE = {"forward": 1e-4, "saliency": 0.2, "grad_cam": 1e-4, "grad_cam, shown": 1e-3}


def torch_network(name: str, layout: torch.memory_format) -> torch.nn.Module:
    """torchvision's network with random weights, as fast as it can be: without gradients by its parameters."""
    torch.manual_seed(0)
    options = {"init_weights": False, "transform_input": False} if name == "inception_v3" else {}
    network = getattr(torchvision.models, name)(**options).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # captum's hooks need what the layer put out
    return network.to(memory_format=layout)


def ours(model: Model, images: np.ndarray, classes: np.ndarray) -> dict[str, Rival]:
    """What is measured of jaxplain, by name."""
    layer, size = model.spec.cam_layer, images.shape[1:3]
    cam = jp.batched(functools.partial(jp.grad_cam, layer=layer))

    def shown(net, X, targets):
        return jax.vmap(lambda heat: jp.preset(heat, "pytorch_grad_cam", size))(cam(net, X, targets))

    kinds = {
        "forward": lambda net, X, targets: jax.vmap(net)(X),  # noqa: ARG005
        "saliency": jp.batched(jp.saliency),
        "grad_cam": cam,
        "grad_cam, shown": shown,
    }
    X, targets = jnp.asarray(images), jp.one_hot(classes, 1000)

    def rival(f):
        jitted = jax.jit(f)
        return Rival("jaxplain", lambda: np.asarray(jitted(model.net, X, targets)))

    return {kind: rival(f) for kind, f in kinds.items()}


def forward(network: Callable, batch: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network(batch).numpy()


def saliency(network: Callable, batch: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
    x = batch.clone().requires_grad_(True)
    score = network(x).gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, x)
    return gradient.abs().amax(1).numpy()


def theirs(name: str, layer: str, images: np.ndarray, classes: np.ndarray, compiled: bool) -> dict[str, list[Rival]]:
    """The rivals for each of what is measured."""
    rivals: dict[str, list[Rival]] = {kind: [] for kind in TOLERANCE}
    k = torch.tensor(classes)
    for layout, memory_format in LAYOUTS.items():
        network = torch_network(name, memory_format)
        batch = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        at = network.get_submodule(layer)
        versions: dict[str, Any] = {"torch": network} | ({"torch.compile": torch.compile(network)} if compiled else {})
        for version, callable_ in versions.items():
            rivals["forward"].append(Rival(f"{version}, {layout}", functools.partial(forward, callable_, batch)))
            rivals["saliency"].append(Rival(f"{version}, {layout}", functools.partial(saliency, callable_, batch, k)))
        captum = LayerGradCam(network, at)
        rivals["grad_cam"].append(Rival(f"captum, {layout}", functools.partial(captum_map, captum, batch, k)))
        # pytorch-grad-cam needs gradients by parameters, as a network has them if nobody takes them away.
        trainable = torch_network(name, memory_format).requires_grad_(True)
        peer = GradCAM(trainable, [trainable.get_submodule(layer)])
        wanted = [ClassifierOutputTarget(int(c)) for c in classes]
        rivals["grad_cam, shown"].append(
            Rival(f"pytorch-grad-cam, {layout}", functools.partial(peer, batch.clone(), wanted))
        )
    return rivals


def captum_map(explainer: LayerGradCam, batch: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
    return explainer.attribute(batch.clone().requires_grad_(True), classes).detach().numpy()[:, 0]


def peak(size: int = 2048, rounds: int = 15) -> float:
    """The machine's matrix products, float32, in operations a second: the best of several."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / min(time_interleaved([Rival("", lambda: np.asarray(product(a, a)))], rounds)[""])


def facts(model: Model, batch: int) -> str:
    """How long saliency takes to compile, and the memory that it needs by the compiler's own account."""
    X = jax.ShapeDtypeStruct((batch, *model.spec.image.shape), jnp.float32)
    targets = jax.ShapeDtypeStruct((batch, 1000), jnp.float32)
    start = time.perf_counter()
    compiled = jax.jit(jp.batched(jp.saliency)).lower(model.net, X, targets).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    megabytes = (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes) / 1e6
    return f"saliency compiles in {seconds:.1f} s and needs {megabytes:.0f} MB, parameters included"


def products(name: str) -> float:
    """Operations of one image's forward pass: two for each multiplication of torch's convolutions and dense layers."""
    network, counted = torch_network(name, torch.contiguous_format), []

    def count(module, _, output):
        shape = module.weight.shape
        counted.append(2 * shape[0] * shape[1:].numel() * output[0, 0].numel())

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    side = 299 if name == "inception_v3" else 224
    network(torch.zeros(1, 3, side, side))
    return float(sum(counted))


def chunking(model: Model, images: np.ndarray, classes: np.ndarray, rounds: int) -> str:
    """How many times as long saliency takes when the batch is explained in chunks of two, in one compiled loop."""
    X, targets = jnp.asarray(images), jp.one_hot(classes, 1000)

    @jax.jit
    def in_chunks(net, X, targets):
        return jax.lax.map(lambda item: jp.saliency(net, *item), (X, targets), batch_size=2)

    whole = jax.jit(jp.batched(jp.saliency))
    rivals = [
        Rival("whole", lambda: np.asarray(whole(model.net, X, targets))),
        Rival("chunks", lambda: np.asarray(in_chunks(model.net, X, targets))),
    ]
    check_agreement(rivals[0].run(), rivals[1].run(), "saliency in chunks", TOLERANCE["saliency"])
    seconds = time_interleaved(rivals, rounds)
    return "saliency in chunks of 2 takes {:.2f} ({:.2f} to {:.2f}) times as long".format(
        *ratio(seconds["chunks"], seconds["whole"])
    )


def measure(name: str, options: argparse.Namespace, best: float) -> None:
    network = torch_network(name, torch.contiguous_format)
    model = load(name, network)
    side = model.spec.input_size
    draw = np.random.default_rng(0)
    images = draw.normal(size=(options.batch, side, side, 3)).astype(np.float32)
    classes = draw.integers(0, 1000, options.batch)
    rivals = theirs(name, model.spec.cam_layer, images, classes, options.compile)
    print(f"## {name}, batch {options.batch}\n\n{facts(model, options.batch)}\n", flush=True)
    for kind, own in ours(model, images, classes).items():
        values = own.run()
        for rival in rivals[kind]:
            check_agreement(values, rival.run(), f"{name}, {kind}, {rival.name}", TOLERANCE[kind])
        seconds = time_interleaved([own, *rivals[kind]], options.rounds)
        print(f"{kind}\n\n{table(seconds, options.batch)}\n", flush=True)
        if kind == "forward":
            share = options.batch * products(name) / np.median(seconds["jaxplain"]) / best
            print(f"forward: {share:.2f} of the operations that matrix products do in that time\n", flush=True)
    print(f"{chunking(model, images, classes, options.rounds)}\n", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--compile", action="store_true", help="torch.compile too; it needs a C++ compiler")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")  # captum's and torch's, of their own use of each other
    torch.set_num_threads(os.cpu_count() or 1)
    best = peak()
    print(machine("jaxplain", "jax", "torch", "captum", "grad-cam"))
    print(f"matrix products: {best / 1e9:.0f} GFLOP/s, {options.rounds} rounds\n")
    for name in options.networks:
        measure(name, options, best)
    print(f"largest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    reuse_memory()
    main()
