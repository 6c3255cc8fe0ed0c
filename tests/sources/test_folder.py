"""Layouts, litter, and archives that are hostile, damaged or odd."""

import contextlib
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueslice.errors import UserError
from trueslice.sources import folder as archive

SPLIT = ["Training/glioma/1.jpg", "Training/notumor/1.jpg", "Testing/glioma/1.jpg", "Testing/notumor/2.jpg"]
ALONE = ["glioma/1.jpg", "glioma/2.jpg", "notumor/1.jpg"]


@pytest.fixture
def into(tmp_path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def as_folder(tmp_path: Path, names: list[str]) -> Path:
    source = tmp_path / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    source.mkdir(exist_ok=True)
    return source


def as_zip(tmp_path: Path, names: list[str]) -> Path:
    source = tmp_path / "source.zip"
    with zipfile.ZipFile(source, "w") as file:
        for name in names:
            file.writestr(name, name.encode())
    return source


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [as_folder, as_zip])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (SPLIT, {name: name for name in SPLIT}),
        (ALONE, {name: name for name in ALONE}),
        (SPLIT[:2], {name: name for name in SPLIT[:2]}),
        (SPLIT + [f"masks/{name}.png" for name in SPLIT] + ["patients.csv"], {name: name for name in SPLIT}),
        (ALONE + [f"masks/{name}.png" for name in ALONE] + ["patients.csv"], {name: name for name in ALONE}),
        ([f"wrapper/{name}" for name in SPLIT], {name: f"wrapper/{name}" for name in SPLIT}),
        ([f"a/b/{name}" for name in ALONE], {name: f"a/b/{name}" for name in ALONE}),
        ([f"data/{name}" for name in SPLIT] + ["docs/x/y/z.txt"], {name: f"data/{name}" for name in SPLIT}),
        (["train/a/1", "TEST/a/1"], {"Training/a/1": "train/a/1", "Testing/a/1": "TEST/a/1"}),
        (
            ["train/a/1", "Valid/a/1", "test/a/1"],
            {"Training/a/1": "train/a/1", "Validation/a/1": "Valid/a/1", "Testing/a/1": "test/a/1"},
        ),
        (["train/a/1", "val/a/2"], {"Training/a/1": "train/a/1", "Validation/a/2": "val/a/2"}),
        ([f"Training/{name}" for name in SPLIT], {name: f"Training/{name}" for name in SPLIT}),
        (
            ["Training/Training/a/1", "Testing/Testing/a/1"],
            {"Training/a/1": "Training/Training/a/1", "Testing/a/1": "Testing/Testing/a/1"},
        ),
        (["Training/a/test/1"], {"Training/a/test/1": "Training/a/test/1"}),
        (
            ["a/1.jpg", "a/1_mask.png", "b/2 (1).png", "b/2 (1)_Mask.png", "b/x_mask.jpg"],
            {
                **{name: name for name in ("a/1.jpg", "b/2 (1).png", "b/x_mask.jpg")},
                "masks/a/1.jpg.png": "a/1_mask.png",
                "masks/b/2 (1).png.png": "b/2 (1)_Mask.png",
            },
        ),
        (
            ["train/a/1.jpg", "train/a/1-seg.png"],
            {
                "Training/a/1.jpg": "train/a/1.jpg",
                "masks/Training/a/1.jpg.png": "train/a/1-seg.png",
            },
        ),
        (["images/a/1", "images/b/1", "masks/a/1", "masks/b/1"], {"a/1": "images/a/1", "b/1": "images/b/1"}),
        (["glioma/deeper/1.jpg", "notumor/1.jpg"], {n: n for n in ("glioma/deeper/1.jpg", "notumor/1.jpg")}),
    ],
)
def test_the_layout_is_found(tmp_path, into, make, names, expected):
    archive.take(make(tmp_path, names), into)
    assert tree(into) == {target: name.encode() for target, name in expected.items()}


