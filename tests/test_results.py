"""Tables of measured numbers in the documents, held against the results that commands have written."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from research import protocols, seeds
from trueslice.evaluate.confidence import error_rates, ranges_of
from trueslice.tables.predictions import Predictions

ROOT = Path(__file__).parents[1]
RESULTS = {path.stem: path for path in ROOT.glob("[br]*/**/results/*.json")}
# Tables are in the README.md of their folder, except these.
ELSEWHERE = dict.fromkeys(("leakage", "external_sets", "public_model"), "docs/leakage.md")
ELSEWHERE["fingerprints"] = "docs/data.md"
WITHOUT_TABLE = {"truth"}


def result(name: str) -> dict:
    return json.loads(RESULTS[name].read_text(encoding="utf-8"))


def module_of(name: str) -> str:
    return ".".join(RESULTS[name].relative_to(ROOT).parts[:-2]) + f".{name}"


def page_of(name: str) -> str:
    page = ROOT / ELSEWHERE[name] if name in ELSEWHERE else RESULTS[name].parents[1] / "README.md"
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(RESULTS.keys() - WITHOUT_TABLE))
def test_the_tables_of_a_page_are_those_that_the_command_prints(name):
    tables = importlib.import_module(module_of(name)).tables(result(name)).strip().split("\n\n")
    assert all(table.strip("\n") in page_of(name) for table in tables)


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_every_result_has_a_command_that_makes_it_again(name):
    readmes = "".join((ROOT / folder / "README.md").read_text("utf-8") for folder in ("research", "benchmarks"))
    assert f"`python -m {module_of(name)}" in readmes


def test_the_readme_and_the_report_show_how_much_protocols_matter():
    readme, report = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/leakage.md"))
    found = result("protocols")["tiny_conv"]
    assert protocols.short_table(found) in readme and protocols.short_table(found) in report
    assert protocols.effects_table(found) in report


def test_the_readme_begins_with_the_copies_and_patients_of_the_published_test_set():
    found, start = result("leakage"), " ".join((ROOT / "README.md").read_text("utf-8").split())[:1000]
    assert f"Of the {found['test_scans']:,} test scans" in start
    assert f"{found['leaked_test_scans']} have a copy in its Training folder" in start
    exposed, shared = found["exposure_under_drop_train"], found["test_scans_of_train_patients"]
    assert exposed["patient"] + exposed["neither"] == shared
    assert f"all {shared} whose patient could be traced show a patient who is in Training too" in start


def test_the_readme_shows_the_accuracy_of_five_seeds():
    assert seeds.caption(result("seeds")) in (ROOT / "README.md").read_text("utf-8")


def test_the_example_of_predict_is_an_answer_of_the_committed_run():
    predictions = Predictions.read(ROOT / "plots/predictions.csv")
    row = np.flatnonzero(np.char.endswith(predictions.path, "Te-gl_0000.jpg"))[0]
    probabilities = predictions.probabilities[row]
    first, second = np.argsort(-probabilities)[:2]
    rates = error_rates(predictions).ranges
    rate = rates[ranges_of(np.array([*(each.lower for each in rates), 1.0]), probabilities[[first]])[0]]
    shares = [f"{100 * probabilities[place]:.1f}" for place in (first, second)]
    wrong = "{:.0f} ({:.0f} to {:.0f})".format(*(100 * share for share in (rate.error_rate, rate.low, rate.high)))
    names = predictions.class_names
    answer = " ".join([names[first], shares[0], names[second], shares[1], wrong, "data/raw/Testing/glioma"])
    assert answer in " ".join((ROOT / "README.md").read_text("utf-8").split()), answer
