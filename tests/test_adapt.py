"""Nets made of Flax modules: the module's own outputs, with a site at every submodule's output."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from flax import linen, nnx

import jaxplain as jp
import jaxplain.adapt

X = np.random.default_rng(1).normal(size=(6, 6, 3)).astype(np.float32)
TARGET = np.random.default_rng(2).normal(size=5).astype(np.float32)
NAMES = ["stem", "norm", "block.layers.0", "block.layers.1", "block", "head"]


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        a = linen.relu(linen.Conv(4, (3, 3), name="layers.0")(x))
        return x + linen.Conv(4, (3, 3), name="layers.1")(a)


class LinenCNN(linen.Module):
    """A convolution, a BatchNorm, a nested block with a shortcut and a dense layer; x or the batch of it."""

    width: int = 4
    classes: int = 5

    def setup(self):
        self.stem = linen.Conv(self.width, (3, 3), strides=2, bias_init=linen.initializers.normal(1))
        self.norm = linen.BatchNorm()
        self.block = LinenBlock()
        self.head = linen.Dense(self.classes)

    def __call__(self, x, train=True):
        a = linen.relu(self.norm(self.stem(x), use_running_average=not train))
        return self.head(jnp.mean(self.block(a), axis=(-3, -2)))


def linen_case(seed=0):
    """(module, variables) whose BatchNorm has statistics of its own."""
    module = LinenCNN()
    variables = module.init(jax.random.key(seed), X[None], train=False)
    draw = np.random.default_rng(seed)
    stats = {"mean": draw.normal(size=4), "var": draw.uniform(0.5, 2, 4)}
    stats = {name: jnp.asarray(value, jnp.float32) for name, value in stats.items()}
    return module, variables | {"batch_stats": {"norm": stats}}  # pyright: ignore[reportOperatorIssue] Flax is typed too wide


class NNXBlock(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Conv(4, 4, (3, 3), rngs=rngs), nnx.Conv(4, 4, (3, 3), rngs=rngs)])

    def __call__(self, x):
        first, second = self.layers
        return x + second(nnx.relu(first(x)))


class NNXCNN(nnx.Module):
    """The same network as LinenCNN."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), strides=2, bias_init=nnx.initializers.normal(1), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.block = NNXBlock(rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x, scale=1.0):
        a = nnx.relu(self.norm(self.stem(x)))
        return scale * self.head(jnp.mean(self.block(a), axis=(-3, -2)))


def nnx_case(seed=0):
    module = NNXCNN(nnx.Rngs(seed))
    draw = np.random.default_rng(seed)
    module.norm.mean[...] = jnp.asarray(draw.normal(size=4), jnp.float32)
    module.norm.var[...] = jnp.asarray(draw.uniform(0.5, 2, 4), jnp.float32)
    module.eval()
    return module


def linen_pieces():
    """(outputs, net, submodules by name as functions of a batch) of the Linen network."""
    module, variables = linen_case()

    def piece(path):
        def call(bound, a):
            part = functools.reduce(getattr, path, bound)
            return part(a, use_running_average=True) if path == ["norm"] else part(a)

        return lambda a: module.apply(variables, a, method=call)

    def inner(index):
        values = variables["params"]["block"][f"layers.{index}"]
        return lambda a: linen.Conv(4, (3, 3)).apply({"params": values}, a)  # pyright: ignore[reportArgumentType] Flax is typed too narrow

    pieces = {name: piece([name]) for name in ("stem", "norm", "block", "head")}
    pieces |= {f"block.layers.{i}": inner(i) for i in (0, 1)}
    return module.apply(variables, X[None], train=False)[0], jp.from_linen(module, variables, train=False), pieces


def nnx_pieces():
    module = nnx_case()
    pieces = {"stem": module.stem, "norm": module.norm, "block": module.block, "head": module.head}
    pieces |= {f"block.layers.{i}": module.block.layers[i] for i in (0, 1)}
    return module(X[None])[0], jp.from_nnx(module), pieces


