"""The game as players meet it, and those who would rather not play by its rules."""

import io
import re
import sqlite3
import threading
import time

import numpy as np
import pytest
from PIL import Image

from jaxplain.study import LEVELS, Play, picture, progress, reveal_mask, revealed, rounds, stored_plays
from jaxplain.study._store import FILE, changing, row, rows

pytest.importorskip("starlette", reason="the extra study is not installed")

HOSTILE = (
    "Robert'); DROP TABLE plays;--",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }} ${7*7} $name",
    "\U0001f9d1\u200d\U0001f680 فستان ドレス",
    "=cmd|' /C calc'!A0",
    "a\\b/../../etc/passwd",
)


def deal(client):
    """The address of the player's round."""
    answer = client.post("/rounds")
    assert answer.status_code == 303
    return answer.headers["location"]


def pixels(answer):
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.float64)


def number_of(store, name):
    return store.study.classes.index(name)


def wrong(store, truth):
    return next(number for number, name in enumerate(store.study.classes) if name != truth)


def play(client, store, dealt, *, right=True, labels=()):
    path = deal(client)
    truth = dealt(path).truth
    guess = number_of(store, truth) if right else wrong(store, truth)
    assert client.post(path, data={"action": "guess", "guess": guess, "label": list(labels)}).status_code == 303
    return path


# A round


def test_a_round_as_it_is_meant_to_be(browser, store, dealt):
    client = browser()
    path = deal(client)
    one = dealt(path)
    assert 'value="more"' in client.get(path).text
    for level in range(2):
        answer = client.post(path, data={"action": "more", "level": level, "guess": "3", "label": ["a fin", ""]})
        assert answer.status_code == 200
        assert f"/{level + 1}.webp" in answer.text
        assert 'value="a fin"' in answer.text  # what was written stays
        assert re.search(r'value="3" required\s+checked', answer.text)
    data = {"action": "guess", "level": "2", "guess": number_of(store, one.truth), "label": ["a fin", " scales ", ""]}
    answer = client.post(path, data=data)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    shown = client.get(path).text
    assert "Right!" in shown
    assert f"Thing {one.truth[-1]}" in shown
    assert ">90<" in shown  # 100 - 2 * 15 + 2 * 10
    play = Play("ada", "person", one.image, one.layer, one.cluster, one.truth, one.truth, "win", 2, ("a fin", "scales"))
    assert stored_plays(store) == (play,)
    assert ">90<" in client.get("/statistics").text
    assert re.search(r"<bdi>ada</bdi></td>\s*<td class=\"number\">90<", client.get("/leaderboard").text)


def test_wrong_guesses_and_rounds_given_up(browser, store, dealt):
    client = browser()
    path = play(client, store, dealt, right=False, labels=["a fin"])
    assert "Not this time" in client.get(path).text
    path = deal(client)
    assert client.post(path, data={"action": "resign", "label": ["never kept"]}).headers["location"] == path
    assert "Given up" in client.get(path).text
    lost, resigned = stored_plays(store)
    assert (lost.outcome, lost.labels) == ("lose", ("a fin",))
    assert (resigned.outcome, resigned.guess, resigned.labels) == ("resign", None, ())
    assert [tuple(one) for one in rows(store, "SELECT points FROM plays")] == [(0,), (0,)]


def test_what_is_shown_is_the_picture_through_its_mask(browser, store, dealt):
    """Within the error of WebP; where the mask is 0 there is nothing of the picture, whichever it is."""
    client = browser()
    path = deal(client)
    one = dealt(path)
    image = next(image for image in store.study.images if image.id == one.image)
    for level, percent in enumerate(LEVELS):
        mask = reveal_mask(image.features[one.layer].maps[one.cluster], percent)
        shown = pixels(client.get(f"{path}/{level}.webp"))
        assert np.abs(shown - revealed(picture(store.study, one.image), mask)).mean() < 6
        dark = (mask == 0).reshape(32, 16, 32, 16).all((1, 3))
        far = np.kron(dark, np.ones((16, 16), bool))  # whole blocks without the picture
        assert far.any()
        assert shown[far].max() <= 3
        if level + 1 < len(LEVELS):
            client.post(path, data={"action": "more", "level": level})
    assert 'value="more"' not in client.get(path).text  # there is no more


