"""Leaks of a published archive from Training into Testing, by copy and by patient, and two figures of it.

python -m research.leakage brain-tumor-mri-dataset.zip

Counts come from `verify` and from the split under `drop_train`, in .cache. Writes research/results/leakage.json, and
draws docs/leakage_test_set.png and docs/leakage_protocols.png, the second from what research.protocols has written.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from research.markdown import table
from research.runs import CACHE, ROOT, archive_parser, prepare, prepare_scans, run
from trueslice.files import read_json, write_json
from trueslice.records.data import DataCounts
from trueslice.report.figures import BLUE, DPI, GREY, LIGHT_GREY, ORANGE, PERCENT
from trueslice.tables.splits import Splits

RESULTS = ROOT / "research/results"
COUNTED = (
    "decoded", "distinct_scans", "copy_pairs", "largest_copy_group", "label_conflicts", "source_conflicts",
    "test_scans", "leaked_test_scans", "patient_leaked_test_scans", "test_scans_of_train_patients",
    "patients", "scans_without_patient", "patients_in_both_folders", "classes",
)  # fmt: skip
LEAKS = {
    "copy": ("a copy in Training", ORANGE),
    "patient": ("no copy, but the patient", BLUE),
    "": ("no copy, patient not known", LIGHT_GREY),
}
PROTOCOLS = {
    "keep": "as\npublished", "drop_random": "fewer scans,\nat random", "drop_train": "without copies\nin training",
    "grouped": "new split\nby copies", "blocked": "new split by\nfile names", "patients": "new split\nby patients",
}  # fmt: skip


def main() -> None:
    result = count(prepare_scans(archive_parser(__doc__).parse_args().archive))
    write_json(RESULTS / "leakage.json", result)
    print(tables(result))
    save(test_set(result), "leakage_test_set")
    save(protocols(read_json(RESULTS / "protocols.json")["tiny_conv"]), "leakage_protocols")


def count(scans: Path) -> dict:
    folder = CACHE / "leakage"
    prepare(folder, {}, {"data/scans": scans / "data/scans"})
    run("split", folder)
    splits = Splits.read(folder / "data/splits.csv")
    test = splits.columns_of("test", sorted(set(splits.class_name.tolist())))
    data = DataCounts.read(scans / "metrics/data.json").model_dump(by_alias=True)
    leaks = [
        {"class": name, "leaked": kind, "scans": int(((splits.class_name == name) & tested(splits, kind)).sum())}
        for name in sorted(set(splits.class_name.tolist()))
        for kind in LEAKS
    ]
    exposure = {kind: int((test["exposure"] == kind).sum()) for kind in ("copy", "patient", "neither", "unknown")}
    return {name: data[name] for name in COUNTED} | {"leaks": leaks, "exposure_under_drop_train": exposure}


def tables(result: dict) -> str:
    """Return the counts of docs/leakage.md, and their table by class."""
    exposed = result["exposure_under_drop_train"]
    totals = [
        ["have a copy in Training", result["leaked_test_scans"]],
        ["have a known patient", exposed["patient"] + exposed["neither"]],
        ["their patient is in Training too", result["test_scans_of_train_patients"]],
        ["the same after every copy has been dropped from Training", exposed["patient"]],
    ]
    scans = {(row["class"], row["leaked"]): row["scans"] for row in result["leaks"]}
    classes = [
        [row[key] for key in ("class", "patients", "patients_in_both", "test")]
        + [scans[row["class"], kind] for kind in LEAKS]
        for row in result["classes"]
    ]
    heads = ("class", "patients", "in both folders", "test scans", *(words for words, _ in LEAKS.values()))
    head = f"of {result['test_scans']:,} published test scans"
    return table([head, "scans"], totals) + "\n\n" + table(heads, classes)


def tested(splits: Splits, leaked: str) -> np.ndarray:
    return (splits.split == "test") & (splits.leaked == leaked)


def test_set(result: dict) -> Figure:
    """The published test set, class by class, by what stands in the published Training folder."""
    names = [row["class"] for row in result["classes"]]
    figure = Figure(figsize=(6.2, 2.6), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(names))
    for kind, (label, colour) in LEAKS.items():
        scans = [row["scans"] for row in result["leaks"] if row["leaked"] == kind]
        bars = axes.barh(names, scans, left=left, color=colour, label=label, height=0.65)
        shown = [f"{number:,}" if number > 12 else "" for number in scans]
        axes.bar_label(bars, shown, label_type="center", color="white" if kind else "black")
        left += scans
    axes.invert_yaxis()
    axes.set(xlabel="published test scans", title="What Kaggle’s test set shares with its Training folder")
    axes.legend(loc="upper right", fontsize=9)
    axes.set_xlim(0, 1.5 * left.max())
    return figure


def protocols(result: dict) -> Figure:
    """Accuracy of the model and of two baselines under every protocol."""
    rows = result["protocols"]
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    values = [row["accuracy"] for row in rows]
    ends = [[row["accuracy"] - row["low"] for row in rows], [row["high"] - row["accuracy"] for row in rows]]
    axes.errorbar(places, values, ends, fmt="o", color=ORANGE, capsize=3, label="fine-tuned model, 95 % interval")
    for name, marker, colour in (("nearest_neighbour", "s", BLUE), ("border_strips", "^", GREY)):
        found = [each["accuracy"] for row in rows for each in row["baselines"] if each["baseline"] == name]
        axes.plot(places, found, marker, color=colour, label=name.replace("_", " "))
    axes.set_xticks(places, [PROTOCOLS[row["protocol"]] for row in rows], fontsize=8)
    axes.axvline(2.5, color=LIGHT_GREY, linestyle=":")
    axes.set(ylabel="accuracy", title="The same model under six divisions of the same scans")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(True, axis="y")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def save(figure: Figure, name: str) -> None:
    figure.savefig(ROOT / "docs" / f"{name}.png", dpi=DPI, metadata={"Software": None})


if __name__ == "__main__":
    main()
