"""What the commands share: what is said of weights, and what is written and said after the work."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxplain.cli.errors import report, say_notes, tell
from jaxplain.cli.progress import bar, parts
from jaxplain.cli.tables import show


def load(name: str, weights: Any = None, *, outputs: Any = None) -> Any:
    """The model, after what is to be said of its weights; of those in a folder with a record `convert` has said it."""
    from jaxplain import models

    model = models.load(name, weights, outputs=outputs)
    if weights is not None and not (Path(weights) / "model.json").is_file():
        say_notes(model)
    return model


def save(found: Any, path: Path, *, table: bool = True) -> None:
    """Writes a result's files, prints its table, and says what is written."""
    *kinds, last = (file.suffix for file in found.save(f"{path}.png"))
    if table:
        show(*found.table())
    tell(f"{path}{', '.join(kinds)} and {last} written")


def save_each(paths: dict[str, Path], explain: Callable[..., Iterator[Any]], *, table: bool = True) -> None:
    """Explains the images and saves each explanation at its path, with a bar meanwhile; says which of them fail.

    explain(images, failed, watch) checks what is asked when it is called, and gives the explanations in turn.
    """
    failures: list[tuple[str, Exception]] = []
    shown = bar(alone=len(paths) == 1)
    images = shown.add_task("Explaining", total=len(paths), visible=len(paths) > 1)

    def step():
        for part in shown.task_ids[1:]:
            shown.remove_task(part)
        shown.advance(images)

    def failed(image, error):
        failures.append((image, error))
        step()

    explained = explain(iter(paths), failed, parts(shown))
    with shown:
        for found in explained:
            try:
                save(found, paths[found.image], table=table)
                step()
            except OSError:  # of the folder, not of the image
                raise
            except Exception as error:
                failed(found.image, error)
    report(failures, len(paths), "explained")
