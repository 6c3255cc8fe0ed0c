"""Take the screenshots of the README: python -m docs.screenshots

They show what the last `dvc repro` left, in a headless Chromium at a fixed size, as docs/NAME.png. A page that a server
makes gets an entry in PAGES that starts the server. It needs playwright and a Chromium of the distribution.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ROOT = Path(__file__).parents[1]
LARGEST = 300_000  # bytes of a picture
COLOURS = 256


class Page(NamedTuple):
    """A page to take a picture of."""

    opened: Callable[[], AbstractContextManager[str]]  # makes the page and gives its address while it is needed
    ready: str  # what is there once it is drawn, as a CSS selector
    size: tuple[int, int]  # of the window, in pixels
    click: str | None = None  # what is clicked before that


@contextmanager
def report() -> Iterator[str]:
    """The report of the last run."""
    yield (ROOT / "plots/report.html").as_uri()


@contextmanager
def plots_diff() -> Iterator[str]:
    """The page of `dvc plots diff` between the results as they are and those committed before the last."""
    log = ["git", "log", "--max-count=2", "--format=%h", "--", "metrics/test.json"]
    before = subprocess.run(log, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[-1]
    subprocess.run([sys.executable, "-m", "dvc", "plots", "diff", before], cwd=ROOT, check=True, capture_output=True)
    yield (ROOT / "dvc_plots/index.html").as_uri()


@contextmanager
def serve() -> Iterator[str]:
    """The page of `trueslice serve` with the model of the last run."""
    command = [sys.executable, "-m", "trueslice", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


PAGES = {
    "report": Page(report, "main img", (1280, 1130)),
    "plots_diff": Page(plots_diff, ".vega-embed :is(canvas, svg)", (1050, 690)),
    "serve": Page(serve, "#strip [aria-current] b", (1280, 860), click="#strip li:first-child button"),
}


def main() -> None:
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        sys.exit("error: no Chromium is on the path; on Debian and Ubuntu: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, page in PAGES.items():
            with page.opened() as address:
                width, height = page.size
                tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
                tab.goto(address)
                if page.click:
                    tab.click(page.click)
                tab.wait_for_selector(page.ready)
                _write(tab.screenshot(animations="disabled"), ROOT / f"docs/{name}.png")
        browser.close()


def _write(png: bytes, path: Path) -> None:
    """Write a picture with few colours, which takes a third of the bytes."""
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    if size > LARGEST:
        sys.exit(f"error: {path.relative_to(ROOT)} has more than {LARGEST / 1000:.0f} kB; show less of the page")


if __name__ == "__main__":
    main()