def test_nothing_that_is_hidden_leaves_the_server(browser, store, dealt):
    client = browser()
    path = deal(client)
    one = dealt(path)
    name = next(image.name for image in store.study.images if image.id == one.image)
    assert name.startswith("secret-")
    said = client.get(path).text + client.post(path, data={"action": "more", "level": 0}).text
    assert not any(secret in said for secret in (one.image, name, "secret", "layer"))
    assert len(re.findall(r'name="guess"', said)) == 2 * len(store.study.classes)  # the truth is one among all
    for hidden in (f"{path}/2.webp", f"{path}/5.webp", f"{path}/6.webp", f"{path}/picture.webp", f"{path}/-1.webp"):
        answer = client.get(hidden)
        assert answer.status_code == 404
        assert b"RIFF" not in answer.content
    client.post(path, data={"action": "resign"})
    whole = pixels(client.get(f"{path}/picture.webp"))
    assert np.abs(whole - picture(store.study, one.image)).mean() < 6
    assert client.get(f"{path}/2.webp").status_code == 404  # of a level that was never reached


# Which rounds


def test_every_round_once_and_all_clusters_alike(browser, store, dealt):
    total = len(rounds(store.study))
    clients = [browser(f"player {number}") for number in range(3)]
    for number in range(total):
        for client in clients:
            play(client, store, dealt)
        counts = progress(store, 2).plays
        assert max(counts) <= max(2, 2 + number // 2)
    for client in clients:
        answer = client.post("/rounds")
        assert (answer.status_code, answer.headers["location"]) == (303, "/done")
        assert "every round" in client.get("/done").text
    assert progress(store, 3).plays == {3: total}
    places = [(one.player, one.image, one.layer, one.cluster) for one in stored_plays(store)]
    assert len(set(places)) == len(places) == 3 * total
    images = [one.image for one in stored_plays(store) if one.player == "player 0"][: len(store.study.images)]
    assert len({*images}) == len(images)  # one image does not give the next round away


def test_the_target_comes_first(browser, store, dealt):
    """With a target of 2, no cluster has a third play before all have two."""
    total = len(rounds(store.study))
    clients = [browser(f"player {number}") for number in range(4)]
    for number in range(2 * total):
        play(clients[number % 4], store, dealt)
    assert progress(store, 2).missing <= 1  # a player may have had what is left


def test_an_open_round_comes_again(browser, store):
    client = browser()
    assert deal(client) == deal(client)
    assert row(store, "SELECT count(*) FROM plays")[0] == 1


def test_an_abandoned_round_keeps_no_one_from_it(browser, store, dealt):
    """Of two players the second gets another round than the first's open one, unless that is half an hour old."""
    first = [deal(browser(f"first {number}")) for number in range(len(rounds(store.study)))]
    assert len({dealt(path).round for path in first}) == len(first)
    with changing(store) as db:
        db.execute("UPDATE plays SET dealt = dealt - 1801 WHERE token = ?", (first[4].split("/")[2],))
    assert dealt(deal(browser("second"))).round == dealt(first[4]).round


# Those who cheat


def test_an_answer_counts_once(browser, store, dealt):
    client = browser()
    path = play(client, store, dealt, right=False)
    before = stored_plays(store)
    for action in ("guess", "resign", "more"):
        data = {"action": action, "level": 0, "guess": number_of(store, dealt(path).truth), "label": ["another"]}
        answer = client.post(path, data=data)
        assert answer.status_code in (200, 303)
        if action != "more":
            assert answer.headers["location"] == f"{path}?late=1"
            assert "Your first answer counts" in client.get(answer.headers["location"]).text
    assert stored_plays(store) == before


def test_two_tabs_show_the_same_level(browser, store, dealt):
    client = browser()
    path = deal(client)
    for _ in range(3):  # each of them asked for the second view
        assert "/1.webp" in client.post(path, data={"action": "more", "level": 0}).text
    assert dealt(path).level == 1
    answer = client.post(path, data={"action": "more", "level": 4})
    assert (answer.status_code, dealt(path).level) == (400, 1)


def test_rounds_are_their_players_own(browser, store):
    ada, bob = browser("ada"), browser("bob")
    path = deal(ada)
    for address in (path, f"{path}/0.webp", f"{path}/picture.webp", "/rounds/forged", "/rounds/..%2f..%2fetc%2fpasswd"):
        assert bob.get(address).status_code == 404
    assert bob.post(path, data={"action": "guess", "guess": 0}).status_code == 404
    assert bob.post("/rounds/forged", data={"action": "guess", "guess": 0}).status_code == 404
    assert stored_plays(store) == ()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"action": "guess"}, 400),  # nothing chosen
        ({"action": "guess", "guess": "99"}, 400),
        ({"action": "guess", "guess": "-1"}, 400),
        ({"action": "guess", "guess": "class 1"}, 400),
        ({"action": "guess", "guess": "٣"}, 400),
        ({"action": "win", "guess": "1"}, 400),
        ({"guess": "1"}, 400),
        ({"action": "more"}, 400),
        ({"action": "more", "level": "6"}, 400),
        ({"action": "more", "level": "0 OR 1=1"}, 400),
        ({"action": "guess", "guess": "1", "label": ["x" * 101]}, 400),
        ({"action": "guess", "guess": "1", "label": ["x" * 10_000]}, 400),
        ({"action": "guess", "guess": "1", "label": ["x" * 100_000]}, 413),
        ({"action": "guess", "guess": "1", "label": [str(number) for number in range(11)]}, 400),
        ({"action": "guess", "guess": "1", "label": [str(number) for number in range(60)]}, 400),  # fields
        ({"action": "guess", "guess": "1", "label": ["a\x00b"]}, 400),
        ({"action": "guess", "guess": "1", "label": ["a\x1b[2Jb"]}, 400),
        ({"action": "guess", "guess": "1", "label": ["txt.\u202eexe"]}, 400),
    ],
)
def test_what_is_no_answer_changes_nothing(browser, store, dealt, data, status):
    client = browser()
    path = deal(client)
    before = dealt(path)
    answer = client.post(path, data=data)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert dealt(path) == before


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(browser, store, dealt, text):
    name = text[:30].strip()
    client = browser(name)
    path = play(client, store, dealt, labels=[text])
    (found,) = stored_plays(store)
    assert (found.player, found.labels) == (name, (text,))
    for page in (path, "/leaderboard", "/"):
        said = client.get(page).text.replace(path, "")  # which may have any digits
        assert "<script>alert" not in said
        assert "49" not in said or "49" in text
    assert len(rows(store, "SELECT * FROM plays")) == 1


