"""The command `trueslice trace`, on drawn heads that stand in a table in place of the shipped one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.patients.test_fingerprints import heads
from tests.patients.test_lookup import CLASSES, shipped  # noqa: F401
from trueslice.commands import cli
from trueslice.patients import lookup, trace


def save(path: Path, picture: np.ndarray, change=lambda image: image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    change(Image.fromarray(picture)).save(path)


@pytest.fixture
def scans(shipped, tmp_path: Path) -> Path:  # noqa: F811
    """Slices under any name, as they are and changed, one in a wrong class folder; and a scan of another head."""
    own, folder = heads(3), tmp_path / "scans"
    save(folder / "Testing/glioma/a.png", own[0], lambda image: image.resize((160, 160)))
    save(folder / "Training/glioma/b.jpg", own[1], ImageOps.mirror)
    save(folder / "Training/meningioma/c.png", own[1], lambda image: ImageOps.expand(image.rotate(90), 26))
    save(folder / "Training/no/d.png", heads(1, seed=1)[0])
    return folder


def run(capsys, *arguments: object) -> list[str]:
    """What the command says, line by line."""
    cli.main(["trace", *map(str, arguments)])
    return capsys.readouterr().out.splitlines()


def test_every_slice_is_traced_whatever_it_is_called_and_no_other_scan(scans: Path, tmp_path: Path, capsys):
    said = run(capsys, scans, "-o", tmp_path / "new/out.csv")
    table = trace.Traced.read(tmp_path / "new/out.csv")
    expected = [
        ("Testing/glioma/a.png", 1, "near", "7B", "7", "figshare", "glioma", "axial"),
        ("Training/glioma/b.jpg", 2, "mirrored", "8", "8", "figshare", "meningioma", ""),
        ("Training/meningioma/c.png", 2, "quarter_turn_left", "8", "8", "figshare", "meningioma", ""),
    ]
    names = ("path", "slice", "orientation", "source_id", "patient", "source", "source_class", "plane")
    assert list(zip(*(getattr(table, name).tolist() for name in names), strict=True)) == expected
    assert said[:3] == [
        "3 of 4 scans are slices of a source that names their patients",
        "They show 2 slices of 2 patients; orientations: 1 near, 1 mirrored, 1 quarter_turn_left",
        f"They differ from these slices in up to {table.difference.max()} of 512 bits",
    ]
    assert 64 < int(said[3].removeprefix("All others differ from all slices in ").removesuffix(" or more")) < 257
    assert said[4:] == [
        "1 are in a folder of another class than in the source:",
        "  Training/glioma/b.jpg: meningioma (slice 2)",
        f"Written to {tmp_path / 'new/out.csv'}",
    ]
    assert run(capsys, scans) == said[:-1]


def test_where_no_folder_is_named_after_a_class_none_is_wrong(scans: Path, capsys):
    (scans / "Testing/glioma").rename(scans / "Testing/1")
    (scans / "Training/glioma").rename(scans / "Training/2")
    (scans / "Training/meningioma").rename(scans / "Training/3")
    (scans / "Training/2/broken.png").write_bytes(b"no picture")
    said = run(capsys, scans)
    assert said[0].startswith("3 of 4 scans (1 files more are unreadable) are slices")
    assert said[-1] == "0 are in a folder of another class than in the source"


def test_where_nothing_is_traced_the_table_is_empty(scans: Path, tmp_path: Path, capsys):
    said = run(capsys, scans / "Training/no", "-o", tmp_path / "out.csv")
    assert said[0].startswith("0 of 1 scans are slices") and len(said) == 4
    assert len(trace.Traced.read(tmp_path / "out.csv")) == 0


def test_bad_input_ends_in_one_line_and_writes_nothing(tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    for scans, words in (("missing", "missing does not exist"), ("empty", "empty holds no file")):
        with pytest.raises(SystemExit) as end:
            cli.main(["trace", str(tmp_path / scans), "-o", str(tmp_path / "out.csv")])
        said = capsys.readouterr()
        assert (end.value.code, said.out) == (1, "") and words in said.err and said.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_what_was_traced_can_be_given_to_the_pipeline(scans: Path, tmp_path: Path, capsys):
    run(capsys, scans, "-o", tmp_path / "out.csv")
    paths = [path.relative_to(scans).as_posix() for path in sorted(scans.rglob("*.[jp]*"))]
    found = lookup.read_own(tmp_path / "out.csv", paths, [], CLASSES)
    assert found["patient"].tolist() == ["7", "8", "8", ""]
