"""Cost of `trueslice predict`, and worth of its warnings, on a finished run.

  python -m benchmarks.predicting RUN [RUN ...] --out benchmarks/results/predicting.json

A RUN is a folder in which the pipeline has run. Nothing there is changed but what the stage `predict` writes again.

- Speed: both ways classify the validation and test scans, as processes of their own, each timed from its start; the
  first answer is timed with one scan. The lowest of REPEATS times counts.
- Copies: the pairs that the audit found between scans of which one is known to the model and the other was dropped,
  and planted ones: known scans of the first 200 test scans turned, mirrored and with other contrast. Found if the scan
  is told to be a copy. False alarms are test scans that are called copies of scans outside their group or patient.
- Unlike: shares of pictures that are warned of, by thumbnail (as released) and by embedding, before and after the
  projection, at the same quantile of validation scans.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import stages
from research.markdown import table
from trueslice import params
from trueslice.evaluate.ood import QUANTILE
from trueslice.files import write_json
from trueslice.inference.classifier import Classifier
from trueslice.inference.reference import small
from trueslice.model.pixels import Pixels
from trueslice.ood.distance import knn_distances
from trueslice.ood.pictures import pictures
from trueslice.tables.scans import Pairs
from trueslice.tables.splits import Splits

REPEATS = 1
PLANTED = 200
ORIENTATIONS = {
    "near": lambda scans: scans,
    "mirrored": lambda scans: scans[:, :, ::-1],
    "half_turn": lambda scans: scans[:, ::-1, ::-1],
    "quarter_turn_left": lambda scans: np.rot90(scans, axes=(1, 2)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = [measure(run) for run in options.runs]
    write_json(options.out, {"repeats": REPEATS, "runs": rows})


def measure(run: Path) -> dict:
    splits = Splits.read(run / stages.SPLITS)
    pixels = np.load(run / stages.SCANS / "pixels.npy", mmap_mode="r")
    settings = params.load(run / "params.yaml")
    classifier = Classifier.load(run / stages.RELEASED, "cpu")
    return {
        "source": "phantom" if settings.data.source == "phantom" else "real",
        "checkpoint": settings.checkpoint.name,
        "protocol": settings.split.protocol,
        "speed": _speed(run, splits),
        "copies": _copies(classifier, run, splits, pixels),
        "unlike": _unlike(classifier, splits, pixels),
    }


def _speed(run: Path, splits: Splits) -> dict:
    """Seconds of the stage and of the command on the same scans, and of the command on one scan."""
    paths = [f"{stages.RAW}/{path}" for path in splits.path[np.isin(splits.split, ["val", "test"])]]
    command = [sys.executable, "-m", "trueslice", "predict"]
    seconds = {"stage": [], "command": [], "first_answer": []}
    for _ in range(REPEATS):
        seconds["stage"].append(_seconds(run, [sys.executable, "-m", "stages.predict"]))
        seconds["command"].append(_seconds(run, [*command, "-", "--format", "csv"], "\n".join(paths)))
        seconds["first_answer"].append(_seconds(run, [*command, paths[0]]))
    stage, both, first = (min(values) for values in seconds.values())
    return {"scans": len(paths), "stage_seconds": stage, "command_seconds": both, "first_answer_seconds": first}


def _seconds(run: Path, command: list[str], text: str = "") -> float:
    root = Path(__file__).parents[1]
    start = time.perf_counter()
    env = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run(command, cwd=run, env=env, input=text, text=True, capture_output=True, check=True)
    return time.perf_counter() - start


def _copies(classifier: Classifier, run: Path, splits: Splits, pixels: np.ndarray) -> dict:
    """Count the copies found, by kind, and the scans that are wrongly called one."""
    known = {path: row for row, path in enumerate(classifier.reference.scans.path.tolist())}
    is_known = np.array([path in known for path in splits.path.tolist()])
    pairs = Pairs.read(run / stages.SCANS / "pairs.csv")
    pairs = pairs.take(is_known[pairs.a] != is_known[pairs.b])
    dropped = np.unique(np.where(is_known[pairs.a], pairs.b, pairs.a))
    found = _found(classifier, pixels[dropped])
    rows = []
    for kind in np.unique(pairs.kind).tolist():
        own = np.isin(dropped, np.concatenate([pairs.a[pairs.kind == kind], pairs.b[pairs.kind == kind]]))
        rows.append({"kind": kind, "scans": int(own.sum()), "found": int(found[own].sum())})
    test = np.flatnonzero(splits.split == "test")[:PLANTED]
    planted = []
    for kind, turn in ORIENTATIONS.items():
        changed = np.rint(255 * (turn(pixels[test]) / 255.0) ** 0.8 * 0.9).astype(np.uint8)
        planted.append({"kind": kind, "scans": len(test), "found": int(_found(classifier, changed).sum())})
    return {"audit": rows, "planted": planted, **_false_alarms(classifier, splits, pixels)}


def _found(classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
    copies = classifier.comparison.copies(small(pixels, np.arange(len(pixels)))) if len(pixels) else []
    return np.array([copy is not None for copy in copies], bool)


def _false_alarms(classifier: Classifier, splits: Splits, pixels: np.ndarray) -> dict:
    """Of test scans without a copy among training scans, how many are called a copy of one."""
    reference, train = classifier.reference, classifier.reference.scans.split == "train"
    groups = dict(zip(splits.path.tolist(), splits.group.tolist(), strict=True))
    of_train = {groups[path] for path in reference.scans.path[train].tolist()}
    test = np.flatnonzero((splits.split == "test") & ~np.isin(splits.group, list(of_train)))
    alone = type(reference)(reference.scans.take(train), reference.thumbnails[train], reference.embeddings[train])
    comparison = type(classifier.comparison)(alone, classifier.settings.copy_threshold)
    called = comparison.copies(small(pixels, test))
    return {"scans_without_copy": len(test), "called_copies": sum(copy is not None for copy in called)}


def _unlike(classifier: Classifier, splits: Splits, pixels: np.ndarray) -> list[dict]:
    rows = {part: np.flatnonzero(splits.split == part) for part in ("train", "val", "test")}
    sets = {part: (pixels, own) for part, own in rows.items()}
    sets |= {kind: (made, np.arange(len(made))) for kind, made in pictures(pixels, rows["test"]).items()}
    embedded = {name: _embed(classifier, *own) for name, own in sets.items()}
    distances = {"thumbnail": {name: classifier.comparison.distances(small(*own)) for name, own in sets.items()}}
    for place, space in enumerate(("embedding before projection", "embedding after projection")):
        train = embedded["train"][place]
        distances[space] = {name: knn_distances(each[place] @ train.T) for name, each in embedded.items()}
    found = []
    for space, of_sets in distances.items():
        threshold = np.quantile(of_sets["val"], QUANTILE)
        warned = [
            {"pictures": name, "count": len(far), "warned": float((far > threshold).mean())}
            for name, far in of_sets.items()
            if name not in ("train", "val")
        ]
        found.append({"space": space, "rates": warned})
    return found


def _embed(classifier: Classifier, pixels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    before, after = [], []
    encoder = classifier.encoder
    with torch.inference_mode():
        for batch in Pixels(pixels, rows, encoder.image_size, encoder.device).all():
            features = encoder.image_features(batch)
            before.append(functional.normalize(features.float(), dim=-1))
            after.append(encoder.project_images(features))
    return torch.cat(before).numpy(), torch.cat(after).numpy()


def tables(result: Mapping) -> str:
    """Return the tables of README.md: speed, copies, and pictures called unlike the training scans."""
    speeds, copies = [], []
    for run in result["runs"]:
        speed, source = run["speed"], run["source"]
        rates = [speed["scans"] / speed[f"{name}_seconds"] for name in ("stage", "command")]
        cells = [
            *(f"{rate:.0f}" for rate in rates),
            f"{rates[1] / rates[0]:.2f}",
            f"{speed['first_answer_seconds']:.1f}",
        ]
        speeds.append([source, f"`{run['checkpoint']}`", f"{speed['scans']:,}", *cells])
        for key, words in (("planted", "planted"), ("audit", "found by the audit")):
            for row in run["copies"][key]:
                found = f"{row['found'] / row['scans']:.1%}"
                copies.append([source, f"{row['kind'].replace('_', ' ')}, {words}", f"{row['scans']:,}", found])
        alone, wrong = (run["copies"][key] for key in ("scans_without_copy", "called_copies"))
        copies.append([source, "none: false alarms", f"{alone:,}", f"{wrong / alone:.1%}"])
    heads = ("scans of", "checkpoint", "scans", "stage, scans/s", "command, scans/s", "ratio", "first answer, s")
    columns = {f"{run['source']}, {each['space']}": each["rates"] for run in result["runs"] for each in run["unlike"]}
    warned = [
        [rates[0]["pictures"], *(f"{row['warned']:.1%}" for row in rates)]
        for rates in zip(*columns.values(), strict=True)
    ]
    of_copies = table(["scans of", "copy", "scans", "found"], copies)
    return "\n\n".join([table(heads, speeds), of_copies, table(["pictures", *columns], warned)])


if __name__ == "__main__":
    main()
