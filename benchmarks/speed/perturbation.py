"""Explainers that need many passes against PyTorch's: python benchmarks/speed/perturbation.py

ResNet50, random weights, float32. Active saliency over 10 classes at batch 8 against the authors' scheme (a forward and
a backward pass for every class, of a network whose parameters require gradients, and three forward passes and one
backward pass around them) and against one forward pass with the classes' gradients from it, in a loop and as a batch.
RISE and LIME of one image with equal numbers of samples against PyTorch in batches, and captum; all of them draw the
same masks. What the rivals return is compared first.
"""

import argparse
import functools
import os
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime
from harness import Rival, check_agreement, machine, reuse_memory, root_mean_square, table, time_interleaved
from sklearn.linear_model import Ridge

import jaxplain as jp
from jaxplain.explain import grid_mask
from jaxplain.models import Model, load

CLASSES, SIDE, SEGMENTS, KEY = 10, 224, 49, jax.random.key(0)
CHUNK = 5  # classes at a time of active saliency, for each image: on CPUs more gradients at once leave the cache
# By root mean square: torch's own two layouts differ by 0.02 in active saliency, and by a third at single pixels.
TOLERANCE = {"active saliency": 0.05, "RISE": 1e-3, "LIME": 1e-3}
MEAN, DEVIATION = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def torch_network(layout: torch.memory_format) -> torch.nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.resnet50(num_classes=CLASSES).eval()
    return network.to(memory_format=layout)


def ours(network: torch.nn.Module) -> Model:
    """jaxplain's network with the same parameters."""
    classes = network.get_submodule("fc").out_features
    return load("resnet50", network, categories=[str(k) for k in range(int(classes))])


