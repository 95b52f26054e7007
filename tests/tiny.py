"""A network whose gradient is quickly compiled, with seeded random weights."""

import jax
from flax import linen as nn

from jaxplain.adapt import from_linen
from jaxplain.models import Conv, Dense, GlobalMean, Model, Relu, Spec, Weights


class Net(nn.Module):
    """Logits (B, classes)."""

    classes: int

    @nn.compact
    def __call__(self, x):
        x = Relu(name="relu")(Conv(6, 3, 1, 1, name="conv")(x))
        return Dense(self.classes, name="fc")(GlobalMean(name="mean")(x)[:, 0, 0])


def tiny_model(classes=5):
    """The network of 16 x 16 pixels, with weights that are drawn from key 0."""
    spec = Spec("tiny", input_size=16, resize=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), cam_layer="relu",
                categories=tuple(f"class {k}" for k in range(classes)))  # fmt: skip
    module = Net(classes)
    variables = module.init(jax.random.key(0), jax.numpy.zeros((1, 16, 16, 3)))
    return Model(from_linen(module, variables), spec, Weights("random", None))
