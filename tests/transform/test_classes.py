"""Active and inactive equal the loop over classes that the paper's authors wrote, and its consequences hold."""

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import jaxplain as jp

few = settings(max_examples=20, deadline=None, derandomize=True)
BOTH = pytest.mark.parametrize("transform", [jp.active, jp.inactive], ids=lambda transform: transform.__name__)
X, N = jnp.asarray(nets.images(1)[0]), nets.CLASSES
NET = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
KEY = jax.random.key(3)


def linear(kernel, x, site=jp.untouched):
    return jnp.tensordot(site("x", x), kernel, 3)


# three classes' weights of four pixels with one channel
HAND = Partial(linear, jnp.array([[3.0, -1, 2, -5], [1, -2, 2, -4], [-1, -3, 0, 0]]).T.reshape(1, 4, 1, 3))
PIXELS = jnp.ones((1, 4, 1))


@jax.jit
def gradients(net, x):
    """The gradient of every output (n, H, W, 3)."""
    return jp.over_classes(jp.gradient)(net, x, jnp.eye(N))


def zeroed(gradients, k, loses, order):
    """The authors' algorithm: class by class, what loses against a rival becomes 0."""
    kept = np.array(gradients[k])
    for j in order:
        if j != k:
            kept[loses(kept, gradients[j])] = 0
    return kept


@pytest.mark.parametrize(
    ("k", "active", "inactive"),
    [(0, [3, -1, 0, 0], [0, 0, 0, -5]), (1, [0, 0, 0, 0], [0, 0, 0, 0]), (2, [0, 0, 0, 0], [-1, -3, 0, 0])],
)
def test_a_linear_net_by_hand(k, active, inactive):
    """Negative values may be the largest, and of equal ones none is."""
    target = jp.one_hot(k, 3)
    assert_close(jp.active(jp.gradient)(HAND, PIXELS, target).ravel(), np.array(active), 0)
    assert_close(jp.inactive(jp.gradient)(HAND, PIXELS, target).ravel(), np.array(inactive), 0)


IN_CHUNKS = {chunk: jax.jit(jp.active_and_inactive(jp.gradient, chunk=chunk)) for chunk in (1, 3, N, N + 1)}


@few
@given(st.integers(0, 20), st.integers(0, N - 1), st.sampled_from([*IN_CHUNKS]), st.permutations(range(N)))
def test_any_chunk_and_order_of_classes_give_the_same(seed, k, chunk, order):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH, seed))
    of_all = np.asarray(gradients(net, X))
    kept = IN_CHUNKS[chunk](net, X, jp.one_hot(k, N))
    expected = tuple(zeroed(of_all, k, loses, order) for loses in (np.less_equal, np.greater_equal))
    assert_close(kept, expected)
    for ours, theirs in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(ours != 0, theirs != 0)


@pytest.mark.parametrize("k", [0, 1])
def test_among_two_classes_it_is_the_sign_of_the_difference(k):
    values = nets.params(nets.BRANCH)
    net = nets.net(nets.BRANCH, values | {name: values[name][..., :2] for name in ("dense", "offset")})
    own, margin = (jp.gradient(net, X, target) for target in (jp.one_hot(k, 2), jp.contrast(k, 1 - k, 2)))
    assert_close(jp.active(jp.gradient)(net, X, jp.one_hot(k, 2)), np.where(margin > 0, own, 0))
    assert_close(jp.inactive(jp.gradient)(net, X, jp.one_hot(k, 2)), np.where(margin < 0, own, 0))


def plus(net, scale, x, site=jp.untouched):
    """The net with a function of the image added to every logit."""
    return net(x, site) + scale * jnp.sum(jnp.sin(3 * x)) * jnp.ones(N)


def kept_sets(net, k):
    """What is kept, and how far each element is from being kept or not."""
    of_all = np.asarray(gradients(net, X))
    rivals = np.delete(of_all, k, 0)
    nearest = np.minimum(np.abs(of_all[k] - rivals.max(0)), np.abs(of_all[k] - rivals.min(0)))
    return [np.asarray(a) != 0 for a in both_kept(net, X, jp.one_hot(k, N))], nearest


@jax.jit
def both_kept(net, x, target):
    return jp.active_and_inactive(jp.gradient)(net, x, target)


@few
@given(st.integers(0, 20), st.integers(0, N - 1), st.floats(-3, 3))
def test_adding_a_function_to_all_logits_changes_no_set(seed, k, scale):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH, seed))
    sets, margin = kept_sets(net, k)
    for same in (Partial(plus, net, jnp.float32(scale)), jp.then(net, jax.nn.log_softmax)):
        for ours, theirs in zip(sets, kept_sets(same, k)[0], strict=True):
            np.testing.assert_array_equal(ours[margin > 1e-5], theirs[margin > 1e-5])


def test_adding_a_function_to_all_logits_changes_signs():
    signs = jp.gradient(NET, X, jp.one_hot(2, N)) > 0
    assert (signs != (jp.gradient(Partial(plus, NET, jnp.float32(3)), X, jp.one_hot(2, N)) > 0)).any()


@BOTH
def test_scaling_all_logits_scales_what_is_kept(transform):
    target = jp.one_hot(2, N)
    kept = transform(jp.gradient)(NET, X, target)
    assert_close(transform(jp.gradient)(jp.then(NET, tripled), X, target), 3 * kept)
    assert 0 < jnp.sum(kept != 0) < kept.size


def tripled(outputs):
    return 3 * outputs


@BOTH
def test_constant_logits_keep_nothing(transform):
    def constant(value, x, site=jp.untouched):
        return value * jnp.ones(N) + 0 * jnp.sum(x)

    kept = transform(jp.gradient)(Partial(constant, jnp.float32(2)), X, jp.one_hot(2, N))
    assert_close(kept, np.zeros_like(X), 0)


