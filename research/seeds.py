"""Effect of another seed on the default run: five runs that differ in all that is drawn but the scans.

python -m research.seeds

The stages run as they are in .cache/seeds, with another `seed` for initial weights, validation set, order, captions and
augmentation. Runs that are finished there are not run again; delete the folder to start afresh. Writes
research/results/seeds.json.
"""

import numpy as np

from research.markdown import span, table
from research.runs import CACHE, ROOT, prepare, run, score
from trueslice.files import write_json
from trueslice.records.external import ExternalScores
from trueslice.records.test import ModelScores

WORK = CACHE / "seeds"
RESULT = ROOT / "research/results/seeds.json"
SEEDS = range(5)
WORDS = {
    "accuracy": "accuracy",
    "accuracy_patient": "where the patient was in training",
    "accuracy_neither": "on new patients",
    "accuracy_other_scanner": "on the other scanner",
}


def main() -> None:
    source = WORK / "source"
    prepare(source, {})
    for stage in ("download", "verify"):
        run(stage, source)
    rows = [one_run(seed) for seed in SEEDS]
    accuracies = [row["accuracy"] for row in rows]
    result = {
        "seeds": list(SEEDS),
        **{name: [row[name] for row in rows] for name in rows[0]},
        "mean": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies, ddof=1)),
    }
    write_json(RESULT, result)
    print(tables(result))
    print(caption(result))


def one_run(seed: int) -> dict[str, float]:
    """Accuracies of one run: on the whole test set, by exposure, and on the other scanner."""
    folder = WORK / str(seed)
    prepare(folder, {"seed": seed}, {name: WORK / "source" / name for name in ("data/raw", "data/scans")})
    for stage in ("checkpoint", "split", "train"):
        run(stage, folder)
    score(folder)
    test = ModelScores.read(folder / "metrics/test.json")
    other = ExternalScores.read(folder / "metrics/external.json").sets[0]
    of_all = {row.exposure: row.accuracy for row in test.exposure if row.class_name is None}
    exposed = {f"accuracy_{name}": of_all[name] for name in ("patient", "neither")}
    return {"accuracy": test.accuracy, **exposed, "accuracy_other_scanner": other.accuracy}


def tables(result: dict) -> str:
    """Return the table of README.md."""
    rows = []
    for key, words in WORDS.items():
        shares = [*result[key], np.mean(result[key])]
        rows.append([words, *(f"{100 * share:.2f} %" for share in shares)])
    return table(["seed", *result["seeds"], "mean"], rows)


def caption(result: dict) -> str:
    """Return the sentence of the project's README."""
    return f"mean accuracy {100 * result['mean']:.1f} %, from {span(result['accuracy'])} %"


if __name__ == "__main__":
    main()
