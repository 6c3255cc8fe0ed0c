"""A checkpoint from the Hugging Face hub; every file of it must have the hash that the hub lists."""

import contextlib
import errno
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trueslice.errors import UserError

ATTEMPTS = 4
FIRST_WAIT = 1.0  # seconds; doubles with every attempt
TIMEOUT = 30.0  # seconds without a byte
SUPPORT = (
    r"config\.json|preprocessor_config\.json|processor_config\.json|tokenizer\.json|tokenizer_config\.json|"
    r"vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|(spiece|tokenizer|sentencepiece[^/]*)\.model"
)
SHARD = r"(-\d{5}-of-\d{5})?"
PAGE = "https://huggingface.co/"
# By the client's exceptions, a kind before those that it is a kind of.
MESSAGES = {
    "HFValidationError": (
        "checkpoint.name is '{name}': neither tiny, tiny_conv, lite, a folder, nor a Hugging Face id (owner/name)"
    ),
    "OfflineModeIsEnabled": (
        "only a part of {name} is in the cache, or nothing; unset HF_HUB_OFFLINE once to download it"
    ),
    "GatedRepoError": ("{name} is gated; accept its terms at {page}{name} and set HF_TOKEN to a token of that account"),
    "RevisionNotFoundError": (
        "{name} has no revision {revision}; set checkpoint.revision to a commit listed at {page}{name}"
    ),
    "RepositoryNotFoundError": (
        "there is no folder and no Hugging Face repository {name}; correct checkpoint.name, "
        "or set HF_TOKEN if the repository is private"
    ),
}
# In order of preference: the second is a pickle, of which transformers reads the weights only.
WEIGHTS = [rf"model{SHARD}\.safetensors(\.index\.json)?", rf"pytorch_model{SHARD}\.bin(\.index\.json)?"]


def fetch(name: str, revision: str | None, into: Path) -> str:
    """Bring configuration, tokenizer, image processor and weights into the empty folder `into`, and return the commit.

    `name` is owner/name; `revision` a commit, branch or tag, None for the main branch. Files come through the hub's own
    cache, which also serves without a network if it is complete. A damaged file is deleted from it.

    Raises:
        UserError: no such repository or revision, no access, no network, no weights in it, or a file damaged twice.
    """
    from huggingface_hub import get_cached_repo_tree, is_offline_mode, resolve_revision, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    def download(files: list[str]) -> Path:
        return Path(_retry(name, revision, lambda: snapshot_download(name, revision=commit, allow_patterns=files)))

    if not sys.stderr.isatty():
        disable_progress_bars()
    commit = _retry(name, revision, lambda: resolve_revision(name, revision=revision)).resolved
    folder = download(["config.json"])
    try:
        listed = get_cached_repo_tree(name, revision=commit)
        files = _choose([file.path for file in listed], name)
    except CachedRepoTreeNotFoundError:  # there is no network, and another program filled the cache
        listed = []
        files = _choose([file.name for file in folder.iterdir()], name)
    with contextlib.suppress(LocalEntryNotFoundError):
        snapshot_download(name, revision=commit, allow_patterns=files, local_files_only=True)
        print(f"hub: using commit {commit} of {name} from the cache", file=sys.stderr)
    damaged = _copy(name, listed, files, download(files), into)
    if damaged and not is_offline_mode():
        print(f"hub: {', '.join(damaged)} of {name} is damaged; downloading it again", file=sys.stderr)
        damaged = _copy(name, listed, files, download(files), into)
    if damaged:
        raise UserError(
            f"{', '.join(damaged)} of {name} does not match the hash that the hub lists, and was deleted from the "
            "cache; run `dvc repro` again, connected to the network"
        )
    return commit


def _choose(files: Iterable[str], name: str) -> list[str]:
    support = [file for file in files if re.fullmatch(SUPPORT, file)]
    for layout in WEIGHTS:
        if weights := [file for file in files if re.fullmatch(layout, file)]:
            return sorted(support + weights)
    raise UserError(
        f"{name} holds no weights as model.safetensors or pytorch_model.bin; "
        "set checkpoint.name to a checkpoint of CLIP, or checkpoint.revision to a commit that has them"
    )


def _copy(name: str, listed: list, files: list[str], cached: Path, into: Path) -> list[str]:
    """Copy files from the cache, and return the names of damaged ones, which are deleted there."""
    from huggingface_hub import HfApi

    for file in files:
        shutil.copyfile(cached / file, into / file)
    api = HfApi()
    # The client would ask the hub for the listing, which may be out of reach.
    vars(api)["list_repo_tree"] = lambda **_: listed
    damaged = [file["path"] for file in api.verify_repo_checksums(name, local_dir=into).mismatches]
    for file in damaged:
        (cached / file).resolve().unlink()  # in the cache it is a link to the download
        (cached / file).unlink(missing_ok=True)
    return damaged


def _retry(name: str, revision: str | None, request: Callable[[], Any]) -> Any:
    """Return the answer to a request; try again after errors that may pass, and end others in a UserError."""
    from huggingface_hub import get_session

    for attempt in range(1, ATTEMPTS + 1):
        hooks = get_session().event_hooks["request"]
        if _limit_time not in hooks:
            hooks.append(_limit_time)
        try:
            return request()
        # The hub's client, its two ways of transport and its cache raise kinds that share no base.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            problem, is_final = _describe(error, name, revision or "main")
            if is_final or attempt == ATTEMPTS:
                raise UserError(problem) from error
        wait = FIRST_WAIT * 2 ** (attempt - 1)
        print(f"hub: {problem.split('; ')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def _limit_time(request: Any) -> None:
    """Give a time limit to a request without one: the client's settings hold for files, not for the lists of them."""
    given = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {kind: given.get(kind) or TIMEOUT for kind in ("connect", "read", "write", "pool")}


def _describe(error: BaseException, name: str, revision: str) -> tuple[str, bool]:
    """Return a message for the user, and whether the error is final: another attempt would end in it too."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, errors.RevisionResolutionError)) and error.__cause__:
        # Raised where the hub failed and the cache does not help either.
        error = error.__cause__
    for kind, message in MESSAGES.items():
        if isinstance(error, getattr(errors, kind)):
            return message.format(name=name, revision=revision, page=PAGE), True
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if status in (401, 403):
        return f"the hub refused access to {name} ({status}); correct or unset HF_TOKEN, and see {PAGE}{name}", True
    if 0 < status < 500 and status not in (408, 429):
        return f"the hub refused the request for {name} ({status}); check checkpoint.name against {PAGE}{name}", True
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return (
        f"the hub cannot be reached, or the connection broke, for {name} ({reason}); check the network and run "
        "`dvc repro` again, or set checkpoint.name to a folder with the checkpoint, or to tiny"
    ), False