def test_both_at_once_are_each_alone():
    target = jp.one_hot(2, N)
    both = jp.active_and_inactive(jp.gradient, chunk=2)(NET, X, target)
    assert_close(both, tuple(t(jp.gradient, chunk=3)(NET, X, target) for t in (jp.active, jp.inactive)))
    assert not np.logical_and(both[0] != 0, both[1] != 0).any()


@BOTH
@pytest.mark.parametrize(
    ("explain", "options"),
    [
        (jp.integrated_gradients, {"steps": 3, "baseline": jnp.full_like(X, 0.2)}),
        (jp.smooth(jp.gradient, samples=4, sigma=0.3), {"key": KEY}),
        (jp.hires_cam, {"layer": "side"}),
        (jp.grad_cam, {"layer": ("stem", "side")}),
    ],
    ids=["integrated_gradients", "smooth", "hires_cam", "grad_cam"],
)
def test_any_linear_explainer_with_its_options(transform, explain, options):
    """Signed values are averaged before they are compared; a dict of maps is compared map by map."""
    maps = [explain(NET, X, target, **options) for target in jnp.eye(N)]
    loses = np.less_equal if transform is jp.active else np.greater_equal
    expected = jax.tree.map(lambda *maps: zeroed([np.asarray(m) for m in maps], 1, loses, range(N)), *maps)
    assert_close(transform(explain, chunk=2)(NET, X, jp.one_hot(1, N), **options), expected)


@BOTH
@pytest.mark.parametrize(
    ("explain", "options"),
    [
        (jp.saliency, {}),
        (jp.negative_saliency, {}),
        (jp.layer_cam, {"layer": ("stem", "side")}),
        (jp.smooth(jp.saliency, samples=2, sigma=0.1), {"key": KEY}),
    ],
    ids=["saliency", "negative_saliency", "layer_cam", "smooth"],
)
def test_an_explainer_that_is_not_linear_raises(transform, explain, options):
    with pytest.raises(ValueError, match="not linear in the target"):
        transform(explain)(NET, X, jp.one_hot(1, N), **options)


@BOTH
def test_over_classes_and_images(transform):
    explain, targets = transform(jp.gradient, chunk=2), jnp.eye(N)[jnp.array([3, 0])]
    expected = jnp.stack([explain(NET, X, target) for target in targets])
    assert_close(jax.jit(jp.over_classes(explain))(NET, X, targets), expected)
    assert_close(jax.jit(jp.batched(explain))(NET, jnp.stack([X, X]), targets), expected)


@pytest.mark.parametrize("chunk", [2, 16])
def test_all_classes_share_one_forward_pass(chunk):
    passes = []

    def counted(net, x, site=jp.untouched):
        jax.debug.callback(lambda: passes.append(1))
        return net(x, site)

    explain = jax.jit(jp.active_and_inactive(jp.gradient, chunk=chunk))
    jax.block_until_ready(explain(Partial(counted, NET), X, jp.one_hot(2, N)))
    jax.effects_barrier()
    assert len(passes) == 1


def wide(params, x, site=jp.untouched):
    layout = ("NHWC", "HWIO", "NHWC")
    a = jnp.tanh(jax.lax.conv_general_dilated(x[None], params[0], (1, 1), "SAME", dimension_numbers=layout)[0])
    return jnp.mean(site("conv", a), axis=(0, 1)) @ params[1]


def temporary_bytes(classes, chunk):
    net, x = Partial(wide, (jnp.ones((3, 3, 3, 16)), jnp.ones((16, classes)))), jnp.ones((48, 48, 3))
    explain = jax.jit(lambda net, x, target: jp.active_saliency(net, x, target, chunk=chunk))
    return explain.lower(net, x, jnp.ones(classes)).compile().memory_analysis().temp_size_in_bytes  # pyright: ignore[reportOptionalMemberAccess] the CPU has it


def test_memory_does_not_grow_with_the_number_of_classes():
    with jax.default_device(jax.devices("cpu")[0]):  # on a GPU cuBLAS takes 32 MB of its own
        few, many, unchunked = temporary_bytes(16, 8), temporary_bytes(1000, 8), temporary_bytes(1000, 1000)
    assert many <= 1.05 * few + 4 * 16 * 1000
    assert unchunked > 8 * many


@BOTH
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (3, r"target has shape \(\).*covector"),
        (np.ones(1, np.float32), r"target has shape \(1,\).*at least 2"),
        (np.eye(N, dtype=np.float32), rf"target has shape \({N}, {N}\)"),
        (np.zeros(N, np.float32), r"not one class.*one_hot\(k, n\)"),
        (2 * np.eye(N, dtype=np.float32)[1], "not one class"),
        (np.full(N, 1 / N, np.float32), "not one class"),
        (np.array([1, -1, 1, 0, 0], np.float32), "not one class"),
        (np.array([0, 1, -1, 0, 0], np.float32), "not one class"),
        (np.eye(N + 1, dtype=np.float32)[1], r"target has shape \(6,\), but the net's outputs have shape \(5,\)"),
    ],
    ids=["number", "one class", "many", "zeros", "twice", "mean", "sum", "contrast", "other net"],
)
def test_a_target_that_is_no_class_raises(transform, target, says):
    with pytest.raises(ValueError, match=says):
        transform(jp.gradient)(NET, X, target)
    with pytest.raises(ValueError, match=says):
        jax.jit(lambda net, x: transform(jp.gradient)(net, x, target))(NET, X)


@BOTH
@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_below_one_raises(transform, chunk):
    with pytest.raises(ValueError, match=f"chunk is {chunk}, but at least 1"):
        transform(jp.gradient, chunk=chunk)(NET, X, jp.one_hot(2, N))
