"""Networks as Flax modules, with their weights and the preprocessing that belongs to them.

model = load("efficientnet_lite0")
model.net(model.prepare("cat.jpg"))          # logits (1000,)
"""

from jaxplain.models.efficientnet_lite import efficientnet_lite0
from jaxplain.models.finetune import Examples, Recipe, finetune, read_folder
from jaxplain.models.inception import inception_v3
from jaxplain.models.load import Model, Weights, available, load, outline
from jaxplain.models.resnet import resnet50
from jaxplain.models.spec import Spec
from jaxplain.models.vgg import vgg16

__all__ = [
    "Examples",
    "Model",
    "Recipe",
    "Spec",
    "Weights",
    "available",
    "efficientnet_lite0",
    "finetune",
    "inception_v3",
    "load",
    "outline",
    "read_folder",
    "resnet50",
    "vgg16",
]
