"""How much the score depends on the split: every protocol, three training seeds each, on a published archive.

python -m benchmarks.protocols brain-tumor-mri-dataset.zip

The stages run as they are, with params.yaml but for what a row of the table names, in .cache/protocols, two trainings
at a time, which share the cores. What is finished there is not run again; delete the folder to start afresh. At the end
the tables of the results are printed.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tumorclip.evaluate.compare import compare, pair
from tumorclip.evaluate.intervals import MIN_DISTINCT, Estimate, GroupBootstrap
from tumorclip.files import read_json
from tumorclip.tables import Predictions, Splits

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache/protocols"
OFFICIAL = ("keep", "drop_random", "drop_train", "drop_test")
PROTOCOLS = (*OFFICIAL, "grouped", "blocked")
SEEDS = (0, 1, 2)
JOBS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    prepare_scans(parser.parse_args().archive)
    trainings = {}
    for protocol in PROTOCOLS:
        folder = prepare_split(protocol)
        run("baselines", folder)
        splits = Splits.read(folder / "data/splits.csv")
        fitted = splits.take(np.isin(splits.split, ["train", "val"]))
        # Protocols that differ in the test scans alone, as keep and drop_test do, share their trainings.
        trainings.setdefault((*fitted.path.tolist(), *fitted.split.tolist()), []).append(protocol)
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda job: train(*job), [(same, seed) for seed in SEEDS for same in trainings.values()]))
    print_tables()


def prepare_scans(archive: Path) -> None:
    prepare(WORK / "source", {"data.source": str(archive.resolve())})
    for stage in ("download", "verify", "checkpoint"):
        run(stage, WORK / "source")


def prepare_split(protocol: str) -> Path:
    folder, source = WORK / protocol, WORK / "source"
    prepare(folder, split(protocol), {"data/scans": source / "data/scans", "models": source / "models"})
    run("split", folder)
    return folder


def split(protocol: str) -> dict[str, object]:
    return {"split.leaks": protocol} if protocol in OFFICIAL else {"split.protocol": protocol}


def train(protocols: list[str], seed: int) -> None:
    first = WORK / protocols[0] / str(seed)
    for protocol in protocols:
        folder = WORK / protocol / str(seed)
        links = {"data": WORK / protocol / "data", "models/pretrained": WORK / "source/models/pretrained"}
        if folder != first:
            links |= {name: first / name for name in ("models/finetuned", "metrics/train.json")}
        prepare(folder, split(protocol) | {"train.seed": seed, "train.device": "cpu"}, links)
        if folder == first:
            run("train", folder)
        run("predict", folder)
        run("evaluate", folder)


def prepare(folder: Path, settings: dict[str, object], links: dict[str, Path] | None = None) -> None:
    """A folder in which stages run: params.yaml with `settings` by dotted name, and links to what exists already."""
    folder.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for key, value in settings.items():
        section, name = key.split(".")
        params[section][name] = value
    yaml.dump(params, folder / "params.yaml")
    for name, target in (links or {}).items():
        if not (folder / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(target)


def run(stage: str, folder: Path) -> None:
    """Run a stage in `folder`, unless it did before."""
    done = folder / f".{stage}"
    if done.exists():
        return
    threads = {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // JOBS))} if stage in ("train", "predict") else {}
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT)}
    print(f"{folder.relative_to(ROOT / '.cache')}: {stage}", file=sys.stderr, flush=True)
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, stdout=sys.stderr, check=True
    )
    done.touch()


def print_tables() -> None:
    runs = {protocol: {seed: predictions(protocol, seed) for seed in SEEDS} for protocol in PROTOCOLS}
    names = runs["keep"][0].class_names
    print(
        f"| split | trained on | tested on ({', '.join(names)}) | accuracy | of seeds | per distinct scan | macro F1 |"
    )
    print("| --- " * 7 + "|")
    for protocol in PROTOCOLS:
        counts, tests = read_json(WORK / protocol / "metrics/split.json"), metrics(protocol, "test")
        sizes = ", ".join(f"{row['test']:,}" for row in counts["classes"])
        cells = [protocol, f"{counts['train']:,}", f"{counts['test']:,} ({sizes})"]
        if few := too_few(protocol):
            cells += ["-"] * 4 + [f"({', '.join(few)}: fewer than {MIN_DISTINCT} distinct scans)"]
        else:
            value, interval = mean_accuracy(list(runs[protocol].values()))
            of_seeds = sorted(test["accuracy"] for test in tests)
            distinct = np.mean([test["per_distinct_scan"]["accuracy"] for test in tests])
            f1 = np.mean([test["macro_f1"] for test in tests])
            cells += [f"**{value:.1%}** ({100 * interval.low:.1f} to {100 * interval.high:.1f})"]
            cells += [f"{100 * of_seeds[0]:.1f} to {100 * of_seeds[-1]:.1f}", f"{distinct:.1%}", f"{f1:.3f}"]
        print("| " + " | ".join(cells) + " |")
    print_classes_and_baselines(names)
    print_inflation(runs)
    print_orientation_and_leaks()


def print_classes_and_baselines(names: Sequence[str]) -> None:
    baselines = [row["baseline"].replace("_", " ") for row in metrics("keep", "baselines")[0]["baselines"]]
    print(f"\n| split | {' | '.join([*names, *baselines])} |")
    print("| --- " * (len(names) + len(baselines) + 1) + "|")
    for protocol in PROTOCOLS:
        few = too_few(protocol)
        recalls = np.mean([[row["recall"] for row in test["classes"]] for test in metrics(protocol, "test")], axis=0)
        cells = ["-" if name in few else f"{recall:.1%}" for name, recall in zip(names, recalls, strict=True)]
        rows = metrics(protocol, "baselines")[0]["baselines"]
        cells += ["-" if few else f"{row['accuracy']:.1%}" for row in rows]
        print(f"| {protocol} | " + " | ".join(cells) + " |")


def print_inflation(runs: dict[str, dict[int, Predictions]]) -> None:
    paired = pair({f"{protocol} {seed}": table for protocol in OFFICIAL[:3] for seed, table in runs[protocol].items()})
    for a, b in (("drop_train", "drop_random"), ("drop_train", "keep")):
        print_difference(paired, a, b)


def print_difference(paired: dict[str, Predictions], a: str, b: str) -> None:
    """What runs called after `b` and the seed reach beyond those called after `a`."""
    result = compare(paired, *([f"{side} {seed}" for seed in SEEDS] for side in (a, b)))
    score = result.scores["accuracy"]
    print(
        f"\n{b} - {a}: {100 * score.difference:+.1f} points of accuracy, 95 % interval over groups and seeds "
        f"{100 * score.interval.low:+.1f} to {100 * score.interval.high:+.1f}, p = {result.p_value:.4f}"
    )


def print_orientation_and_leaks() -> None:
    for protocol in PROTOCOLS:
        tests = metrics(protocol, "test")
        turned = np.mean([test["upside_down_missed_tumours"] for test in tests])
        print(f"\n{protocol}: {turned:.1%} of the tumours found are called healthy when turned upside down")
        for rows in zip(*(test["leaked_against_clean"] for test in tests), strict=True):
            if all(row["leaked_accuracy"] is not None for row in rows):
                leaked, clean = (np.mean([row[f"{kind}_accuracy"] for row in rows]) for kind in ("leaked", "clean"))
                print(f"  {rows[0]['class'] or 'mean over these classes'}: leaked {leaked:.1%}, clean {clean:.1%}")


def predictions(protocol: str, seed: int) -> Predictions:
    return Predictions.read(WORK / protocol / str(seed) / "plots/predictions.csv")


def metrics(protocol: str, name: str) -> list[dict]:
    """The content of a file of metrics, for every seed."""
    return [read_json(WORK / protocol / str(seed) / f"metrics/{name}.json") for seed in SEEDS]


def mean_accuracy(runs: Sequence[Predictions]) -> Estimate:
    """Mean accuracy of models of several seeds on the same scans, and its 95 % interval over groups of copies."""
    return GroupBootstrap(runs[0].group).mean(np.mean([run.y_pred == run.y_true for run in runs], axis=0))


def too_few(protocol: str) -> list[str]:
    """The classes with too few distinct test scans for a score of their own."""
    return [row["class"] for row in metrics(protocol, "test")[0]["classes"] if row["distinct"] < MIN_DISTINCT]


if __name__ == "__main__":
    main()
