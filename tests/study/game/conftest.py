"""A small study, its store, and the game as its players' browsers meet it."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_model

from jaxplain.study import new_study, opened
from jaxplain.study._store import FILE

NAMES = {f"class {number}": {"en": f"Thing {number}", "it": f"Cosa {number}"} for number in range(5)}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Four images of noise, whose files have names that must not be seen."""
    folder = tmp_path_factory.mktemp("secrets")
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)):
        Image.fromarray(image).save(folder / f"secret-{number}.png")
    images = [str(folder / f"secret-{number}.png") for number in range(4)]
    options = {"targets": [0, 3, 1, 2], "layers": ["conv", "relu"], "clustering": "kmeans", "names": NAMES}
    return new_study(tmp_path_factory.mktemp("made") / "study", tiny_model(), images, **options)


@pytest.fixture
def store(made):
    for path in made.folder.glob(f"{FILE}*"):
        path.unlink()
    with opened(made) as store:
        yield store


@pytest.fixture
def browser(store):
    """A function that opens the game in a new browser, and has a player sign up in it unless their name is None."""
    pytest.importorskip("starlette", reason="the extra study is not installed")
    from starlette.testclient import TestClient

    from jaxplain.study.game import game

    app = game(store, target=2)

    def opened_by(name="ada", password="correct horse", **options):
        options = {"base_url": "http://testserver", "follow_redirects": False} | options
        client = TestClient(app, **options)
        if name is not None:
            answer = client.post("/sign-up", data={"name": name, "password": password})
            assert answer.status_code == 303, answer.text
        return client

    return opened_by


@pytest.fixture
def dealt(store):
    """What the store knows of an address of a round."""
    from jaxplain.study._store import row

    def found(path):
        one = row(
            store,
            "SELECT plays.*, image, layer, cluster, truth FROM plays JOIN rounds ON rounds.id = round WHERE token = ?",
            path.split("/")[2].split("?")[0],
        )
        return SimpleNamespace(**dict(one))

    return found
