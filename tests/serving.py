"""A small run of the pipeline, and the command `tumorclip serve` on it as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
# One process for all stages, since each would import PyTorch anew.
PIPELINE = """
import sys
from importlib import import_module
from pathlib import Path
from tumorclip import params
for name in sys.argv[1:]:
    import_module(f"stages.{name}").main(params.load(Path("params.yaml")))
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run_pipeline(folder: Path) -> None:
    """Run the stages up to the release of `tiny`, trained on a few phantoms, in `folder`."""
    yaml = YAML()
    stages = list(yaml.load(ROOT / "dvc.yaml")["stages"])
    params = yaml.load(ROOT / "params.yaml")
    params["data"]["phantom"] |= {"train_per_class": 20, "test_per_class": 10}
    params["train"] |= {"epochs": 3, "device": "cpu"}
    params["machine"]["workers"] = 1
    params["external"] = []
    yaml.dump(params, folder / "params.yaml")
    command = [sys.executable, "-c", PIPELINE, *stages[: stages.index("release") + 1]]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def started(workspace: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tumorclip", "serve", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=workspace, env=ENVIRONMENT, text=True, **pipes)


def address(process: subprocess.Popen) -> str:
    """Where the page is, as the command says once it answers."""
    line = process.stdout.readline()
    assert " answers at http://127.0.0.1:" in line, line + process.stderr.read()
    return line.split()[-1]


@contextmanager
def serving(workspace: Path) -> Iterator[str]:
    """Yields the address of the page."""
    with started(workspace, "--port", "0") as process:
        try:
            yield address(process)
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
    assert err == ""


def predicted(workspace: Path, scan: Path) -> dict:
    """What `tumorclip predict` says of a scan."""
    command = [sys.executable, "-m", "tumorclip", "predict", scan, "--format", "json"]
    done = subprocess.run(command, cwd=workspace, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
