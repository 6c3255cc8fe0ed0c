"""A data set from Kaggle, by the official client, hardened where the client trusts the network.

The client (kaggle 2.2) authenticates while it is imported, prints to stdout and closes stdin; its first
request and the body have no time limit, nothing but the cut body is retried, and nothing but the size
is checked. What is added here: time limits, retries that honour Retry-After, a fresh signed address for
each, a check of every byte, and messages that say what to do.
"""

import contextlib
import hashlib
import importlib
import io
import re
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import filelock
import requests
from requests.adapters import HTTPAdapter

from tumorclip.errors import UserError
from tumorclip.files import whole_file

ATTEMPTS = 5  # in a row without a new byte
FIRST_WAIT = 1.0  # seconds; doubles with every attempt that brings nothing
LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it ends the download
CONNECT_TIMEOUT = 15.0  # seconds
SILENCE_TIMEOUT = 60.0  # seconds without a byte
CHUNK = 2**16  # bytes; what has come of a chunk when the connection is cut is lost
CREDENTIALS = (
    "KAGGLE_API_TOKEN (or ~/.kaggle/access_token), or KAGGLE_USERNAME and KAGGLE_KEY (or ~/.kaggle/kaggle.json)"
)


def download(dataset: str, version: int | None, sha256: str | None, cache: Path) -> Path:
    """Bring the archive of a data set into the folder `cache`, once, and return its path.

    An archive that is there already and intact is used as it is, without the network. Its SHA-256 is
    recorded beside it in a file of the same name plus `.sha256`. A download that was cut is resumed, in
    this run or the next. Public data sets need no credentials; those of the environment are used.

    Args:
        dataset: owner/name.
        version: of the data set; None takes the newest at the time of the first download.
        sha256: expected hash in lower-case hexadecimal digits; None accepts what comes.

    Raises:
        UserError: no access, no such data set or version, no network, no room, or a damaged archive;
            what was damaged is deleted.
    """
    slug = dataset.split("/")[1]
    archive = cache / dataset / str(version or "newest") / f"{slug}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Of experiments that run side by side one downloads; the others wait, and find the archive.
    with filelock.FileLock(archive.parent.with_suffix(".lock")):
        return _download(dataset, version, sha256, archive)


