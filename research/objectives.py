"""The objectives side by side under `patients`, each at the learning rate that validates best.

python -m research.objectives brain-tumor-mri-dataset.zip

Validation scans are of patients of their own, as test scans are, and they alone choose the learning rate, in short
trainings on a fold that no table tests on. Then every objective trains as in research.protocols, with three seeds on
three folds. Writes research/results/objectives.json and prints the table of README.md.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from research.markdown import accuracy, percent, points, span, table
from research.protocols import FOLDS, MODEL, SEEDS, beyond
from research.runs import CACHE, JOBS, ROOT, archive_parser, counted, prepare_scans, run, train, validation
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import write_json
from trueslice.tables.predictions import Predictions

WORK = CACHE / "objectives"
RESULT = ROOT / "research/results/objectives.json"
OBJECTIVES = ("caption", "multi_positive", "in_batch")
RATES = (1e-3, 2e-3, 4e-3)
TRIAL = {"train.epochs": 3, "split.fold": 5}


def main() -> None:
    scans = prepare_scans(archive_parser(__doc__).parse_args().archive)
    with ThreadPoolExecutor(JOBS) as pool:
        tried = [(objective, rate) for objective in OBJECTIVES for rate in RATES]
        folders = pool.map(lambda job: complete(scans, *job, 0, TRIAL), tried)
        validated = {job: validation(folder) for job, folder in zip(tried, folders, strict=True)}
        best = {each: max(RATES, key=lambda rate: validated[each, rate]) for each in OBJECTIVES}
        jobs = [(each, best[each], seed, {"split.fold": seed + 1}) for seed in SEEDS for each in OBJECTIVES]
        names = [(objective, seed) for objective, _, seed, _ in jobs]
        runs = dict(zip(names, pool.map(lambda job: complete(scans, *job), jobs), strict=True))
        list(pool.map(lambda folder: run("predict", folder), runs.values()))
    result = {"seeds": len(SEEDS), "rates": RATES, "objectives": rows(validated, best, runs)}
    write_json(RESULT, result)
    print(tables(result))


def complete(scans: Path, objective: str, rate: float, seed: int, settings: dict) -> Path:
    """Train on all folds of patients but one; the folder of the run."""
    folder = WORK / f"{objective}-{rate:g}-fold{settings['split.fold']}"
    division = {"split.protocol": "patients", "split.folds": FOLDS}
    own = {"train.objective": objective, "train.learning_rate": rate, "seed": seed}
    train(folder, MODEL | division | own | settings, scans)
    return counted(folder)


def rows(validated: dict, best: dict[str, float], runs: dict[tuple[str, int], Path]) -> list[dict]:
    chosen = max(OBJECTIVES, key=lambda each: validated[each, best[each]])
    folds = {
        each: [Predictions.read(runs[each, seed] / "plots/predictions.csv") for seed in SEEDS] for each in OBJECTIVES
    }
    joined = {each: Predictions.concatenate(tables) for each, tables in folds.items()}
    result = []
    for objective in OBJECTIVES:
        row = {
            "objective": objective,
            "chosen": objective == chosen,
            "learning_rate": best[objective],
            "validation": [validated[objective, rate] for rate in RATES],
            "validation_of_runs": float(np.mean([validation(runs[objective, seed]) for seed in SEEDS])),
            **ConfusionBootstrap([joined[objective]]).estimate(metrics.accuracy).fields("accuracy", LIMITS),
            "of_seeds": [float(np.mean(run.y_pred == run.y_true)) for run in folds[objective]],
            "units": len(np.unique(joined[objective].unit)),
        }
        is_other = objective != chosen
        against = beyond(difference([joined[chosen]], [joined[objective]])) if is_other else None
        result.append(row | {"against_chosen": against})
    return result


def tables(result: dict) -> str:
    """Return the table of README.md."""
    rows = []
    for row in result["objectives"]:
        best = max(row["validation"])
        validation = [f"**{percent(each)}**" if each == best else percent(each) for each in row["validation"]]
        name = f"`{row['objective']}`" + (" (chosen)" if row["chosen"] else "")
        against = points(row["against_chosen"]) if row["against_chosen"] else "–"
        rows.append([name, *validation, accuracy(row), span(row["of_seeds"]), against])
    rates = [f"validation at {rate:g}" for rate in result["rates"]]
    return table(["objective", *rates, "accuracy", "of seeds", "− the chosen one, points"], rows)


if __name__ == "__main__":
    main()