def by_hand(pieces, replace=(), start=0):
    """Every activation without its batch axis, from the submodules, in the network's literal order."""
    replace, found = dict(replace), {}

    def at(name, a):
        found[name] = replace.get(name, pieces[name](a[None])[0])
        return found[name]

    a = jax.nn.relu(at("norm", at("stem", X)))
    b = at("block.layers.1", jax.nn.relu(at("block.layers.0", a)))
    block = found["block"] = replace.get("block", a + b)
    at("head", jnp.mean(block, axis=(0, 1)))
    return found


BOTH = pytest.mark.parametrize("make", [linen_pieces, nnx_pieces], ids=["linen", "nnx"])


@BOTH
def test_outputs_are_the_modules(make):
    outputs, net, pieces = make()
    assert_close(net(X), outputs)
    assert_close(by_hand(pieces)["head"], outputs)


@BOTH
def test_sites_are_the_submodules_outputs(make):
    _, net, pieces = make()
    expected = by_hand(pieces)
    found = jp.layers(net, X)
    assert list(found) == NAMES
    for name in NAMES:
        activation, head = jp.view(net, name, X)
        assert_close(activation, expected[name])
        assert found[name].shape == expected[name].shape
        assert_close(head(activation), expected["head"])


@BOTH
@pytest.mark.parametrize("layer", NAMES[:-1])
def test_the_net_goes_on_from_another_activation(make, layer):
    _, net, pieces = make()
    activation, head = jp.view(net, layer, X)
    other = jnp.asarray(np.random.default_rng(3).normal(size=activation.shape), jnp.float32)
    expected = by_hand(pieces, {layer: other})["head"]
    assert_close(head(other), expected)
    assert np.abs(expected - net(X)).max() > 1e-3


@BOTH
@pytest.mark.parametrize("layer", ["stem", "block.layers.0", "block"])
def test_grad_cam_is_computed_by_hand(make, layer):
    _, net, pieces = make()
    a = by_hand(pieces)[layer]
    g = jax.grad(lambda a: jnp.sum(TARGET * by_hand(pieces, {layer: a})["head"]))(a)
    expected = np.sum(np.asarray(g).mean((0, 1)) * np.asarray(a), axis=-1)
    assert_close(jp.grad_cam(net, X, TARGET, layer=layer), expected)
    assert_close(jax.jit(jp.grad_cam, static_argnames="layer")(net, X, TARGET, layer=layer), expected)
    assert_close(jp.grad_cam(net, X, TARGET, layer=(layer,)), {layer: expected})


def test_linen_sites_equal_captured_intermediates():
    module, variables = linen_case()
    _, captured = module.apply(variables, X[None], train=False, capture_intermediates=True, mutable="intermediates")
    net = jp.from_linen(module, variables, train=False)
    calls = jax.tree_util.tree_leaves_with_path(captured["intermediates"])  # at (names, "__call__", 0)
    outputs = {".".join(key.key for key in path[:-2]): output for path, output in calls}
    assert set(outputs) == {*NAMES, ""}
    for name in NAMES:
        assert_close(jp.view(net, name, X)[0], outputs[name][0])


def test_call_options_are_the_modules():
    module, variables = linen_case()
    one, other = jp.from_linen(module, variables, train=False), nnx_case()
    assert_close(one(X), module.apply(variables, X[None], train=False)[0])
    assert_close(jp.from_nnx(other, scale=3.0)(X), 3 * other(X[None])[0])
    assert_close(jp.from_nnx(other, scale=1.0)(X), other(X[None])[0])


def test_modules_of_single_images():
    module, variables = linen_case()
    net = jp.from_linen(module, variables, batched=False, train=False)
    assert_close(net(X), module.apply(variables, X, train=False))
    assert_close(jp.view(net, "block", X)[0], jp.view(linen_pieces()[1], "block", X)[0])
    other = nnx_case()
    net = jp.from_nnx(other, batched=False)
    assert_close(net(X), other(X))
    assert_close(jp.view(net, "block.layers.1", X)[0], jp.view(nnx_pieces()[1], "block.layers.1", X)[0])


def linen_again(seed):
    return jp.from_linen(*linen_case(seed), train=False)


def nnx_again(seed):
    return jp.from_nnx(nnx_case(seed))


