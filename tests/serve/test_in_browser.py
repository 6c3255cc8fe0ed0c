"""The page in a real browser, on the real server with a real model."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import browsers
from tests.browsers import LOWEST_CONTRAST
from tests.serving import predicted, serving

pytestmark = pytest.mark.slow
# What a person does with the mouse: the browser makes such an event of a file dropped, or pasted.
GIVE = """([kind, selector, name, content]) => {
    const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    const event = kind === "drop"
        ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
    document.querySelector(selector).dispatchEvent(event);
}"""


class Watched:
    """A page of the server."""

    def __init__(self, browser, url: str, **options):
        self.page = browsers.watched(browser, **options)
        self.page.goto(url)
        self.page.wait_for_selector("#strip img")

    def give(self, kind: str, name: str, content: bytes) -> None:
        selector = "#drop" if kind == "drop" else "body"
        self.page.evaluate(GIVE, [kind, selector, name, base64.b64encode(content).decode()])

    def answer(self) -> dict:
        """What a person reads, once the answer is there."""
        self.page.wait_for_selector("#answer[aria-busy=false] .verdict")
        rows = self.page.locator(".bars li")
        return {
            "name": self.page.locator("#name").inner_text(),
            "class": self.page.locator(".verdict h2").inner_text(),
            "bars": dict(row.inner_text().split("\n") for row in rows.all()),
            "sure": self.page.locator(".sure").inner_text(),
            "warnings": self.page.locator(".warnings li span").all_inner_texts(),
            "nearest": [each.get_attribute("alt") for each in self.page.locator("#nearest img").all()],
        }


@pytest.fixture
def watched(browser, page_url) -> Iterator[Watched]:
    watched = Watched(browser, page_url)
    yield watched
    own = page_url.partition("?")[0]
    assert watched.page.url == own  # the token stays out of the history
    assert all(url.startswith((own, "data:")) for url in watched.page.asked), watched.page.asked
    assert watched.page.said == []
    watched.page.close()


@pytest.fixture(scope="module")
def scan(released) -> Path:
    """A test scan, of which the answer warns as a copy of itself."""
    return sorted((released / "data/raw/Testing").rglob("*.jpg"))[-1]


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_scan_gets_the_answer_that_predict_gives(watched, released, scan, way):
    if way == "choose":
        watched.page.set_input_files("#file", scan)
    else:
        watched.give(way, scan.name, scan.read_bytes())
    shown, row = watched.answer(), predicted(released, scan)
    assert (shown["name"], shown["class"]) == (scan.name, row["class"])
    assert list(shown["bars"]) == list(row["probabilities"])
    for name, share in row["probabilities"].items():
        # Next to 0 and 1 the page writes < 0.1 % and > 99.9 %.
        number = shown["bars"][name].removesuffix("\N{NO-BREAK SPACE}%").lstrip("<>\N{NO-BREAK SPACE}")
        assert float(number) == pytest.approx(100 * share, abs=0.11 if share < 0.0005 or share > 0.9995 else 0.0501)
    assert f"Of {row['error_rate']['scans']} test scans" in shown["sure"]
    assert f"{100 * row['error_rate']['share']:.0f}\N{NO-BREAK SPACE}% were wrong" in shown["sure"]
    assert [text.lower() for text in shown["warnings"]] == [f"{each['text']}.".lower() for each in row["warnings"]]
    assert shown["nearest"] == [f"Training scan {each['path']}" for each in row["nearest"]]
    assert "For research. Not for diagnosis." in watched.page.locator("#said").inner_text()


def test_all_pictures_are_there(watched, scan):
    watched.page.set_input_files("#file", scan)
    watched.answer()
    loaded = "[...document.images].filter((each) => !each.closest('[hidden]')).map((each) => each.naturalWidth > 0)"
    assert len(watched.page.evaluate(loaded)) >= 16 + 5 + 1
    assert all(watched.page.evaluate(loaded))
    assert all(image.get_attribute("alt") for image in watched.page.locator("img:visible").all())


def test_test_scans_are_tried_by_the_keyboard_alone(watched):
    for _ in range(40):
        watched.page.keyboard.press("Tab")
        if watched.page.evaluate("document.activeElement.closest('#strip') !== null"):
            break
    watched.page.keyboard.press("Enter")
    shown = watched.answer()
    truth = watched.page.locator(".truth").inner_text()
    is_right = truth == f"True class: {shown['class']}. The model is right."
    assert is_right or truth.endswith("The model is wrong.")
    assert watched.page.wait_for_selector("#strip [aria-current] b").inner_text() == ("✓" if is_right else "✗")


def test_test_scans_can_be_chosen_by_class(watched):
    with watched.page.expect_response("**/test-scans?class=pituitary") as response:
        watched.page.get_by_role("radio", name="pituitary").check()
    assert all("/pituitary/" in scan["path"] for scan in response.value.json()["scans"])


def test_an_unreadable_file_is_told_and_the_next_one_is_answered(browser, page_url, scan):
    watched = Watched(browser, page_url)
    with watched.page.expect_console_message():
        watched.give("drop", "<b>notes</b>.txt", b"no scan")
    text = watched.page.wait_for_selector(".failed").inner_text()
    assert "<b>notes</b>.txt: it is not an image" in text
    assert watched.page.locator("#picture").is_hidden()
    assert len(watched.page.said) == 1 and "422" in watched.page.said[0]
    watched.give("drop", scan.name, scan.read_bytes())
    assert watched.answer()["name"] == scan.name


def test_a_file_that_is_too_large_is_not_even_sent(watched, tmp_path):
    with (tmp_path / "large.dcm").open("wb") as file:
        file.truncate(101 * 2**20)
    watched.page.set_input_files("#file", tmp_path / "large.dcm")
    assert "large.dcm: it is larger than" in watched.page.wait_for_selector(".failed").inner_text()
    assert not any("predict" in url for url in watched.page.asked)


def test_a_file_of_several_frames_is_asked_which(browser, page_url, tmp_path):
    frames = [Image.fromarray(each) for each in np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)]
    frames[0].save(tmp_path / "volume.tif", save_all=True, append_images=frames[1:])
    watched = Watched(browser, page_url)
    watched.page.set_input_files("#file", tmp_path / "volume.tif")
    watched.page.wait_for_selector("#frame:focus")
    watched.page.keyboard.type("2")
    watched.page.keyboard.press("Enter")
    assert watched.answer()["name"] == "volume.tif, frame 2"


def test_a_heat_map_lies_over_the_scan_where_it_is_worth_it_and_can_be_taken_off(
    browser, released, explaining, scan, watched
):
    watched.page.set_input_files("#file", scan)
    watched.answer()
    assert watched.page.locator("#heat").is_hidden() and watched.page.get_by_role("switch").count() == 0
    with serving(released, "--model", str(explaining)) as url:
        other = Watched(browser, url)
        other.page.set_input_files("#file", scan)
        other.answer()
        assert other.page.locator("#heat").is_visible()
        assert other.page.locator("#heat").bounding_box() == other.page.locator("#picture").bounding_box()
        other.page.get_by_role("switch", name="Heat map").focus()
        other.page.keyboard.press("Space")
        assert other.page.locator("#heat").is_hidden()
        assert other.page.said == []
        other.page.close()


def test_a_scan_that_the_model_is_too_unsure_of_is_referred(browser, released, careful, scan):
    with serving(released, "--model", str(careful)) as url:
        page = Watched(browser, url).page
        page.set_input_files("#file", scan)
        assert page.wait_for_selector("#answer[aria-busy=false] .verdict").inner_text() == "Refer"
        why, row = page.locator(".referred").inner_text(), predicted(released, scan)
        assert why.startswith(f"Too unsure to answer: the likeliest class is {row['class']}, with ")
        assert "It answers from 99.99 % on and refers other scans to a person: at most 10 % of its answers" in why
        page.locator("#strip button").first.click()
        assert page.wait_for_selector("#strip [aria-current] b").get_attribute("aria-label") == "referred"
        assert page.locator(".truth").inner_text().startswith("True class: ")
        contrast, text = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        page.close()


def test_a_page_of_a_server_that_was_started_again_says_where_to_open_it(browser, page_url, scan):
    watched = Watched(browser, page_url)
    watched.page.context.clear_cookies()
    watched.give("drop", scan.name, scan.read_bytes())
    assert "Open the address that" in watched.page.wait_for_selector(".failed").inner_text()
    watched.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_by_day_and_by_night(browser, page_url, scan, scheme):
    watched = Watched(browser, page_url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    states = ["#drop", ".failed", ".verdict", ".truth"]
    for state in states:
        if state == ".failed":
            watched.give("drop", "notes.txt", b"no scan")
        elif state == ".verdict":
            watched.page.set_input_files("#file", scan)
        elif state == ".truth":
            watched.page.locator("#strip button").first.click()
        watched.page.wait_for_selector(f"#answer[aria-busy=false] {state}" if state != "#drop" else state)
        contrast, text = watched.page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        assert watched.page.evaluate("document.documentElement.scrollWidth") == 360