@pytest.mark.parametrize("make", [as_folder, as_zip])
def test_litter_is_passed_over_and_loose_files_are_counted(tmp_path, into, make):
    litter = ["__MACOSX/glioma/._1.jpg", ".ipynb_checkpoints/a/b/1.jpg", "glioma/Thumbs.db", "glioma/.DS_Store"]
    litter += ["desktop.ini", ".git/objects/ab/cd", "Training/.hidden/1.jpg", "__macosx/Training/glioma/1.jpg"]
    assert archive.take(make(tmp_path, ALONE + litter + ["README.txt"]), into) == 1
    assert sorted(tree(into)) == ALONE


@pytest.mark.parametrize("make", [as_folder, as_zip])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "is empty"),
        ([".DS_Store"], "is empty"),
        (["1.jpg", "2.jpg"], "has no class folders"),
        (["masks/a/1.jpg"], "has no class folders"),
        (["data/1.jpg", "data/masks/a/1.jpg"], "has no class folders"),
        (["Testing/glioma/1.jpg"], "no Training folder"),
        (["train/a/1", "Training/a/1"], "two mean the same"),
        (["x/train/a/1", "y/train/a/1"], "in several places: x, y"),
        (["train/a/1", "val/a/1", "Validation/a/1"], "two mean the same"),
        (
            ["train/a/1", "test/a/1", "holdout/a/1"],
            "holds holdout beside test, train, with class folders; name it train, ",
        ),
        (["val/a/1", "test/a/1"], "holds test, val but no Training folder"),
        (["train/a/1", "train/train/a/1"], "holds train/a/1 and train/train/a/1, both of them as Training/a/1; remove"),
        (
            ["a/images/1.png", "a/Masks/1.png", "b/1.png"],
            r"holds a/Masks/1.png, a folder of masks among the scans of a class; move",
        ),
        (["a/1.png", "a/1_mask.jpg"], r"holds a/1_mask.jpg, which seems to be a mask of 1.png; bring one mask a scan"),
        (
            ["a/1.nii.gz", "a/1_seg.nii.gz"],
            r"holds a/1_seg.nii.gz, which seems to be a mask of 1.nii.gz; bring one mask",
        ),
        (["a/1.png", "a/1_mask.png", "a/1_mask_1.png"], r"holds a/1_mask_1.png, which seems to be a mask of 1.png"),
    ],
)
def test_what_is_no_set_of_scans_ends_in_one_line(tmp_path, into, make, names, words):
    with pytest.raises(UserError, match=words) as caught:
        archive.take(make(tmp_path, names), into)
    assert "\n" not in str(caught.value) and not list(into.iterdir())


@pytest.mark.parametrize(("source", "words"), [(os.devnull, "is neither a file nor a folder"), ("x", "does not exist")])
def test_a_source_that_is_no_file_is_refused(into, source, words):
    with pytest.raises(UserError, match=words):
        archive.take(Path(source), into)


@pytest.mark.parametrize("name", ["../outside.jpg", "glioma/../../outside.jpg", "/outside.jpg"])
def test_a_member_that_could_write_elsewhere_is_refused_before_anything_is_written(tmp_path, into, name):
    with pytest.raises(UserError, match=r"is refused: it holds .*outside the folder"):
        archive.take(as_zip(tmp_path, [*ALONE, name]), into)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "source.zip"] and not list(into.iterdir())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("aab../", min_size=1, max_size=9) | st.text("a/\\:C\0", min_size=1), min_size=1, max_size=4))
def test_nothing_is_ever_written_outside(tmp_path_factory, names):
    tmp_path = tmp_path_factory.mktemp("any")
    (into := tmp_path / "deep/into").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as file:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name
            file.writestr(info, b"content")
    with contextlib.suppress(UserError):
        archive.take(tmp_path / "source.zip", into)
    outside = {path for path in tmp_path.rglob("*") if into not in path.parents}
    assert outside == {tmp_path / "source.zip", tmp_path / "deep", into}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twice", ["glioma/1.jpg", "glioma//1.jpg", "./glioma/1.jpg"])