def test_empty_labels_are_none(browser, store, dealt):
    play(browser(), store, dealt, labels=["", "  ", "\u00a0"])
    assert stored_plays(store)[0].labels == ()


def test_names_of_the_class_earn_nothing(browser, store, dealt):
    """In any language: of five labels two count, of which one is there twice."""
    client = browser()
    path = deal(client)
    one = dealt(path)
    labels = [f"Thing {one.truth[-1]}", f"cosa {one.truth[-1]}", "fins", "FINS", "scales"]
    client.post(path, data={"action": "guess", "guess": number_of(store, one.truth), "label": labels})
    assert dealt(path).points == 120
    assert "Words that count" in client.get(path).text


# Who plays


def test_passwords_are_hashed_and_not_told(browser, store, caplog):
    client = browser("ada", "correct horse")
    client.post("/log-in", data={"name": "ada", "password": "wrong battery"})
    hashed = row(store, "SELECT password FROM players")[0]
    assert hashed.startswith("$argon2id$")
    (session,) = (value for name, value in client.cookies.items() if name.startswith("session-"))
    content = b"".join(path.read_bytes() for path in store.study.folder.glob(f"{FILE}*"))
    assert hashed.encode() in content
    for secret in ("correct horse", "wrong battery", session):
        assert secret not in caplog.text
        assert secret.encode() not in content


