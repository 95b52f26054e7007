"""Functions of explainers equal the loops that they stand for."""

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxplain as jp

NET = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
X, TARGETS = jnp.asarray(nets.images(5)), jnp.asarray(nets.targets(5))
KEY = jax.random.key(3)
CAM = {"layer": "side"}


def noise(net, x, target, *, key):
    """Standard normal noise of x's shape."""
    return jax.random.normal(key, x.shape)


def scaled(net, x, target, *, layer, scale):
    return scale * jp.grad_cam(net, x, target, layer=layer)


def loop(explain, X, targets, **options):
    alone = jax.jit(lambda x, target: explain(NET, x, target, **options))
    return jnp.stack([alone(x, target) for x, target in zip(X, targets, strict=True)])


def noisy(x, samples, sigma=0.5):
    """The images that `smooth` takes the mean over."""
    return [x + sigma * jax.random.normal(key, x.shape) for key in jax.random.split(KEY, samples)]


def test_batched_is_a_loop_over_images():
    assert_close(jp.batched(jp.grad_cam)(NET, X, TARGETS, **CAM), loop(jp.grad_cam, X, TARGETS, **CAM))
    both = jp.batched(jp.grad_cam)(NET, X, TARGETS, layer=("stem", "side"))
    assert_close(both, {name: loop(jp.grad_cam, X, TARGETS, layer=name) for name in ("stem", "side")})


def test_batched_takes_numpy_arrays():
    assert_close(jp.batched(jp.gradient)(NET, np.asarray(X), np.asarray(TARGETS)), loop(jp.gradient, X, TARGETS))


def test_batched_shares_options_unless_they_are_per_image():
    baseline = jnp.asarray(nets.images(1, seed=8)[0])
    shared = jp.batched(jp.integrated_gradients)(NET, X, TARGETS, baseline=baseline, steps=2)
    assert_close(shared, loop(jp.integrated_gradients, X, TARGETS, baseline=baseline, steps=2))

    baselines = jnp.asarray(nets.images(5, seed=9))
    own = jp.batched(jp.integrated_gradients, per_image=("baseline",))
    alone = jax.jit(lambda x, target, baseline: jp.integrated_gradients(NET, x, target, baseline=baseline, steps=2))
    each = [alone(x, target, baseline) for x, target, baseline in zip(X, TARGETS, baselines, strict=True)]
    assert_close(own(NET, X, TARGETS, baseline=baselines, steps=2), jnp.stack(each))
    assert_close(own(NET, X, TARGETS, steps=2), loop(jp.integrated_gradients, X, TARGETS, steps=2))


def test_a_key_gives_each_image_its_own_noise():
    keys = jax.random.split(KEY, 5)
    expected = jnp.stack([jax.random.normal(key, (6, 6, 3)) for key in keys])
    assert_close(jp.batched(noise)(NET, X, TARGETS, key=KEY), expected, 0)
    assert_close(jp.batched(noise)(NET, X, TARGETS, key=keys), expected, 0)
    old = jax.random.PRNGKey(3)
    assert_close(jp.batched(noise)(NET, X, TARGETS, key=old), jp.batched(noise)(NET, X, TARGETS, key=KEY), 0)
    assert_close(jp.batched(noise)(NET, X, TARGETS, key=jax.random.split(old, 5)), expected, 0)
    assert min(np.abs(expected[i] - expected[j]).max() for i in range(5) for j in range(i)) > 0.1


@pytest.mark.parametrize("transform", [jp.batched, lambda explain: jp.chunked(jp.batched(explain), 2)])
@pytest.mark.parametrize(
    ("x", "targets", "says"),
    [
        (X[0], TARGETS[:1], r"X has shape \(6, 6, 3\), but a batch"),
        (X[:0], TARGETS[:0], r"X has shape \(0, 6, 6, 3\), but a batch"),
        (X[:3], TARGETS[0], r"shape \(5,\) beside a batch of 3 images.*broadcast_to\(target, \(3, n\)\)"),
        (X[:3], TARGETS[:2], r"shape \(2, 5\) beside a batch of 3 images"),
        (X[:3], 2, r"shape \(\) beside a batch of 3 images"),
        (X, TARGETS[0], r"single number, but a covector of shape \(5,\)"),  # as many images as outputs
    ],
    ids=["one image", "empty", "one target", "too few targets", "index", "one target of five"],
)
def test_wrong_batches_raise(transform, x, targets, says):
    with pytest.raises(ValueError, match=says):
        transform(jp.gradient)(NET, x, targets)


def test_a_per_image_option_of_another_length_raises():
    with pytest.raises(ValueError, match=r"shape \(4, 6, 6, 3\) beside a batch of 5 images"):
        jp.batched(jp.integrated_gradients, per_image=("baseline",))(NET, X, TARGETS, baseline=X[:4])


