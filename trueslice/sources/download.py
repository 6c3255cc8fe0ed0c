"""Downloads that survive a cut: attempts with growing waits, each of which goes on where the one before ended."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from trueslice.errors import UserError
from trueslice.progress import Progress

ATTEMPTS = 5  # in a row without a new byte
FIRST_WAIT = 1.0  # seconds; doubles with every attempt that brings nothing
LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it ends the download
TIMEOUT = (15.0, 60.0)  # seconds to connect, and without a byte
CHUNK = 2**16  # bytes; what has come of a chunk when the connection is cut is lost


def fetch_whole(
    ask: Callable[[dict[str, str]], requests.Response],
    incoming: Path,
    server: str,
    explain: Callable[[requests.RequestException], str],
) -> None:
    """Fetch a file to `incoming`, in a folder of its own, in as many attempts as it takes.

    `ask` sends headers and returns the answer as a stream. `server` is a name for messages; `explain` says in one line
    what happened and, after a semicolon, what to do: the text of the UserError where another attempt makes no sense.
    """
    incoming.parent.mkdir(parents=True, exist_ok=True)
    # The server's name for the bytes that it sent: it sends the rest only where it still has the same ones.
    tag = incoming.parent / "etag"
    attempt = 0
    while True:
        had = _size(incoming)
        headers = {"Accept-Encoding": "identity"}
        if tag.exists() and (known := tag.read_text("utf-8")):
            headers |= {"Range": f"bytes={had}-", "If-Range": known}
        try:
            with ask(headers) as response:
                response.raise_for_status()
                return _save(response, incoming, tag)
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else 0
            if status == 416:  # nothing is missing
                return
            attempt = 0 if _size(incoming) > had else attempt + 1
            wished = error.response.headers.get("Retry-After", "") if error.response is not None else ""
            wait = max(FIRST_WAIT * 2 ** (attempt - 1), float(wished) if wished.isdecimal() else 0)
            is_final = 0 < status < 500 and status not in (408, 429)
            if is_final or attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise UserError(explain(error)) from error
            print(f"{server}: {explain(error).split(';')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def _save(response: requests.Response, incoming: Path, tag: Path) -> None:
    """Write the file, or the rest of it that was asked for; end in a RequestException if not all has come."""
    if response.status_code not in (200, 206):  # figshare's 202 comes with nothing
        raise requests.HTTPError(f"nothing came ({response.status_code})", response=response)
    is_rest = response.status_code == 206
    missing = int(response.headers.get("Content-Length") or 0) or None
    progress = Progress(total=missing, desc="downloading", unit="B", unit_scale=True)
    with progress, incoming.open("ab" if is_rest else "wb") as file:
        if not is_rest:
            tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "", "utf-8")
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            progress.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
