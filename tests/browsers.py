"""A real browser for tests: the distribution's Chromium, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The lowest contrast of all text with what lies behind it, by WCAG 2.2, and that text.
LOWEST_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => colour.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgba(getComputedStyle(each).backgroundColor);
      if (found[3] === 255) return found;
    }
    return rgba("white");
  };
  let lowest = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.matches("title, desc")) continue;
    const drawn = element.closest("svg");
    const style = getComputedStyle(element);
    const ground = drawn ? rgba(getComputedStyle(element.parentElement.querySelector("rect")).fill) : behind(element);
    const [low, high] = [light(rgba(drawn ? style.fill : style.color)), light(ground)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, walker.currentNode.textContent.trim()];
  }
  return lowest;
}"""


def path() -> str:
    """The Chromium of this machine; without one, or without playwright, the test is skipped with the reason."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-test.txt)")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser found: none of {', '.join(NAMES)} is on the path; on Debian: apt install chromium")
    return found


def watched(browser, **options):
    """A tab that keeps in `asked` all that its page asks for, and in `said` all that goes wrong in it."""
    tab = browser.new_page(**options)
    tab.asked, tab.said = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.on("console", lambda message: tab.said.append(message.text) if message.type == "error" else None)
    return tab


@contextmanager
def chromium() -> Iterator:
    """A headless Chromium, as a playwright Browser."""
    executable = path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox, which does not start in most containers; the pages are this project's own.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
