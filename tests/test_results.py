"""What documents say was measured is what stands in benchmarks/results."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from trueslice.evaluate.confidence import error_rates, ranges_of
from trueslice.tables.predictions import Predictions

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
# Where the tables of each benchmark stand.
TABLES = {
    "audit": "docs/results.md",
    "coverage": "docs/statistics.md",
    "default_run": "docs/results.md",
    "explanations": "docs/explanations.md",
    "methods": "docs/comparing.md",
    "best": "docs/results.md",
    "objectives": "docs/results.md",
    "parity": "docs/handover.md",
    "predicting": "docs/predicting.md",
    "pretraining": "docs/results.md",
    "protocols": "docs/results.md",
    "speed": "docs/results.md",
    "ways": "docs/results.md",
}


def result(name: str):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_tables_in_documents_are_made_of_the_results(name):
    text = (ROOT / TABLES[name]).read_text(encoding="utf-8")
    rows = [line for line in importlib.import_module(f"benchmarks.{name}").tables(result(name)).splitlines() if line]
    assert len(rows) > 3
    for row in rows:
        assert row in text, row


def test_the_readme_shows_what_protocols_are_worth():
    protocols = importlib.import_module("benchmarks.protocols")
    assert protocols.short_table(result("protocols")) in (ROOT / "README.md").read_text(encoding="utf-8")


def said(name: str) -> str:
    """A document as one line, so that sentences may go on in the next."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def difference(of: str, a: str, b: str) -> tuple[float, ...]:
    rows = result("protocols")["differences"]
    row = next(row for row in rows if (row["of"], row["a"], row["b"]) == (of, a, b))
    return tuple(100 * row[key] for key in ("difference", "low", "high"))


def test_what_copies_and_patients_are_worth_is_told_as_measured():
    readme, report = said("README.md"), said("docs/leakage.md")
    neighbour = {
        row["protocol"]: next(each["accuracy"] for each in row["baselines"] if each["baseline"] == "nearest_neighbour")
        for row in result("protocols")["protocols"]
    }
    published, copies, patients = (f"{100 * neighbour[name]:.1f} %" for name in ("keep", "drop_train", "patients"))
    assert f"{published} as published, {copies} without copies, and {patients} on new patients" in readme
    assert f"{published} as published, {copies} without copies, and {patients} on new patients" in report
    gain = "{:.1f} points (95 % interval {:.1f} to {:.1f})".format(
        *difference("nearest_neighbour", "patients", "grouped")
    )
    assert gain in readme
    assert "{:.1f} points to it ({:.1f} to {:.1f})".format(*difference("model", "drop_train", "keep")) in readme
    for of, a, b in (("nearest_neighbour", "drop_train", "drop_random"), ("nearest_neighbour", "drop_train", "keep")):
        assert "{:.1f} (".format(*difference(of, a, b)) in report


def test_what_leaks_is_told_as_counted():
    counts, readme, report = result("leakage"), said("README.md"), said("docs/leakage.md")
    leaked, exposed = counts["leaked_test_scans"], counts["exposure_under_drop_train"]["patient"]
    known = counts["test_scans_of_train_patients"]
    assert (
        f"{counts['test_scans']:,} of these scans as a test set" in readme and f"{leaked} of them have a copy" in readme
    )
    assert f"All {known} whose patient could be traced" in readme and f"{exposed} still do" in readme
    assert f"{leaked} of the {counts['test_scans']:,} published test scans have a copy" in report
    assert f"All {known} test files" in report and f"{exposed} still do" in report
    for row in counts["classes"]:
        leaks = {each["leaked"]: each["scans"] for each in counts["leaks"] if each["class"] == row["class"]}
        cells = (
            row["class"],
            row["patients"],
            row["patients_in_both"],
            row["test"],
            leaks["copy"],
            leaks["patient"],
            leaks[""],
        )
        assert f"| {' | '.join(map(str, cells))} |" in report


def test_other_sets_and_the_public_model_are_told_as_measured():
    report = said("docs/leakage.md")
    for row in result("external_sets")["rows"]:
        cells = [row["class"] or "all", f"{row['files']:,}"]
        cells += [str(row[key]) for key in ("copies_as_they_are", "copies_once_aligned", "copies_within", "new")]
        assert f"| {' | '.join(cells)} |" in report
    model = result("public_model")
    for row in [*model["kaggle"], *model["pmram_by_kind"]]:
        if row["class"] is None and row["scans"] > 20:
            value, low, high = (f"{100 * row[key]:.1f}" for key in ("accuracy", "low", "high"))
            assert f"| {row['scans']:,} | {value} % ({low} to {high}) |" in report, row


def test_the_default_run_is_told_as_measured():
    seeds, readme, results = result("seeds"), said("README.md"), said("docs/results.md")
    low, high = min(seeds["accuracy"]), max(seeds["accuracy"])
    assert f"mean accuracy {100 * seeds['mean']:.1f} %, from {100 * low:.1f} to {100 * high:.1f} %" in readme
    for name in ("accuracy", "accuracy_patient", "accuracy_neither", "accuracy_other_scanner"):
        assert " | ".join(f"{100 * share:.2f} %" for share in seeds[name]) in results


def test_every_result_has_a_command_that_makes_it_again():
    listed = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for path in RESULTS.glob("*.json"):
        assert f"`python -m benchmarks.{path.stem}" in listed, path.name


@pytest.mark.parametrize(("document", "scan"), [("README.md", "data/raw/Testing/glioma"), ("docs/predicting.md", "")])
def test_the_example_of_predict_shows_what_the_committed_run_says(document, scan):
    predictions = Predictions.read(ROOT / "plots/predictions.csv")
    row = np.flatnonzero(np.char.endswith(predictions.path, "Te-gl_0000.jpg"))[0]
    probabilities = predictions.probabilities[row]
    first, second = np.argsort(-probabilities)[:2]
    rates = error_rates(predictions)
    rate = rates[ranges_of(np.array([*(each["from"] for each in rates), 1.0]), probabilities[[first]])[0]]
    wrong = "{:.0f} ({:.0f} to {:.0f})".format(*(100 * rate[key] for key in ("error_rate", "low", "high")))
    names = predictions.class_names
    shown = [
        names[first],
        f"{100 * probabilities[first]:.1f}",
        names[second],
        f"{100 * probabilities[second]:.1f}",
        wrong,
    ]
    assert " ".join([*shown, scan]) in said(document)