def test_log_in_and_out(browser, store):
    client = browser("Ada Lovelace")
    assert client.get("/statistics").status_code == 200
    client.post("/log-out")
    assert client.get("/statistics").status_code == 401
    for name, password in (
        ("Ada Lovelace", "wrong horse"),
        ("nobody", "correct horse"),
        ("", ""),
        ("x" * 9999, "y" * 9999),
    ):
        answer = client.post("/log-in", data={"name": name, "password": password})
        assert answer.status_code == 401
        assert "nickname or the password is wrong" in answer.text
    answer = client.post("/log-in", data={"name": " ada  LOVELACE", "password": "correct horse"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/statistics").status_code == 200


@pytest.mark.parametrize(
    ("name", "password", "status", "reason"),
    [
        ("a", "correct horse", 400, "2 to 30 characters"),
        ("x" * 31, "correct horse", 400, "2 to 30 characters"),
        ("   ", "correct horse", 400, "2 to 30 characters"),
        ("a\x00b", "correct horse", 400, "cannot be shown"),
        ("a\nb", "correct horse", 400, "cannot be shown"),
        ("\u202eadA", "correct horse", 400, "cannot be shown"),
        ("bob", "short", 400, "8 to 200 characters"),
        ("bob", "x" * 201, 400, "8 to 200 characters"),
        ("\uff21\uff24\uff21", "correct horse", 409, "taken"),  # wide letters
        ("AdA", "correct horse", 409, "taken"),
        ("a\u200bda", "correct horse", 409, "taken"),  # an invisible space
        ("\u200b\u200b\u200b", "correct horse", 400, "2 to 30 characters"),
        ("\u3164\u2800\ufe0f", "correct horse", 400, "2 to 30 characters"),
        ("ada\ufe0f", "correct horse", 409, "taken"),
        ("a\u2028b", "correct horse", 400, "cannot be shown"),
        ("admin' OR '1'='1", "x", 400, "8 to 200"),
    ],
)
def test_accounts_that_cannot_be(browser, store, name, password, status, reason):
    browser("ada")
    answer = browser(None).post("/sign-up", data={"name": name, "password": password})
    assert answer.status_code == status
    assert reason in answer.text
    assert "session" not in answer.cookies
    assert row(store, "SELECT count(*) FROM players")[0] == 1


def test_passwords_cannot_be_tried_at_will(browser):
    client = browser()
    client.post("/log-out")
    names = ["ada", "Ada", " aDA", "ad\u200ba"]  # all of them are she
    answers = [
        client.post("/log-in", data={"name": names[n % 4], "password": f"guess {n}"}).status_code for n in range(12)
    ]
    assert answers == [401] * 10 + [429] * 2
    answer = client.post("/log-in", data={"name": "ada", "password": "correct horse"})
    assert answer.status_code == 429
    assert "wait ten minutes" in answer.text


def test_sessions_end(browser, store):
    client = browser()
    path = deal(client)
    with changing(store) as db:
        db.execute("UPDATE sessions SET ends = 1")
    written = {"action": "guess", "guess": 2, "label": ["a fin", "<b>"]}
    answer = client.post(path, data=written)
    assert answer.status_code == 401
    assert "your round is waiting" in answer.text
    fields = dict.fromkeys(re.findall(r'type="hidden" name="(\w+)"', answer.text))
    assert {"back", "guess", "label"} <= {*fields}
    assert client.get(path).status_code == 401
    assert stored_plays(store) == ()
    again = {"name": "ada", "back": path, "guess": 2, "label": ["a fin", "<b>"]}
    answer = client.post("/log-in", data=again | {"password": "wrong horse"})
    assert answer.status_code == 401
    assert 'value="a fin"' in answer.text
    answer = client.post("/log-in", data=again | {"password": "correct horse"})
    assert answer.status_code == 200
    assert re.search(r'value="2" required\s+checked', answer.text)
    assert all(f'name="label" value="{text}"' in answer.text for text in ("a fin", "&lt;b&gt;"))
    assert client.post(path, data=written).status_code == 303
    assert [play.labels for play in stored_plays(store)] == [("a fin", "<b>")]
    assert row(store, "SELECT count(*) FROM sessions")[0] == 1  # the one that ended is forgotten


def test_an_invitation_is_one_players(browser, store):
    from jaxplain.study.game import invite

    first, second = invite(store, 2)
    client = browser(None)
    assert "Choose a nickname" in client.get(f"/join/{first}").text
    assert client.post(f"/join/{first}", data={"name": "x"}).status_code == 400
    assert client.post(f"/join/{first}", data={"name": "eve"}).status_code == 303
    path = deal(client)
    again = browser(None)
    assert "Welcome back" in again.get(f"/join/{first}").text
    assert again.post(f"/join/{first}").status_code == 303
    assert deal(again) == path
    other = browser(None)
    assert other.post(f"/join/{second}", data={"name": "Eve"}).status_code == 409
    assert other.post("/join/forged", data={"name": "mallory"}).status_code == 404
    assert other.get("/join/forged").status_code == 404
    assert browser(None).post("/log-in", data={"name": "eve", "password": ""}).status_code == 401
    assert first.encode() not in b"".join(path.read_bytes() for path in store.study.folder.glob(f"{FILE}*"))


def test_a_forgotten_password(browser, store):
    from jaxplain.study.game import invite

    lost = browser("ada")
    path = deal(lost)
    (stale,) = invite(store, 1, "ada")
    (token,) = invite(store, 1, "ADA")
    assert lost.get("/statistics").status_code == 401  # whoever has it now
    client = browser(None)
    assert client.get(f"/join/{stale}").status_code == 404
    assert client.post(f"/join/{token}").status_code == 303
    assert deal(client) == path
    with pytest.raises(ValueError, match="No player is called 'nobody'"):
        invite(store, 1, "nobody")


# What the network brings


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://testserver.evil.example"},
    ],
)
def test_other_sites_cannot_post(browser, store, headers):
    client = browser()
    path = deal(client)
    for address in (path, "/rounds", "/log-out", "/language", "/log-in"):
        answer = client.post(address, data={"action": "guess", "guess": 0, "language": "it"}, headers=headers)
        assert answer.status_code == 403
        assert "another site" in answer.text
    assert stored_plays(store) == ()
    assert client.get("/statistics").status_code == 200
    same = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert client.post(path, data={"action": "resign"}, headers=same).status_code == 303