def _download(dataset: str, version: int | None, sha256: str | None, archive: Path) -> Path:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if digest := _intact_hash(archive):
        if sha256 and digest != sha256:
            raise UserError(
                f"{archive} has SHA-256 {digest}, but data.kaggle.sha256 is {sha256}; "
                "correct that parameter, or delete the archive to download it again"
            )
        print(f"kaggle: using {archive}, downloaded before; delete it to download again", file=sys.stderr)
        return archive

    incoming = archive.parent / "incoming" / archive.name
    attempt, damaged = 1, False
    while True:
        had = _size(incoming)
        try:
            _fetch(f"{dataset}/{version}" if version else dataset, incoming)
            digest = _check(incoming)
            break
        except zipfile.BadZipFile as error:
            _discard(incoming)
            problem, wait = f"what {page} sent is damaged and was deleted ({error})", 0.0
            if damaged:
                raise UserError(f"{problem}, for the second time; run `dvc repro` again later") from error
            damaged = True
        except requests.RequestException as error:
            if _size(incoming) > had:
                attempt = 0
            problem, wait = _explain(error, dataset, version, page), _wait(error, attempt)
            if wait is None or attempt == ATTEMPTS:
                raise UserError(problem) from error
            attempt += 1
        print(f"kaggle: {problem.split(';')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)

    if sha256 and digest != sha256:
        _discard(incoming)
        raise UserError(
            f"the archive of {page} has SHA-256 {digest}, but data.kaggle.sha256 is {sha256}; it was deleted; "
            "correct that parameter if the new hash is right"
        )
    print(f"kaggle: {archive.name} has SHA-256 {digest}; set data.kaggle.sha256 to it to insist on these bytes")
    with whole_file(_note(archive)) as note:
        note.write_text(f"{digest}  {archive.name}\n", encoding="ascii")
    incoming.replace(archive)
    shutil.rmtree(incoming.parent)
    return archive


def _intact_hash(archive: Path) -> str | None:
    """The SHA-256 of an archive that is there and as it was downloaded."""
    try:
        recorded = _note(archive).read_text(encoding="ascii").split()[0]
        return recorded if _hash(archive) == recorded else None
    except (FileNotFoundError, IndexError, UnicodeDecodeError):
        return None


def _fetch(dataset: str, incoming: Path) -> None:
    """Run the client once: a signed address, then the body, from where an earlier attempt was cut."""
    kaggle = _import_client()

    class Client(type(kaggle.api)):
        """The official client, with time limits on its session and a look at the disk."""

        def build_kaggle_client(self):
            client = super().build_kaggle_client()
            http = client.http_client()
            http._init_session()
            for scheme in ("https://", "http://"):
                http._session.mount(scheme, _TimeLimits())
            return client

        def download_file(self, response, outfile, *arguments, **keywords):
            missing = int(response.headers.get("Content-Length") or 0) - _size(incoming)
            free = shutil.disk_usage(incoming.parent).free
            if missing > free:
                raise UserError(
                    f"the archive needs {missing:,} more bytes in {incoming.parent}, where {free:,} are free; "
                    "free some space and run `dvc repro` again"
                )
            # A retry of the client's own would reuse the signed address, and store the error if that has expired.
            keywords |= {"max_retries": 0, "timeout": SILENCE_TIMEOUT, "chunk_size": CHUNK}
            super().download_file(response, outfile, *arguments, **keywords)

    incoming.parent.mkdir(parents=True, exist_ok=True)
    client = Client()
    client.config_values = kaggle.api.config_values
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            client.dataset_download_files(dataset, path=str(incoming.parent), quiet=not sys.stderr.isatty())
        except ValueError as error:
            if isinstance(error, requests.RequestException):
                raise
            # The client checks the size, and raises this kind when it is another than announced.
            raise zipfile.BadZipFile(str(error)) from error


class _TimeLimits(HTTPAdapter):
    def send(self, request, timeout=None, **keywords):
        return super().send(request, timeout=timeout or (CONNECT_TIMEOUT, SILENCE_TIMEOUT), **keywords)


def _import_client() -> ModuleType:
    """Import the client, which authenticates at once: with a time limit, in silence, and without touching stdin."""
    if "kaggle" not in sys.modules:
        # Its request has no time limit of its own, and there is no object yet to give it one.
        worker = threading.Thread(target=_import_quietly, daemon=True)
        with _no_stdin(), contextlib.redirect_stdout(io.StringIO()):
            worker.start()
            worker.join(SILENCE_TIMEOUT)
        if worker.is_alive():
            raise UserError(
                f"Kaggle has not answered for {SILENCE_TIMEOUT:.0f} s while it was asked about the credentials; "
                "check the network and run `dvc repro` again"
            )
    try:
        return importlib.import_module("kaggle")
    except OSError as error:
        raise UserError(f"the Kaggle client cannot use {error.filename}; set KAGGLE_CONFIG_DIR to a folder") from error


def _import_quietly() -> None:
    with contextlib.suppress(OSError):  # raised again, and then seen, where the import is repeated
        importlib.import_module("kaggle")


@contextlib.contextmanager
def _no_stdin() -> Iterator[None]:
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = stdin


def _check(archive: Path) -> str:
    """Read every member against its checksum, and return the SHA-256 of the whole."""
    try:
        with zipfile.ZipFile(archive) as content:
            broken = content.testzip()
    except Exception as error:  # zlib, lzma, struct and others, depending on where the damage lies
        raise zipfile.BadZipFile(str(error)) from error
    if broken:
        raise zipfile.BadZipFile(f"{broken} does not match its checksum")
    return _hash(archive)


def _wait(error: requests.RequestException, attempt: int) -> float | None:
    """Seconds until another attempt is worth while; None if none is."""
    wait = FIRST_WAIT * 2 ** (attempt - 1)
    if error.response is None:
        return wait
    status = error.response.status_code
    if status not in (408, 429) and status < 500:
        return None
    wished = error.response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d+", wished):
        wait = max(wait, float(wished))
    return wait if wait <= LONGEST_WAIT else None


def _explain(error: requests.RequestException, dataset: str, version: int | None, page: str) -> str:
    if error.response is None:
        return (
            f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}); check the network and "
            f"run `dvc repro` again, or download the archive from {page} and set data.source to its path"
        )
    status = error.response.status_code
    if status == 401:
        return (
            f"Kaggle refused the credentials (401) for {dataset}; correct {CREDENTIALS}, "
            f"or unset them: public data sets need none; see {page}"
        )
    if status == 403:
        return (
            f"Kaggle forbids access to {dataset} (403); open {page} while logged in and accept its terms, "
            f"then give credentials in {CREDENTIALS}"
        )
    if status == 404:
        which = f"version {version} of {dataset}" if version else dataset
        return f"Kaggle has no {which} (404); check data.kaggle.dataset and data.kaggle.version against {page}"
    if status == 429:
        wished = error.response.headers.get("Retry-After")
        later = f"in {wished} s" if wished else "later"
        return f"Kaggle limits the number of requests (429); run `dvc repro` again {later}, or give {CREDENTIALS}"
    if status >= 500:
        return f"Kaggle answered with an error of its own ({status}); run `dvc repro` again later"
    reason = " ".join(str(error).split())[:200]
    return f"Kaggle refused the request for {dataset} ({status}: {reason}); check data.kaggle.dataset against {page}"


def _discard(incoming: Path) -> None:
    # With the archive goes the client's note about it, or the next run would resume onto what is gone.
    shutil.rmtree(incoming.parent, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")
