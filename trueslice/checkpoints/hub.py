"""A checkpoint from the Hugging Face hub; every file of it must have the hash that the hub lists."""

import contextlib
import errno
import re
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from trueslice.errors import UserError

ATTEMPTS = 4
FIRST_WAIT = 1.0  # seconds; doubles with every attempt
TIMEOUT = 30.0  # seconds without a byte
SUPPORT = (
    r"config\.json|preprocessor_config\.json|processor_config\.json|tokenizer\.json|tokenizer_config\.json|"
    r"vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|(spiece|tokenizer|sentencepiece[^/]*)\.model"
)
SHARD = r"(-\d{5}-of-\d{5})?"
# In order of preference: the second is a pickle, of which transformers reads the weights only.
WEIGHTS = [rf"model{SHARD}\.safetensors(\.index\.json)?", rf"pytorch_model{SHARD}\.bin(\.index\.json)?"]


def fetch(name: str, revision: str | None, into: Path) -> str:
    """Bring configuration, tokenizer, image processor and weights into the empty folder `into`, and return the commit.

    The repository is called owner/name. `revision` is a commit (40 hexadecimal digits), branch or tag; None takes the
    main branch. Files come through the hub's own cache. Without a network, or with HF_HUB_OFFLINE=1, what the cache
    holds is used if it is complete. What is damaged is deleted from it.

    Raises:
        UserError: no such repository or revision, no access, no network, no weights in it, or a file damaged twice.
    """
    from huggingface_hub import get_cached_repo_tree, is_offline_mode, resolve_revision, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    def download(files: list[str]) -> Path:
        return Path(_patiently(name, revision, lambda: snapshot_download(name, revision=commit, allow_patterns=files)))

    if not sys.stderr.isatty():
        disable_progress_bars()
    commit = _patiently(name, revision, lambda: resolve_revision(name, revision=revision)).resolved
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
    for is_last in (is_offline_mode(), True):
        folder = download(files)
        for file in files:
            shutil.copyfile(folder / file, into / file)
        damaged = _find_damaged(name, listed, into)
        if not damaged:
            return commit
        for file in damaged:
            # In the hub's cache it is a link to what was downloaded.
            (folder / file).resolve().unlink()
            (folder / file).unlink(missing_ok=True)
        if is_last:
            raise UserError(
                f"{', '.join(damaged)} of {name} does not match the hash that the hub lists, and was deleted from the "
                "cache; run `dvc repro` again, connected to the network"
            )
        print(f"hub: {', '.join(damaged)} of {name} is damaged; downloading it again", file=sys.stderr)


def _find_damaged(name: str, listed: list, folder: Path) -> list[str]:
    """The files in `folder` whose hash is not the listed one."""
    from huggingface_hub import HfApi

    api = HfApi()
    # The client would ask the hub for the listing, which may be out of reach.
    api.list_repo_tree = lambda **_: listed
    return [file["path"] for file in api.verify_repo_checksums(name, local_dir=folder).mismatches]


def _choose(files: Iterable[str], name: str) -> list[str]:
    support = [file for file in files if re.fullmatch(SUPPORT, file)]
    for layout in WEIGHTS:
        if weights := [file for file in files if re.fullmatch(layout, file)]:
            return sorted(support + weights)
    raise UserError(
        f"{name} holds no weights as model.safetensors or pytorch_model.bin; "
        "set checkpoint.name to a checkpoint of CLIP, or checkpoint.revision to a commit that has them"
    )


def _patiently(name: str, revision: str | None, request):
    """Return what `request` returns; try again after what may pass, and end other errors in a UserError."""
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
            problem, lasting = _explain(error, name, revision)
            if lasting or attempt == ATTEMPTS:
                raise UserError(problem) from error
        wait = FIRST_WAIT * 2 ** (attempt - 1)
        print(f"hub: {problem.split('; ')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def _limit_time(request) -> None:
    """Give a time limit to a request without one: the client's settings hold for files, not for the lists of them."""
    given = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {kind: given.get(kind) or TIMEOUT for kind in ("connect", "read", "write", "pool")}


def _explain(error: Exception, name: str, revision: str | None) -> tuple[str, bool]:
    """What to tell the user, and whether another attempt would be in vain."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, errors.RevisionResolutionError)) and error.__cause__:
        # Raised where the hub failed and the cache does not help either.
        error = error.__cause__
    page = f"https://huggingface.co/{name}"
    if isinstance(error, errors.HFValidationError):
        known = "neither tiny, tiny_conv, lite, a folder, nor a Hugging Face id (owner/name)"
        return f"checkpoint.name is {name!r}: {known}", True
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"only a part of {name} is in the cache, or nothing; unset HF_HUB_OFFLINE once to download it", True
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated; accept its terms at {page} and set HF_TOKEN to a token of that account", True
    if isinstance(error, errors.RevisionNotFoundError):
        wanted = revision or "main"
        return f"{name} has no revision {wanted}; set checkpoint.revision to a commit listed at {page}", True
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no folder and no Hugging Face repository {name}; correct checkpoint.name, "
            "or set HF_TOKEN if the repository is private"
        ), True
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status in (401, 403):
        return f"the hub refused access to {name} ({status}); correct or unset HF_TOKEN, and see {page}", True
    if status and status < 500 and status not in (408, 429):
        return f"the hub refused the request for {name} ({status}); check checkpoint.name against {page}", True
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return (
        f"the hub cannot be reached, or the connection broke, for {name} ({reason}); check the network and run "
        "`dvc repro` again, or set checkpoint.name to a folder with the checkpoint, or to tiny"
    ), False
