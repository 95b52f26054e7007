"""Every layer's features, against a pass for each layer: python benchmarks/speed/features.py

Nine layers of VGG16 for one image, with the same random weights. All but the clustering is timed: filter weights, the
maps of the kept channels scaled, and the clusters' weights and maps at the image's size; the rival is PyTorch with a
forward and a backward pass for each layer, and NumPy with loops over maps. The clusters are the same, found before.
Then the clustering itself, of the same layers of 16 images: PCA, t-SNE and Ward's linkage by scikit-learn, in a thread
for each layer, and k-means on the device for all images at once. What the rivals return is compared first.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from harness import Rival, check_agreement, machine, reuse_memory, table, time_interleaved
from torch.nn.functional import interpolate

import jaxplain as jp
from jaxplain.clusters import kmeans
from jaxplain.explain import weighted
from jaxplain.features import least_percent, scaled, summarised, tsne_clusters
from jaxplain.models import Model, load

MOST = 8


def parts(model: Model, layers: tuple[str, ...]) -> Callable[..., Any]:
    """All but the clustering, jitted: weights (K,) and maps (K, S, S) of each layer, from clusters (C,)."""
    size = model.spec.image.shape[:2]

    @jax.jit
    def run(net, x, target, clusters):
        found, seen = {}, []
        for name, (activation, percent) in weighted(net, x, target, layers, True).items():
            seen.append(jnp.sum(scaled(activation)))  # what clustering would take
            features = summarised(activation, percent, clusters[name], MOST)
            enlarged = jax.vmap(lambda heat: jp.upsample(heat, size))(features.maps)
            found[name] = percent, features.weights, jax.vmap(jp.unit_range)(enlarged)
        return found, seen

    return lambda x, target, clusters: jax.tree.map(np.asarray, run(model.net, x, target, clusters)[0])


def rival(network: torch.nn.Module, layers: tuple[str, ...], size: int) -> Callable[..., Any]:
    """The same with a pass for each layer, and a loop over maps."""

    def run(x, k, clusters):
        return {layer: one(x, k, layer, clusters[layer]) for layer in layers}

    def one(x, k, layer, cluster):
        kept: list[torch.Tensor] = []
        hook = network.get_submodule(layer).register_forward_hook(lambda *parts: kept.append(parts[2]))
        score = network(x)[0, k]
        hook.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
        a, g = kept[0][0].detach(), gradient[0]
        means = torch.where((a > 0) & (g > 0), g, 0).mean((1, 2))
        percent = (100 * means / means.sum()).numpy()
        rows = []
        for c in np.flatnonzero(percent > least_percent(len(percent))):
            heat = a[c].numpy().ravel()
            rows.append((heat - heat.min()) / np.ptp(heat) if np.ptp(heat) else heat)
        return percent, *_clusters(a, percent, cluster, size)

    return run


def _clusters(a, percent, cluster, size):
    inside = [np.flatnonzero(cluster == k) for k in range(cluster.max() + 1)]
    weights = np.array([percent[channels].sum() for channels in inside])
    least = max(weights.max() / 3, weights.mean() / 2)
    found, maps = np.zeros(MOST), np.zeros((MOST, size, size), np.float32)
    for place, k in enumerate(k for k in np.argsort(-weights, kind="stable") if weights[k] >= least):
        heat = sum(float(percent[c]) * a[c] for c in inside[k])
        heat = interpolate(heat[None, None], (size, size), mode="bilinear")[0, 0].numpy()  # pyright: ignore[reportOptionalSubscript, reportIndexIssue] a tensor
        found[place], maps[place] = weights[k], (heat - heat.min()) / np.ptp(heat)
    return found, maps


def compare_parts(model: Model, layers: tuple[str, ...], network: torch.nn.Module, rounds: int) -> None:
    """Prints how fast all but the clustering is."""
    size, rng = model.spec.input_size, np.random.default_rng(0)
    image = rng.normal(size=(size, size, 3)).astype(np.float32)
    x, target = torch.tensor(image).permute(2, 0, 1)[None].requires_grad_(True), jp.one_hot(7, 1000)
    found = jp.layer_features(model.net, image, target, layers=layers, key=jax.random.key(0))
    clusters = {layer: np.asarray(features.cluster) for layer, features in found.items()}
    ours, theirs = parts(model, layers), rival(network, layers, size)
    one, two = ours(image, target, clusters), theirs(x, 7, clusters)
    for layer in layers:
        for a, b, name in zip(one[layer], two[layer], ("weights", "clusters' weights", "maps"), strict=True):
            check_agreement(a, b, f"{layer}: {name}", 0.02)
    rivals = [
        Rival("jaxplain", lambda: ours(image, target, clusters)),
        Rival("PyTorch and NumPy, a pass for each layer", lambda: theirs(x, 7, clusters)),
    ]
    print(f"\nNine layers of VGG16, one image, all but the clustering\n\n{table(time_interleaved(rivals, rounds), 1)}")


def compare_clustering(model: Model, layers: tuple[str, ...], count: int, rounds: int) -> None:
    """Prints how fast the clustering is."""
    size, rng = model.spec.input_size, np.random.default_rng(1)
    X = rng.normal(size=(count, size, size, 3)).astype(np.float32)
    targets = jp.one_hot(rng.integers(0, 1000, count), 1000)
    run = jax.jit(
        lambda net, X, targets: jax.lax.map(lambda pair: weighted(net, pair[0], pair[1], layers, True), (X, targets))
    )
    found = run(model.net, X, targets)
    rows = {layer: jax.block_until_ready(jax.vmap(scaled)(a)) for layer, (a, _) in found.items()}
    kept = {layer: percent > least_percent(percent.shape[-1]) for layer, (_, percent) in found.items()}
    on_host = {layer: (np.asarray(rows[layer]), np.asarray(kept[layer])) for layer in layers}
    keys = jax.random.split(jax.random.key(0), count)

    clustered = jax.vmap(lambda rows, kept, key: kmeans(rows, kept, key, MOST))
    on_device = jax.jit(lambda rows, kept: {layer: clustered(rows[layer], kept[layer], keys) for layer in rows})

    def host():
        work = [(r[ks], 432, MOST) for both in on_host.values() for r, ks in zip(*both, strict=True)]
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda one: tsne_clusters(*one), work))

    def device():
        return jax.tree.map(np.asarray, on_device(rows, kept))

    device()
    start = time.perf_counter()
    host()
    slow = time.perf_counter() - start
    fast = float(np.median(time_interleaved([Rival("", device)], rounds)[""]))
    number = count * len(layers)
    print(
        f"\nClusters of {len(layers)} layers of {count} images, layers a second: t-SNE on the host {number / slow:.1f}"
    )
    print(f"k-means on the device {number / fast:.1f}, {slow / fast:.0f} times as many")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    reuse_memory()
    print(machine("jaxplain", "jax", "torch", "scikit-learn"))
    torch.manual_seed(0)
    network = torchvision.models.vgg16().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    model = load("vgg16", network)
    layers = model.spec.feature_layers
    compare_parts(model, layers, network, options.rounds)
    compare_clustering(model, layers, options.images, max(3, options.rounds // 3))


if __name__ == "__main__":
    main()
