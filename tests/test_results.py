"""What documents say was measured is what stands in benchmarks/results."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
# Where the tables of each benchmark stand.
TABLES = {
    "coverage": "docs/statistics.md",
    "methods": "docs/comparing.md",
    "best": "docs/results.md",
    "objectives": "docs/results.md",
    "protocols": "docs/results.md",
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


def test_every_result_has_a_command_that_makes_it_again():
    listed = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for path in RESULTS.glob("*.json"):
        assert f"`python -m benchmarks.{path.stem}" in listed, path.name
