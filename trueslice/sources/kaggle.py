"""A data set from Kaggle: the official client gives the address of the archive, and the rest is ours.

The client (kaggle 2.2) has no time limits, does not retry what may pass, checks nothing but the size, and may store
an error page in place of the archive. While it is imported it authenticates, prints to stdout and closes stdin.
"""

import contextlib
import importlib
import io
import shutil
import sys
import threading
import zipfile
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import filelock
import requests

from trueslice.errors import UserError
from trueslice.files import file_hash, whole_file
from trueslice.sources import download

PAGE = "https://www.kaggle.com/datasets/"
CREDENTIALS = (
    "KAGGLE_API_TOKEN (or ~/.kaggle/access_token), or KAGGLE_USERNAME and KAGGLE_KEY (or ~/.kaggle/kaggle.json)"
)


def bring(dataset: str, version: int | None, sha256: str | None, cache: Path) -> Path:
    """Bring the archive of the data set owner/name into the folder `cache`, once, and return its path.

    An intact one that is there is used without the network. A `version` of None takes the newest at the first download;
    a `sha256` of None accepts any bytes. Credentials of the environment are used; public data sets need none.

    Raises:
        UserError: no access, no such data set or version, no network, no room, or a damaged archive, which is deleted.
    """
    archive = cache / dataset / str(version or "newest") / f"{dataset.split('/')[1]}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Of experiments that run side by side one downloads; the others wait, and find the archive.
    with filelock.FileLock(archive.parent.with_suffix(".lock")):
        return _download(dataset, version, sha256, archive)


def _download(dataset: str, version: int | None, sha256: str | None, archive: Path) -> Path:
    note = archive.with_name(archive.name + ".sha256")
    recorded = note.read_text(encoding="ascii", errors="replace")[:64] if note.exists() else None
    if archive.exists() and file_hash(archive) == recorded:
        if sha256 and recorded != sha256:
            problem = f"{archive} has SHA-256 {recorded}, but data.kaggle.sha256 is {sha256}"
            raise UserError(f"{problem}; correct that parameter, or delete the archive to download it again")
        print(f"kaggle: using {archive}, downloaded before; delete it to download again", file=sys.stderr)
        return archive

    incoming = archive.parent / "incoming" / archive.name
    digest = _fetch_whole(dataset, version, incoming)
    if sha256 and digest != sha256:
        shutil.rmtree(incoming.parent)
        problem = f"the archive of {PAGE}{dataset} has SHA-256 {digest}, but data.kaggle.sha256 is {sha256}"
        raise UserError(f"{problem}; it was deleted; correct that parameter if the new hash is right")
    print(f"kaggle: {archive.name} has SHA-256 {digest}; set data.kaggle.sha256 to it to insist on these bytes")
    with whole_file(note) as new:
        new.write_text(f"{digest}  {archive.name}\n", encoding="ascii")
    incoming.replace(archive)
    shutil.rmtree(incoming.parent)
    return archive


def _fetch_whole(dataset: str, version: int | None, incoming: Path, is_second: bool = False) -> str:
    """Fetch the archive, a second time if it is damaged, and return its SHA-256."""
    address, explain = (partial(work, dataset=dataset, version=version) for work in (_address, _explain))
    download.fetch_whole(address, incoming, "kaggle", explain)
    if not (damage := _damage(incoming)):
        return file_hash(incoming)
    shutil.rmtree(incoming.parent)
    problem = f"what {PAGE}{dataset} sent is damaged and was deleted ({damage})"
    if is_second:
        raise UserError(f"{problem}, for the second time; run `dvc repro` again later")
    print(f"kaggle: {problem}; trying again", file=sys.stderr)
    return _fetch_whole(dataset, version, incoming, is_second=True)


def _address(dataset: str, version: int | None) -> str:
    """Ask the client for the address of the archive, in a thread that is left alone when it takes too long."""
    answer: Future[str] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask(dataset, version))
        except BaseException as error:
            answer.set_exception(error)

    stdin = sys.stdin
    sys.stdin = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            threading.Thread(target=ask, daemon=True).start()
            return answer.result(download.SILENCE_TIMEOUT)
    except TimeoutError:
        raise requests.Timeout(f"no answer for {download.SILENCE_TIMEOUT:.0f} s") from None
    finally:
        sys.stdin = stdin


def _ask(dataset: str, version: int | None) -> str:
    try:
        kaggle = importlib.import_module("kaggle")
    except OSError as error:
        raise UserError(f"the Kaggle client cannot use {error.filename}; set KAGGLE_CONFIG_DIR to a folder") from error
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    request.dataset_version_number = version
    with (
        kaggle.api.build_kaggle_client() as client,
        # The client follows the address at once. That answer is left unread: nothing limits the time to read it.
        client.datasets.dataset_api_client.download_dataset(request) as response,
    ):
        return response.url


def _damage(archive: Path) -> str:
    """Read every member against its checksum, and say what is wrong; empty if nothing is."""
    try:
        with zipfile.ZipFile(archive) as content:
            broken = content.testzip()
    except Exception as error:  # zlib, lzma, struct and others, depending on the damage
        return str(error) or type(error).__name__
    return f"{broken} does not match its checksum" if broken else ""


def _explain(error: requests.RequestException, dataset: str, version: int | None) -> str:
    """Say in one line what happened and what to do."""
    page = PAGE + dataset
    if error.response is None:
        return (
            f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}); check the network and "
            f"run `dvc repro` again, or download the archive from {page} and set data.source to its path"
        )
    status = error.response.status_code
    if status >= 500:
        return f"Kaggle answered with an error of its own ({status}); run `dvc repro` again later"
    which = f"version {version} of {dataset}" if version else dataset
    wished = error.response.headers.get("Retry-After")
    later = f"in {wished} s" if wished else "later"
    reason = " ".join(str(error).split())[:200]
    problems = {
        401: f"Kaggle refused the credentials (401) for {dataset}; correct {CREDENTIALS}, "
        f"or unset them: public data sets need none; see {page}",
        403: f"Kaggle forbids access to {dataset} (403); open {page} while logged in and accept its terms, "
        f"then give credentials in {CREDENTIALS}",
        404: f"Kaggle has no {which} (404); check data.kaggle.dataset and data.kaggle.version against {page}",
        429: f"Kaggle limits the number of requests (429); run `dvc repro` again {later}, or give {CREDENTIALS}",
    }
    other = f"Kaggle refused the request for {dataset} ({status}: {reason}); check data.kaggle.dataset against {page}"
    return problems.get(status, other)
