"""The page of `trueslice review` in a real browser, on a folder with made-up scans."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.browsers import LOWEST_CONTRAST, watched
from tests.made import CLASSES, table
from tests.scan_tables import pair_table, scan_table
from tests.serving import ENVIRONMENT, ROOT
from trueslice.copies.thumbnails import thumbnails
from trueslice.tables.decisions import Decision, Decisions, append

pytestmark = pytest.mark.slow
COUNT = 16
NAMES = [f"Training/{CLASSES[row % 4]}/{row}.png" for row in range(COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixteen scans: 0 and 1 are copies of two classes, 2 and 6 mirrored copies of each other; model doubts 3, 4, …"""
    place = tmp_path / "data/scans"
    place.mkdir(parents=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, 8, 8), np.uint8).repeat(8, 1).repeat(8, 2)
    pixels[1], pixels[6] = pixels[0], pixels[2, :, ::-1]
    np.save(place / "pixels.npy", pixels)
    np.save(place / "thumbnails.npy", thumbnails(pixels))
    group = np.arange(COUNT)
    group[1], group[6] = 0, 2
    classes = np.array(CLASSES)[np.arange(COUNT) % 4]
    scan_table(["train"] * COUNT, classes, group, path=np.array(NAMES)).write(place / "scans.csv")
    pair_table((0, 1, "exact", 1.0), (2, 6, "mirrored", 0.981)).write(place / "pairs.csv")
    probabilities = np.full((COUNT - 3, 4), 0.1)
    probabilities[np.arange(COUNT - 3), np.arange(3, COUNT) % 4] = np.linspace(0.1, 1, COUNT - 3)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    table(np.arange(3, COUNT) % 4, probabilities, path=np.array(NAMES)[3:]).write(tmp_path / "predictions.csv")
    return tmp_path


def started(folder: Path) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-m", "trueslice", "review", "predictions.csv", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **pipes)
    line = process.stdout.readline()
    assert line.startswith("decisions.csv takes decisions at http://127.0.0.1:"), line + process.stderr.read()
    return process, line.split()[-1]


@pytest.fixture
def url(folder) -> Iterator[str]:
    process, address = started(folder)
    yield address
    process.send_signal(signal.SIGINT)
    assert (process.wait(timeout=60), process.stderr.read()) == (130, "")


@pytest.fixture
def page(browser, url) -> Iterator:
    page = opened(browser, url)
    yield page
    assert page.said == []
    assert all(each.startswith((url.partition("?")[0], "data:")) for each in page.asked), page.asked
    page.close()


def opened(browser, url: str, **options):
    page = watched(browser, **options)
    page.goto(url)
    page.wait_for_selector("#item[aria-busy=false] h2")
    return page


def decided(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(each) for each in Decisions.read(folder / "decisions.csv").in_force()]


def wait_for_title(page, title: str) -> None:
    page.wait_for_function(
        "title => document.querySelector('#item[aria-busy=false] h2')?.innerText === title", arg=title
    )


def shown(page) -> list[str]:
    """The paths of the pictures on the page."""
    return [each.get_attribute("alt") for each in page.locator("#item img").all()]


def test_decisions_by_keys_are_kept_at_once_and_shown_again_after_a_reload(page, folder):
    assert page.locator("#place").inner_text() == "1 of 15"
    assert "Decisions are kept in decisions.csv;" in page.locator("header").inner_text()
    assert page.locator("#decisions").bounding_box()["width"] > 20
    assert shown(page)[:2] == [NAMES[0], NAMES[1]]  # with its copy of another class first
    assert "A copy of it is under another class." in page.locator(".sure").inner_text()
    page.keyboard.press("r")
    wait_for_title(page, "Is this meningioma?")
    assert decided(folder) == [(NAMES[0], "", "right", "")]
    page.keyboard.press("1")  # it is glioma
    wait_for_title(page, "Is this pituitary?")
    page.keyboard.press("j")
    page.wait_for_selector("#place:text-is('4 of 15')")
    assert decided(folder)[1] == (NAMES[1], "", "wrong", "glioma")
    page.reload()
    page.wait_for_selector("#item[aria-busy=false] h2")
    assert page.locator("#labels").inner_text() == "Suspect labels: 2 of 15 decided"
    assert page.locator("#place").inner_text() == "3 of 15"  # the first that is not decided


