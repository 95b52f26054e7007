"""jaxplain study: labels for clusters of features, from people and networks, and what they say."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, Typer

from jaxplain.cli import options as shared
from jaxplain.cli.common import load
from jaxplain.cli.errors import say, say_left_out, tell
from jaxplain.cli.features import Clustering, Layers, MaxClusters
from jaxplain.cli.parsing import Command
from jaxplain.cli.progress import bars
from jaxplain.cli.tables import show

Folder = Annotated[Path, Argument(metavar="STUDY", help="The study's folder.")]
_SHOWN = "A folder of images, or of folders of them called as classes; or a file, repeatable."
Shown = Annotated[list[str], Option(metavar="DIR", help=_SHOWN)]
_CLASS = "Class of all images, by name or index; default: their folders', or each one's top prediction."
Target = Annotated[str | None, Option(metavar="CLASS", help=_CLASS)]
_GUESSED = "A class to choose among, repeatable; default: those of the images, and more up to ten."
Classes = Annotated[list[str] | None, Option("--class", metavar="CLASS", help=_GUESSED)]
_NAMES = 'JSON of what players call classes: {"tench": {"en": "fish", "it": "pesce"}}.'
Names = Annotated[Path | None, Option(metavar="FILE", help=_NAMES)]
Seed = Annotated[int, Option(help="Of order, clusters and images' ids.", min=0)]
_NETWORK = "The network that plays; default: the study's own."
Player = Annotated[str | None, Option(metavar="NAME", help=_NETWORK)]
_BELOW = "The probability below which it asks for more, and at last resigns."
ResignBelow = Annotated[float, Option(metavar="P", help=_BELOW, min=0, max=1)]
Labels = Annotated[int, Option(metavar="N", help="How many of its likeliest classes are its labels.", min=0)]
Table = Annotated[Path, Argument(metavar="FILE", help="A .csv or .parquet of plays, as `export` writes it.")]
Written = Annotated[Path, Argument(metavar="FILE", help="A .csv or .parquet file.")]
_KEPT = "Plays that each cluster is to have; kept with the study, 5 at first."
Plays = Annotated[int | None, Option(metavar="N", help=_KEPT, min=1)]
_HOST = "Address to serve on; 0.0.0.0 is open to the network, which needs a proxy with https before it."
Host = Annotated[str, Option(metavar="HOST", help=_HOST)]
Port = Annotated[int, Option(metavar="PORT", help="Port to serve on.", min=1, max=65535)]
Count = Annotated[int, Option(metavar="N", help="How many players to invite.", min=1, max=1000)]
_AGAIN = "The nickname of a player who cannot log in any more."
Again = Annotated[str | None, Option("--player", metavar="NAME", help=_AGAIN)]
Address = Annotated[str, Option(metavar="URL", help="Where players reach the game.")]
Report = Annotated[Path | None, Option(metavar="FILE", help="Default: STUDY/report.html.")]
_EMBEDDING = (
    "A Sentence-BERT model on this machine, a name or a folder; default: all-mpnet-base-v2, or the extra's own."
)
Encoder = Annotated[str | None, Option(metavar="MODEL", help=_EMBEDDING)]
_ENGLISH = (
    "A .csv or .parquet with the columns language, label and english; other labels that are not English are left out."
)
Translations = Annotated[Path | None, Option(metavar="FILE", help=_ENGLISH)]
Spelling = Annotated[bool, Option("--spelling", help="Correct the spelling of labels.")]

study = Typer(help="Labels for clusters of features, from people and networks.", rich_markup_mode=None)


@study.command("new", cls=Command)
def new_command(
    folder: Folder,
    images: Shown,
    model: shared.ModelName = "efficientnet_lite0",
    weights: shared.WeightsPath = None,
    outputs: shared.Outputs = None,
    target: Target = None,
    layer: Layers = None,
    classes: Classes = None,
    names: Names = None,
    clustering: Clustering = "tsne",
    max_clusters: MaxClusters = 8,
    seed: Seed = 0,
    background: shared.Background = None,
    levels: shared.Levels = None,
    skip: shared.Skip = False,
) -> None:
    """Make a study: find the clusters of images' features, which players are to recognise.

    Each cluster of each image's layers is a round: the picture is seen where the cluster looks, 2 % of it at first.
    """
    from jaxplain.study import new_study, read_names, rounds

    shown: Any = images[0] if len(images) == 1 and Path(images[0]).is_dir() else images
    options: dict[str, Any] = {"targets": target, "layers": layer, "classes": classes, "seed": seed}
    options |= {"names": names and read_names(names), "clustering": clustering, "max_clusters": max_clusters}
    loaded = load(model, weights, outputs=outputs).reading(background, levels)
    with bars() as track:
        made = new_study(folder, loaded, shown, **options, failed=say_left_out if skip else None, track=track)
    counts = f"images: {len(made.images)}, layers: {len(made.layers)}, rounds: {len(rounds(made))}"
    tell(f"{folder} written ({counts})")


@study.command(cls=Command)
def play(
    folder: Folder,
    player: Player = None,
    weights: shared.WeightsPath = None,
    resign_below: ResignBelow = 0.2,
    labels: Labels = 3,
) -> None:
    """Let a network play all rounds of the study. Its earlier plays are replaced."""
    from jaxplain.study import add_plays, load_study, opened, play

    found = load_study(folder)
    model = load(player or found.model, weights)
    if player is None and model.weights.sha256 != found.weights.sha256:
        say(f"note: the study was made with other weights of {found.model} than those that play now.")
    with opened(found) as store, bars() as track:
        plays = play(model, found, resign_below=resign_below, labels=labels, track=track)
        add_plays(store, plays, replace=True)
    ends = [one.outcome for one in plays]
    rows = [(end, str(ends.count(end))) for end in ("win", "lose", "resign")]
    show(f"{model.spec.name}: {len(plays)} rounds", ("outcome", "rounds"), rows)


@study.command(cls=Command)
def serve(folder: Folder, host: Host = "127.0.0.1", port: Port = 8000, plays: Plays = None) -> None:
    """Serve the game, until Ctrl-C: people see parts of pictures, guess, and write what they recognise."""
    from jaxplain.study import load_study, opened
    from jaxplain.study.game import serve

    with opened(load_study(folder)) as store:
        told = f"The game is at http://{f'[{host}]' if ':' in host else host}:{port}; Ctrl-C ends it."
        serve(store, host=host, port=port, target=plays, ready=lambda: tell(told))


@study.command(cls=Command)
def invite(folder: Folder, count: Count = 1, player: Again = None, url: Address = "http://localhost:8000") -> None:
    """Print links by which people play without a password: each is for one player, who keeps it."""
    from jaxplain.study import load_study, opened
    from jaxplain.study.game import invite

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no address of the game, expected one such as https://game.example.org.")
    with opened(load_study(folder)) as store:
        tell(*(f"{url.rstrip('/')}/join/{token}" for token in invite(store, count, player)))


@study.command("add", cls=Command)
def add_command(folder: Folder, file: Table) -> None:
    """Add plays that were made elsewhere, from a table with the columns image, layer, cluster, truth and label."""
    from jaxplain.study import add_plays, load_study, opened, read_plays

    plays = read_plays(file)
    with opened(load_study(folder)) as store:
        added, there = add_plays(store, plays)
    tell(f"{file}: plays added: {added}, there already: {there}")


@study.command(cls=Command)
def status(folder: Folder, plays: Plays = None) -> None:
    """Tell how far the study is: plays of each cluster, players, and the time that is left."""
    from jaxplain.study import kept_target, load_study, opened, progress, status_table

    with opened(load_study(folder)) as store:
        target = kept_target(store, plays)
        show(*status_table(progress(store, target), target))


@study.command(cls=Command)
def export(folder: Folder, file: Written) -> None:
    """Write all plays, of people, networks and files, as CSV or Parquet: a row a label."""
    from jaxplain.study import load_study, opened, stored_plays, write_plays

    with opened(load_study(folder)) as store:
        plays = stored_plays(store)
    write_plays(file, plays)
    tell(f"{file} written: {len(plays)} plays")


@study.command(cls=Command)
def report(
    folder: Folder,
    out: Report = None,
    encoder: Encoder = None,
    translations: Translations = None,
    spelling: Spelling = False,
) -> None:
    """Write the explorer: one HTML file with all images, clusters, labels and trends, to be opened in a browser."""
    from jaxplain.study import encoder as sentences
    from jaxplain.study import explained, load_study, opened, read_translations, stored_plays, translated, write_report

    found, embed = load_study(folder), None if encoder is None else sentences(encoder)
    with opened(found) as store:
        plays = stored_plays(store)
    if translations is not None:
        plays = translated(plays, read_translations(translations))
    path = folder / "report.html" if out is None else out
    write_report(path, found, explained(found, plays, embed, spelling=spelling))
    tell(f"{path} written")
