"""Put the model into a repository on the Hugging Face hub, private unless --public is given.

The folder also holds thumbnails and file names of the scans that the model was trained and tested on. Everybody who can
read the repository can see them.

The token is that of `hf auth login` or HF_TOKEN.
"""

import argparse
import sys
from pathlib import Path

from trueslice.errors import UserError
from trueslice.files import printable

MESSAGE = "Upload a model of TrueSlice"
TIMEOUT = 30.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = Path("models/released")
    parser.add_argument("repo", metavar="REPO", help="owner/name; it is made if there is none")
    parser.add_argument("--model", metavar="DIR", type=Path, default=model, help=f"the model (default: {model})")
    parser.add_argument("--public", action="store_true", help="let everybody read it")
    parser.add_argument("--dry-run", action="store_true", help="list what would go there, without any network")


def run(options: argparse.Namespace) -> None:
    visibility = "public" if options.public else "private"
    _check_name(options.repo)
    files = _files(options.model)
    for path in files:
        print(f"{path.stat().st_size:>14,} bytes  {printable(path.name)}")
    size = sum(path.stat().st_size for path in files)
    print(f"{size:>14,} bytes in {len(files)} files for {options.repo} ({visibility})")
    if options.dry_run:
        print("Nothing was uploaded (--dry-run)")
    else:
        print(f"Uploaded to {_upload(options.repo, files, visibility)} ({visibility})")


def _check_name(repo: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        if "/" not in repo:
            raise HFValidationError("the owner is missing")
    except HFValidationError:
        problem = f"{repo!r} cannot be the name of a repository, owner/name"
        raise UserError(f"{problem}: letters, digits, `-`, `_` and `.`, at most 96") from None


def _files(folder: Path) -> list[Path]:
    """Return the files of a released model, of which none may be changed but its card."""
    from trueslice.inference.folder import FREE, NO_MODEL, read_settings

    names = {*read_settings(folder).files, *FREE}
    if not (folder / "README.md").is_file():
        raise UserError(f"{folder} has no README.md, {NO_MODEL}")
    return sorted(path for path in folder.iterdir() if path.name in names)


def _upload(repo: str, files: list[Path], visibility: str) -> str:
    """Upload to a repository of this visibility, `private` or `public`, and return its address."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    if get_token() is None:
        raise UserError("there is no token for the hub; run `hf auth login`, or set HF_TOKEN to one that may write")
    api = HfApi()
    try:
        try:
            found = api.repo_info(repo, timeout=TIMEOUT)
        except RepositoryNotFoundError:
            api.create_repo(repo, private=visibility == "private")
            # An organisation may have rules of its own for the visibility.
            found = api.repo_info(repo, timeout=TIMEOUT)
        found_visibility = "private" if found.private else "public"
        if found_visibility == visibility:
            names = [path.name for path in files]
            api.upload_folder(repo_id=repo, folder_path=files[0].parent, allow_patterns=names, commit_message=MESSAGE)
            return f"{api.endpoint}/{repo}"
    # The errors of the hub's client and its transports share no base class.
    except Exception as error:
        raise UserError(_explain(error, repo)) from error
    advice = {"public": "give --public, or another name", "private": "leave --public out, or open it in its settings"}
    raise UserError(f"{repo} is {found_visibility}, so nothing was uploaded; {advice[found_visibility]}")


def _explain(error: BaseException, repo: str) -> str:
    """Return the message for the user."""
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client names the file, but not the problem
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the hub is switched off (HF_HUB_OFFLINE); unset it to upload"
    if not isinstance(error, errors.HfHubHTTPError):
        said = " ".join(str(error).split())
        if isinstance(error, ValueError):
            return f"the hub refused the upload to {repo}: {said}"
        return f"the hub cannot be reached, or the connection broke ({type(error).__name__}: {said}); try again"
    status = error.response.status_code
    said = f"{status}: {' '.join((error.server_message or 'it gives no reason').split())}"
    if status in (401, 403):
        return f"the hub refused {repo} ({said}); use a token that may write there (`hf auth login`, HF_TOKEN)"
    if status == 409:
        return f"{repo} exists, but this token does not show it; use its owner's token, or another name"
    again = "; try again later" if status >= 500 or status in (408, 429) else ""
    return f"the hub refused the upload to {repo} ({said}){again}"
