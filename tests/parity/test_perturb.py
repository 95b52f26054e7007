"""Methods without gradients, and measures, equal those of captum, pytorch-grad-cam, RISE's authors and scikit-learn.

Methods on EfficientNet-Lite0 with its own weights; measures on a smooth net, whose gradients have no kinks.
"""

import functools
from typing import Any, NamedTuple

import captum.attr
import captum.metrics
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
import pytorch_grad_cam
import torch
from compare import assert_close
from parity.torch_nets import from_torch, lite, noise, to_torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from skimage.segmentation import slic
from sklearn.linear_model import Ridge
from table import rise_masks
from torch.nn import functional

import jaxplain as jp
from jaxplain import metrics

pytestmark = pytest.mark.slow

K, KEY, TOLERANCE = 285, jax.random.key(4), 1e-4
SIZE = (96, 128)
RECTIFIED = "_blocks.0._swish1"
X, TARGET = noise(*SIZE), jp.one_hot(K, 1000)


@pytest.fixture(scope="module")
def twins():
    return lite()


def torch_scores(twins, images):
    """Class K's outputs of torch for images (N, H, W, 3)."""
    batch = torch.tensor(np.moveaxis(np.asarray(images, np.float32), -1, 1).copy())
    with torch.no_grad():
        return twins.module(batch)[:, K].numpy()


def test_occlusion_is_captums(twins):
    """Windows overlap, and do not divide the image: the last ones are cut off."""
    colour = np.array([0.5, -0.5, 0.1], np.float32)
    ours = jax.jit(lambda net, x: jp.occlusion(net, x, TARGET, window=(32, 40), stride=(20, 24), fill=colour))
    theirs = captum.attr.Occlusion(twins.module).attribute(
        to_torch(X).detach(),
        sliding_window_shapes=(3, 32, 40),
        strides=(3, 20, 24),
        baselines=torch.tensor(np.broadcast_to(colour[:, None, None], (1, 3, *SIZE)).copy()),
        target=K,
        perturbations_per_eval=8,
    )
    theirs = from_torch(theirs)
    assert_close(np.ptp(theirs, axis=-1), np.zeros(SIZE), 0)
    assert_close(ours(twins.net, X), theirs[..., 0], TOLERANCE)


def raw_map(method, twins, module):
    """The map of one of pytorch_grad_cam's classes before its ReLU, resizing and scaling."""
    with method(twins.module, [module]) as explain:
        x = to_torch(X).detach()
        with torch.no_grad():
            explain.outputs = explain.activations_and_grads(x)
        activation = explain.activations_and_grads.activations[-1].numpy()
        return activation, explain.get_cam_image(x, module, [ClassifierOutputTarget(K)], activation, None, False)[0]


def test_score_cam_is_pytorch_grad_cams(twins):
    """At a layer with values of both signs, with the corners' centres on each other."""
    activation, theirs = raw_map(pytorch_grad_cam.ScoreCAM, twins, twins.layer("_blocks.1"))
    assert activation.min() < 0 < activation.max()
    ours = jax.jit(functools.partial(jp.score_cam, layer="_blocks.1", align_corners=True))(twins.net, X, TARGET)
    assert_close(ours, theirs, TOLERANCE)


def test_ablation_cam_is_pytorch_grad_cams(twins):
    """At a layer whose least value is 0, which it sets channels to."""
    activation, theirs = raw_map(pytorch_grad_cam.AblationCAM, twins, twins.module.lite._blocks[0]._swish)
    assert activation.min() == 0
    ours = jax.jit(functools.partial(jp.ablation_cam, layer=RECTIFIED))(twins.net, X, TARGET)
    assert_close(ours, theirs, TOLERANCE)


def test_rise_is_its_authors(twins):
    """With the same grids and shifts, on an image that its cells do not divide."""
    options = {"samples": 20, "cells": 7, "keep": 0.4}
    ours = jax.jit(functools.partial(jp.rise, **options))(twins.net, X, TARGET, key=KEY)
    masks = np.stack([*rise_masks(KEY, SIZE, **options)])  # pyright: ignore[reportArgumentType, reportCallIssue] maps are arrays
    scores = torch_scores(twins, masks[..., None] * np.asarray(X))
    assert_close(ours, np.tensordot(scores, masks, 1) / (20 * 0.4), TOLERANCE)