def test_every_answer_has_the_headers(browser):
    client = browser()
    path = deal(client)
    for address in ("/", path, f"{path}/0.webp", "/static/game.css", "/nowhere", "/static/nowhere", "/practice"):
        answer = client.get(address)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for page in ("/", path, "/instructions", "/about", "/leaderboard"):
        assert not re.search(r"<script(?! src=)|\son\w+=|style=", client.get(page).text)


def test_cookies_are_kept_from_scripts(browser):
    for base, secure in (("http://testserver", False), ("https://testserver", True)):
        client = browser(None, base_url=base)
        answer = client.post("/sign-up", data={"name": f"ada {secure}", "password": "correct horse"})
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert ("secure" in cookie.replace("ada", "")) == secure


@pytest.mark.parametrize(
    "path",
    [
        "/rounds/../../etc/passwd",
        "/rounds/%00",
        "/static/../_app.py",
        "/static/%2e%2e/_app.py",
        "/static/..%5c_app.py",
        "/static//etc/passwd",
        "/join/%ff",
        "/practice/99999999999999999999.webp",
        f"/practice/{'9' * 5000}.webp",
    ],
)
def test_no_path_leads_elsewhere(browser, path):
    answer = browser().get(path)
    assert answer.status_code == 404
    assert b"def " not in answer.content
    assert b"root:" not in answer.content


def test_forms_of_other_kinds_are_refused(browser):
    client = browser()
    path = deal(client)
    for options in (
        {"json": {"action": "resign"}},
        {"content": b"action=resign", "headers": {"content-type": "text/plain"}},
        {"files": {"action": b"resign"}},
    ):
        assert client.post(path, **options).status_code == 415
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post(path, content=b"action=%ff%fe", headers=form).status_code == 400
    assert client.post(path, content=b"\xff=1", headers=form).status_code == 400
    assert client.post(path, content=iter([b"a" * 40_000] * 3), headers=form).status_code == 413
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, path).status_code == 405


def test_a_full_disk_is_told(browser, store, dealt, monkeypatch):
    client = browser()
    path = deal(client)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("jaxplain.study.game._rounds._end", full)
    answer = client.post(path, data={"action": "resign"})
    assert answer.status_code == 503
    assert "could not be stored" in answer.text
    monkeypatch.undo()
    assert dealt(path).outcome is None
    assert client.post(path, data={"action": "resign"}).status_code == 303


def test_a_fault_of_ours_is_a_page(browser, monkeypatch):
    client = browser(raise_server_exceptions=False)
    monkeypatch.setattr("jaxplain.study.game._rounds.totals", lambda *_: 1 / 0)
    answer = client.get("/statistics")
    assert answer.status_code == 500
    assert "on our side" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_is_costly_to_read_is_not_read(browser):
    """Marks that combine take the square of their number to put in order: refused before that."""
    marks = ("a" + "\u0301" * 15_900 + "\u0316" * 15_800).encode()  # 63 kB, not escaped
    form = {"headers": {"content-type": "application/x-www-form-urlencoded"}}
    client = browser(None)
    before = time.perf_counter()
    assert client.post("/practice", content=b"level=0&action=resign&label=" + marks, **form).status_code == 400
    assert client.post("/sign-up", content=b"password=correct+horse&name=" + marks, **form).status_code == 400
    assert client.post("/log-in", content=b"password=correct+horse&name=" + marks, **form).status_code == 401
    assert time.perf_counter() - before < 1