def test_over_classes_is_a_loop_over_targets():
    expected = jnp.stack([jp.grad_cam(NET, X[0], target, **CAM) for target in TARGETS])
    assert_close(jp.over_classes(jp.grad_cam)(NET, X[0], TARGETS, **CAM), expected)
    ten = jp.over_classes(jp.gradient)(NET, X[0], jnp.eye(5))
    assert_close(jnp.tensordot(TARGETS[0], ten, 1), jp.gradient(NET, X[0], TARGETS[0]))


def test_over_classes_maps_no_option():
    baseline = X[1]  # 6 long, as are the targets
    targets = jnp.asarray(nets.targets(6))
    each = [jp.integrated_gradients(NET, X[0], t, baseline=baseline, steps=2) for t in targets]
    actual = jp.over_classes(jp.integrated_gradients)(NET, X[0], targets, baseline=baseline, steps=2)
    assert_close(actual, jnp.stack(each))


def test_over_classes_of_one_target_raises():
    with pytest.raises(ValueError, match="single number"):
        jp.over_classes(jp.gradient)(NET, X[0], TARGETS[0])


def test_over_classes_and_batched_in_both_orders():
    targets = jnp.asarray(nets.targets(6)).reshape(3, 2, 5)
    expected = jnp.stack([loop(jp.grad_cam, X[:2], some, **CAM) for some in targets])
    assert_close(jp.over_classes(jp.batched(jp.grad_cam))(NET, X[:2], targets, **CAM), expected)
    images_first = jp.batched(jp.over_classes(jp.grad_cam))(NET, X[:2], targets.swapaxes(0, 1), **CAM)
    assert_close(images_first, expected.swapaxes(0, 1))


def test_at_layers():
    explain = jp.at_layers(jp.grad_cam, ("stem", "side"))
    for call in (explain, jax.jit(explain)):
        maps = call(NET, X[0], TARGETS[0])
        assert list(maps) == ["stem", "side"]
    assert_close(maps, {name: jp.grad_cam(NET, X[0], TARGETS[0], layer=name) for name in ("side", "stem")})


def test_at_layers_looks_dicts_up_for_each_layer():
    explain = jp.at_layers(scaled, ("stem", "side"))
    maps = {name: jp.grad_cam(NET, X[0], TARGETS[0], layer=name) for name in ("stem", "side")}
    own = explain(NET, X[0], TARGETS[0], scale={"side": 3, "stem": 2})
    assert_close(own, {"stem": 2 * maps["stem"], "side": 3 * maps["side"]})
    assert_close(explain(NET, X[0], TARGETS[0], scale=4), {name: 4 * m for name, m in maps.items()})


def test_at_layers_passes_another_dict_on():
    def read(net, x, target, *, layer, scale):
        return scale["stem"] + len(scale)

    assert jp.at_layers(read, ("stem", "side"))(NET, X[0], TARGETS[0], scale={"stem": 2}) == {"stem": 3, "side": 3}


def test_smooth_without_noise_is_the_explainer():
    expected = jp.gradient(NET, X[0], TARGETS[0])
    for samples, chunk in ((1, None), (4, 3)):
        still = jax.jit(jp.smooth(jp.gradient, samples=samples, sigma=0.0, chunk=chunk))
        assert_close(still(NET, X[0], TARGETS[0], key=KEY), expected)


def test_smooth_is_the_mean_over_noisy_images():
    expected = jnp.mean(loop(jp.saliency, noisy(X[0], 3), [TARGETS[0]] * 3), axis=0)
    for chunk in (None, 2):
        smoothed = jax.jit(jp.smooth(jp.saliency, samples=3, sigma=0.5, chunk=chunk))
        assert_close(smoothed(NET, X[0], TARGETS[0], key=KEY), expected)
    assert np.abs(expected - jp.saliency(NET, X[0], TARGETS[0])).max() > 1e-3


def test_smooth_and_over_classes_commute():
    classes_inside = jax.jit(jp.smooth(jp.over_classes(jp.saliency), samples=3, sigma=0.5))
    classes_outside = jax.jit(jp.over_classes(jp.smooth(jp.saliency, samples=3, sigma=0.5)))
    maps = classes_inside(NET, X[0], TARGETS, key=KEY)
    assert maps.shape == (5, 6, 6)
    assert_close(classes_outside(NET, X[0], TARGETS, key=KEY), maps)


def test_smooth_of_several_maps():
    layers = ("stem", "side")
    several = jax.jit(jp.smooth(jp.grad_cam, samples=3, sigma=0.5, chunk=2), static_argnames="layer")
    images, targets = noisy(X[0], 3), [TARGETS[0]] * 3
    expected = {name: jnp.mean(loop(jp.grad_cam, images, targets, layer=name), axis=0) for name in layers}
    assert_close(several(NET, X[0], TARGETS[0], key=KEY, layer=layers), expected)


