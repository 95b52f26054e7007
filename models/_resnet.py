"""ResNet50 as torchvision has it (v1.5: the stride is in the 3x3 convolution), for batches (B, H, W, C), any size.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.
"""

from flax import linen as nn
from jax import Array

from jaxplain.models._layers import Chain, Conv, GlobalMean, MaxPool, Relu, head, through


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, which has a convolution where the shapes differ."""

    features: int
    stride: int = 1
    widens: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = Relu(name="relu1")(Conv(self.features, name="bn1")(x))
        y = Relu(name="relu2")(Conv(self.features, 3, self.stride, padding=1, name="bn2")(y))
        y = Conv(4 * self.features, name="bn3")(y)
        if self.widens:
            x = Chain((Conv(4 * self.features, stride=self.stride),), first=1, name="downsample")(x)
        return Relu(name="relu3")(y + x)


class ResNet(nn.Module):
    """Logits (B, n), or features (B, 2048) where the head has no layers; `widths` are those of its dense layers."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = Relu(name="relu")(Conv(64, 7, 2, padding=3, name="bn1")(x))
        x = MaxPool(3, 2, padding=1, name="maxpool")(x)
        for stage, count in enumerate(self.blocks):
            features, stride = 64 * 2**stage, 1 if stage == 0 else 2
            first = Bottleneck(features, stride, widens=True)
            x = Chain((first, *[Bottleneck(features)] * (count - 1)), name=f"layer{stage + 1}")(x)
        x = GlobalMean(name="avgpool")(x)
        return through(x[:, 0, 0], *head(self.widths, "fc"))


def resnet50(*widths: int) -> ResNet:
    """The module of ResNet50 with dense layers of those widths at its end: resnet50(1000) has 1,000 outputs."""
    return ResNet((3, 4, 6, 3), widths)
