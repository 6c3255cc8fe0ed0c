"""What every stage script shares: its folders, its checked parameters, and how it ends."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tumorclip import params
from tumorclip.errors import REASON, ParamsError, UserError

RAW = Path("data/raw")
SCANS = Path("data/scans")
SPLITS = Path("data/splits.csv")
BASELINES = Path("data/baselines.csv")
PRETRAINED = Path("models/pretrained")
FINETUNED = Path("models/finetuned")
METRICS = Path("metrics")
PLOTS = Path("plots")


def repository_root() -> Path:
    """The root of the user's repository, also where DVC runs an experiment in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def run(main: Callable[[params.Params], None]) -> None:
    """Check params.yaml whole, run `main` with it, and end every foreseeable failure in one line."""
    try:
        main(params.load(Path("params.yaml")))
    except ParamsError as error:
        _end(2, str(error))
    except UserError as error:
        _end(1, str(error))
    except KeyboardInterrupt:
        _end(130, "stopped by the user; `dvc repro` takes this stage up again")
    except FileNotFoundError as error:
        if not str(error.filename).startswith(("data/", "metrics/", "models/", "plots/")):
            raise
        _end(1, f"{error.filename} is missing, which an earlier stage makes; `dvc repro` runs them in order")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" while writing {error.filename}" if error.filename else ""
        _end(1, f"the disk is full{place}; free some space and run `dvc repro` again")


def _end(status: int, message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if REASON in os.environ:
        with contextlib.suppress(OSError), open(os.environ[REASON], "r+", encoding="utf-8") as file:
            if not file.read():
                file.write(message)
    sys.exit(status)