def test_a_pair_is_judged_by_buttons_and_a_decision_can_be_undone(page, folder):
    page.get_by_role("radio", name="Doubtful copies").check()
    wait_for_title(page, "Do both show the same slice?")
    assert page.locator("#place").inner_text() == "1 of 2"
    assert shown(page)[:2] == [NAMES[2], NAMES[6]]  # the weakest first
    pictures = page.locator("#item img").evaluate_all("images => images.map(each => each.src)")
    assert pictures[0] == pictures[1] != pictures[2]  # the second one is turned to match the first
    page.get_by_role("button", name="Not the same").click()
    page.wait_for_selector("#place:text-is('2 of 2')")
    assert decided(folder) == [(NAMES[2], NAMES[6], "different", "")]
    page.keyboard.press("k")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#kept:has-text('undone')")
    assert decided(folder) == []


def test_copies_under_one_class_are_judged_together_and_a_file_damaged_meanwhile_is_told(page, folder):
    for place in range(2, 16):
        if "2 copies of it" in page.locator(".sure").inner_text():
            break
        page.keyboard.press("j")
        page.wait_for_selector(f"#place:text-is('{place} of 15')")
    page.keyboard.press("x")
    page.wait_for_selector("#kept:has-text('Kept')")
    page.wait_for_selector("#item[aria-busy=false]")  # until then the page takes no key
    assert {each[:3] for each in decided(folder)} == {(NAMES[2], "", "wrong"), (NAMES[6], "", "wrong")}
    before = (folder / "decisions.csv").read_bytes()
    (folder / "decisions.csv").write_bytes(before[:-2])  # by somebody's hand
    with page.expect_console_message():
        page.keyboard.press("r")
    assert "was not kept: decisions.csv cannot be used" in page.wait_for_selector("#problem:visible").inner_text()
    assert len(page.said) == 1 and "409" in page.said.pop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_on_a_phone_by_day_and_by_night(browser, url, scheme):
    page = opened(browser, url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for name in ("Suspect labels", "Doubtful copies"):
        page.get_by_role("radio", name=name).check()
        page.wait_for_selector("#item[aria-busy=false] h2")
        contrast, text = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert all(page.evaluate("[...document.images].map(each => each.naturalWidth > 0 && each.alt !== '')"))
    page.close()


def test_a_killed_server_loses_no_decision_and_one_about_a_scan_that_is_gone_can_be_undone(browser, folder):
    append(folder / "decisions.csv", [Decision("Training/gone.png", "", "wrong", "")])
    process, address = started(folder)
    page = opened(browser, address)
    page.keyboard.press("r")
    wait_for_title(page, "Is this meningioma?")
    process.kill()
    process.wait()
    page.close()
    process, address = started(folder)
    page = opened(browser, address)
    assert page.locator("#labels").inner_text() == "Suspect labels: 1 of 15 decided"
    page.locator("#others button").click()
    page.wait_for_selector("#gone", state="hidden")
    assert decided(folder) == [(NAMES[0], "", "right", "")]
    page.close()
    process.kill()


def post(url: str, content: object) -> int:
    """Decide as the page does, and return the status."""
    place = urlsplit(url)
    connection = HTTPConnection(place.netloc, timeout=60)
    cookie = f"trueslice-{place.port}={place.query.partition('=')[2]}"
    connection.request("POST", "/decide", json.dumps(content), {"Origin": f"http://{place.netloc}", "Cookie": cookie})
    return connection.getresponse().status


def test_what_is_no_decision_is_refused_and_nothing_is_kept(url, folder):
    wrong = [
        {}, 1, ["a"], [["a"]], [[NAMES[0], "", "maybe", ""]], [[NAMES[0], "", "wrong", "tumour"]],
        [["nowhere.png", "", "right", ""]], [[NAMES[0], "", "right", ""], [NAMES[0], NAMES[0], "same", ""]],
        [[NAMES[0], NAMES[1], "wrong", ""]], [[NAMES[0], "", "right", "glioma"]],
    ]  # fmt: skip
    assert [post(url, content) for content in wrong] == [400] * len(wrong)
    assert not (folder / "decisions.csv").exists()
    assert post(url, [[NAMES[0], "", "right", ""]]) == 200
    (folder / "decisions.csv").unlink()


def test_a_damaged_file_of_decisions_is_named_before_the_page_is_served(folder):
    (folder / "decisions.csv").write_text("path\n")
    command = [sys.executable, "-m", "trueslice", "review", "predictions.csv", "--port", "0"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "decisions.csv cannot be used: it has no column" in done.stderr
