"""Time of the default run: each stage, alone and beside a process that keeps one core busy.

python -m benchmarks.default_run

`dvc repro -f` runs in a temporary clone of the last commit. A stage's time goes from its start to that of the next, so
what DVC does between the two counts. Then comes what has nothing to do: `dvc repro` once more, and `trueslice --help`.
Writes benchmarks/results/default_run.json. It takes about as long as two runs.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from research.markdown import table
from research.runs import ROOT
from trueslice.files import write_json

RESULT = ROOT / "benchmarks/results/default_run.json"
BUSY = [sys.executable, "-c", "while True: pass"]
IDLE = {"dvc repro": ["dvc", "repro"], "trueslice --help": ["trueslice", "--help"]}
REPEATS = 3


def main() -> None:
    with TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        alone = stage_seconds(clone)
        idle = {name: shortest(command, clone) for name, command in IDLE.items()}
        busy = subprocess.Popen(BUSY)
        try:
            beside = stage_seconds(clone)
        finally:
            busy.kill()
            busy.wait()
    result = {
        "command": "python -m benchmarks.default_run",
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "stages": [{"stage": stage, "alone": alone[stage], "beside": beside[stage]} for stage in alone],
        "nothing_to_do": [{"command": name, "seconds": seconds} for name, seconds in idle.items()],
    }
    write_json(RESULT, result)
    print(tables(result))


def stage_seconds(project: Path) -> dict[str, float]:
    """Run all stages of a clone anew: the seconds of each."""
    started: dict[str, float] = {}
    environment = os.environ | {"PYTHONPATH": str(project)}
    command = ["dvc", "repro", "--force"]
    with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if found := re.match(r"Running stage '(\w+)'", line):
                started[found[1]] = time.perf_counter()
                print(f"{found[1]}", file=sys.stderr, flush=True)
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {running.returncode}")
    ends = [*list(started.values())[1:], time.perf_counter()]
    return {stage: end - start for (stage, start), end in zip(started.items(), ends, strict=True)}


def shortest(command: list[str], project: Path) -> float:
    """Seconds of a command, the least of three times: others' work only adds."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def tables(result: Mapping) -> str:
    """Return the tables of README.md: seconds of each stage, and of commands with nothing to do."""
    rows = [(f"`{row['stage']}`", row["alone"], row["beside"]) for row in result["stages"]]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2))))
    stages = [(name, f"{alone:.1f}", f"{beside:.1f}") for name, alone, beside in rows]
    idle = [(f"`{row['command']}`", f"{row['seconds']:.2f}") for row in result["nothing_to_do"]]
    of_stages = table(["stage", "alone, s", "beside a busy process, s"], stages)
    return of_stages + "\n\n" + table(["nothing to do", "s"], idle)


if __name__ == "__main__":
    main()