def test_lime_is_scikit_learns_ridge_regression(twins):
    image = np.asarray(X)
    segments = slic(image, n_segments=12, start_label=0)
    count = int(segments.max()) + 1
    ours = jax.jit(functools.partial(jp.lime, segments=segments, num_segments=count, samples=40, alpha=0.3))
    seen = np.asarray(jax.random.bernoulli(KEY, 0.5, (40, count)).at[0].set(True))
    means = np.stack([image[segments == s].mean(0) for s in range(count)])[segments]
    scores = torch_scores(twins, np.where(seen[:, segments][..., None], image, means))
    distances = 1 - seen.sum(1) / np.sqrt(np.maximum(seen.sum(1), 1) * count)
    regression = Ridge(alpha=0.3).fit(seen, scores, sample_weight=np.exp(-(distances**2) / (2 * 0.25**2)))
    assert_close(ours(twins.net, X, TARGET, key=KEY), regression.coef_[segments], TOLERANCE)


class Smooth(NamedTuple):
    """The tiny net `branch` in torch beside ours, and an image with its attribution."""

    forward: Any
    net: Any
    x: Any
    heat: Any


def branch(p, X):
    """The outputs of nets.BRANCH for a batch (N, 3, H, W)."""
    a = torch.tanh(functional.conv2d(X, p["kernel"].permute(3, 2, 0, 1), p["bias"], stride=2, padding=1))
    a = a.movedim(1, -1)
    return (a + torch.tanh(a @ p["side"])).flatten(1) @ p["dense"] + p["offset"]


@pytest.fixture(scope="module")
def smooth():
    values, x = nets.params(nets.BRANCH), jnp.asarray(nets.images(1)[0])
    net = nets.net(nets.BRANCH, values)
    forward = functools.partial(branch, {name: torch.tensor(value) for name, value in values.items()})
    assert_close(net(x), forward(to_torch(x))[0].detach().numpy())
    return Smooth(forward, net, x, jp.gradient_times_input(net, x, jp.one_hot(2, 5)))


def as_batch(images):
    return torch.tensor(np.moveaxis(np.asarray(images), -1, 1).copy())


@pytest.mark.parametrize("normalise", [False, True])
def test_infidelity_is_captums(smooth, normalise):
    """Fed with the same noise."""
    changes = as_batch([0.3 * jax.random.normal(key, smooth.x.shape) for key in jax.random.split(KEY, 20)])
    theirs = captum.metrics.infidelity(
        smooth.forward,
        lambda x: (changes, x - changes),
        to_torch(smooth.x).detach(),
        as_batch([smooth.heat]),
        target=2,
        n_perturb_samples=20,
        normalize=normalise,
    )
    options = {"key": KEY, "samples": 20, "sigma": 0.3, "normalise": normalise}
    ours = metrics.infidelity(smooth.net, smooth.x, jp.one_hot(2, 5), smooth.heat, **options)
    assert_close(ours, theirs[0].numpy(), TOLERANCE)


def test_max_sensitivity_is_captums(smooth):
    changes = [jax.random.uniform(k, smooth.x.shape, minval=-0.2, maxval=0.2) for k in jax.random.split(KEY, 10)]
    theirs = captum.metrics.sensitivity_max(
        captum.attr.Saliency(smooth.forward).attribute,
        to_torch(smooth.x),
        lambda x: (x + as_batch(changes)).requires_grad_(),
        n_perturb_samples=10,
        target=2,
        abs=False,
    )
    ours = metrics.max_sensitivity(jp.gradient, smooth.net, smooth.x, jp.one_hot(2, 5), key=KEY, radius=0.2, samples=10)
    assert_close(ours, theirs[0].detach().numpy(), TOLERANCE)
