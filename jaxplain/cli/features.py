"""jaxplain features: what clusters of channels look at, layer by layer."""

import functools
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli import options as shared
from jaxplain.cli.common import load, save_each

Images = Annotated[list[str], Argument(metavar="IMAGE", help=shared.NAMES)]
_CLASS = "Name or index, or 'not NAME'; default: the top prediction."
Target = Annotated[str | None, Option(metavar="CLASS", help=_CLASS)]
_AT = "Repeatable; default: the deepest 70 % of the network's blocks; see `jaxplain layers MODEL`."
Layers = Annotated[list[str] | None, Option(metavar="NAME", help=_AT)]
_BY = "tsne (with scikit-learn, as published) or kmeans (faster)."
Clustering = Annotated[str, Option(metavar="NAME", help=_BY)]
MaxClusters = Annotated[int, Option(help="At most so many clusters a layer.", min=3)]
Seed = Annotated[int, Option(help="Of k-means; t-SNE starts from principal components.", min=0)]


def features(
    images: Images,
    model: shared.ModelName = "efficientnet_lite0",
    weights: shared.WeightsPath = None,
    outputs: shared.Outputs = None,
    target: Target = None,
    layer: Layers = None,
    clustering: Clustering = "tsne",
    max_clusters: MaxClusters = 8,
    seed: Seed = 432,
    background: shared.Background = None,
    levels: shared.Levels = None,
    out: shared.Out = Path("out"),
) -> None:
    """Show what each layer's channels look at.

    Channels that raise a class's score are put into clusters that look at the same places, each with its percent of the
    layer. Writes a figure (.png), the clusters and their maps (.npz) and a record (.json).
    """
    from jaxplain import workflows

    asked: dict[str, Any] = {"target": target, "layers": layer, "clustering": clustering, "max_clusters": max_clusters}
    asked |= {"seed": seed, "background": background, "levels": levels}
    paths = workflows.result_paths(images, out, "_features")
    explain = functools.partial(workflows.features, load(model, weights, outputs=outputs), **asked)
    save_each(paths, lambda few, failed, _: explain(few, failed=failed))
