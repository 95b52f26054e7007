"""Grad-CAM at ResNet50's layer4 against captum and pytorch-grad-cam: python benchmarks/grad_cam.py

The same random weights and images everywhere, float32, 224 x 224. captum's maps are raw as ours are; pytorch-grad-cam
rectifies, scales and upsamples its maps, so it is compared and timed against ours with that preset as well.
"""

import argparse
import functools
import os
import time
from typing import Any

import jax
import numpy as np
import torch
from captum.attr import LayerGradCam
from harness import Rival, check_agreement, machine, table, time_interleaved
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet50

import jaxplain as jp
from jaxplain.models import load

SIZE = 224


def torch_network() -> torch.nn.Module:
    """torchvision's ResNet50 with random weights and BatchNorm statistics."""
    torch.manual_seed(0)
    network = resnet50().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # captum's hooks need what the layer put out
    return network


def ours(state_dict: dict[str, Any], images: np.ndarray, classes: np.ndarray, preset: bool) -> Rival:
    net = load("resnet50", weights=state_dict).net
    targets = jp.one_hot(classes, 1000)

    @jax.jit
    def explain(net, images, targets):
        maps = jp.batched(functools.partial(jp.grad_cam, layer="layer4"))(net, images, targets)
        return jax.vmap(lambda heat: jp.preset(heat, "pytorch_grad_cam", (SIZE, SIZE)))(maps) if preset else maps

    batch = jax.numpy.asarray(images)
    name = "jaxplain, pytorch-grad-cam's preset" if preset else "jaxplain"
    return Rival(name, lambda: np.asarray(explain(net, batch, targets)))


def captum(network: torch.nn.Module, images: np.ndarray, classes: np.ndarray, layout: torch.memory_format) -> Rival:
    network = network.to(memory_format=layout)
    batch, targets = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=layout), torch.tensor(classes)
    explainer = LayerGradCam(network, network.layer4)

    name = f"captum, {str(layout).removeprefix('torch.')}"
    return Rival(name, lambda: explainer.attribute(batch, targets).detach().numpy()[:, 0])


def pytorch_grad_cam(
    network: torch.nn.Module, images: np.ndarray, classes: np.ndarray, layout: torch.memory_format
) -> Rival:
    network = network.to(memory_format=layout)
    batch = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    explainer = GradCAM(network, [network.layer4])
    targets = [ClassifierOutputTarget(int(k)) for k in classes]

    return Rival(f"pytorch-grad-cam, {str(layout).removeprefix('torch.')}", lambda: explainer(batch, targets))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=15)
    options = arguments.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    draw = np.random.default_rng(0)
    images = draw.normal(size=(options.batch, SIZE, SIZE, 3)).astype(np.float32)
    classes = draw.integers(0, 1000, options.batch)

    state_dict = torch_network().state_dict()
    layouts = (torch.contiguous_format, torch.channels_last)
    raw, shown = (ours(state_dict, images, classes, preset) for preset in (False, True))
    rivals = [captum(torch_network(), images, classes, layout) for layout in layouts]
    presets = [pytorch_grad_cam(torch_network(), images, classes, layout) for layout in layouts]

    start = time.perf_counter()
    maps = raw.run()
    print(f"first call, with compilation: {time.perf_counter() - start:.1f} s")
    for rival in rivals:
        print(f"{rival.name}: maps differ by {check_agreement(maps, rival.run(), rival.name, 1e-4):.1e} of the largest")
    maps = shown.run()
    for rival in presets:
        print(f"{rival.name}: maps differ by {check_agreement(maps, rival.run(), rival.name, 1e-3):.1e} of the largest")

    print(f"\nGrad-CAM at layer4 of ResNet50, batch {options.batch}, {options.rounds} rounds")
    print(machine("jaxplain", "jax", "torch", "captum", "grad-cam"))
    print()
    seconds = time_interleaved([raw, shown, *rivals, *presets], options.rounds)
    for kind, own, others in (("Raw maps", raw, rivals), ("With pytorch-grad-cam's preset", shown, presets)):
        print(f"{kind}\n\n{table({r.name: seconds[r.name] for r in (own, *others)}, options.batch)}\n")


if __name__ == "__main__":
    main()
