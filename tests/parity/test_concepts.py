"""Concept attributions of EfficientNet-Lite0: complete at the published steps, and equal to the equations in torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from parity.torch_nets import PHOTOS, lite, to_torch

import jaxplain as jp
from jaxplain.explain import Concept
from jaxplain.models import load

pytestmark = pytest.mark.slow

# A layer of values of both signs, whose rest bends, and one whose rest is linear.
LAYERS = ("_blocks.12", "_swish2")
TOP = 2


def known(activation):
    """Three concepts that the layer knows: directions with the signs of what it sees, and scales of its responses."""
    signs = jnp.sign(jnp.mean(activation, axis=(0, 1)))[None]
    directions = jax.random.normal(jax.random.key(2), (3, activation.shape[-1])) + 0.3 * signs
    responses = jax.nn.relu(jnp.einsum("hwc,kc->khw", activation, directions))
    return Concept(directions, *(jnp.quantile(responses, q, axis=(1, 2)) for q in (0.3, 0.95)))


@functools.partial(jax.jit, static_argnames="layers")
def explained(net, x, layers):
    """The likeliest classes of an image, and concepts and attributions at each layer."""
    targets = jp.top(net(x), TOP)
    concepts = {layer: known(jp.view(net, layer, x)[0]) for layer in layers}
    explain = jp.over_classes(jp.at_layers(jp.concept_attribution, layers))
    return targets, concepts, explain(net, x, targets, concepts=concepts, chunk=17)


@pytest.fixture(scope="module")
def photos():
    prepare = load("efficientnet_lite0").prepare
    return [prepare(f"sample:{photo}") for photo in PHOTOS[:2]]


@pytest.fixture(scope="module")
def found(photos):
    """What is explained of each photograph."""
    return [explained(lite().net, x, LAYERS) for x in photos]


def test_fifty_steps_are_complete(found):
    """Within 2 %, and exactly where the rest of the network is linear."""
    for _, _, ours in found:
        bent, linear = (ours[layer] for layer in LAYERS)
        assert (bent.error < 0.02).all()
        assert (linear.error < 1e-5).all()
        for layer in (bent, linear):
            assert layer.share.max() < 1 + 1e-5
            assert (layer.values <= layer.share[:, None]).all()
            assert (layer.values >= 0).all()


def in_torch(module, at, x, k, concepts, steps):
    """(values, share) of class k: the method with the layer's output replaced by points on the path from zero."""
    seen = {}
    hook = at.register_forward_hook(lambda _, __, output: seen.update(a=output))
    module(x)
    hook.remove()
    a = seen["a"].detach()
    path = (torch.linspace(0, 1, steps + 1)[:, None, None, None] * a).requires_grad_(True)
    hook = at.register_forward_hook(lambda *_: path)
    z = module(x)
    hook.remove()
    (g,) = torch.autograd.grad(z[:, k].sum(), path)
    b = ((g[:-1] + g[1:]) / 2).mean(0) * a[0]
    gains = (z[-1] - z[0]).detach().clamp(min=0)
    share = gains[k] / gains.max()
    scaled = b.clamp(min=0) / (b.clamp(min=0).sum() + 1e-7) * share
    values = []
    for v, low, high in zip(*(torch.tensor(np.asarray(c)) for c in concepts), strict=True):
        heat = ((torch.einsum("chw,c->hw", a[0], v).clamp(min=0) - low) / (high - low)).clamp(0, 1)
        sign = torch.where((a[0] * heat).sum((1, 2)) < 0, -1.0, 1.0)
        u = (v * sign).clamp(min=0)
        values.append(float((u / u.max()) @ (scaled * heat).sum((1, 2))))
    return np.array(values), share.numpy()


def test_attributions_are_those_of_torch(photos, found):
    x, (targets, concepts, ours) = photos[0], found[0]
    for layer in LAYERS:
        for i, k in enumerate(np.argmax(targets, axis=1)):
            at, image = lite().layer(layer), to_torch(x).detach()
            values, share = in_torch(lite().module, at, image, int(k), concepts[layer], 50)
            assert np.count_nonzero(values) == 3
            assert_close(ours[layer].values[i], values, 1e-3)
            assert_close(ours[layer].share[i], share, 1e-4)