@pytest.mark.parametrize("again", [linen_again, nnx_again])
def test_one_trace_for_new_parameters_and_when_the_net_is_made_again(again):
    traces = []

    @jax.jit
    def explain(net, x):
        traces.append(1)
        return jp.grad_cam(net, x, TARGET, layer="block")

    results = [explain(again(seed), X) for seed in (0, 0, 1)]
    assert len(traces) == 1
    assert_close(results[0], results[1], 0)
    assert_close(results[2], jp.grad_cam(again(1), X, TARGET, layer="block"))
    assert np.abs(results[0] - results[2]).max() > 1e-4


@BOTH
def test_batches_of_images(make):
    _, net, _ = make()
    batch, targets = np.stack([X, 2 * X]), np.stack([TARGET, -TARGET])
    maps = jp.batched(jp.grad_cam)(net, batch, targets, layer="block")
    for i in (0, 1):
        assert_close(maps[i], jp.grad_cam(net, batch[i], targets[i], layer="block"))


def state_of(module):
    return [np.array(jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a)
            for a in jax.tree.leaves(nnx.state(module))]  # fmt: skip


def types_of(module):
    return [(path, type(node)) for path, node in nnx.iter_modules(module)]


def test_the_users_nnx_module_is_left_as_it_is():
    module = nnx_case()
    before, types = state_of(module), types_of(module)
    net = jp.from_nnx(module)
    net(X)
    jp.grad_cam(net, X, TARGET, layer="block")
    jp.layers(net, X)
    assert_close(state_of(module), before, 0)
    assert types_of(module) == types
    assert type(module.stem) is nnx.Conv
    assert type(module.block.layers[0]) is nnx.Conv


def test_the_nnx_net_is_a_copy():
    module = nnx_case()
    net = jp.from_nnx(module)
    before = net(X)
    module.head.kernel[...] = jnp.zeros((4, 5))
    assert_close(net(X), before, 0)
    assert_close(jp.from_nnx(module)(X), module(X[None])[0])


class LinenPair(linen.Module):
    @linen.compact
    def __call__(self, x):
        a = jnp.mean(linen.Conv(4, (3, 3))(x), axis=(1, 2))
        return a, x


class NNXPair(nnx.Module):
    def __call__(self, x):
        return {"logits": x}


def second(out):
    return out["logits"][0, 0]


def test_of_several_outputs_one_is_chosen():
    module = LinenPair()
    net = jp.from_linen(module, module.init(jax.random.key(0), X[None]))
    with pytest.raises(ValueError, match=r"returned a tuple, .*out\[0\] \(4,\), out\[1\] \(6, 6, 3\), .*then\(net, "):
        jp.gradient(net, X, TARGET)
    net = jp.from_nnx(NNXPair())
    with pytest.raises(
        ValueError, match=r"returned a dict, .*out\['logits'\] \(6, 6, 3\), .*then\(net, lambda out: out"
    ):
        jp.gradient(net, X, TARGET)
    expected = np.zeros_like(X)
    expected[0, 0] = 1
    assert_close(jp.gradient(jp.then(net, second), X, jnp.ones(3)), expected)


class NNXSqueezed(nnx.Module):
    def __call__(self, x):
        return jnp.mean(x, axis=(0, 1, 2))


def test_an_output_without_the_batch_axis_raises():
    with pytest.raises(ValueError, match=r"returned shape \(3,\) for a batch of one image.*batched=False"):
        jp.from_nnx(NNXSqueezed())(X)


class NNXInputs(nnx.Module):
    """An image, a map and a vector."""

    def __call__(self, x, mask, ages, scale=1.0):
        return scale * jnp.mean(x * mask, axis=(1, 2)) + ages


class LinenInputs(linen.Module):
    @linen.compact
    def __call__(self, x, mask, ages, scale=1.0):
        return scale * jnp.mean(x * mask, axis=(1, 2)) + ages


