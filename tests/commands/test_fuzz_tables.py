"""Hostile tables and lists: each is refused in one line of our own words, or read as a plain computation reads it.

The plain computation starts from the cells as they were drawn, before they were written to a file.
"""

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made import model_table
from tests.scan_tables import scan_table
from trueslice.commands import predict, score
from trueslice.errors import UserError
from trueslice.patients import lookup
from trueslice.tables.predictions import ModelPredictions

CLASSES = ("glioma", "meningioma", "notumor")
TRUTH = {
    "Testing/glioma/a.png": "glioma",
    "Testing/glioma/b.dcm, frame 2": "glioma",
    "Testing/notumor/a.png": "notumor",
    'Testing/notumor/c,"d".png': "notumor",
    "Testing/notumor/é\u2028\n.png": "notumor",
    "Training/glioma/a.png": "glioma",
    "Training/meningioma/x.png": "meningioma",
}
ASKED = [path for path in TRUTH if path.startswith("Testing")]
HOSTILE = [
    "",
    " ",
    "nan",
    "-inf",
    "1e999",
    "-0",
    "0.5",
    "1",
    "80",
    "1_0",
    "0x1",
    "9" * 4301,
    "glioma",
    "Glioma",
    "cyst",
]
HOSTILE += [
    "a.png",
    "x.png",
    "glioma/a.png",
    "test/glioma/a.png",
    "/",
    "..",
    "\\",
    "a/" * 5000,
    "path",
    "class",
    "=1+1",
]
HOSTILE += [
    "\u202e",
    "\x1b[2J",
    "\0",
    "\ufeff",
    "\n",
    "\r",
    '"',
    ",",
    ";",
    "'",
    "1;2",
    "x" * 131_072,
    "x" * 131_073,
    "é",
]
HOSTILE += ["probability_glioma", "patient", "source_class", "y_pred", f"{2**63}"]
# What is changed in a table at a row and a column.
CHANGES = {
    "cut": lambda table, row, place: [*table[:row], table[row][: place + 1], *table[row + 1 :]],
    "longer": lambda table, row, place: [*table[:row], [*table[row], "more"], *table[row + 1 :]],
    "row dropped": lambda table, row, place: table[:row] + table[row + 1 :] or table,
    "row twice": lambda table, row, place: [*table, table[row]],
    "row last": lambda table, row, place: [*table[:row], *table[row + 1 :], table[row]],
    "column dropped": lambda table, row, place: [each[:place] + each[place + 1 :] or each for each in table],
    "column twice": lambda table, row, place: [[*each, *each[place : place + 1]] for each in table],
    "column last": lambda table, row, place: [
        [*each[:place], *each[place + 1 :], *each[place : place + 1]] for each in table
    ],
}
# Delimiter, encoding and end of lines; the first is right, and the next three are too.
WAYS = [(",", "utf-8", "\n"), (",", "utf-8-sig", "\r\n"), (",", "latin-1", "\n\n"), (",", "utf-8", "\r")]
WAYS += [(";", "utf-8", "\n"), ("\t", "utf-8", "\n"), (",", "utf-16", "\n"), (",", "utf-16-le", "\r\n")]
# Words of Python's and of csv's own messages.
FOREIGN = re.compile(r"codec|literal|convert string|delimiter|unexpected|field limit|Errno|index|tuple|object|Error")

quick = settings(max_examples=300, deadline=None, derandomize=True, database=None)
thorough = settings(quick, max_examples=3000)


class Drawn(NamedTuple):
    """A table as drawn, header first, and the file that it was written to."""

    header: list[str]
    rows: list[list[str]]
    content: bytes
    is_csv: bool  # UTF-8, commas, and no cell that may not be


@st.composite
def spoiled(draw, table: list[list[str]]) -> Drawn:
    """Draw a file of a table in which up to two things are changed."""
    table = [list(row) for row in table]
    for change in draw(st.lists(st.sampled_from([*CHANGES, "hostile", "swapped", "swapped"]), max_size=2)):
        row, place = draw(st.integers(0, len(table) - 1)), draw(st.integers(0, len(table[0]) - 1))
        if change in CHANGES:
            table = CHANGES[change](table, row, place)
        elif place < len(table[row]):
            others = HOSTILE if change == "hostile" else [each[place] for each in table if place < len(each)]
            table[row][place] = draw(st.sampled_from(others))
    delimiter, encoding, end = draw(st.sampled_from(WAYS) if draw(st.booleans()) else st.just(WAYS[0]))
    quoted = re.compile(rf"[{delimiter}\"\r\n]|^\ufeff|^$" if draw(st.booleans()) else "")
    lines = [
        delimiter.join('"' + cell.replace('"', '""') + '"' if quoted.search(cell) else cell for cell in row)
        for row in table
    ]
    text = end.join(lines) + end * draw(st.booleans())
    cells = [cell for row in table for cell in row]
    fits = delimiter == "," and (encoding.startswith("utf-8") or (encoding == "latin-1" and text.isascii()))
    is_csv = fits and max(map(len, cells)) <= 131_072 and "\0" not in text
    return Drawn(table[0], table[1:], text.encode(encoding, "ignore"), is_csv)