def test_smooth_in_a_batch_draws_for_each_image():
    smoothed = jp.smooth(lambda net, x, target: x, samples=2, sigma=0.5)
    each = [smoothed(NET, x, t, key=k) for x, t, k in zip(X, TARGETS, jax.random.split(KEY, 5), strict=True)]
    assert_close(jp.batched(smoothed)(NET, X, TARGETS, key=KEY), jnp.stack(each))


def test_sigma_may_be_traced():
    def mean(sigma):
        return jp.smooth(jp.gradient, samples=2, sigma=sigma)(NET, X[0], TARGETS[0], key=KEY)

    assert_close(jax.jit(mean)(0.0), jp.gradient(NET, X[0], TARGETS[0]))
    assert np.abs(jax.jit(mean)(0.5) - jax.jit(mean)(0.0)).max() > 1e-3


def counted(explain, traces):
    def noted(net, x, *rest, **options):
        traces.append(options.get("layer"))
        return explain(net, x, *rest, **options)

    return noted


@pytest.mark.parametrize("size", range(1, 8))
def test_chunked_is_batched_with_one_compilation(size):
    traces = []
    run = jax.jit(jp.batched(counted(jp.grad_cam, traces)), static_argnames="layer")
    result = jp.chunked(run, size)(NET, X, TARGETS, layer=("stem", "side"))
    assert len(traces) == 1
    assert {type(a) for a in result.values()} == {np.ndarray}
    assert_close(result, jp.batched(jp.grad_cam)(NET, X, TARGETS, layer=("stem", "side")))


@pytest.mark.parametrize("size", range(1, 8))
def test_chunks_do_not_change_keys_and_own_options(size):
    def explain(net, x, target, *, key, weight):
        return weight * noise(net, x, target, key=key)

    run = jp.batched(explain, per_image=("weight",))
    options = {"weight": jnp.arange(5.0)}
    chunks = jp.chunked(run, size, per_image=("weight",))
    expected = run(NET, X, TARGETS, key=KEY, **options)
    assert_close(chunks(NET, X, TARGETS, key=KEY, **options), expected)
    assert_close(chunks(NET, np.asarray(X), np.asarray(TARGETS), key=jax.random.split(KEY, 5), **options), expected)


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_holds_an_image(size):
    with pytest.raises(ValueError, match=f"size is {size}, but a chunk holds at least 1 image"):
        jp.chunked(jp.batched(jp.gradient), size)


@pytest.mark.parametrize("samples", [0, -1])
def test_a_mean_needs_a_draw(samples):
    with pytest.raises(ValueError, match=f"samples is {samples}, but a mean needs at least 1"):
        jp.smooth(jp.gradient, samples=samples, sigma=0.1)


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_holds_a_draw(chunk):
    with pytest.raises(ValueError, match=f"chunk is {chunk}, but at least 1"):
        jp.smooth(jp.gradient, samples=2, sigma=0.1, chunk=chunk)(NET, X[0], TARGETS[0], key=KEY)


def test_a_jitted_explainer_retraces_for_a_layer_name_only():
    traces = []
    explain = jax.jit(jp.batched(counted(jp.grad_cam, traces)), static_argnames="layer")
    other = nets.net(nets.BRANCH, nets.params(nets.BRANCH, seed=7))
    explain(NET, X, TARGETS, layer="side")
    explain(other, 2 * X, -TARGETS, layer="side")
    result = explain(NET, X, TARGETS, layer="stem")
    explain(other, X, TARGETS, layer="stem")
    assert traces == ["side", "stem"]
    assert_close(result, loop(jp.grad_cam, X, TARGETS, layer="stem"))


def test_eight_devices_equal_one():
    run = jax.jit(jp.batched(jp.integrated_gradients), static_argnames=("layer", "steps"))
    images, targets = jnp.asarray(nets.images(8)), jnp.asarray(nets.targets(8))
    options = CAM | {"steps": 2}
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = jax.device_put(NET, NamedSharding(mesh, PartitionSpec()))
    result = run(everywhere, jax.device_put(images, spread), jax.device_put(targets, spread), **options)
    assert len(result.sharding.device_set) == 8
    assert_close(result, run(NET, images, targets, **options))


@pytest.mark.parametrize("count", [2, 4])
def test_as_many_keys_as_images_or_one(count):
    keys = jax.random.split(jax.random.key(0), count)
    for several in (
        jp.batched(jp.smooth(jp.gradient, samples=2, sigma=0.1)),
        jp.chunked(jp.smooth(jp.gradient, samples=2, sigma=0.1), 2),
    ):
        with pytest.raises(ValueError, match=f"{count} keys for 3 images"):
            several(NET, X[:3], TARGETS[:3], key=keys)