@pytest.mark.parametrize(
    "adapt",
    [lambda **given: jp.from_nnx(NNXInputs(), **given), lambda **given: jp.from_linen(LinenInputs(), {}, **given)],
    ids=["nnx", "linen"],
)
def test_arrays_among_the_options_are_inputs_beside_the_image(adapt):
    traces = []

    @jax.jit
    def explain(net, x):
        traces.append(1)
        return net(x), jp.gradient(net, x, jp.one_hot(1, 3))

    mask = np.random.default_rng(4).normal(size=(6, 6, 3)).astype(np.float32)
    for ages in (np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)):
        outputs, gradient = explain(adapt(mask=mask, ages=ages, scale=2.0), X)
        assert_close(outputs, 2 * (X * mask).mean((0, 1)) + ages)
        assert_close(gradient, 2 * mask * np.eye(3, dtype=np.float32)[1] / 36)
    assert len(traces) == 1


@BOTH
def test_a_batch_is_no_image(make):
    _, net, _ = make()
    with pytest.raises(ValueError, match="one image"):
        net(X[None])


# What a network may be made of. Each is (outputs, net, names of the sites).


def made_of_linen(module, **options):
    variables = module.init(jax.random.key(0), X[None])
    return module.apply(variables, X[None], **options)[0], jp.from_linen(module, variables, **options)


def made_of_nnx(module):
    return module(X[None])[0], jp.from_nnx(module)


def positions_mean(a):
    return jnp.mean(a, axis=(1, 2))


class Widths(linen.Module):
    """A list of widths, and submodules made in a loop."""

    widths: list[int]

    @linen.compact
    def __call__(self, x):
        for width in self.widths:
            x = linen.relu(linen.Conv(width, (3, 3))(x))
        return linen.Dense(5)(positions_mean(x))


class DoubledConv(linen.Conv):
    @linen.compact
    def __call__(self, x):
        return 2 * super().__call__(x)


