"""jaxplain retrieve: the most similar images of a folder, and what they have in common with the query."""

from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.common import Layer, ModelName, Out, Skip, WeightsPath, bars, check_out, keep_photographs, stems
from jaxplain.cli.errors import in_one_sentence, say
from jaxplain.cli.tables import show
from jaxplain.similarity import POOLED


def retrieve(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A file, or sample:chelsea, sample:coffee...")],
    gallery: Annotated[Path, typer.Option(metavar="DIR", help="The folder of images to look through.")],
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    layer: Layer = None,
    similarity: Annotated[
        str, typer.Option(metavar="NAME", help=f"Of the embeddings: {', '.join(POOLED)}.")
    ] = "cosine",
    top: Annotated[int, typer.Option(help="How many images.", min=1)] = 5,
    explain: Annotated[bool, typer.Option("--explain", help="Draw what each pair has in common on both.")] = False,
    skip: Skip = False,
    out: Out = Path("out"),
) -> None:
    """Find the most similar images of a folder.

    Images are compared by the means of a layer's activations over positions. Writes a figure, a table of the whole
    gallery (.csv) and a record (.json); with --explain the figure has feature activation maps. The query's own file is
    left out.
    """
    from jaxplain import workflows
    from jaxplain.models import load

    path = out / f"{stems([query])[0]}_matches"
    with in_one_sentence():
        loaded = load(model, weights)
        check_out(out)
        with bars() as track:
            options = {"layer": layer, "similarity": similarity, "top": top, "explain": explain}
            found = workflows.retrieve(loaded, query, gallery, **options, skip_unreadable=skip, track=track)
        keep_photographs([query, *map(str, found.images)], [path])
        found.save(path)
    for image, error in found.unreadable:
        say(f"left out: {error if str(image) in str(error) else f'{image}: {error}'}")
    rows = [(str(rank), match.image.name, f"{match.similarity:.4g}") for rank, match in enumerate(found.matches, 1)]
    show(("rank", "image", similarity), rows, title=f"{query}, among {len(found.images)} images\n{found.title}")
    print(f"{path}.png, .csv and .json written", flush=True)
