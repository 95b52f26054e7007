"""The page in Chromium, as people open it: a file, without a network."""

import pytest

pytest.importorskip("jinja2", reason="the extra study is not installed")
pytest.importorskip("simplemma", reason="the extra study is not installed")

from studies import PLAYS, A, B, C, embed, small_study

from jaxplain.report import explorer
from jaxplain.study._explained import explained
from jaxplain.study._report import assembled, report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("browser") / "study")


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page's text as a file, which may ask for nothing and may say nothing in the console."""
    contexts, faults = [], []

    def refuse(route):
        url = route.request.url
        if url.split("#")[0] == (tmp_path / "page.html").as_uri() or url.startswith("data:"):
            return route.continue_()
        faults.append(url)
        return route.abort()

    def open_page(text, address="", **options):
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}} | options)
        contexts.append(context)
        context.route("**/*", refuse)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto((tmp_path / "page.html").as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def text(study):
    return report(study, explained(study, PLAYS, embed))


def focused(page):
    """The layer and cluster of the card that has the focus."""
    return page.evaluate("[document.activeElement.dataset.layer, document.activeElement.dataset.cluster]")


def address(page):
    return dict(pair.split("=") for pair in page.evaluate("location.hash.slice(1)").split("&") if pair)


def cards(page):
    return page.eval_on_selector_all(".card", "all => all.map(one => [one.dataset.layer, one.dataset.cluster])")


def test_choosing(opened, text):
    page = opened(text)
    assert page.inner_text("h2#local-title") == "The photo a.png as tench"
    assert cards(page) == [["one", "0-1"], ["two", "0"]]
    assert page.inner_text(".card >> nth=0").split("\n")[:2] == ["50.0 %", "fin"]
    page.click("text=one by one")
    assert cards(page) == [["one", "0"], ["one", "1"], ["two", "0"]]
    page.click("#image label >> nth=1")
    assert page.inner_text("h2#local-title") == "The photo b.png as tench"
    page.select_option("#class", "church")
    assert page.inner_text("h2#local-title") == "The photo c.png as church"
    assert address(page) == {"class": "church", "image": C, "merged": "clusters"}
    page.select_option("#layer", "two")
    assert page.get_attribute(".layer.chosen", "data-layer") == "two"
    page.go_back()
    page.go_back()
    assert page.inner_text("h2#local-title") == "The photo b.png as tench"
    assert page.eval_on_selector("#class", "one => one.value") == "tench"


def test_a_clusters_detail(opened, text):
    page = opened(text)
    page.click(".card >> nth=0")
    detail = " ".join(page.inner_text("dialog").split())
    expected = (
        "Clusters 0 + 1", "Recognised at 8 % of the photo", "2 won, 2 lost, 0 given up", "50.0 %", "fin", "1.17",
        "5 channels of 2 clusters", "tail", "0.60", "cluster 0 30.0 % 3", "cluster 1 20.0 % 2",
    )  # fmt: skip
    for shown in expected:
        assert shown in detail
    widths = page.eval_on_selector_all(".bars .piece", "all => all.map(one => one.getBoundingClientRect().width)")
    assert [width / sum(widths[:2]) for width in widths] == pytest.approx(
        [1.08 / 1.17, 0.09 / 1.17, 0.6 / 1.17], rel=0.02
    )
    sizes = page.eval_on_selector_all("dialog img", "all => all.map(one => [one.naturalWidth, one.naturalHeight])")
    assert sizes == [[256, 256], [384, 384], [4, 4]]
    assert address(page) == {"class": "tench", "image": A, "merged": "merged", "layer": "one", "cluster": "0-1"}


def test_links_lead_to_a_cluster(opened, text):
    page = opened(text, f"#image={A}&merged=clusters&layer=one&cluster=1")
    assert page.inner_text("dialog h2") == "Cluster 1"
    page.reload()
    assert page.inner_text("dialog h2") == "Cluster 1"
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog').open")
    page.wait_for_function("!location.hash.includes('cluster=')")
    assert focused(page) == ["one", "1"]
    page.go_back()
    assert page.inner_text("dialog h2") == "Cluster 1"
    page.go_forward()
    page.wait_for_function("!document.querySelector('dialog').open")


def test_wrong_links_lead_to_the_first_photo(opened, text):
    page = opened(text, "#class=__proto__&image=constructor&merged=x&layer=toString&cluster=9")
    assert page.inner_text("h2#local-title") == "The photo a.png as tench"
    assert not page.is_visible("dialog")


def test_arrow_keys(opened, text):
    page = opened(text, f"#image={A}&merged=clusters")
    page.focus(".card >> nth=0")
    places = []
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft", "End", "Home", "ArrowUp"):
        page.keyboard.press(key)
        places.append(" ".join(focused(page)))
    assert places == ["one 1", "one 1", "two 0", "one 0", "one 0", "one 1", "one 0", "one 0"]
    page.keyboard.press("Enter")
    titles = [page.inner_text("dialog h2")]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        titles.append(" ".join(page.inner_text("dialog .detail-head").split()[:4]))
    assert titles == ["Cluster 0", "Cluster 1 Layer 1", "Cluster 0 Layer 2", "Cluster 1 Layer 1"]
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog').open")
    assert focused(page) == ["one", "1"]


def test_every_control_is_reached_by_tab(opened, text):
    page = opened(text)
    reached, who = [], "(one => one.id || one.className || one.name)(document.activeElement)"
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(who))
    assert {"theme", "class", "layer", "merged", "image", "card", "exemplar", "scroller"} <= set(reached)


