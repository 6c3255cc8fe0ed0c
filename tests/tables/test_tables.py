"""Tables go through CSV unchanged, and say what is wrong with a damaged file."""

import dataclasses

import numpy as np
import pytest

from tests.made import external_table
from tests.scan_tables import scan_table
from trueslice.errors import UserError
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import ModelPredictions, Predictions
from trueslice.tables.scans import Pairs, Scans

NAMES = ("no tumour", "mean_over_classes", "glioma, grade IV")


def predictions(scans: int = 5) -> ModelPredictions:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(len(NAMES)), scans)
    return ModelPredictions(
        class_names=NAMES,
        path=np.array([f'Testing/a "b", c/é {scan}.jpg' for scan in range(scans)]),
        pixel_hash=np.array([f"{scan:032x}" for scan in range(scans)]),
        group=np.arange(scans),
        patient=np.array([f"P, {scan}" for scan in range(scans)]),
        unit=np.arange(scans),
        leaked=generator.choice(["", "copy", "patient"], scans),
        exposure=generator.choice(["copy", "patient", "neither", "unknown"], scans),
        y_true=generator.integers(0, 3, scans),
        y_pred=probabilities.argmax(axis=1),
        probabilities=probabilities,
        logits=generator.normal(size=(scans, 3)).astype(np.float32),
        upside_down=generator.integers(0, 3, scans),
        similarity=np.round(generator.random(scans), 6),
        distance=np.round(generator.random(scans), 6),
    )


def test_a_table_comes_back_from_its_file(tmp_path):
    table = predictions()
    table.write(tmp_path / "predictions.csv")
    back = ModelPredictions.read(tmp_path / "predictions.csv")
    assert back.class_names == NAMES
    for name in ("path", "pixel_hash", "group", "leaked", "exposure", "y_true", "y_pred", "upside_down", "similarity"):
        assert np.array_equal(getattr(back, name), getattr(table, name)), name
        assert getattr(back, name).dtype.kind == getattr(table, name).dtype.kind, name
    assert np.allclose(back.probabilities, table.probabilities, rtol=1e-8)
    assert back.text() == table.text()


def test_a_logit_comes_back_to_the_last_bit(tmp_path):
    table = predictions(1000)
    assert np.array_equal(ModelPredictions.parse(table.text()).logits.astype(np.float32), table.logits)


def test_a_table_without_rows_comes_back_too():
    empty = ModelPredictions.parse(predictions(0).text())
    assert len(empty) == 0
    assert empty.class_names == NAMES
    assert empty.probabilities.shape == (0, 3)


def test_a_table_reads_a_file_that_has_more_columns():
    assert np.array_equal(Predictions.parse(predictions().text()).y_true, predictions().y_true)


def test_rows_are_taken_in_the_order_asked_for_and_put_one_after_another():
    table = predictions()
    taken = table.take(np.array([3, 1]))
    assert taken.path.tolist() == table.path[[3, 1]].tolist()
    assert len(table.take(table.group >= 2)) == 3
    both = ModelPredictions.concatenate([taken, table])
    assert both.group.tolist() == [3, 1, 0, 1, 2, 3, 4]
    assert both.probabilities.shape == (7, 3)


def test_correlations_have_six_decimals():
    pairs = Pairs(a=np.array([0]), b=np.array([1]), kind=np.array(["near"]), correlation=np.array([0.98123456789]))
    assert pairs.text() == "a,b,kind,correlation\n0,1,near,0.981235\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("a,a,kind,correlation\n1,2,near,1\n", "its first line names the column 'a' twice"),
        ("a,b,kind\n1,2,near\n", "it has no column correlation"),
        ("a,b,kind,correlation\n1,2,near\n", "line 2 has 3 fields, and the first line 4"),
        ("a,b,kind,correlation\n0,1,near,0.99\n1,x,near,0.99\n", "line 3: 'x' in column b is not a whole number"),
        ("a,b,kind,correlation\n0,1,near,high\n", "line 2: 'high' in column correlation is not a number"),
        ("a,b,kind,correlation\n0,1,near,inf\n", "line 2: 'inf' in column correlation is not a number"),
        ("a,b,kind,correlation\n0,1,near,nan\n", "line 2: 'nan' in column correlation is not a number"),
        (f"a,b,kind,correlation\n0,{2**63},near,1\n", f"line 2: '{2**63}' in column b is not a whole number"),
        (
            f"a,b,kind,correlation\n0,{'9' * 4301},near,1\n",
            f"line 2: '{'9' * 199}… in column b is not a whole number",
        ),
    ],
)
def test_a_damaged_file_is_named_with_column_and_line(tmp_path, text, problem):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        Pairs.read(path)
    assert str(caught.value) == f"{path} is damaged: {problem}; `dvc repro` writes it again"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",copy,neither,", ",1,neither,", "line 2: '1' in column leaked is not empty or copy or patient"),
        (",copy,neither,", ",copy,1,", "line 2: '1' in column exposure is not copy or patient or neither or unknown"),
        ("no tumour,", "tumour,", "is not the name of a class"),
        ("probability_no tumour", "p", "is not the name of a class"),
    ],
)
def test_predictions_refuse_what_is_not_of_its_kind(old, new, problem):
    table = predictions(1)
    table.leaked[:], table.exposure[:], table.y_true[:] = "copy", "neither", 0
    text = table.text()
    header, row = text.split("\n", 1)
    changed = header.replace(old, new) + "\n" + row.replace(old, new) if old.startswith("prob") else None
    changed = changed or header + "\n" + row.replace(old, new, 1)
    assert changed != text
    with pytest.raises(ValueError, match=problem):
        ModelPredictions.parse(changed)