def outputs(network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return network((pixels - MEAN) / DEVIATION)


def authors_scheme(network: torch.nn.Module, pixels: torch.Tensor) -> np.ndarray:
    """The map of the predicted class, by a forward and a backward pass of the whole network for every class."""

    def gradient(score: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        x = pixels.clone().requires_grad_(True)
        score(outputs(network, x)).backward()
        assert x.grad is not None
        return x.grad.clone()

    classes = outputs(network, pixels).shape[1]
    predicted = outputs(network, pixels).argmax(1)
    kept = gradient(lambda z: z.max(1).values.sum())
    for k in range(classes):
        other = gradient(lambda z, k=k: z[:, k].sum())
        kept[((predicted != k)[:, None, None, None]) & (kept <= other)] = 0
    return kept.abs().amax(1).numpy()


def one_forward(network: torch.nn.Module, pixels: torch.Tensor, batched: bool) -> np.ndarray:
    """The same map from one forward pass and all classes' gradients."""
    x = pixels.clone().requires_grad_(True)
    z = outputs(network, x)
    predicted = z.argmax(1)
    if batched:
        each = torch.eye(CLASSES)[:, None].expand(CLASSES, len(x), CLASSES)
        (gradients,) = torch.autograd.grad(z, x, each, is_grads_batched=True)
    else:
        gradients = torch.stack([torch.autograd.grad(z[:, k].sum(), x, retain_graph=True)[0] for k in range(CLASSES)])
    images = torch.arange(len(x))
    own = gradients[predicted, images]
    gradients[predicted, images] = -torch.inf
    return torch.where(own > gradients.amax(0), own, 0).abs().amax(1).numpy()


def active_saliency_rivals(net: jp.net.Net, batch: int) -> list[Rival]:
    pixels = np.random.default_rng(0).uniform(size=(batch, SIDE, SIDE, 3)).astype(np.float32)

    @jax.jit
    def explain(net, X):
        targets = jax.vmap(lambda x: jp.top(net(x)))(X)
        return jp.batched(functools.partial(jp.active_saliency, chunk=CHUNK))(net, X, targets)

    rivals = [Rival("jaxplain", lambda: np.asarray(explain(net, jnp.asarray(pixels))))]
    for name, layout in {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}.items():
        x = torch.tensor(pixels).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        frozen = torch_network(layout).requires_grad_(False)
        rivals += [
            Rival(f"one forward pass, a loop over classes, {name}", functools.partial(one_forward, frozen, x, False)),
            Rival(f"one forward pass, gradients as a batch, {name}", functools.partial(one_forward, frozen, x, True)),
        ]
    x, network = torch.tensor(pixels).permute(0, 3, 1, 2).contiguous(), torch_network(torch.contiguous_format)
    return [*rivals, Rival("the authors' scheme", functools.partial(authors_scheme, network, x))]


def in_batches(network: torch.nn.Module, images: Callable[[slice], torch.Tensor], samples: int, size: int = 16):
    """The probability of class 0 for each sample."""
    with torch.no_grad():
        parts = [slice(start, start + size) for start in range(0, samples, size)]
        return torch.cat([outputs(network, images(part)).softmax(1)[:, 0] for part in parts])


def rise_rivals(net: jp.net.Net, samples: int, image: np.ndarray) -> list[Rival]:
    target, probable = jp.one_hot(0, CLASSES), jp.then(net, jax.nn.softmax)
    explain = jax.jit(functools.partial(jp.rise, samples=samples))
    draw = jax.jit(jax.vmap(lambda key: grid_mask(key, (SIDE, SIDE), 7, 0.5)))
    masks = torch.tensor(np.asarray(draw(jax.random.split(KEY, samples))))

    def batches(network, x):
        scores = in_batches(network, lambda part: x * masks[part, None], samples)
        return (scores @ masks.flatten(1) / (samples * 0.5)).reshape(SIDE, SIDE).numpy()

    rivals = [Rival("jaxplain", lambda: np.asarray(explain(probable, jnp.asarray(image), target, key=KEY)))]
    for name, layout in {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}.items():
        x = torch.tensor(image).permute(2, 0, 1)[None].contiguous(memory_format=layout)
        rivals.append(Rival(f"torch in batches, {name}", functools.partial(batches, torch_network(layout), x)))
    return rivals


def lime_rivals(net: jp.net.Net, samples: int, image: np.ndarray) -> list[Rival]:
    target, probable = jp.one_hot(0, CLASSES), jp.then(net, jax.nn.softmax)
    rows = np.arange(SIDE) * 7 // SIDE
    segments = rows[:, None] * 7 + rows
    explain = jax.jit(functools.partial(jp.lime, num_segments=SEGMENTS, samples=samples, fill=0.5))
    kept = np.array(jax.random.bernoulli(KEY, 0.5, (samples, SEGMENTS)))
    kept[0] = True
    weights = np.exp(-((1 - np.sqrt(kept.mean(1))) ** 2) / (2 * 0.25**2))
    labels, drawn = torch.tensor(segments), torch.tensor(kept)

    def batches(network, x):
        def images(part):
            return torch.where(drawn[part][:, labels][:, None], x, 0.5)

        scores = in_batches(network, images, samples).numpy()
        return Ridge(alpha=1.0).fit(kept, scores, sample_weight=weights).coef_[segments]

    def captum(network, x):
        order = iter(range(samples))
        explainer = Lime(
            lambda pixels: outputs(network, pixels).softmax(1)[:, 0],
            SkLearnRidge(alpha=1.0, fit_intercept=True),
            similarity_func=lambda _, __, seen, **options: torch.exp(  # noqa: ARG005
                -((1 - seen.float().mean().sqrt()) ** 2) / (2 * 0.25**2)
            ),
            perturb_func=lambda _, **options: drawn[next(order)][None].float(),  # noqa: ARG005
        )
        with torch.no_grad():
            found = explainer.attribute(
                x, baselines=0.5, feature_mask=labels[None, None], n_samples=samples, perturbations_per_eval=16
            )
        return found[0, 0].numpy()

    rivals = [
        Rival(
            "jaxplain",
            lambda: np.asarray(explain(probable, jnp.asarray(image), target, key=KEY, segments=jnp.asarray(segments))),
        )
    ]
    for name, layout in {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}.items():
        x = torch.tensor(image).permute(2, 0, 1)[None].contiguous(memory_format=layout)
        network = torch_network(layout)
        rivals += [
            Rival(f"torch in batches, {name}", functools.partial(batches, network, x)),
            Rival(f"captum, {name}", functools.partial(captum, network, x)),
        ]
    return rivals


def memory(classes: int) -> str:
    """The memory that one image's active saliency needs, by the compiler's own account."""
    model = ours(torchvision.models.resnet50(num_classes=classes))
    x, target = jax.ShapeDtypeStruct((SIDE, SIDE, 3), jnp.float32), jax.ShapeDtypeStruct((classes,), jnp.float32)
    explain = jax.jit(functools.partial(jp.active_saliency, chunk=CHUNK))
    compiled = explain.lower(model.net, x, target).compile()
    megabytes = compiled.memory_analysis().temp_size_in_bytes / 1e6
    return f"active saliency of one image over {classes} classes, {CHUNK} at a time: {megabytes:.0f} MB"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--samples", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=15)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")  # captum's and torch's, of their own use of each other
    torch.set_num_threads(os.cpu_count() or 1)
    print(machine("jaxplain", "jax", "torch", "captum"))
    print(f"{memory(10)}; {memory(1000)}\n", flush=True)
    model = ours(torch_network(torch.contiguous_format))
    net = jp.before(model.net, model.normalise)
    image = np.random.default_rng(1).uniform(size=(SIDE, SIDE, 3)).astype(np.float32)
    for kind, rivals, count in (
        ("active saliency", active_saliency_rivals(net, options.batch), options.batch),
        ("RISE", rise_rivals(net, options.samples, image), options.samples),
        ("LIME", lime_rivals(net, options.samples, image), options.samples),
    ):
        values = rivals[0].run()
        for rival in rivals[1:]:
            check_agreement(values, rival.run(), f"{kind}, {rival.name}", TOLERANCE[kind], root_mean_square)
        print(f"## {kind}\n\n{table(time_interleaved(rivals, options.rounds, warm_up=1), count)}\n", flush=True)


if __name__ == "__main__":
    reuse_memory()
    main()
