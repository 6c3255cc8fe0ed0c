"""How much the score depends on the split: every protocol, three training seeds each, on a published archive.

python -m benchmarks.protocols brain-tumor-mri-dataset.zip

The stages run as they are, with params.yaml but for what a row of the table names, in .cache/protocols, two trainings
at a time with one thread each. What is finished there is not run again; delete the folder to start afresh. At the end
the tables of the README are printed.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tumorclip import files
from tumorclip.evaluate import compare as comparing
from tumorclip.evaluate.intervals import MIN_DISTINCT, GroupBootstrap, percentile_interval

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
        rows = [row for row in files.read_csv(folder / "data/splits.csv") if row["split"] in ("train", "val")]
        # Protocols that differ in the test scans alone, as keep and drop_test do, share their trainings.
        trainings.setdefault(str([(row["row"], row["split"]) for row in rows]), []).append(protocol)
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
            links["models/finetuned"] = first / "models/finetuned"
        prepare(folder, split(protocol) | {"train.seed": seed, "train.device": "cpu"}, links)
        if folder == first:
            run("train", folder)
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
    threads = {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // JOBS))} if stage in ("train", "evaluate") else {}
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT)}
    print(f"{folder.relative_to(ROOT / '.cache')}: {stage}", file=sys.stderr, flush=True)
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, stdout=sys.stderr, check=True
    )
    done.touch()


def print_tables() -> None:
    names = [row["class"] for row in files.read_json(WORK / "keep/0/metrics/test.json")["classes"]]
    runs = {
        protocol: {seed: files.read_csv(WORK / protocol / str(seed) / "plots/predictions.csv") for seed in SEEDS}
        for protocol in PROTOCOLS
    }
    print(
        f"| split | trained on | tested on ({', '.join(names)}) | accuracy | of seeds | per distinct scan | macro F1 |"
    )
    print("| --- " * 7 + "|")
    for protocol in PROTOCOLS:
        counts = files.read_json(WORK / protocol / "metrics/split.json")
        tests = [files.read_json(WORK / protocol / str(seed) / "metrics/test.json") for seed in SEEDS]
        sizes = ", ".join(f"{counts['test'][name]:,}" for name in names)
        cells = [protocol, f"{counts['train']['total']:,}", f"{counts['test']['total']:,} ({sizes})"]
        if few := too_few(runs[protocol][0], names):
            cells += ["-"] * 4 + [f"({', '.join(few)}: fewer than {MIN_DISTINCT} distinct scans)"]
        else:
            accuracy, low, high = mean_accuracy(runs[protocol])
            of_seeds = sorted(test["accuracy"] for test in tests)
            distinct = np.mean([test["per_distinct_scan"]["accuracy"] for test in tests])
            f1 = np.mean([test["macro_f1"] for test in tests])
            cells += [f"**{accuracy:.1%}** ({100 * low:.1f} to {100 * high:.1f})"]
            cells += [f"{100 * of_seeds[0]:.1f} to {100 * of_seeds[-1]:.1f}", f"{distinct:.1%}", f"{f1:.3f}"]
        print("| " + " | ".join(cells) + " |")
    print(f"\n| split | {' | '.join(names)} | nearest neighbour | border strips | grey histogram | zero-shot |")
    print("| --- " * (len(names) + 5) + "|")
    for protocol in PROTOCOLS:
        few = too_few(runs[protocol][0], names)
        tests = [files.read_json(WORK / protocol / str(seed) / "metrics/test.json") for seed in SEEDS]
        recalls = np.array([[row["recall"] for row in test["classes"]] for test in tests]).mean(axis=0)
        cells = ["-" if name in few else f"{recall:.1%}" for name, recall in zip(names, recalls, strict=True)]
        rows = files.read_json(WORK / protocol / "metrics/baselines.json")["baselines"]
        cells += ["-" if few else f"{row['accuracy']:.1%}" for row in rows]
        print(f"| {protocol} | " + " | ".join(cells) + " |")
    print_inflation(runs, names)
    print_orientation_and_leaks(names)


def print_inflation(runs: dict, names: list[str]) -> None:
    sides = {f"{protocol} {seed}": rows for protocol in OFFICIAL[:3] for seed, rows in runs[protocol].items()}
    paired = comparing.pair(sides, names)
    for a, b in (("drop_train", "drop_random"), ("drop_train", "keep")):
        print_difference(paired, a, b)


def print_difference(paired: comparing.Paired, a: str, b: str) -> None:
    """What runs called after `b` and the seed reach beyond those called after `a`."""
    result = comparing.compare(paired, *([f"{side} {seed}" for seed in SEEDS] for side in (a, b)))
    accuracy = result.scores["accuracy"]
    print(
        f"\n{b} - {a}: {100 * accuracy.difference:+.1f} points of accuracy, 95 % interval over groups and seeds "
        f"{100 * accuracy.interval.low:+.1f} to {100 * accuracy.interval.high:+.1f}, p = {result.p_value:.4f}"
    )


def print_orientation_and_leaks(names: list[str]) -> None:
    for protocol in PROTOCOLS:
        tests = [files.read_json(WORK / protocol / str(seed) / "metrics/test.json") for seed in SEEDS]
        turned = np.mean([test["upside_down_missed_tumours"] for test in tests])
        print(f"\n{protocol}: {turned:.1%} of the tumours found are called healthy when turned upside down")
        for name in (*names, "mean_over_classes"):
            parts = [test.get("leaked_against_clean", {}).get(name, {}) for test in tests]
            if all(part.get("leaked_accuracy") is not None for part in parts):
                leaked, clean = (np.mean([part[f"{kind}_accuracy"] for part in parts]) for kind in ("leaked", "clean"))
                print(f"  {parts[0].get('classes', name)}: leaked {leaked:.1%}, clean {clean:.1%}")


def mean_accuracy(runs: dict[int, list[dict[str, str]]]) -> tuple[float, float, float]:
    """Mean accuracy of models of several seeds on the same scans, and its 95 % interval over groups of copies."""
    rows = runs[SEEDS[0]]
    right = np.mean([[row["actual"] == row["predicted"] for row in each] for each in runs.values()], axis=0)
    interval = percentile_interval(GroupBootstrap(np.array([row["group"] for row in rows])).mean(right))
    return float(right.mean()), interval.low, interval.high


def too_few(rows: list[dict[str, str]], names: list[str]) -> list[str]:
    return [name for name in names if len({row["group"] for row in rows if row["actual"] == name}) < MIN_DISTINCT]


if __name__ == "__main__":
    main()