def test_a_share_above_one_is_refused():
    text = predictions(1).text()
    share = text.splitlines()[1].split(",")[-8]
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        ModelPredictions.parse(text.replace(share, "1.5"))


@pytest.mark.parametrize(
    ("column", "value"), [("y_pred", np.array([0, 1])), ("probabilities", np.array([[0.2, 0.8, 0.1], [0, 0, 1]]))]
)
def test_predictions_that_contradict_their_probabilities_are_refused(column, value):
    table = predictions(2)
    table.y_pred[:], table.probabilities[:] = [1, 2], [[0.2, 0.8, 0], [0, 0, 1]]
    assert len(ModelPredictions.parse(table.text())) == 2
    with pytest.raises(ValueError, match=r"y_pred and the probabilities of .* contradict each other"):
        ModelPredictions.parse(dataclasses.replace(table, **{column: value}).text())


def test_where_the_highest_probabilities_are_equal_the_class_may_be_either():
    table = predictions(1)
    table.probabilities[:] = [0.4, 0.4, 0.2]
    for y_pred in (0, 1):
        table.y_pred[:] = y_pred
        assert ModelPredictions.parse(table.text()).y_pred.tolist() == [y_pred]


@pytest.mark.parametrize(
    "name", ["a\rb", "a\nb", "a\r\nb", '"', " ", "\u2028", "\ufeff", "a,b", "\\", "", "\x0c", "\x85"]
)
def test_any_text_comes_back_from_a_file(tmp_path, name):
    pairs = Pairs(a=np.array([0]), b=np.array([1]), kind=np.array([name]), correlation=np.array([0.5]))
    pairs.write(tmp_path / "pairs.csv")
    assert Pairs.read(tmp_path / "pairs.csv").kind.tolist() == [name]
    assert Pairs.parse(f"\ufeff{pairs.text()}").kind.tolist() == [name]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("group", [0, 99], "the group of 'train/ill/1.png' is neither its own row nor one before it"),
        ("group", [0, -1], "the group of 'train/ill/1.png' is neither its own row nor one before it"),
        ("path", ["a.png", "a.png"], "a path is in it twice"),
        ("official_split", ["train", "none"], "line 3: 'none' in column official_split is not train or val or test or"),
    ],
)
def test_scans_that_were_edited_by_hand_are_refused(column, value, problem):
    table = scan_table(["train", "train"], ["ill", "ill"], [0, 1])
    assert len(Scans.parse(table.text())) == 2
    with pytest.raises(ValueError, match=problem):
        Scans.parse(dataclasses.replace(table, **{column: np.array(value)}).text())


def test_other_data_sets_that_were_edited_by_hand_are_refused():
    text = external_table([(0, 0, ""), (1, 2, "within")]).text()
    assert len(ExternalPredictions.parse(text)) == 2
    for old, new, problem in (
        ("1.jpg", "0.jpg", "a path is twice in a data set"),
        (",within,", ",without,", "line 3: 'without' in column dropped is not empty or development or within"),
        (",notumor,", ",glioma,", "y_pred and the probabilities of '1.jpg' contradict each other"),
    ):
        assert old in text
        with pytest.raises(ValueError, match=problem):
            ExternalPredictions.parse(text.replace(old, new))
