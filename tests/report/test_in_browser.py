"""The report in a real browser: at three widths, by day and by night, printed, and with the keyboard alone."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.browsers import LOWEST_CONTRAST, watched
from tests.report.example_run import drawing, example, pixels, tables
from trueslice.report import figures
from trueslice.report.page import page
from trueslice.report.templates import passages

pytestmark = pytest.mark.slow

NAMES = list(passages("alt.jinja", example()))  # of all figures
WIDTHS = (360, 768, 1280)
REACHED = "a[href], summary, [tabindex='0']"  # what the keyboard should reach
# What sticks out of the window, but for what lies in a box of its own that scrolls.
STICKING_OUT = """() => [...document.querySelectorAll("main *, header *, nav *")]
  .filter((each) => each.checkVisibility() && !each.closest(".wide") && !each.closest("svg"))
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 80))"""
# Boxes of the flow of files that overlap another, or whose text is larger than they are.
BAD_BOXES = """() => {
  const boxes = [...document.querySelectorAll(".flow div")].map((div) => [div, div.getBoundingClientRect()]);
  return boxes.filter(([div, a]) => div.scrollWidth > div.clientWidth || div.scrollHeight > div.clientHeight
    || boxes.some(([other, b]) => other !== div
      && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom))
    .map(([div]) => div.textContent);
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report with blank figures of the usual size."""
    with io.BytesIO() as file:
        Image.new("RGB", (1240, 840), "white").save(file, "PNG")
        blank = file.getvalue()
    changed = {"files": ("params.yaml",), "settings": (("train.epochs", "14", "3"),)}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(example(leaks="keep"), dict.fromkeys(NAMES, blank), 64 * "a", drawing(**changed)), "utf-8")
    return path


@pytest.fixture
def opened(browser, report):
    """Opens the report in a window, and sees at the end that it had no error and asked for nothing."""
    tabs = []

    def visit(width: int = 1280, scheme: str = "light"):
        tabs.append(watched(browser, viewport={"width": width, "height": 900}, color_scheme=scheme))
        tabs[-1].goto(report.as_uri())
        return tabs[-1]

    yield visit
    for tab in tabs:
        tab.close()
        assert tab.said == []
        assert {url for url in tab.asked if not url.startswith("data:")} == {report.as_uri()}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_of_the_window(opened, width):
    tab = opened(width)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(STICKING_OUT) == []
    assert tab.evaluate(BAD_BOXES) == []
    assert tab.locator(".flow div").count() == 12


def test_a_table_fits_or_shows_at_its_edge_that_there_is_more(browser, tmp_path):
    many = page(example(names=["glioma", "meningioma", "notumor", "pituitary"], leaks="keep"), {}, 64 * "a", drawing())
    (tmp_path / "report.html").write_text(many, "utf-8")
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto((tmp_path / "report.html").as_uri())
    hidden = "[...document.querySelectorAll('.wide')].filter((each) => each.scrollWidth > each.clientWidth).length"
    assert tab.evaluate(hidden) == 0
    tab.set_viewport_size({"width": 360, "height": 900})
    assert tab.evaluate(hidden) > 0
    shot = Image.open(io.BytesIO(tab.get_by_role("group", name="Table: each class").screenshot())).convert("L")
    assert shot.getpixel((shot.width - 1, 3)) < 200 < shot.getpixel((shot.width // 2, 3))
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_lies_behind_it(opened, scheme):
    tab = opened(scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    contrast, text = tab.evaluate(LOWEST_CONTRAST)
    assert contrast >= 4.5, text
    is_dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert is_dark == (scheme == "dark")
    filters = tab.evaluate("[...document.querySelectorAll('.chart img')].map((each) => getComputedStyle(each).filter)")
    assert all(("invert" in each) == is_dark for each in filters), "a chart follows the page"
    kept = tab.evaluate("getComputedStyle(document.querySelector('.scans img')).filter")
    assert "invert" not in kept, "a scan does not"


def test_every_picture_is_there_and_has_its_words(opened):
    found = opened().evaluate("[...document.images].map((each) => [each.complete && each.naturalWidth, each.alt])")
    assert len(found) == len(NAMES)
    assert all(width == 1240 and len(words) > 40 for width, words in found)


def test_the_keyboard_reaches_all_in_the_order_of_the_page(opened):
    tab = opened()
    visible = f"[...document.querySelectorAll(`{REACHED}`)].filter((each) => each.checkVisibility())"
    places = []
    for _ in range(tab.evaluate(f"{visible}.length")):
        tab.keyboard.press("Tab")
        places.append(tab.evaluate(f"{visible}.indexOf(document.activeElement)"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert len(places) > 20
    assert places == list(range(len(places)))


def test_the_skip_link_shows_when_it_is_reached_and_leads_past_the_contents(opened):
    tab = opened()
    skip = tab.locator(".skip")
    assert skip.bounding_box()["x"] < 0
    tab.keyboard.press("Tab")
    assert skip.bounding_box()["x"] >= 0
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_the_keyboard_opens_what_is_folded(opened):
    tab = opened()
    tab.locator("summary", has_text="All 50 rows").focus()
    items = tab.get_by_role("group", name="Table: items of STARD-AI 2025")
    assert not items.is_visible()
    tab.keyboard.press("Enter")
    assert items.is_visible()


def test_it_prints_and_the_print_holds_what_is_folded(opened):
    tab = opened(scheme="dark")
    assert tab.pdf(format="A4").startswith(b"%PDF-")
    tab.emulate_media(media="print")
    assert tab.get_by_role("group", name="Table: items of STARD-AI 2025").bounding_box()["height"] > 500
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.querySelector('.chart img')).filter") == "none"
    assert not tab.locator("nav").is_visible()


def test_the_page_of_a_whole_run_is_below_1_mb_and_its_charts_are_dark_in_the_dark(browser, tmp_path):
    run, pictures = example(leaks="keep"), {}
    for name, figure in figures.draw(run, tables(), pixels(16)).items():
        pictures[name] = figures.png(figure)
    path = tmp_path / "report.html"
    path.write_text(page(run, pictures, 64 * "a", drawing()), "utf-8")
    assert path.stat().st_size < 1_000_000
    for scheme, kind, low, high in (
        ("light", ".chart", 200, 255),
        ("dark", ".chart", 20, 70),
        ("dark", ".scans", 20, 130),
    ):
        tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        tab.goto(path.as_uri())
        shot = Image.open(io.BytesIO(tab.locator(f"{kind} .sheet").first.screenshot())).convert("L")
        histogram = shot.histogram()
        mean = sum(level * number for level, number in enumerate(histogram)) / sum(histogram)
        assert low < mean < high
        tab.close()
