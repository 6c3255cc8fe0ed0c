"""The table of patients as a data set to upload: its card, its metadata and its citation say what is in it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from research.correlation import RESULT, Traced

ROOT = Path(__file__).parents[1]
CARD = (RESULT.parent / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_croissant_accepts_the_metadata_and_reads_every_row_with_it():
    import mlcroissant  # brings pandas, which takes seconds

    described = mlcroissant.Dataset(RESULT.parent / "croissant.json")
    assert described.metadata.ctx.is_v1_1() and not described.metadata.ctx.issues.report()
    (file,) = described.metadata.distribution
    assert (file.content_url, file.sha256) == (RESULT.name, hashlib.sha256(RESULT.read_bytes()).hexdigest())
    rows, table = list(described.records(RESULT.stem)), Traced.read(RESULT)
    titles = RESULT.read_text("utf-8").split("\n", 1)[0].split(",")
    assert list(rows[0]) == [f"{RESULT.stem}/{title}" for title in titles]
    read = [(row["kaggle_v1/path"].decode(), row["kaggle_v1/slice"], row["kaggle_v1/patient"].decode()) for row in rows]
    assert read == list(zip(table.path.tolist(), table.slice.tolist(), table.patient.tolist(), strict=True))


def test_the_card_explains_every_column_and_counts_as_the_table_does():
    table = Traced.read(RESULT)
    head = YAML(typ="safe").load(CARD.split("---")[1])
    assert head["configs"] == [{"config_name": RESULT.stem, "data_files": RESULT.name}]
    for title in RESULT.read_text("utf-8").split("\n", 1)[0].split(","):
        assert f"\n| `{title}` |" in CARD
    is_test = [path.startswith("Testing/") for path in table.path.tolist()]
    for counted in (
        f"{len(table):,} of the 5,023",
        f"{len(set(table.source_id))} ids",
        f"{len(set(table.patient))} patients",
        f"empty in {(table.plane == '').sum()} rows",
        f"all {sum(is_test)} test files",
    ):
        assert counted in CARD.replace("\n", " "), counted


def test_the_citation_holds_its_schema_and_names_the_table():
    path = ROOT / "CITATION.cff"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    cited = YAML(typ="safe").load(path)["references"]
    assert CARD.split("\n# ", 1)[1].split("\n", 1)[0] == cited[0]["title"] and cited[1]["doi"] in CARD
