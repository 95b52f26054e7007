"""The explorer's page: what is in it stays data, and it asks for nothing from elsewhere."""

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import pytest

pytest.importorskip("jinja2", reason="the extra study is not installed")

from jaxplain.report import explorer
from jaxplain.report._explorer import _text

HOSTILE = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "{{7*7}}", "{% raw %}", "a\u2028b\u2029c",
    "\u202egnp.exe", "<!--<script>", "&lt;b&gt;", "'\"><b>", "\\u003c",
)  # fmt: skip


def data_of(text="photo", **changes):
    """A page's data in which every text is this one."""
    group = {
        "parts": [{"cluster": 0, "weight": 30.0, "channels": 3}], "weight": 30.0, "channels": 3, "wins": 1, "losses": 0,
        "resigns": 0, "level": None, "labels": [{"label": text, "score": 1.0, "shares": [1.0]}], "heat": "data:,",
        "revealed": "data:,",
    }  # fmt: skip
    layer = {"groups": {"0": group}, "clusters": ["0"], "merged": ["0"], "whole": ["0"]}
    exemplars = [{"image": "a", "group": "0"}]
    labels = [[{"label": text, "score": 1.0, "weight": 30.0, "exemplars": exemplars}]]
    one = {"name": text, "names": {text: text}, "images": ["a"], "labels": labels, "trends": []}
    return {
        "study": text, "model": text, "layers": [text], "levels": [2, 4.5, 8, 13, 20, 30], "example_level": 2,
        "played": {kind: {"plays": 1, "players": 1} for kind in ("person", "network", "file")}, "notes": [text],
        "classes": [one], "images": {"a": {"name": text, "class": text, "photo": "data:,", "layers": [layer]}},
        "recognition": [None],
    } | changes  # fmt: skip


class Page(HTMLParser):
    """The tags of a page with their attributes, and the texts of its scripts, its style and all else."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open = [], {"script": [], "style": [], "": []}, ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        self.texts[self.open].append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_texts(text):
    page, harmless = Page(explorer(data_of(text))), Page(explorer(data_of()))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    data, script = page.texts["script"]
    assert json.loads(data) == data_of(text)
    assert not re.search("[<>&\u2028\u2029\u202e]", data)
    assert script == harmless.texts["script"][1]
    assert text in "".join(page.texts[""])
    assert [attributes for tag, attributes in page.tags if "onerror" in attributes] == []


def test_texts_in_the_page_are_isolated():
    """A name that is written from right to left turns nothing around it."""
    page = explorer(data_of("\u202egnp.exe"))
    outside = page.split("<body>")[1].split("<script")[0]
    around = re.findall(r"(<[^>]+>)\u202e", outside)
    assert len(around) == 4  # twice the network, a note and the study
    assert all(tag == "<bdi>" or 'dir="auto"' in tag for tag in around)


def test_the_policy_allows_nothing_but_what_is_there():
    page = Page(explorer(data_of("it's")))
    policies = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in ("".join(page.texts["style"]), page.texts["script"][1])
    ]
    assert policies == [
        f"default-src 'none'; img-src data:; style-src {digests[0]}; script-src {digests[1]}; base-uri 'none'; "
        "form-action 'none'"
    ]


def test_nothing_is_loaded_and_no_data_becomes_html():
    page = Page(explorer(data_of()))
    links = [attributes[name] for _, attributes in page.tags for name in ("src", "href") if name in attributes]
    assert links == ["data:,"]
    assert not [attributes for _, attributes in page.tags if "style" in attributes]
    script, style = _text("explorer.js"), _text("explorer.css")
    assert set(re.findall(r"https?://[^\"]*", script + style)) == {"http://www.w3.org/2000/svg"}  # a name
    assert not re.search(
        "innerHTML|outerHTML|insertAdjacent|document.write|eval|fetch|XMLHttp|url\\(|@import", script + style
    )
    assert "</" not in script + style


def test_what_is_counted_is_in_the_page():
    counts = {"person": (12, 3), "network": (63, 1), "file": (0, 0)}
    played = {kind: {"plays": plays, "players": players} for kind, (plays, players) in counts.items()}
    text = " ".join(" ".join(Page(explorer(data_of(played=played))).texts[""]).split())
    for shown in (
        "Plays by people 12 (3 players)",
        "Plays by networks 63 (1 network)",
        "Labels from files 0",
        "1, in 1 class",
    ):
        assert shown in text
    assert "What is left out" not in "".join(Page(explorer(data_of(notes=[]))).texts[""])


def test_what_cannot_be_shown(monkeypatch):
    with pytest.raises(ValueError, match="no 'recognition', expected study, model"):
        explorer({name: value for name, value in data_of().items() if name != "recognition"})
    for bad in (float("nan"), {1, 2}, object()):
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            explorer(data_of(recognition=[bad]))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ValueError, match='pip install "jaxplain\\[study\\]"'):
        explorer(data_of())
