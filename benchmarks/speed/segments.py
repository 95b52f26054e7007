"""Superpixels and SeCAM against scikit-image and LIME: python benchmarks/speed/segments.py

SLIC of photographs at 224 x 224, 50 segments, 10 iterations: one image, and a batch of 32 under vmap, against
scikit-image's slic, which joins parts by its own rule; ours is timed with its fixed number of label-propagation steps,
and for one image also with `connected`, scikit-image's rule, on the host. Then an explanation of one image by SeCAM,
segmentation included, against LIME with 1,000 samples on the same network and segments: ours, and the lime package's
with its batches through the same compiled network. And FAM against a forward pass.

Networks have random weights. SeCAM and LIME are so far apart that LIME is run a few times only.
"""

import argparse
import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from harness import Rival, machine, reuse_memory, table, time_interleaved
from lime.lime_image import LimeImageExplainer
from skimage import data
from skimage.segmentation import slic
from skimage.transform import resize

import jaxplain as jp
from jaxplain.models import Model, load

SIDE, SEGMENTS, BATCH = 224, 50, 32
NETWORKS = ("resnet50", "vgg16", "inception_v3")
PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")


def photographs(count: int, side: int = SIDE) -> np.ndarray:
    """(count, side, side, 3) in [0, 1], crops of sample photographs."""
    draw = np.random.default_rng(0)
    whole = [resize(getattr(data, name)(), (side + 60, side + 60)).astype(np.float32) for name in PHOTOGRAPHS]
    places = draw.integers(0, 60, (count, 2))
    return np.stack([whole[i % len(whole)][y : y + side, x : x + side] for i, (y, x) in enumerate(places)])


ours = jax.jit(functools.partial(jp.slic, num_segments=SEGMENTS))
ours_of_batch = jax.jit(jax.vmap(functools.partial(jp.slic, num_segments=SEGMENTS)))


def theirs(pixels: np.ndarray) -> np.ndarray:
    return slic(pixels, n_segments=SEGMENTS, compactness=10, start_label=0)


def superpixels(rounds: int) -> str:
    X = photographs(BATCH)
    one = [
        Rival("jaxplain", lambda: np.asarray(ours(X[0]))),
        Rival("jaxplain, then connected", lambda: jp.connected(np.asarray(ours(X[0])))),
        Rival("scikit-image", lambda: theirs(X[0])),
    ]
    many = [
        Rival("jaxplain, vmap", lambda: np.asarray(ours_of_batch(X))),
        Rival("scikit-image, a loop", lambda: np.stack([theirs(x) for x in X])),
    ]
    single, batch = (time_interleaved(rivals, rounds, warm_up=1) for rivals in (one, many))
    return f"## SLIC, one image\n\n{table(single, 1)}\n\n## SLIC, {BATCH} images\n\n{table(batch, BATCH)}"


def seconds(f: Callable[[], object], times: int) -> float:
    """The median of some calls of what is compiled already."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        f()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def explanations(model: Model, samples: int, times: int) -> tuple[float, float, float]:
    """Seconds of SeCAM, of our LIME and of the lime package's, for one image."""
    side = model.spec.input_size
    pixels = photographs(1, side)[0]
    target, layer = jp.one_hot(0, 1000), model.spec.cam_layer
    net = jp.before(model.net, model.normalise)
    probable = jp.then(net, jax.nn.softmax)

    @jax.jit
    def secam(net, pixels):
        segments = jp.slic(pixels, num_segments=SEGMENTS)
        return jp.secam(net, pixels, target, layer=layer, segments=segments, num_segments=SEGMENTS)

    labels = ours(pixels)
    options = {"key": jax.random.key(0), "segments": labels}
    lime = jax.jit(functools.partial(jp.lime, num_segments=SEGMENTS, samples=samples, fill=0.5))
    lime = lime.lower(probable, pixels, target, **options).compile()
    batch = jax.jit(lambda net, X: jax.vmap(net)(X))
    jax.block_until_ready((batch(probable, jnp.zeros((16, side, side, 3))), secam(net, pixels)))

    def package():
        explainer = LimeImageExplainer(random_state=0, verbose=False)
        return explainer.explain_instance(
            pixels.astype(np.float64), lambda X: np.asarray(batch(probable, jnp.asarray(X, jnp.float32))), labels=(0,),
            top_labels=None, hide_color=0.5, num_samples=samples, batch_size=16,
            segmentation_fn=lambda _: np.asarray(labels),
        )  # fmt: skip

    return (
        seconds(lambda: np.asarray(secam(net, pixels)), 15),
        seconds(lambda: np.asarray(lime(probable, pixels, target, **options)), times),
        seconds(package, times),
    )


def times_of_the_paper(samples: int, times: int) -> str:
    rows = [f"| | SeCAM, s | LIME of {samples} samples, s | ratio | the lime package, s | ratio |", "|---" * 6 + "|"]
    for name in NETWORKS:
        secam, lime, package = explanations(load(name, jax.random.key(0)), samples, times)
        rows.append(
            f"| {name} | {secam:.3f} | {lime:.1f} | {lime / secam:.0f} | {package:.1f} | {package / secam:.0f} |"
        )
        print(rows[-1], flush=True)
    return "## SeCAM and LIME, one image\n\n" + "\n".join(rows)


def fam(rounds: int) -> str:
    """FAM with a prototype, and the forward pass that it needs."""
    model = load("resnet50", jax.random.key(0))
    x, reference = jnp.asarray(photographs(1)[0]), jnp.ones(2048)
    forward = jax.jit(lambda net, x: net(x))
    explain = jax.jit(functools.partial(jp.fam, layer="layer4"))
    rivals = [
        Rival("FAM", lambda: np.asarray(explain(model.net, x, reference))),
        Rival("forward pass", lambda: np.asarray(forward(model.net, x))),
    ]
    return f"## FAM, ResNet50, one image\n\n{table(time_interleaved(rivals, rounds, warm_up=1), 1)}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--samples", type=int, default=1000, help="of LIME")
    arguments.add_argument("--times", type=int, default=1, help="that LIME is timed")
    options = arguments.parse_args()
    print(f"{machine('jaxplain', 'jax', 'scikit-image', 'lime')}\n", flush=True)
    print(superpixels(options.rounds), flush=True)
    print(f"\n{fam(options.rounds)}\n", flush=True)
    print(f"\n{times_of_the_paper(options.samples, options.times)}")


if __name__ == "__main__":
    reuse_memory()
    main()