def test_a_name_that_is_there_twice_is_refused(tmp_path, into, twice):
    with pytest.raises(UserError, match=r"'glioma/1.jpg' more than once"):
        archive.take(as_zip(tmp_path, [*ALONE, twice]), into)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_in_an_archive_is_refused(tmp_path, into, kind):
    member = zipfile.ZipInfo("glioma/link.jpg")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(as_zip(tmp_path, ALONE), "a") as file:
        file.writestr(member, "/etc/passwd")
    with pytest.raises(UserError, match=r"'glioma/link.jpg' is a link or a device"):
        archive.take(tmp_path / "source.zip", into)


def test_an_encrypted_member_is_refused(tmp_path, into):
    content = bytearray(as_zip(tmp_path, ALONE).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "source.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged or encrypted at glioma/1.jpg"):
        archive.take(tmp_path / "source.zip", into)


def test_a_bomb_is_refused(tmp_path, into, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 10**6)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("glioma/1.jpg", bytes(5 * 10**6))
    with pytest.raises(UserError, match="would unpack to 5,000,000"):
        archive.take(tmp_path / "bomb.zip", into)
    assert not list(into.iterdir())


def test_a_member_that_is_longer_than_announced_does_not_fill_the_disk(tmp_path, into):
    with zipfile.ZipFile(tmp_path / "liar.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("glioma/1.jpg", bytes(10**6))
    content = (tmp_path / "liar.zip").read_bytes().replace(struct.pack("<I", 10**6), struct.pack("<I", 10))
    (tmp_path / "liar.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or encrypted at glioma/1.jpg"):
        archive.take(tmp_path / "liar.zip", into)
    assert sum(map(len, tree(into).values())) <= 10


@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_a_damaged_archive_is_named(tmp_path, into, place):
    source = tmp_path / "source.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ALONE:
            file.writestr(name, os.urandom(5000))
    content = source.read_bytes()
    at = int(place * len(content))
    source.write_bytes(content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 40]) + content[at + 40 :])
    with pytest.raises(UserError, match=r"source.zip .*damaged.*; get it again"):
        archive.take(source, into)
    source.write_bytes(content[:at])
    with pytest.raises(UserError, match=r"not a .zip archive, or is damaged"):
        archive.take(source, into)


def test_what_is_no_zip_is_named(tmp_path, into):
    (tmp_path / "scans.tar.gz").write_bytes(b"\x1f\x8b" + os.urandom(100))
    with pytest.raises(UserError, match=r"scans.tar.gz is not a .zip archive"):
        archive.take(tmp_path / "scans.tar.gz", into)


def test_what_is_no_file_in_a_folder_is_refused_and_a_link_to_a_file_is_not(tmp_path, into):
    source = as_folder(tmp_path, ALONE)
    link = source / "glioma/link.jpg"
    for make, kind in (
        (lambda: link.symlink_to(tmp_path), "a link to a folder"),
        (lambda: link.symlink_to("nowhere"), "a broken link"),
        (lambda: os.mkfifo(link), "a pipe, a socket or a device"),
    ):
        make()
        with pytest.raises(UserError, match=f"link.jpg: it is {kind}; .*cp -rL"):
            archive.take(source, into)
        link.unlink()
    assert not list(into.iterdir())
    link.symlink_to("1.jpg")
    archive.take(source, into)
    assert not (into / "glioma/link.jpg").is_symlink() and len(tree(into)) == len(ALONE) + 1


def test_a_folder_that_is_itself_a_link_is_taken(tmp_path, into):
    (tmp_path / "link").symlink_to(as_folder(tmp_path, ALONE))
    archive.take(tmp_path / "link", into)
    assert sorted(tree(into)) == ALONE


def test_the_copies_are_files_of_their_own(tmp_path, into):
    source = as_folder(tmp_path, ALONE)
    archive.take(source, into)
    (into / ALONE[0]).write_bytes(b"changed")
    assert (source / ALONE[0]).read_bytes() == ALONE[0].encode()