def test_a_writer_elsewhere_keeps_no_reader_out(browser, store):
    """While another process holds the file, and a player's answer waits for it, others see their pages."""
    client, other = browser(), browser("bob")
    path = deal(client)
    writer = sqlite3.connect(store.study.folder / FILE, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=lambda: client.post(path, data={"action": "resign"}))
    waiting.start()
    time.sleep(0.2)
    before = time.perf_counter()
    assert other.get("/leaderboard").status_code == 200
    assert time.perf_counter() - before < 2
    assert waiting.is_alive()
    writer.close()
    waiting.join()
    assert [play.outcome for play in stored_plays(store)] == ["resign"]


def test_many_at_once(browser, store, dealt):
    """Twelve players in threads, half of whom send each answer twice at the same time: each round ends once."""
    clients = [browser(f"player {number}") for number in range(6)]

    def run(client, number):
        for _ in range(5):
            path = client.post("/rounds").headers.get("location")
            if path:
                client.post(path, data={"action": "guess", "guess": number % 5, "label": [f"label {number}"]})

    threads = [threading.Thread(target=run, args=(client, number)) for number, client in enumerate(clients * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plays = stored_plays(store)
    assert len({(one.player, one.image, one.layer, one.cluster) for one in plays}) == len(plays) >= 6 * 5
    assert all(len(one.labels) == 1 for one in plays)


# Languages and the pages that need no player


def test_pages_are_in_the_players_language(browser, store, dealt):
    client = browser(None)
    assert 'lang="en"' in client.get("/").text
    assert "Che cosa vedi?" in client.get("/", headers={"accept-language": "it-IT,it;q=0.9,en;q=0.8"}).text
    assert 'lang="en"' in client.get("/", headers={"accept-language": "xx, ;;;q=,"}).text
    answer = client.post("/language", data={"language": "it", "back": "/about"})
    assert answer.headers["location"] == "/about"
    assert 'lang="it"' in client.get("/about").text
    assert client.get("/rounds").headers["location"] == "/"  # where a form's answer stood
    for back in ("https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nset-cookie: x=1"):
        assert client.post("/language", data={"language": "it", "back": back}).headers["location"] == "/"
    assert client.post("/language", data={"language": "xx"}).status_code == 400
    client.post("/sign-up", data={"name": "ada", "password": "correct horse"})
    path = deal(client)
    assert "Cosa 1" in client.get(path).text
    client.post(path, data={"action": "guess", "guess": 0, "label": ["pinne"]})
    assert [one.language for one in stored_plays(store)] == ["it"]


def test_the_practice_round(browser, store):
    client = browser(None)
    shown = [pixels(client.get(f"/practice/{level}.webp")).astype(bool).mean() for level in range(6)]
    assert shown == sorted(shown)
    data = {"level": 1, "guess": "sailing_boat", "label": "white sail"}
    assert 'value="white sail"' in client.post("/practice", data={"action": "more", **data}).text
    answer = client.post("/practice", data={"action": "guess", **data, "level": 2})
    assert "Right!" in answer.text
    assert ">80<" in answer.text
    assert "Not this time" in client.post("/practice", data={"action": "guess", "level": 0, "guess": "kite"}).text
    assert "Given up" in client.post("/practice", data={"action": "resign", "level": 5}).text
    for data in ({}, {"level": "x"}, {"level": 0, "action": "guess"}, {"level": 0, "action": "guess", "guess": "ufo"}):
        assert client.post("/practice", data=data).status_code == 400
    assert rows(store, "SELECT * FROM plays") == []


def test_all_pages_open(browser):
    client = browser()
    for path in (
        "/",
        "/about",
        "/instructions",
        "/forgotten",
        "/practice",
        "/sign-up",
        "/log-in",
        "/statistics",
        "/leaderboard",
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.text.count("<h1") == 1
        assert answer.text.count("<main") == 1
    for path in ("/statistics", "/leaderboard", "/rounds/x"):
        assert browser(None).get(path).status_code == 401
