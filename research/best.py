"""The best that half an hour on two cores reaches on new patients, chosen on validation and scored once.

python -m research.best brain-tumor-mri-dataset.zip pmram.zip

The candidates train side by side, one core each, on the fold of patients that research.protocols does not test on.
The one with the best validation accuracy is scored on its test patients and on what is new in PMRAM; of the others
nothing but validation is looked at. Writes research/results/best.json and prints the tables of README.md.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from research.markdown import percent, points, table
from research.protocols import FOLDS, MODEL
from research.runs import CACHE, JOBS, ROOT, archive_parser, prepare, prepare_scans, run, score, validation
from trueslice.files import write_json
from trueslice.records.baselines import Baselines
from trueslice.records.external import ExternalScores
from trueslice.records.intervals import Intervals
from trueslice.records.test import ModelScores
from trueslice.records.timing import Timing

WORK = CACHE / "best"
RESULT = ROOT / "research/results/best.json"
LONG = {"train.epochs": 12, "train.max_gradient_norm": 1.0}
CANDIDATES = {
    "longer": LONG,
    "longer, wider augmentation, moving average": LONG
    | {"train.rotation": 20, "train.translation": 0.15, "train.scale": 0.2, "train.ema": 0.998},
}


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("pmram", type=Path, help="folder or .zip of PMRAM")
    options = parser.parse_args()
    scans = prepare_scans(options.archive)
    with ThreadPoolExecutor(JOBS) as pool:
        trained = list(pool.map(lambda number: train(scans, options.pmram, number), range(len(CANDIDATES))))
    best = max(trained, key=lambda row: row["validation"])
    score(folder(trained.index(best)))
    result = {"candidates": trained, "chosen": best["candidate"]} | scores(folder(trained.index(best)) / "metrics")
    write_json(RESULT, result)
    print(tables(result))


def folder(number: int) -> Path:
    return WORK / str(number)


def train(scans: Path, pmram: Path, number: int) -> dict:
    name = list(CANDIDATES)[number]
    division = {"split.protocol": "patients", "split.folds": FOLDS, "split.fold": FOLDS}
    external = [{"name": "pmram", "source": str(pmram.resolve()), "classes": None}]
    settings = MODEL | division | {"external": external} | CANDIDATES[name]
    prepare(folder(number), settings, {name: scans / name for name in ("data/raw", "data/scans")})
    for stage in ("checkpoint", "split", "train"):
        run(stage, folder(number))
    metrics = folder(number) / "metrics"
    minutes = Timing.read(metrics / "timing.json").train[0].seconds / 60
    return {"candidate": name, "validation": validation(folder(number)), "minutes": minutes}


def scores(metrics: Path) -> dict:
    test, intervals = ModelScores.read(metrics / "test.json"), Intervals.read(metrics / "intervals.json")
    shown = map(intervals.find, ("accuracy", "macro_f1", "balanced_accuracy", "macro_auroc"))
    return {
        "unit": intervals.unit.model_dump(),
        "scores": [each.model_dump(include={"score", "value", "low", "high"}) for each in shown],
        "classes": [each.model_dump(by_alias=True, include={"class_name", "scans", "recall"}) for each in test.classes],
        "tumour": test.tumour.model_dump() | {"roc": None},
        **Baselines.read(metrics / "baselines.json").model_dump(by_alias=True),
        "external": ExternalScores.read(metrics / "external.json").model_dump(by_alias=True)["sets"],
    }


def tables(result: dict) -> str:
    """Return the tables of README.md: candidates, and scores of the chosen one."""
    candidates = [
        [row["candidate"] + (" (chosen)" if row["candidate"] == result["chosen"] else ""), percent(row["validation"]),
         f"{row['minutes']:.0f}"]
        for row in result["candidates"]
    ]  # fmt: skip
    rows = []
    for row in result["scores"]:
        name = row["score"].replace("_", " ").replace("auroc", "AUROC").replace("f1", "F1")
        rows.append([name, f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"])
    for row in result["classes"]:
        rows.append([f"sensitivity, {row['class']}", f"{row['recall']:.3f}", f"{row['scans']:,} scans"])
    for row in result["baselines"]:
        paired = {key: row[f"difference_{key}"] for key in ("low", "high")} | {"difference": row["difference"]}
        name = f"beyond {row['baseline'].replace('_', ' ')}, which has {row['accuracy']:.3f}"
        rows.append([name, f"{points(paired)} points |"])
    for row in result["external"]:
        name = f"accuracy, {row['kept']:,} new scans of {row['set']}"
        rows.append([name, f"{row['accuracy']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"])
        kept = (each for each in row["classes"] if each["kept"])
        rows += [[f"of them {each['class']}", f"{each['recall']:.3f}", f"{each['kept']:,} scans"] for each in kept]
    of_candidates = table(["candidate", "validation accuracy", "minutes"], candidates)
    return of_candidates + "\n\n" + table(["on the test patients", "value", "95 % interval"], rows)


if __name__ == "__main__":
    main()
