"""The stage `release`: what a model that one hands over holds."""

import numpy as np

from tests.finished import predictions
from trueslice.copies.thumbnails import thumbnails
from trueslice.files import read_json
from trueslice.inference.reference import Reference
from trueslice.tables.splits import Splits


def test_the_released_folder_holds_the_trained_one_and_more(released):
    trained, finetuned = released / "models/finetuned", released / "models/released"
    for path in trained.iterdir():
        if path.name != "trueslice.json":
            assert (finetuned / path.name).read_bytes() == path.read_bytes()
    before, after = (read_json(folder / "trueslice.json") for folder in (trained, finetuned))
    assert after.items() >= before.items()
    assert after["decode"] == {"image_size": 224, "colour": False, "max_pixels": 25_000_000}
    assert after["ood"] == read_json(released / "metrics/ood.json")


def test_the_reference_is_of_all_scans_but_the_dropped_ones_in_their_order(released):
    reference = Reference.read(released / "models/released", width=128)
    splits = Splits.read(released / "data/splits.csv")
    rows = np.flatnonzero(splits.split != "dropped")
    assert 0 < len(rows) < len(splits)
    assert reference.scans.path.tolist() == splits.path[rows].tolist()
    assert reference.scans.split.tolist() == splits.split[rows].tolist()
    means = thumbnails(np.load(released / "data/scans/pixels.npy")[rows])
    assert np.array_equal(reference.thumbnails, np.rint(means))
    assert np.allclose(np.linalg.norm(reference.embeddings, axis=1), 1, atol=1e-5)


def test_no_patient_is_named_in_it(released):
    splits = Splits.read(released / "data/splits.csv")
    text = (released / "models/released/reference.csv").read_text()
    assert (splits.patient != "").any()
    assert not [patient for patient in np.unique(splits.patient[splits.patient != ""]) if patient in text]


def test_error_rates_are_of_all_test_scans(released):
    rows, table = read_json(released / "models/released/trueslice.json")["confidence"], predictions(released)
    assert sum(row["scans"] for row in rows) == len(table)
    wrong = sum(row["scans"] * row["error_rate"] for row in rows)
    assert round(wrong) == (table.y_true != table.y_pred).sum()


def test_it_says_how_often_it_warns_of_scans_and_of_other_pictures(released):
    rates = {row["pictures"]: row for row in read_json(released / "metrics/ood.json")["rates"]}
    assert rates["test scans"]["warned"] < 0.2 and rates["test scans"]["count"] == len(predictions(released))
    for kind in ("photographs", "noise", "inverted scans", "blank pictures"):
        assert rates[kind]["warned"] > 0.9, kind
    assert {"upside-down scans", "scans turned by a quarter"} <= {*rates}
