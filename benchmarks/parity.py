"""Closeness of the exported graph to PyTorch, alone and behind the example of docs/handover.md.

python -m benchmarks.parity RUN [RUN ...]

Each RUN is a folder in which the pipeline has run. The result is written to benchmarks/results.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from research.markdown import table
from trueslice import params
from trueslice.files import read_json, write_json
from trueslice.tables.predictions import ModelPredictions

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/parity.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folder in which the pipeline has run")
    rows = [measured(run.resolve()) for run in parser.parse_args().runs]
    content = {"command": "python -m benchmarks.parity RUN [RUN ...]", "rows": rows}
    write_json(RESULT, content)
    print(tables(content))


def measured(run: Path) -> dict:
    """Export the model of a run, and hold graph and example against what the pipeline predicted."""
    predictions = ModelPredictions.read(run / "plots/predictions.csv")
    settings = params.load(run / "params.yaml")
    with TemporaryDirectory() as folder:
        python = [sys.executable, "-m", "trueslice", "export", "onnx", "--out", f"{folder}/models/onnx"]
        subprocess.run(python, cwd=run, check=True)
        parity = read_json(Path(folder, "models/onnx/model.json"))["parity"]
        paths = [str(run / "data/raw" / path) for path in predictions.path]
        lines = subprocess.run(
            [sys.executable, "-c", example(), *paths], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.splitlines()
    assert parity["of"] == "test scans"
    found = np.array([line.rsplit(",", len(predictions.class_names))[1:] for line in lines], dtype=float)
    return {
        "scans_of": "phantoms" if settings.data.source == "phantom" else "people",
        "checkpoint": settings.checkpoint.name,
        "scans": len(predictions),
        "graph": {key: parity[key] for key in ("largest_difference", "answers_changed")},
        "example": {
            "largest_difference": float(np.abs(found - predictions.probabilities).max()),
            "answers_changed": int((found.argmax(axis=1) != predictions.y_pred).sum()),
        },
    }


def example() -> str:
    """The code that docs/handover.md shows."""
    text = (ROOT / "docs/handover.md").read_text(encoding="utf-8")
    return re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    rows = []
    for row in result["rows"]:
        largest = [f"{row[name]['largest_difference']:.1e}" for name in ("graph", "example")]
        changed = max(row[name]["answers_changed"] for name in ("graph", "example"))
        rows.append([row["scans_of"], f"`{row['checkpoint']}`", f"{row['scans']:,}", *largest, changed])
    differences = ("graph: largest difference", "example: largest difference")
    return table(["scans of", "checkpoint", "test scans", *differences, "answers changed"], rows)


if __name__ == "__main__":
    main()