def test_examples_open_their_cluster(opened, text):
    page = opened(text, f"#image={B}&merged=clusters")
    page.click(".exemplar")
    assert page.inner_text("dialog h2") == "Clusters 0 + 1"
    assert address(page)["image"] == A


def test_hostile_texts_are_texts(opened, study):
    data = assembled(study, explained(study, PLAYS, embed))
    label, name, file = (
        "<script>alert(1)</script>",
        "</script><img src=x onerror=alert(2)>",
        "{{7*7}}\u202egnp.exe\u2028",
    )
    data["images"][A]["layers"][0]["groups"]["0-1"]["labels"][0]["label"] = label
    data["classes"][0]["labels"][0][0]["label"] = data["classes"][0]["trends"][0]["label"] = label
    data["classes"][0]["name"] = data["images"][A]["class"] = data["images"][B]["class"] = name
    data["images"][A]["name"] = file
    page = opened(explorer(data))
    assert page.inner_text(".card .best bdi >> nth=0") == label
    assert page.inner_text("#global .word") == label
    assert label in page.inner_text("#trends .legend")
    assert page.inner_text("#global-title bdi") == name
    assert page.text_content("#local-title bdi >> nth=0") == file
    assert page.eval_on_selector("#class", "one => one.selectedOptions[0].text") == name
    page.click(".card >> nth=0")
    assert page.inner_text(".bars .word >> nth=0") == label
    page.reload()
    assert page.inner_text(".bars .word >> nth=0") == label
    assert page.locator("script").count() == 2
    assert page.locator("img[src=x]").count() == 0
    around = page.eval_on_selector("#local-title bdi", "one => getComputedStyle(one).unicodeBidi")
    assert around == "isolate"


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("played", [True, False])
def test_the_page_does_not_scroll_sideways(opened, text, study, width, played):
    page = opened(text if played else report(study, explained(study, [])), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".card >> nth=0")
    assert page.eval_on_selector("dialog", "one => one.scrollWidth <= one.clientWidth")


def test_nobody_played(opened, study):
    page = opened(report(study, explained(study, [])))
    assert "Nobody has played yet" in page.inner_text("#local")
    for part in ("#local", "#global", "#trends"):
        assert "jaxplain study serve STUDY" in page.inner_text(part)
    assert "jaxplain study play STUDY" in page.inner_text("#networks")
    page.click(".card >> nth=0")
    assert "8 % of the photo, as an example" in page.inner_text("dialog")


def test_trends_and_recognition(opened, text):
    page = opened(text)
    legend = page.inner_text("#trends .legend").replace("a layer", "").split()
    assert legend == ["fin", "\u22121.012", "tail", "\u22121.000"]
    rows = [" ".join(row.split()) for row in page.inner_text("#networks tbody").strip().split("\n")]
    assert rows == ["Layer 1 one 0 % 0 % 0 % 0 % 0 % 0 % 1", "Layer 2 two 0 % 0 % 0 % 50 % 50 % 50 % 2"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, text, scheme):
    """Texts have a contrast of 4.5 or more to what is behind them, in both, and the button changes them."""
    page = opened(text, color_scheme=scheme)
    first = contrasts(page)
    page.click("#theme")
    second = contrasts(page)
    assert (first["dark"], second["dark"]) == ((True, False) if scheme == "dark" else (False, True))
    assert min(first["ratios"] + second["ratios"]) >= 4.5


def contrasts(page):
    return page.evaluate(
        """() => {
        const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const luminance = (text) => channels(text).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
          .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
        const behind = (node) => {
          const colour = getComputedStyle(node).backgroundColor;
          return /^rgb\\(/.test(colour) ? colour : behind(node.parentElement);
        };
        const ratio = (node) => {
          const pair = [luminance(getComputedStyle(node).color), luminance(behind(node))].sort((a, b) => b - a);
          return (pair[0] + 0.05) / (pair[1] + 0.05);
        };
        const nodes = document.querySelectorAll("h1, p, dd, dt, .small, .muted, .word, select, summary, label span");
        return {dark: luminance(behind(document.body)) < 0.2, ratios: [...nodes].map(ratio)};
        }"""
    )


def test_print(opened, text):
    """Black on white, with all clusters and all words, and without controls, even of an open detail in the dark."""
    page = opened(text, f"#image={A}&layer=one&cluster=0-1", color_scheme="dark")
    page.emulate_media(media="print")
    assert page.eval_on_selector("body", "one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"
    assert page.eval_on_selector("body", "one => getComputedStyle(one).color") == "rgb(0, 0, 0)"
    assert [page.is_visible(one) for one in (".choosers", "dialog", "#theme")] == [False] * 3
    assert [page.is_visible(one) for one in (".card", ".print-only", "#global", "#trends", "#networks")] == [True] * 5
    assert "2 won, 2 lost" in page.inner_text(".card >> nth=0")
    assert len(page.pdf(format="A4")) > 10_000


def test_without_javascript_the_page_says_so(opened, text):
    page = opened(text, java_script_enabled=False)
    assert "What tiny looks at" in page.inner_text("h1")
    assert "Allow scripts" in page.inner_text("noscript")
    assert "5 (2 players)" in page.inner_text(".facts")