def is_sound(drawn: Drawn) -> bool:
    names = [name for name in drawn.header if name]
    return drawn.is_csv and len(set(names)) == len(names) and {*map(len, drawn.rows)} <= {len(drawn.header)}


def is_clear(error: Exception) -> bool:
    return str(error).isprintable() and len(str(error)) < 1000 and not FOREIGN.search(str(error))


def ends(path: str) -> list[tuple[str, ...]]:
    """All ends of a path, the longest first."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")] or [""]
    folders = {"train": "Training", "test": "Testing", "training": "Training", "testing": "Testing"}
    parts = [folders.get(part.lower(), part) for part in parts[:-1]] + parts[-1:]
    return [tuple(parts[start:]) for start in range(len(parts))]


def scan_of(path: str, paths: list[str], shorter: bool = True) -> str | None:
    """The path that the longest end is, or is an end of, if there is one only."""
    for end in ends(path)[: None if shorter else 1]:
        found = [each for each in paths if ends(each)[0] == end] or [each for each in paths if end in ends(each)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


# ---------------------------------------------------------------- score


@st.composite
def answers(draw) -> Drawn:
    """Draw a file of predictions."""
    kind = draw(st.sampled_from(["class", "probabilities", "both"]))
    header = ["path"] + ["class"] * (kind != "probabilities")
    header += [f"probability_{name}" for name in CLASSES] if kind != "class" else []
    header += ["note", "", ""][: draw(st.integers(0, 3))]
    table = [header]
    wrong = draw(st.sampled_from([None, None, None, None, ("class", ASKED[0]), ("sum", ASKED[-1])]))
    for path in ASKED:
        start = draw(st.sampled_from(["", "./", "data/raw/", "/home/me/", "../other//", "C:\\scans\\"]))
        shares = draw(st.sampled_from([(0.98, 0.01, 0.01), (0.1, 0.2, 0.71), (0.2, 0.6, 0.2), (0.4, 0.4, 0.2)]))
        shares = (*shares[:2], 0.9) if wrong == ("sum", path) else shares
        cells = {"path": start + path, "class": CLASSES[int(np.argmax(shares)) - (wrong == ("class", path))]}
        cells |= {f"probability_{name}": str(share) for name, share in zip(CLASSES, shares, strict=True)}
        table.append([cells.get(name, "more") for name in header])
    order = draw(st.permutations(range(len(header))))
    return draw(spoiled([[row[place] for place in order] for row in table]))


def plain_answers(drawn: Drawn) -> list[str] | None:
    """The predicted classes of ASKED; None where the file must be refused."""
    given = [name for name in drawn.header if name.startswith("probability_")]
    of_all = {f"probability_{name}" for name in CLASSES}
    fits = "path" in drawn.header and (given or "class" in drawn.header) and (not given or {*given} == of_all)
    if not (is_sound(drawn) and fits):
        return None
    found: dict[str, str] = {}
    for cells in drawn.rows:
        row = dict(zip(drawn.header, cells, strict=True))
        scan = scan_of(row["path"], list(TRUTH))
        if scan not in ASKED or scan in found or row.get("class", CLASSES[0]) not in CLASSES:
            return None
        if given:
            try:
                shares = [float(row[f"probability_{name}"]) for name in CLASSES]
            except ValueError:
                return None
            highest = [name for name, share in zip(CLASSES, shares, strict=True) if share == max(shares)]
            if not all(0 <= share <= 1 for share in shares) or not 0.98 < sum(shares) < 1.02:
                return None
            if row.get("class", highest[0]) not in highest or ("class" not in row and len(highest) > 1):
                return None
        found[scan] = row.get("class") or highest[0]
    return [found[scan] for scan in ASKED] if len(found) == len(ASKED) else None


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> score.Asked:
    splits = ["test" if path in ASKED else "train" for path in TRUTH]
    table = scan_table(splits, list(TRUTH.values()), range(len(TRUTH)), path=np.array(list(TRUTH)))
    table.write(source := tmp_path_factory.mktemp("data") / "scans.csv")
    return score.published(source)


def check_score(drawn: Drawn, asked: score.Asked, file: Path) -> bool:
    """Return True if the file was accepted."""
    file.write_bytes(drawn.content)
    expected = plain_answers(drawn)
    try:
        assert score.read(file, asked).class_name.tolist() == expected
    except UserError as error:
        assert expected is None, error
        assert is_clear(error), error
    return expected is not None


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "hostile.csv"


@quick
@given(drawn=answers())
def test_predictions_are_refused_or_counted_as_they_are(drawn, asked, file):
    check_score(drawn, asked, file)


@pytest.mark.slow
@thorough
@given(drawn=answers())
def test_many_predictions_are_refused_or_counted_as_they_are(drawn, asked, file):
    check_score(drawn, asked, file)


# ---------------------------------------------------------------- tables of patients


@st.composite
def patients(draw) -> Drawn:
    names = draw(st.permutations(["path", "patient", "source_class", "note"]))
    header = names[: draw(st.integers(2, 4))]
    table = [header]
    for path in draw(st.lists(st.sampled_from(list(TRUTH)), unique=True, min_size=1)):
        written = draw(st.sampled_from([path, path.lower().split("/", 1)[-1], path.replace("Testing", "test")]))
        cells = {"path": written, "patient": draw(st.sampled_from(["1", "2", ""])), "source_class": "glioma"}
        table.append([cells.get(name, "more") for name in header])
    return draw(spoiled(table))


def plain_patients(drawn: Drawn) -> list[str] | None:
    if not (is_sound(drawn) and {"path", "patient"} <= {*drawn.header}):
        return None
    files = [re.sub(", frame 2$", "", path) for path in TRUTH]
    found: dict[str, str] = {}
    for cells in drawn.rows:
        row = {name: cell.strip() for name, cell in zip(drawn.header, cells, strict=True)}
        scan = scan_of(row["path"], sorted({*TRUTH, *files}), shorter=False)
        if scan is None or scan in found or row.get("source_class", "") not in ("", *CLASSES):
            return None
        found[scan] = row["patient"]
    return [found.get(path, found.get(file, "")) for path, file in zip(TRUTH, files, strict=True)] if found else None


def check_patients(drawn: Drawn, file: Path) -> None:
    file.write_bytes(drawn.content)
    expected = plain_patients(drawn)
    try:
        assert lookup.read_own(file, list(TRUTH), [], CLASSES)["patient"].tolist() == expected
    except UserError as error:
        assert expected is None, error
        assert is_clear(error), error


@quick
@given(drawn=patients())
def test_patients_are_refused_or_taken_as_they_are(drawn, file):
    check_patients(drawn, file)


@pytest.mark.slow
@thorough
@given(drawn=patients())
def test_many_tables_of_patients_are_refused_or_taken_as_they_are(drawn, file):
    check_patients(drawn, file)


# ---------------------------------------------------------------- own tables, by another hand


@st.composite
def own(draw) -> Drawn:
    shares = [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]]
    text = model_table([0, 1, 2], shares, class_names=CLASSES).text()
    return draw(spoiled([line.split(",") for line in text.splitlines()]))


def check_own(drawn: Drawn, file: Path) -> None:
    file.write_bytes(drawn.content)
    try:
        table = ModelPredictions.read(file)
    except UserError as error:
        assert is_clear(error), error
        return
    assert is_sound(drawn) and len(table) == len(drawn.rows)
    for number, cells in enumerate(drawn.rows):
        row = dict(zip(drawn.header, cells, strict=True))
        assert (table.path[number], table.patient[number]) == (row["path"], row["patient"])
        assert table.class_names[table.y_pred[number]] == row["y_pred"]
        shares = {name: float(row[f"probability_{name}"]) for name in table.class_names}
        assert list(shares.values()) == table.probabilities[number].tolist() and sum(shares.values()) == pytest.approx(
            1
        )
        assert shares[row["y_pred"]] == max(shares.values())
        assert np.isfinite(table.logits[number]).all() and table.group[number] == int(row["group"])


@quick
@given(drawn=own())
def test_own_tables_are_refused_or_read_as_they_are(drawn, file):
    check_own(drawn, file)


@pytest.mark.slow
@thorough
@given(drawn=own())
def test_many_own_tables_are_refused_or_read_as_they_are(drawn, file):
    check_own(drawn, file)


# ---------------------------------------------------------------- anything


@quick
@given(content=st.binary(max_size=300) | st.text('path,class"\n\r;\0é./', max_size=300).map(str.encode))
def test_any_bytes_are_refused_as_tables(content, asked, file):
    file.write_bytes(content)
    for read in (
        score.read,
        lambda *_: lookup.read_own(file, list(TRUTH), [], CLASSES),
        lambda *_: ModelPredictions.read(file),
    ):
        with pytest.raises(UserError) as caught:
            read(file, asked)
        assert is_clear(caught.value), caught.value


@quick
@given(names=st.lists(st.binary(max_size=20)), end=st.sampled_from([b"\n", b"\r\n"]), mark=st.booleans())
def test_a_list_on_standard_input_names_its_lines(names, end, mark):
    text = end.join(b"no " + name.replace(b"/", b"\\") for name in names)  # none is a folder
    expected = [line for line in text.replace(b"\r\n", b"\n").split(b"\n") if line]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" * mark + text)))
        try:
            assert [bytes(path) for path in predict.find(["-"])[0]] == expected
        except UserError as error:
            assert (b"\0" in text or not text) and is_clear(error), error
        else:
            assert b"\0" not in text
