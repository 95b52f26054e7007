"""Where the entries of each network's state dict belong; the names are torchvision's, or the published file's.

A new network is a table here. `conv` takes the scope of the BatchNorm after the convolution, or the convolution's own.
"""

from jaxplain.weights_convert._engine import Row, Table


def conv(source: str, scope: str) -> tuple[Row, ...]:
    """The row of a convolution without bias."""
    return (Row(source + r"\.weight", f"{scope}/kernel", "conv"),)


def batch_norm(source: str) -> tuple[Row, ...]:
    """The rows of BatchNorms, whose scope is their own name; `source` is without groups."""
    return (
        Row(rf"({source})\.weight", r"\1/scale"),
        Row(rf"({source})\.bias", r"\1/bias"),
        Row(rf"({source})\.running_mean", r"\1/mean"),
        Row(rf"({source})\.running_var", r"\1/var"),
        Row(rf"({source})\.num_batches_tracked", None),
    )


def dense(source: str) -> tuple[Row, ...]:
    """The rows of dense layers, whose scope is their own name; `source` is without groups."""
    return (Row(rf"({source})\.weight", r"\1/kernel", "dense"), Row(rf"({source})\.bias", r"\1/bias"))


RESNET50 = Table(
    (
        *conv(r"conv1", r"bn1"),
        *conv(r"(layer\d\.\d+)\.conv(\d)", r"\1.bn\2"),
        *conv(r"(layer\d\.\d+)\.downsample\.0", r"\1.downsample.1"),
        *batch_norm(r"bn1"),
        *batch_norm(r"layer\d\.\d+\.bn\d"),
        *batch_norm(r"layer\d\.\d+\.downsample\.1"),
        *dense(r"fc"),
    ),
    epsilon=1e-5,
)

EFFICIENTNET_LITE0 = Table(
    (
        *conv(r"_conv_stem", r"_bn0"),
        *conv(r"(_blocks\.\d+)\._expand_conv", r"\1._bn0"),
        *conv(r"(_blocks\.\d+)\._depthwise_conv", r"\1._bn1"),
        *conv(r"(_blocks\.\d+)\._project_conv", r"\1._bn2"),
        *conv(r"_conv_head", r"_bn1"),
        *batch_norm(r"_bn[01]"),
        *batch_norm(r"_blocks\.\d+\._bn[012]"),
        *dense(r"_fc"),
    ),
    epsilon=1e-3,
)

INCEPTION_V3 = Table(
    (
        *conv(r"(Conv2d_\w+|Mixed_\w+\.\w+)\.conv", r"\1.bn"),
        *batch_norm(r"Conv2d_\w+\.bn|Mixed_\w+\.\w+\.bn"),
        *dense(r"fc"),
        Row(r"AuxLogits\..+", None),  # the auxiliary classifier, which only training uses
    ),
    epsilon=1e-3,
)

VGG16 = Table(
    (
        Row(r"(features\.\d+)\.weight", r"\1/kernel", "conv"),
        Row(r"(features\.\d+)\.bias", r"\1/bias"),
        Row(r"classifier\.0\.weight", "classifier.0/kernel", "flattened"),
        Row(r"classifier\.0\.bias", "classifier.0/bias"),
        *dense(r"classifier\.[36]"),
        # timm's names; its classifier begins with convolutions
        Row(r"pre_logits\.fc1\.weight", "classifier.0/kernel", "flattened"),
        Row(r"pre_logits\.fc1\.bias", "classifier.0/bias"),
        Row(r"pre_logits\.fc2\.weight", "classifier.3/kernel", "dense"),
        Row(r"pre_logits\.fc2\.bias", "classifier.3/bias"),
        Row(r"head\.fc\.weight", "classifier.6/kernel", "dense"),
        Row(r"head\.fc\.bias", "classifier.6/bias"),
    ),
    epsilon=0.0,  # it has no BatchNorm
)

TABLES = {
    "resnet50": RESNET50,
    "vgg16": VGG16,
    "inception_v3": INCEPTION_V3,
    "efficientnet_lite0": EFFICIENTNET_LITE0,
}
