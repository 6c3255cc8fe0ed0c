"""Downloads that survive a cut: attempts with growing waits, each of which goes on where the one before ended."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests
from tqdm import tqdm

from trueslice.errors import UserError

ATTEMPTS = 5  # in a row without a new byte
FIRST_WAIT = 1.0  # seconds; doubles with every attempt that brings nothing
LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it ends the download
CONNECT_TIMEOUT = 15.0  # seconds
SILENCE_TIMEOUT = 60.0  # seconds without a byte
CHUNK = 2**16  # bytes; what has come of a chunk when the connection is cut is lost


def fetch_whole(
    address: Callable[[], str], incoming: Path, server: str, explain: Callable[[requests.RequestException], str]
) -> None:
    """Fetch a file to `incoming`, in a folder of its own, in as many attempts as it takes.

    Every attempt asks `address` again. `server` is a name for messages; `explain` says in one line what happened and,
    after a semicolon, what to do.

    Raises:
        UserError: another attempt makes no sense, or there is no room for the file.
    """
    attempt = 1
    while True:
        had = _size(incoming)
        try:
            return _fetch_rest(address(), incoming)
        except requests.RequestException as error:
            if _size(incoming) > had:
                attempt = 0
            problem, wait = explain(error), _wait_before(error, attempt)
            if wait is None or attempt == ATTEMPTS:
                raise UserError(problem) from error
            attempt += 1
        print(f"{server}: {problem.split(';')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def _fetch_rest(address: str, incoming: Path) -> None:
    """Fetch what `incoming` lacks of the file at `address`; end in a RequestException if not all has come."""
    incoming.parent.mkdir(parents=True, exist_ok=True)
    # The server's name for the bytes that it sent: it sends the rest only where it still has the same ones.
    tag = incoming.parent / "etag"
    headers = {"Accept-Encoding": "identity"}
    if tag.exists() and (known := tag.read_text("utf-8")):
        headers |= {"Range": f"bytes={_size(incoming)}-", "If-Range": known}
    with requests.get(address, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, SILENCE_TIMEOUT)) as response:
        if response.status_code == 416:  # nothing is missing
            return
        if response.status_code in (400, 401, 403, 404, 410):
            raise requests.ConnectionError(f"the address has expired ({response.status_code})")
        response.raise_for_status()
        if response.status_code not in (200, 206):  # figshare's 202 comes with nothing
            raise requests.HTTPError(f"nothing came ({response.status_code})", response=response)
        missing = int(response.headers.get("Content-Length") or 0)
        free = shutil.disk_usage(incoming.parent).free
        if missing > free:
            problem = f"the archive needs {missing:,} more bytes in {incoming.parent}, where {free:,} are free"
            raise UserError(f"{problem}; free some space and start again")
        is_rest = response.status_code == 206
        progress = tqdm(total=missing or None, desc="downloading", unit="B", unit_scale=True, disable=None)
        with progress, incoming.open("ab" if is_rest else "wb") as file:
            if not is_rest:
                tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "", "utf-8")
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                progress.update(len(chunk))


def _wait_before(error: requests.RequestException, attempt: int) -> float | None:
    """Return the seconds until another attempt makes sense; None if none does."""
    wait = FIRST_WAIT * 2 ** (attempt - 1)
    if error.response is None:
        return wait
    status = error.response.status_code
    if status not in (408, 429) and status < 500:
        return None
    if (wished := error.response.headers.get("Retry-After", "")).isdecimal():
        wait = max(wait, float(wished))
    return wait if wait <= LONGEST_WAIT else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
