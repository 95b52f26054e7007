"""Inception-v3 as torchvision has it, for batches (B, H, W, C), any size from 75 pixels.

torchvision's network with transform_input=False, which its published weights were not trained for: torchvision maps
images that are normalised with ImageNet's mean and deviation to (pixels - 0.5) / 0.5 first. Here that is the Spec of
the published weights, so that the net after `prepare` is torchvision's network after its transform. The auxiliary
classifier, which only training uses, is left out. Each convolution's ReLU is a plain function, as it is in torchvision:
`Mixed_5b.branch1x1.bn` is a layer before it and `Mixed_5b.branch1x1` the one after it.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", 2015.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxplain.models._convolution import max_pool, mean_pool
from jaxplain.models._layers import Conv, Dropout, GlobalMean, MaxPool, Padding, check_side, head, through


class BasicConv(nn.Module):
    """A convolution and a ReLU; between them a mean over 3x3 if it is `pooled`.

    torchvision pools before such a convolution, which is of single pixels: the two commute, and there are fewer
    channels behind it.
    """

    features: int
    size: int | tuple[int, int] = 1
    stride: int = 1
    padding: Padding = 0
    pooled: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        middle = mean_pool if self.pooled else None
        return nn.relu(Conv(self.features, self.size, self.stride, self.padding, before_bias=middle, name="bn")(x))


def _joined(*branches):
    return jnp.concatenate(branches, axis=-1)


def _row(features, length, name):
    """A convolution along the width; its padding keeps the size."""
    return BasicConv(features, (1, length), padding=((0, 0), (length // 2, length // 2)), name=name)


def _column(features, length, name):
    return BasicConv(features, (length, 1), padding=((length // 2, length // 2), (0, 0)), name=name)


class InceptionA(nn.Module):
    """1x1, 5x5 and two 3x3 beside pooling; the size stays."""

    pool_features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _joined(
            BasicConv(64, name="branch1x1")(x),
            through(x, BasicConv(48, name="branch5x5_1"), BasicConv(64, 5, padding=2, name="branch5x5_2")),
            through(
                x,
                BasicConv(64, name="branch3x3dbl_1"),
                BasicConv(96, 3, padding=1, name="branch3x3dbl_2"),
                BasicConv(96, 3, padding=1, name="branch3x3dbl_3"),
            ),
            BasicConv(self.pool_features, pooled=True, name="branch_pool")(x),
        )


class InceptionB(nn.Module):
    """Half the size: 3x3 and two 3x3 beside pooling."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _joined(
            BasicConv(384, 3, 2, name="branch3x3")(x),
            through(
                x,
                BasicConv(64, name="branch3x3dbl_1"),
                BasicConv(96, 3, padding=1, name="branch3x3dbl_2"),
                BasicConv(96, 3, 2, name="branch3x3dbl_3"),
            ),
            max_pool(x, 3, 2, 0),
        )


class InceptionC(nn.Module):
    """1x1, and 7x7 once and twice as rows and columns, beside pooling; the size stays."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.features
        return _joined(
            BasicConv(192, name="branch1x1")(x),
            through(x, BasicConv(c, name="branch7x7_1"), _row(c, 7, "branch7x7_2"), _column(192, 7, "branch7x7_3")),
            through(
                x,
                BasicConv(c, name="branch7x7dbl_1"),
                _column(c, 7, "branch7x7dbl_2"),
                _row(c, 7, "branch7x7dbl_3"),
                _column(c, 7, "branch7x7dbl_4"),
                _row(192, 7, "branch7x7dbl_5"),
            ),
            BasicConv(192, pooled=True, name="branch_pool")(x),
        )


class InceptionD(nn.Module):
    """Half the size: 3x3, and 7x7 as row and column before 3x3, beside pooling."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _joined(
            through(x, BasicConv(192, name="branch3x3_1"), BasicConv(320, 3, 2, name="branch3x3_2")),
            through(
                x,
                BasicConv(192, name="branch7x7x3_1"),
                _row(192, 7, "branch7x7x3_2"),
                _column(192, 7, "branch7x7x3_3"),
                BasicConv(192, 3, 2, name="branch7x7x3_4"),
            ),
            max_pool(x, 3, 2, 0),
        )


class InceptionE(nn.Module):
    """1x1, and row beside column after 1x1 and after 3x3, beside pooling; the size stays."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        single = BasicConv(320, name="branch1x1")(x)
        y = BasicConv(384, name="branch3x3_1")(x)
        y = _joined(_row(384, 3, "branch3x3_2a")(y), _column(384, 3, "branch3x3_2b")(y))
        z = through(x, BasicConv(448, name="branch3x3dbl_1"), BasicConv(384, 3, padding=1, name="branch3x3dbl_2"))
        z = _joined(_row(384, 3, "branch3x3dbl_3a")(z), _column(384, 3, "branch3x3dbl_3b")(z))
        return _joined(single, y, z, BasicConv(192, pooled=True, name="branch_pool")(x))


class Inception(nn.Module):
    """Logits (B, n), or features (B, 2048) where the head has no layers; `widths` are those of its dense layers."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        check_side(x, 75, "inception_v3")
        x = through(
            x,
            BasicConv(32, 3, 2, name="Conv2d_1a_3x3"),
            BasicConv(32, 3, name="Conv2d_2a_3x3"),
            BasicConv(64, 3, padding=1, name="Conv2d_2b_3x3"),
            MaxPool(3, 2, name="maxpool1"),
            BasicConv(80, name="Conv2d_3b_1x1"),
            BasicConv(192, 3, name="Conv2d_4a_3x3"),
            MaxPool(3, 2, name="maxpool2"),
            InceptionA(32, name="Mixed_5b"),
            InceptionA(64, name="Mixed_5c"),
            InceptionA(64, name="Mixed_5d"),
            InceptionB(name="Mixed_6a"),
            InceptionC(128, name="Mixed_6b"),
            InceptionC(160, name="Mixed_6c"),
            InceptionC(160, name="Mixed_6d"),
            InceptionC(192, name="Mixed_6e"),
            InceptionD(name="Mixed_7a"),
            InceptionE(name="Mixed_7b"),
            InceptionE(name="Mixed_7c"),
            GlobalMean(name="avgpool"),
            Dropout(name="dropout"),
        )
        return through(x[:, 0, 0], *head(self.widths, "fc"))


def inception_v3(*widths: int) -> Inception:
    """The module of Inception-v3 with dense layers of those widths at its end: inception_v3(1000) has 1,000 outputs."""
    return Inception(widths)
