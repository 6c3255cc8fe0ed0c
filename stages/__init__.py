"""Shared parts of the stage scripts: places of files, checked parameters, and the end of a stage."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trueslice import ending
from trueslice.errors import REASON, ParamsError

if TYPE_CHECKING:
    from trueslice.params import Params

RAW = Path("data/raw")
SCANS = Path("data/scans")
SPLITS = Path("data/splits.csv")
FEATURES = Path("data/features.npy")
VALIDATION = Path("data/validation.csv")
OOD = Path("data/ood.csv")
BASELINES = Path("data/baselines.csv")
EXTERNAL = Path("data/external.json")
MAPS = Path("data/explanations.npy")
EXPLANATIONS = Path("data/explanations.csv")
EXAMPLES = Path("data/examples.csv")
PRETRAINED = Path("models/pretrained")
# The result of training, and the folder to hand over: the same weights, and all that `trueslice predict` needs.
FINETUNED = Path("models/finetuned")
RELEASED = Path("models/released")
METRICS = Path("metrics")
PLOTS = Path("plots")
OUTPUTS = ("data/", "metrics/", "models/", "plots/")
STOPPED = "stopped by the user; `dvc repro` takes this stage up again"

if sys.argv[0] == "-m":  # this process is to run a stage, and has yet to import what that needs
    ending.prepare()
    ending.end_at_ctrl_c(f"error: {STOPPED}")

# Before PyTorch is imported. By default, waiting threads keep a core busy for so long that training halts next to
# a second process. If they sleep at once instead, the steps of a small model take a third longer. So they wait briefly.
# Next to a process that keeps a core busy, that makes such steps take up to half as long again.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if "DVC_STAGE" in os.environ:
    # Before the stage imports PyTorch: that takes seconds, in which DVC may be killed.
    from trueslice import lifetime

    lifetime.stop_with_parent()


def repository_root() -> Path:
    """Return the root of the user's repository, also where DVC runs an experiment in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def run(main: Callable[["Params"], None]) -> None:
    """Check params.yaml whole, run `main` with it, and report an expected failure in one line.

    The status is 2 after a wrong parameter, 1 after another failure that the user can mend, 130 after Ctrl-C.
    """
    try:
        ending.raise_at_ctrl_c()
        from trueslice import lifetime, params

        lifetime.stop_with_parent()
        ending.check_folders()
        main(params.load(Path("params.yaml")))
        sys.stdout.flush()
        ending.ignore_ctrl_c()
    except KeyboardInterrupt:
        _tell(STOPPED)
        ending.stop()
    except Exception as error:
        _tell(_missing(error) or ending.explain(error))
        sys.exit(2 if isinstance(error, ParamsError) else 1)


def _missing(error: Exception) -> str | None:
    """Return the line on a file of another stage that is not there."""
    if not isinstance(error, FileNotFoundError) or not str(error.filename).startswith(OUTPUTS):
        return None
    return f"{error.filename} is missing; run `dvc repro`, which also runs the stage that writes it"


def _tell(message: str) -> None:
    print(f"error: {message}{_left_over()}", file=sys.stderr)
    if REASON in os.environ:
        with contextlib.suppress(OSError), open(os.environ[REASON], "r+", encoding="utf-8") as file:
            if not file.read():
                file.write(message)


def _left_over() -> str:
    """Return what `dvc exp run -S` has written into the user's params.yaml, which the next run would take over."""
    from trueslice import params

    commit = os.environ.get("DVC_EXP_BASELINE_REV")
    if commit is None or Path.cwd() != repository_root():
        return ""
    show = ["git", "show", f"{commit}:./params.yaml"]
    committed = subprocess.run(show, capture_output=True, text=True, encoding="utf-8").stdout
    try:
        changed = params.differences(committed, Path("params.yaml").read_text(encoding="utf-8")) if committed else {}
    except ValueError:  # which the error may be about
        return ""
    if not changed:
        return ""
    # Git would take a value of the same length, which DVC wrote within the same second, for the committed one.
    Path("params.yaml").touch()
    values = ", ".join(f"{key}={value}" for key, (_, value) in changed.items())
    return f"; params.yaml still has {values}: `git restore params.yaml` undoes that"
