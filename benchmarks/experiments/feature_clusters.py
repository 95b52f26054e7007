"""Do clusters of features depend on the seed? python benchmarks/experiments/feature_clusters.py

For photographs of scikit-image and every feature layer of EfficientNet-Lite0, the kept channels are clustered with
several seeds, by PCA, t-SNE and Ward's linkage, and by k-means. Two clusterings are compared by their adjusted Rand
index, which is 1 for the same clusters and 0 on average for random ones of the same sizes (Hubert, Arabie, "Comparing
partitions", 1985). Printed are means over photographs with 95 % intervals, and the numbers of clusters.
"""

import argparse
import itertools
import time

import jax
import numpy as np
from sklearn.metrics import adjusted_rand_score

import jaxplain as jp
from jaxplain.clusters import kmeans
from jaxplain.explain import weighted
from jaxplain.features import least_percent, scaled, tsne_clusters
from jaxplain.models import load
from jaxplain.stats import bootstrap_interval

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "clock", "coffee", "coins", "moon", "motorcycle", "rocket", "gravel")
KINDS = ("t-SNE", "k-means", "between the two")


def rows_of(model, photograph, layers):
    """{layer: (each channel's scaled map, whether it is kept)} for the top class."""
    x = model.prepare(f"sample:{photograph}")
    target = jp.one_hot(int(np.argmax(model.net(x))), 1000)
    found = {}
    for layer, (activation, percent) in weighted(model.net, x, target, layers, True).items():
        found[layer] = np.asarray(scaled(activation)), np.asarray(percent) > least_percent(len(percent))
    return found


@jax.jit
def on_device(rows, kept, key):
    return kmeans(rows, kept, key, 8)


def compared(rows, kept, seeds):
    """The mean index within each kind and between the two, and the mean numbers of clusters."""
    host = [tsne_clusters(rows[kept], seed) for seed in range(seeds)]
    device = [np.asarray(on_device(rows, kept, jax.random.key(seed)))[kept] for seed in range(seeds)]
    within = [[adjusted_rand_score(*pair) for pair in itertools.combinations(found, 2)] for found in (host, device)]
    between = [adjusted_rand_score(*pair) for pair in itertools.product(host, device)]
    counts = [np.mean([len(set(labels.tolist())) for labels in found]) for found in (host, device)]
    return [*map(np.mean, (*within, between)), *counts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("seeds are compared with each other, so there are at least 2 --seeds")
    start, model = time.perf_counter(), load("efficientnet_lite0")
    layers = model.spec.feature_layers
    rows = [rows_of(model, name, layers).values() for name in PHOTOGRAPHS]
    found = np.array([[compared(maps, kept, options.seeds) for maps, kept in of_one] for of_one in rows])
    print("| layer | t-SNE, seeds | k-means, seeds | between the two | clusters, t-SNE | clusters, k-means |")
    print("|---|---|---|---|---|---|")
    for number, layer in enumerate((*layers, "all")):
        values = found.mean(1) if layer == "all" else found[:, number]
        low, high = map(np.asarray, bootstrap_interval(values[:, :3]))
        cells = [f"{m:.2f} ({a:.2f} to {b:.2f})" for m, a, b in zip(values[:, :3].mean(0), low, high, strict=True)]
        print(f"| {layer} | {' | '.join(cells)} | {values[:, 3].mean():.1f} | {values[:, 4].mean():.1f} |")
    print(f"\n{len(PHOTOGRAPHS)} photographs, {options.seeds} seeds, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
