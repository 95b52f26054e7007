"""Signed saliency maps equal a statement of their paper in torch: a full pass for each class, zeroing in place."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from parity.torch_nets import same_kinks, twins, with_relus

import jaxplain as jp

pytestmark = pytest.mark.slow

# each image is explained for another class: random networks agree on one for all
CLASSES = IMAGES = 8
SIDE, TOLERANCE = 96, 1e-4
# the share of an image's largest gradient that a class may be apart from its nearest rival for rounding to decide
NEAR = 1e-5
MAPS = ("saliency", "positive_saliency", "negative_saliency", "active_saliency", "inactive_saliency")


def everything(net, X, targets):
    """The five maps (B, H, W) of a batch."""
    return {name: jp.batched(getattr(jp, name))(net, X, targets) for name in MAPS}


def the_images(net, X):
    return X


def gradient(module, X, score):
    """d score(outputs) / d X, from a forward and a backward pass of its own."""
    X = X.clone().requires_grad_(True)
    return torch.autograd.grad(score(module(X)), X)[0]


def stated(module, X, classes):
    """(the five maps (B, H, W), the gradients of all classes (n, B, 3, H, W)) for a class of each image.

    As the paper's authors do it, batched, without the rescaling.
    """
    own = gradient(module, X, lambda z: z.gather(1, classes[:, None]).sum())
    active, inactive, all_classes = own.clone(), own.clone(), []
    for j in range(CLASSES):
        rival = gradient(module, X, lambda z: z[:, j].sum())  # noqa: B023
        other = (classes != j)[:, None, None, None]
        active[other & (active <= rival)] = 0
        inactive[other & (inactive >= rival)] = 0
        all_classes.append(rival)
    shown = (own.abs(), own.clamp(min=0), (-own).clamp(min=0), active.abs(), inactive.abs())
    maps = {name: a.amax(1).numpy() for name, a in zip(MAPS, shown, strict=True)}
    return maps, torch.stack(all_classes).numpy()


def near_ties(gradients):
    """Where in each image (B, H, W) a channel's class is so near to its nearest rival that rounding may decide."""
    found = []
    for k in range(CLASSES):
        own, rivals = gradients[k, k], np.delete(gradients[:, k], k, 0)
        margin = np.minimum(np.abs(own - rivals.max(0)), np.abs(own - rivals.min(0)))
        found.append((margin <= NEAR * np.abs(own).max()).any(0))
    return np.stack(found)


class Case(NamedTuple):
    """Our maps beside torch's of the same images, and where selections are open."""

    ours: dict
    theirs: dict
    open: Any


@pytest.fixture(scope="module")
def case():
    both = twins("resnet50", classes=CLASSES)
    X = np.random.default_rng(1).normal(size=(IMAGES, SIDE, SIDE, 3)).astype(np.float32)
    maps, relus = with_relus(everything, the_images, None, both.net, X, jnp.eye(CLASSES))
    with same_kinks(both.module, relus):
        theirs, gradients = stated(both.module, torch.tensor(np.moveaxis(X, -1, 1).copy()), torch.arange(IMAGES))
    return Case(jax.tree.map(np.asarray, maps), theirs, near_ties(gradients))


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_the_papers(name, case):
    """Image by image, and what is selected exactly, but for near-ties, which are few."""
    selects = name in MAPS[3:]
    assert np.mean(case.open) < 0.01
    for ours, theirs, either in zip(case.ours[name], case.theirs[name], case.open & selects, strict=True):
        assert_close(np.where(either, theirs, ours), theirs, TOLERANCE)
        assert not selects or ((ours != 0) == (theirs != 0))[~either].all()


def test_each_map_is_another(case):
    """A share of the pixels is selected, and no map passes for another one."""
    for one in MAPS:
        assert one == MAPS[0] or 0.01 < np.mean(case.theirs[one] != 0) < 0.99
        for other in MAPS:
            if one != other:
                with pytest.raises(AssertionError, match="differs by"):
                    assert_close(case.ours[one], case.theirs[other], 0.1)