class Inherits(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(5)(positions_mean(DoubledConv(4, (3, 3))(x)))


class Table(linen.Module):
    shape: tuple[int, ...]

    @linen.compact
    def __call__(self):
        return self.param("table", linen.initializers.normal(1), self.shape)


class Tables(linen.Module):
    """Submodules whose output is no activation of the image: a scalar, a channel's scale, an embedding of positions."""

    @linen.compact
    def __call__(self, x):
        a = linen.Conv(4, (3, 3))(x) * Table((4,))()[None, None, None] * Table(())()
        a = a.reshape(1, 36, 4) + linen.Embed(36, 4)(jnp.arange(36))[None]
        return linen.Dense(5)(jnp.mean(a, axis=1))


class Encoder(linen.Module):
    def setup(self):
        self.conv = linen.Conv(4, (3, 3))

    def encode(self, x):
        return self.conv(x)


class OtherMethod(linen.Module):
    def setup(self):
        self.encoder, self.head = Encoder(), linen.Dense(5)

    def __call__(self, x):
        return self.head(positions_mean(self.encoder.encode(x)))


LINEN = {
    "list of widths": (lambda: Widths([4, 5]), ["Conv_0", "Conv_1", "Dense_0"]),
    "sequential": (
        lambda: linen.Sequential([linen.Conv(4, (3, 3)), linen.relu, positions_mean, linen.Dense(5)]),
        ["layers_0", "layers_3"],
    ),
    "super().__call__": (Inherits, ["DoubledConv_0", "Dense_0"]),
    "tables": (Tables, ["Conv_0", "Dense_0"]),
    "other method": (OtherMethod, ["encoder.conv", "head"]),
}


class NNXMade(nnx.Module):
    """Two convolutions, kept and called as `keep` and `call` say, and a linear layer."""

    def __init__(self, keep, call):
        rngs = nnx.Rngs(0)
        self.parts = keep(nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Conv(4, 4, (3, 3), rngs=rngs))
        self.call = call
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        return self.head(positions_mean(self.call(self.parts, x)))


class Named(nnx.Module):
    def __init__(self, one, two):
        self.one, self.two, self.calls = one, two, 0

    def encode(self, x):
        self.calls += 1
        return self.two(self.one(x))

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return (self.one, self.two)[i]


class NNXTable(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.positions = nnx.Embed(36, 3, rngs=rngs)
        self.head = nnx.Linear(3, 5, rngs=rngs)

    def __call__(self, x):
        return self.head(jnp.mean(x.reshape(1, 36, 3) + self.positions(jnp.arange(36))[None], axis=1))


class NNXKind(nnx.Module):
    """Asks its submodule's type."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv, self.head = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        a = self.conv(x)
        return self.head(positions_mean(a + 1 if isinstance(self.conv, nnx.Conv) else a))


def in_turn(parts, x):
    for part in parts:
        x = nnx.relu(part(x))
    return x


def by_key(parts, x):
    return parts["two"](parts["one"](x))


def by_index(parts, x):
    return parts[len(parts) - 1](parts[0](x))


TWO = ["parts.0", "parts.1", "head"]
ONE_TWO = ["parts.one", "parts.two", "head"]
NNX = {
    "list": (lambda: NNXMade(lambda *two: nnx.List(two), in_turn), TWO),
    "data list": (lambda: NNXMade(lambda *two: nnx.data(list(two)), in_turn), TWO),
    "data tuple": (lambda: NNXMade(lambda *two: nnx.data(two), in_turn), TWO),
    "dict": (lambda: NNXMade(lambda one, two: nnx.Dict(one=one, two=two), by_key), ONE_TWO),
    "data dict": (lambda: NNXMade(lambda one, two: nnx.data({"one": one, "two": two}), by_key), ONE_TWO),
    "sequential": (
        lambda: NNXMade(lambda one, two: nnx.Sequential(one, nnx.relu, two), lambda parts, x: parts(x)),
        ["parts.layers.0", "parts.layers.2", "parts", "head"],
    ),
    "sequential at the top": (
        lambda: nnx.Sequential(nnx.Conv(3, 5, (3, 3), rngs=nnx.Rngs(0)), nnx.relu, positions_mean),
        ["layers.0"],
    ),
    "other method": (lambda: NNXMade(Named, lambda parts, x: parts.encode(x)), ONE_TWO),
    "indexed module": (lambda: NNXMade(Named, by_index), ONE_TWO),
    "table": (NNXTable, ["head"]),
    "asks the type": (NNXKind, ["conv", "head"]),
}
MADE = [pytest.param(made_of_linen, *case, id=f"linen {name}") for name, case in LINEN.items()]
MADE += [pytest.param(made_of_nnx, *case, id=f"nnx {name}") for name, case in NNX.items()]


@pytest.mark.parametrize(("adapt", "make", "names"), MADE)
def test_networks_of_every_make(adapt, make, names):
    outputs, net = adapt(make())
    assert_close(net(X), outputs)
    assert list(jp.layers(net, X)) == names
    activation, head = jp.view(net, names[0], X)
    assert_close(head(activation), outputs)
    assert np.abs(head(activation + 1) - outputs).max() > 1e-3


def test_one_trace_for_a_module_with_a_list_that_is_made_again():
    traces = []

    @jax.jit
    def run(net):
        traces.append(1)
        return net(X)

    for _ in range(2):
        run(made_of_linen(Widths([4, 5]))[1])
    run(made_of_linen(Widths([4, 6]))[1])
    assert len(traces) == 2


class LinenTwice(linen.Module):
    def setup(self):
        self.conv, self.head = linen.Conv(3, (3, 3)), linen.Dense(5)

    def __call__(self, x):
        return self.head(positions_mean(self.conv(self.conv(x))))


class NNXTwice(nnx.Module):
    """One convolution that is called twice, the second time under another name if it is aliased."""

    def __init__(self, aliased):
        rngs = nnx.Rngs(0)
        self.conv, self.head = nnx.Conv(3, 3, (3, 3), rngs=rngs), nnx.Linear(3, 5, rngs=rngs)
        self.again = self.conv if aliased else None

    def __call__(self, x):
        return self.head(positions_mean((self.again or self.conv)(self.conv(x))))


@pytest.mark.parametrize(
    ("adapt", "make", "layer"),
    [
        (made_of_linen, LinenTwice, "conv"),
        (made_of_nnx, lambda: NNXTwice(False), "conv"),
        (made_of_nnx, lambda: NNXTwice(True), "again"),
    ],
    ids=["linen", "nnx", "nnx alias"],
)
def test_a_submodule_with_parameters_called_twice_raises_when_it_is_asked_for(adapt, make, layer):
    outputs, net = adapt(make())
    assert_close(net(X), outputs)
    assert list(jp.layers(net, X)) == ["head"]
    assert jp.saliency(net, X, TARGET).shape == (6, 6)
    with pytest.raises(ValueError, match=f"the layer name {layer!r} twice"):
        jp.grad_cam(net, X, TARGET, layer=layer)


class WithFunctions(linen.Module):
    named: bool

    @linen.compact
    def __call__(self, x):
        relu = jp.linen_layer(linen.relu, name="relu") if self.named else linen.relu
        return linen.Dense(5, name="head")(positions_mean(relu(-relu(linen.Conv(4, (3, 3), name="conv")(x)) + 1)))


class NNXFunctions(nnx.Module):
    def __init__(self, named):
        rngs = nnx.Rngs(0)
        self.conv, self.head = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Linear(4, 5, rngs=rngs)
        self.relu = jp.nnx_layer(nnx.relu) if named else nnx.relu
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.eval()

    def __call__(self, x):
        return self.head(positions_mean(self.drop(self.relu(-self.drop(self.relu(self.conv(x))) + 1))))


@pytest.mark.parametrize(
    ("adapt", "make", "names"),
    [
        (made_of_linen, WithFunctions, ["conv", "relu", "relu_1", "head"]),
        (made_of_nnx, NNXFunctions, ["conv", "relu", "drop", "relu_1", "drop_1", "head"]),
    ],
    ids=["linen", "nnx"],
)
def test_functions_become_layers_and_repeated_ones_are_numbered(adapt, make, names):
    """Of submodules without parameters, which also run twice in a network with ambiguous names."""
    assert "invisible" in (jaxplain.adapt.__doc__ or "")
    plain, named = (adapt(make(named)) for named in (False, True))
    assert not [name for name in jp.layers(plain[1], X) if name.startswith("relu")]
    assert list(jp.layers(named[1], X)) == names
    assert_close(named[0], plain[0])
    first = np.maximum(jp.view(plain[1], "conv", X)[0], 0)
    assert_close(jp.view(named[1], "relu", X)[0], first)
    activation, head = jp.view(named[1], "relu_1", X)
    assert_close(activation, np.maximum(1 - first, 0))
    assert_close(head(activation), named[0])
    assert np.abs(head(activation + 1) - named[0]).max() > 1e-3


class NNXVmapped(nnx.Module):
    def __init__(self):
        self.head = nnx.Linear(3, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return positions_mean(jax.vmap(self.head)(x))


def test_what_is_computed_inside_of_a_vmap_is_no_layer():
    module = NNXVmapped()
    net = jp.from_nnx(module)
    assert jp.layers(net, X) == {}
    assert_close(net(X), module(X[None])[0])
    assert jp.saliency(net, X, TARGET).shape == (6, 6)


# What runs as in training is refused: a frozen mask of dropout and the statistics of one image give wrong maps.


class NNXDrops(nnx.Module):
    """Dropout and a BatchNorm; `train` is handed on where it is given."""

    def __init__(self, rate=0.5):
        rngs = nnx.Rngs(0)
        self.conv, self.norm = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.drop, self.head = nnx.Dropout(rate, rngs=rngs), nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x, train=None):
        given: Any = {} if train is None else {"use_running_average": not train}
        a = self.norm(self.conv(x), **given)
        given = {} if train is None else {"deterministic": not train}
        a = self.drop(a, **given)
        return self.head(positions_mean(a))


class NNXNoise(nnx.Module):
    """Random numbers that no flag turns off."""

    def __init__(self):
        self.conv, self.rngs = nnx.Conv(3, 5, (3, 3), rngs=nnx.Rngs(0)), nnx.Rngs(1)

    def __call__(self, x):
        return positions_mean(self.conv(x)) * jax.random.bernoulli(self.rngs.noise(), 0.5)


def test_an_nnx_module_in_training_mode_raises():
    module = NNXDrops()
    before = state_of(module)
    says = r"by drop \(deterministic=False\), norm \(use_running_average=False\): call model\.eval\(\) first\."
    with pytest.raises(ValueError, match=says):
        jp.from_nnx(module)
    assert_close(state_of(module), before, 0)
    module.eval()
    assert_close(jp.from_nnx(module)(X), module(X[None])[0])


def test_dropout_of_rate_0_is_no_training():
    module = NNXDrops(rate=0.0)
    module.norm.use_running_average = True
    assert_close(jp.from_nnx(module)(X), module(X[None])[0])


def test_the_options_of_an_nnx_call_decide_over_its_mode():
    module = NNXDrops()
    assert_close(jp.from_nnx(module, train=False)(X), module(X[None], train=False)[0])
    module.eval()
    says = r"by norm \(use_running_average=False\), drop \(deterministic=False\), drop \(draws random numbers\): call"
    with pytest.raises(ValueError, match=says):
        jp.saliency(jp.from_nnx(module, train=True), X, TARGET)


def test_an_nnx_module_that_draws_raises():
    with pytest.raises(ValueError, match=r"by rngs \(draws random numbers\)"):
        jp.from_nnx(NNXNoise())(X)


class LinenDrops(linen.Module):
    rate: float = 0.5
    told: bool = True

    @linen.compact
    def __call__(self, x, train=True):
        told: Any = {"deterministic": not train} if self.told else {}
        a = linen.BatchNorm(use_running_average=not train, name="norm")(linen.Conv(4, (3, 3), name="conv")(x))
        a = linen.Dropout(self.rate, name="drop")(a, **told)
        return linen.Dense(5, name="head")(positions_mean(a))


class LinenNoise(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(5)(positions_mean(x)) * jax.random.bernoulli(self.make_rng("noise"), 0.5)


def test_a_linen_module_in_training_mode_raises_our_sentence():
    module = LinenDrops()
    variables = module.init(jax.random.key(0), X[None], train=False)
    says = r"by norm \(use_running_average=False\), drop \(deterministic=False\): give from_linen .*train=False"
    with pytest.raises(ValueError, match=says):
        jp.saliency(jp.from_linen(module, variables), X, TARGET)
    with pytest.raises(ValueError, match=r"by norm \(use_running_average=False\): give"):
        jp.from_linen(LinenDrops(rate=0.0), variables)(X)
    with pytest.raises(ValueError, match=r"by drop \(deterministic=None\): give"):
        jp.from_linen(LinenDrops(told=False), variables, train=False)(X)
    assert_close(jp.from_linen(module, variables, train=False)(X), module.apply(variables, X[None], train=False)[0])


def test_a_linen_module_that_draws_raises_our_sentence():
    module = LinenNoise()
    variables = module.init({"params": jax.random.key(0), "noise": jax.random.key(1)}, X[None])
    with pytest.raises(ValueError, match=r'in training mode, by .*needs PRNG for "noise".*: give from_linen'):
        jp.from_linen(module, variables)(X)


@pytest.mark.parametrize(
    ("adapt", "says"),
    [
        (lambda: jp.from_nnx(LinenCNN()), r"This is a Linen module, but an NNX module is expected: use from_linen"),
        (lambda: jp.from_linen(nnx_case(), {}), r"This is an NNX module, but a Linen module is expected: use from_nnx"),
        (lambda: jp.from_nnx(NNXCNN), r"This is the class NNXCNN, but an NNX module is expected: make one, NNXCNN"),
        (lambda: jp.from_nnx(torch.nn.Linear(1, 1)), r"This is a torch module, .*jaxplain\.models\.load"),
        (lambda: jp.from_nnx({"params": 1}), r"This is a dict, but an NNX module is expected\."),
        (lambda: jp.from_nnx(jnp.tanh), r"but an NNX module is expected\."),
    ],
    ids=["linen", "nnx", "class", "torch", "dict", "function"],
)
def test_what_is_no_module_of_the_framework_raises(adapt, says):
    with pytest.raises(ValueError, match=says):
        adapt()
