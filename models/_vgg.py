"""VGG16 as torchvision has it, for batches (B, H, W, C), any size from 32 pixels.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
"""

from flax import linen as nn
from jax import Array

from jaxplain.models._layers import AdaptiveMean, Chain, Conv, Dense, Dropout, MaxPool, Relu, check_side, head

_STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, and their channels


class VGG(nn.Module):
    """Logits (B, n), or features (B, 4096) where the head has no layers; `widths` are those of its dense layers."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        check_side(x, 32, "vgg16")
        features = []
        for count, channels in _STAGES:
            features += [Conv(channels, 3, padding=1), Relu()] * count + [MaxPool(2, 2)]
        x = Chain(tuple(features), name="features")(x)
        x = AdaptiveMean(7, name="avgpool")(x)
        hidden = [Dense(4096), Relu(), Dropout()] * 2
        return Chain((*hidden, *head(self.widths)), name="classifier")(x.reshape(x.shape[0], -1))


def vgg16(*widths: int) -> VGG:
    """The module of VGG16 with dense layers of those widths at its end: vgg16(1000) has 1,000 outputs."""
    return VGG(widths)
