"""A study from photographs to its report: the network plays, a person plays in Chromium, and the page shows both."""

import re
from typing import Any

import pytest

pytest.importorskip("sentence_transformers", reason="the extra study is not installed")
pytest.importorskip("uvicorn", reason="the extra study is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

from serving import free_port, served

from jaxplain.models import load
from jaxplain.study import add_plays, encoder, explained, new_study, opened, play, rounds, stored_plays, write_report
from jaxplain.study._store import row

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WORDS = {  # what a person might write
    "tiger cat": ("pointed ears", "yellow eyes", "whiskers"),
    "espresso": ("dark liquid", "white rim", "<script>alert(1)</script>"),
    "missile": ("night sky", "white tower", "bright lights"),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two layers of three photographs, which the network has played."""
    model, photos = load("efficientnet_lite0"), [f"sample:{name}" for name in ("chelsea", "coffee", "rocket")]
    options: dict[str, Any] = {"targets": ["tiger cat", "espresso", "missile"], "layers": ["_blocks.14", "_swish2"]}
    names = {"tiger cat": {"en": "cat", "it": "gatto"}}
    folder = tmp_path_factory.mktemp("browser") / "study"
    made = new_study(folder, model, photos, clustering="kmeans", names=names, **options)
    with opened(made) as store:
        add_plays(store, play(model, made))
    return made


@pytest.fixture
def page(chromium):
    """A page whose console stays empty but for the answers that a test asks for."""
    context, faults = chromium.new_context(viewport={"width": 1280, "height": 800}), []
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.faults = faults
    yield page
    context.close()
    assert faults == []


def test_a_study_is_played_and_reported(study, page, tmp_path):
    with served(study, free_port()) as base:
        page.goto(base)
        page.get_by_role("link", name="Sign up").click()
        page.get_by_label("Nickname").fill("Ada")
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Sign up").click()
        page.get_by_role("button", name="Play a round").click()
        count = len(rounds(study))
        for number in range(count):
            truth = truth_of(study, page.url)
            shown = study.names.get(truth, {}).get("en", truth)
            for _ in range(number % 3):
                page.get_by_role("button", name="Show more").click()
            page.get_by_role("radio", name=shown, exact=True).check()
            fields = page.get_by_label("Something you recognised")
            fields.nth(0).fill(WORDS[truth][number % 3])
            page.get_by_role("button", name="Guess").click()
            assert page.locator("h1").inner_text() == "Right!"
            assert shown in page.locator(".lead").inner_text()
            page.get_by_role("button", name="Next round").click()
        assert page.locator("h1").inner_text() == "You have played every round"
        page.wait_for_load_state("networkidle")  # before the server is killed
    with opened(study) as store:
        plays = stored_plays(store)
    mine = [one for one in plays if one.kind == "person"]
    assert len(plays) == 2 * count
    assert [(one.outcome, one.level) for one in mine] == [("win", number % 3) for number in range(count)]
    assert [one.labels for one in mine] == [(WORDS[one.truth][number % 3],) for number, one in enumerate(mine)]

    found = explained(study, plays, encoder())
    words = {label for groups in found.merged.values() for group in groups for label, _ in group.labels}
    assert words & {"ears", "eyes", "whiskers", "liquid", "rim", "sky", "tower", "lights", "pointed", "yellow"}
    write_report(tmp_path / "report.html", study, found)
    page.goto((tmp_path / "report.html").as_uri())
    text = page.locator("body").inner_text()
    assert f"{count} (1 player)" in text
    assert f"{count} (1 network)" in text
    best = found.ranked[study.classes[[*study.classes].index("tiger cat")], "_swish2"][0].label
    page.locator("#class").select_option(label="tiger cat")
    assert best in page.locator("body").inner_text()


def test_a_round_with_the_keyboard_alone(study, page):
    with served(study, free_port()) as base:
        page.goto(f"{base}/practice")
        keys = page.keyboard
        keys.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        keys.press("Enter")
        keys.press("Tab")
        keys.press("Space")  # the first answer
        for _ in range(2):
            keys.press("ArrowDown")
        assert page.get_by_role("radio", name="sailing boat").is_checked()
        keys.press("Tab")
        keys.type("white sail")
        for _ in range(3):
            keys.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Guess"
        keys.press("Tab")
        keys.press("Enter")  # show more: what was chosen and written stays
        page.wait_for_url("**/practice")
        page.locator(".levels .on").nth(1).wait_for()
        assert page.get_by_role("radio", name="sailing boat").is_checked()
        assert page.get_by_label("Something you recognised").first.input_value() == "white sail"
        page.get_by_label("Something you recognised").first.focus()
        keys.press("Enter")  # sends the guess
        page.get_by_role("heading", name="Right!").wait_for()
        assert page.locator("dd").first.inner_text() == "95"
        page.wait_for_load_state("networkidle")  # before the server is killed


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")])
def test_every_screen_fits_and_can_be_read(study, chromium, width, scheme):
    """No page is wider than the window, each has its landmarks, and text has a contrast of 4.5 at least."""
    context = chromium.new_context(viewport={"width": width, "height": 780}, color_scheme=scheme, locale="it-IT")
    page = context.new_page()
    with served(study, free_port()) as base:
        page.goto(f"{base}/sign-up")
        page.fill("#name", f"Ada {width} {scheme}")
        page.fill("#password", "correct horse")
        page.click("main button")
        page.goto(base)
        page.click("main button")
        page.click("button[value=resign]")  # so that there is somebody on the leaderboard
        ended = page.url
        page.click("main button")
        screens = [
            ended,
            page.url,
            *(f"{base}/{name}" for name in ("", "instructions", "practice", "about", "statistics")),
        ]
        for address in [*screens, f"{base}/leaderboard", f"{base}/sign-up", f"{base}/nowhere"]:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
            for table in page.locator(".scroll").all():
                assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), address
            assert [page.locator(one).count() for one in ("header", "nav", "main", "footer", "h1")] == [1] * 5
            assert page.evaluate("document.documentElement.lang") == "it"
            assert page.evaluate(LOW_CONTRAST) == [], address
    context.close()


def truth_of(study, url):
    with opened(study) as store:
        token = re.sub(r".*/rounds/([\w-]+).*", r"\1", url)
        query = "SELECT truth FROM plays JOIN rounds ON rounds.id = round WHERE token = ?"
        return row(store, query, token)["truth"]


# The texts whose contrast with what is behind them is below 4.5, by the formula of the WCAG.
LOW_CONTRAST = """() => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      const [r, g, b, a = 1] = parsed(colour);
      if (colour.startsWith("rgb") && a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".skip, .unseen")) continue;
    const pair = [luminance(parsed(getComputedStyle(element).color).slice(0, 3)), luminance(behind(element))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) low.push(`${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return low;
}"""
