"""jaxplain retrieve: the most similar images of a folder, and what they have in common with the query."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli.common import load, save
from jaxplain.cli.errors import say_left_out
from jaxplain.cli.options import Background, Layer, Levels, ModelName, Out, Skip, WeightsPath
from jaxplain.cli.progress import bars
from jaxplain.similarity import POOLED

Query = Annotated[str, Argument(metavar="QUERY", help="A file, or sample:chelsea, sample:coffee...")]
Gallery = Annotated[Path, Option(metavar="DIR", help="The folder of images to look through.")]
Similarity = Annotated[str, Option(metavar="NAME", help=f"Of the embeddings: {', '.join(POOLED)}.")]
Explain = Annotated[bool, Option("--explain", help="Draw what each pair has in common on both.")]


def retrieve(
    query: Query,
    gallery: Gallery,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    layer: Layer = None,
    similarity: Similarity = "cosine",
    top: Annotated[int, Option(help="How many images.", min=1)] = 5,
    explain: Explain = False,
    background: Background = None,
    levels: Levels = None,
    skip: Skip = False,
    out: Out = Path("out"),
) -> None:
    """Find the most similar images of a folder.

    Images are compared by the means of a layer's activations over positions. Writes a figure, a table of the whole
    gallery (.csv) and a record (.json); with --explain the figure has feature activation maps. The query's own file is
    left out.
    """
    from jaxplain import workflows

    path = out / f"{workflows.file_stems([query])[0]}_matches"
    loaded = load(model, weights).reading(background, levels)
    workflows.check_out(out)
    options: dict[str, Any] = {"layer": layer, "similarity": similarity, "top": top, "explain": explain}
    options["failed"] = say_left_out if skip else None
    with bars() as track:
        found = workflows.retrieve(loaded, query, gallery, **options, track=track)
    workflows.keep_photographs([query, *map(str, found.images)], [path])
    save(found, path)
