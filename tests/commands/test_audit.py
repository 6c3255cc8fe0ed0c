"""The command `trueslice audit`, on drawn heads of which copies were planted, and its page in a real browser."""

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests import nifti_files
from tests.browsers import watched
from tests.dicom_files import write
from trueslice import params
from trueslice.audit import folders as audit
from trueslice.commands import audit as audit_command
from trueslice.commands import cli
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import KINDS, ORIENTATIONS, thumbnails
from trueslice.files import files_in
from trueslice.patients import slices
from trueslice.patients.fingerprints import fingerprints, to_text
from trueslice.sources import phantom
from trueslice.tables.scans import Pairs, Scans

ROOT = Path(__file__).parents[2]
VERIFY = params.load(ROOT / "params.yaml").verify


def head(number: int) -> Image.Image:
    """A drawn head, 192 x 192."""
    pixels, *_ = phantom.render(phantom.Scan(0, "Training", "glioma", 5 * number))
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((10, 8, 182, 186)).resize((192, 192), Image.Resampling.BICUBIC)


HEADS = [head(number) for number in range(6)]


def save(folder: Path, images: dict[str, Image.Image]) -> Path:
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder with two files of equal pixels, and one scan three times: as it is, mirrored and turned."""
    nested = {"a.png": HEADS[0], "deep/er/again.png": HEADS[0], "deep/b.jpg": HEADS[1], "c.png": HEADS[2]}
    turned = {"e.png": ImageOps.mirror(HEADS[3]), "f.png": HEADS[3].transpose(Image.Transpose.ROTATE_90)}
    return save(tmp_path / "first", nested | {"d.png": HEADS[3]} | turned)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Copies of the first folder's scans, one of them twice, and another head."""
    copied = {"near.jpg": HEADS[0], "flat.jpg": ImageOps.flip(HEADS[1]), "cut.png": cropped(HEADS[2])}
    return save(tmp_path / "second", copied | {"same.png": HEADS[3], "twice.png": HEADS[3], "new.png": HEADS[4]})


def run(capsys, *arguments: Path | str) -> str:
    """What the command prints."""
    cli.main(["audit", *map(str, arguments)])
    return capsys.readouterr().out


def fails(capsys, *arguments: Path | str) -> str:
    """The one line that it ends with."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", *map(str, arguments)])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert not said.out and len(said.err.splitlines()) == 1
    return said.err


def pairs_in(output: Path) -> set[tuple[str, str, str]]:
    with (output / "pairs.csv").open(encoding="utf-8", newline="") as file:
        return {(row["path_a"], row["path_b"], row["kind"]) for row in csv.DictReader(file)}


def test_copies_within_a_folder_are_written_and_counted(first, tmp_path, capsys):
    said = run(capsys, first, "-o", tmp_path / "out")
    assert f"{first}: 7 images, 0 files unreadable\n4 pairs of copies: " in said
    assert "2 groups of copies; 4 images left if one of each is kept\n" in said
    assert pairs_in(tmp_path / "out") == {
        ("a.png", "deep/er/again.png", "exact"), ("d.png", "e.png", "mirrored"),
        ("d.png", "f.png", "quarter_turn_right"), ("e.png", "f.png", "transposed"),
    }  # fmt: skip
    assert (tmp_path / "out/pairs.csv").read_text().startswith("path_a,path_b,kind,correlation,group\n")
    written = [".trueslice.sha256", "pairs.csv", "pairs.html", "thumbnails"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == written
    assert len(list((tmp_path / "out/thumbnails").iterdir())) == 5


def test_dicom_files_are_read_frame_by_frame(first, tmp_path, capsys):
    write(first / "series.dcm", 10 * np.stack([np.asarray(HEADS[5]), np.asarray(HEADS[2])]).astype(np.uint16))
    assert f"{first}: 9 images, 0 files unreadable\n" in run(capsys, first, "-o", tmp_path / "out")
    # Without a window, a frame is shown from its 1st to its 99th percentile.
    assert ("c.png", "series.dcm, frame 2", "near") in pairs_in(tmp_path / "out")


def test_nifti_files_are_read_slice_by_slice(first, tmp_path, capsys):
    heads = np.stack([np.asarray(HEADS[number])[::-1, ::-1].T for number in (5, 2)], axis=2)
    nifti_files.write(first / "volume.nii.gz", heads, np.diag([1, 1, 5, 1]))
    (first / "damaged.nii.gz").write_bytes(b"x")
    assert f"{first}: 9 images, 1 file unreadable" in (said := run(capsys, first, "-o", tmp_path / "out"))
    assert "damaged.nii.gz: it is not a NIfTI file" in said
    assert ("c.png", "volume.nii.gz, frame 2", "near") in pairs_in(tmp_path / "out")


def test_across_two_folders_every_file_with_a_copy_is_named_and_no_pair_within(first, second, tmp_path, capsys):
    said = run(capsys, first, second, "-o", tmp_path / "out")
    assert pairs_in(tmp_path / "out") == {
        ("a.png", "near.jpg", "near"), ("deep/er/again.png", "near.jpg", "near"),
        ("deep/b.jpg", "flat.jpg", "upside_down"), ("c.png", "cut.png", "aligned"),
        ("d.png", "same.png", "exact"), ("d.png", "twice.png", "exact"), ("e.png", "same.png", "mirrored"),
        ("e.png", "twice.png", "mirrored"), ("f.png", "same.png", "quarter_turn_left"),
        ("f.png", "twice.png", "quarter_turn_left"),
    }  # fmt: skip
    assert "10 pairs of copies across both: " in said
    assert f"{first}: 7 of 7 images have a copy in the other\n{second}: 5 of 6 images" in said
    shares = [float(row["correlation"]) for row in csv.DictReader((tmp_path / "out/pairs.csv").open())]
    assert shares == sorted(shares)


def test_known_patients_are_counted_in_each_folder_and_in_both(first, second, tmp_path, capsys, monkeypatch):
    texts = [to_text(bits) for bits in fingerprints(thumbnails(np.stack([np.asarray(each) for each in HEADS])))]
    ids, none = np.arange(1, 7).astype(str), np.full(6, "")
    slices.Slices(np.arange(6), ids, ids, none, none, np.array(texts)).write(tmp_path / "slices.csv")
    monkeypatch.setattr(slices, "SHIPPED", tmp_path / "slices.csv")
    said = run(capsys, first, second, "-o", tmp_path / "audit")
    assert said.splitlines()[-4:-1] == [
        f"{first}: 4 known patients; trueslice trace lists the images",
        f"{second}: 4 known patients; trueslice trace lists the images",
        "3 known patients in both folders",
    ]


def test_blank_pictures_of_equal_pixels_are_copies_across_two_folders(tmp_path, capsys):
    for name in ("one", "two"):
        save(tmp_path / name, {"blank.png": Image.new("L", (64, 64)), "head.png": HEADS[name == "two"]})
    run(capsys, tmp_path / "one", tmp_path / "two", "-o", tmp_path / "out")
    assert pairs_in(tmp_path / "out") == {("blank.png", "blank.png", "exact")}


def test_without_options_the_settings_are_those_of_params_yaml():
    parser = argparse.ArgumentParser()
    audit_command.add_arguments(parser)
    assert audit_command.read_settings(parser.parse_args(["x"])) == VERIFY.model_copy(
        update={"patients": None, "decisions": "none"}
    )


def test_it_works_where_there_is_no_checkout(first, tmp_path):
    shutil.copytree(ROOT / "trueslice", tmp_path / "site/trueslice")
    command = [sys.executable, "-m", "trueslice", "audit", first, "-o", tmp_path / "out", "--copy-threshold", "0.99"]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(pairs_in(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--copy-threshold", "2"], "audit: copy_threshold is 2.0; it must be less than or equal to 1"),
        (["--image-size", "1"], "audit: image_size is 1; it must be greater than or equal to 16"),
        (["--device", "gpu"], "audit: device is 'gpu'; it must be auto, cpu, cuda, cuda:N or mps"),
        (["--workers", "-1"], "--workers is -1; give a number from 0 to 1024"),
    ],
)
def test_a_setting_out_of_range_ends_in_one_line(first, tmp_path, capsys, option, said):
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", str(first), "-o", str(tmp_path / "out"), *option])
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {said}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_pairs_are_those_that_the_verify_stage_finds(tmp_path, capsys):
    phantom.draw(tmp_path / "data/raw", 0, 20, 10, workers=2)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "stages.verify"], cwd=tmp_path, env=env, check=True, capture_output=True)
    scans = Scans.read(tmp_path / "data/scans/scans.csv")
    pairs = Pairs.read(tmp_path / "data/scans/pairs.csv")
    verified = set(zip(scans.path[pairs.a], scans.path[pairs.b], pairs.kind, strict=True))
    assert len({kind for _, _, kind in verified}) == 3

    shutil.rmtree(tmp_path / "data/raw/masks")  # which are images too
    said = run(capsys, tmp_path / "data/raw", "-o", tmp_path / "out")
    assert pairs_in(tmp_path / "out") == verified
    assert f"{len(np.unique(scans.group))} images left if one of each is kept" in said
    assert "1 file unreadable\n  patients.csv: it is not an image in a format" in said

    run(capsys, tmp_path / "data/raw/Testing", tmp_path / "data/raw/Training", "-o", tmp_path / "out")
    across = {(f"Testing/{a}", f"Training/{b}", kind) for a, b, kind in pairs_in(tmp_path / "out")}
    assert across == {pair for pair in verified if pair[0].startswith("Test") and pair[1].startswith("Train")}
    assert across


@pytest.mark.parametrize("kind", [*KINDS, "aligned"])
def test_the_map_of_a_pair_lays_the_second_picture_over_the_first(kind):
    # What is turned by `kind` must be turned back by the copy.
    if kind == "aligned":
        other = ORIENTATIONS["mirrored"](np.asarray(cropped(HEADS[2])))
    else:
        other = next(
            turned for turned in (turn(np.asarray(HEADS[2])) for turn in ORIENTATIONS.values())
            if np.array_equal(ORIENTATIONS[kind](turned), np.asarray(HEADS[2]))
        )  # fmt: skip
    pixels = np.stack([np.asarray(HEADS[2]), other])
    images = copies.ScanImages(pixels, thumbnails(pixels), np.array(["a", "b"]))
    found = copies.find(images, VERIFY, "cpu")
    assert found.pairs.kind.tolist() == [kind]
    assert likeness(np.asarray(HEADS[2]), other, found.maps[0]) > 0.97


def likeness(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """How much a picture correlates with another one that a map lays over it."""
    size = len(one)
    y, x = (np.indices(one.shape) + 0.5) * 2 / size - 1
    places = np.einsum("ij,jyx->iyx", where, np.stack([x, y, np.ones_like(x)]))
    column, row = np.rint((places + 1) * size / 2 - 0.5).astype(int)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    assert inside.mean() > 0.8
    return np.corrcoef(one[inside], other[row[inside], column[inside]])[0, 1]


def test_every_pair_across_two_folders_is_laid_over_each_other(first, second, tmp_path):
    images = audit.read([first, second], tmp_path, VERIFY, 1)
    found = audit.search(images, VERIFY, "cpu")
    assert len(found.pairs) == 10
    for a, b, where in zip(found.pairs.a, found.pairs.b, found.maps, strict=True):
        one, other = images.pixels[np.array([a, b])]
        assert likeness(one, other, where) > 0.97


def test_a_zip_is_read_without_class_folders(first, second, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "second.zip", "w") as archive:
        for path in second.iterdir():
            archive.write(path, f"some/where/{path.name}")
    run(capsys, first, tmp_path / "second.zip", "-o", tmp_path / "out")
    assert ("c.png", "some/where/cut.png", "aligned") in pairs_in(tmp_path / "out")


def test_unreadable_files_are_named_and_the_others_compared(first, tmp_path, capsys):
    (first / "empty.png").touch()
    (first / "notes.txt").write_text("no image")
    with (first / "large.bmp").open("wb") as large:
        large.truncate(2 * 2**30)
    (first / "bomb.png").write_bytes(bomb(2000, 30_000))
    (first / "loop").symlink_to(first, target_is_directory=True)
    (first / "nowhere.png").symlink_to("gone.png")
    (first / "linked.png").symlink_to("c.png")
    os.mkfifo(first / "pipe")
    (first / ".hidden.png").write_bytes(b"x")
    shutil.copy(first / "c.png", os.fsencode(first) + b"/caf\xe9.png")
    (first / "<b onclick=alert(1)>&.png").write_bytes((first / "c.png").read_bytes())
    said = run(capsys, first, "-o", tmp_path / "out")
    assert f"{first}: 9 images, 8 files unreadable\n  bomb.png: its pixels are more than" in said
    assert "and 3 more, which pairs.html names" in said
    assert [path for path, _ in files_in(first)[1]] == ["loop", "nowhere.png", "pipe"]
    assert ("<b onclick=alert(1)>&.png", "c.png", "exact") in pairs_in(tmp_path / "out")
    page = (tmp_path / "out/pairs.html").read_text()
    assert "<b onclick" not in page and "caf\\\\xe9.png" in page.replace("\\\\udce9", "\\\\xe9")


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kB that unpacks to many MB."""
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_cannot_be_audited_ends_in_one_line_and_leaves_nothing(first, second, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "none").mkdir()
    save(tmp_path / "texts", {}).mkdir()
    (tmp_path / "texts/a.txt").write_text("no image")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.docx").touch()
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    inside = first / "deep"
    for arguments, message in [
        ([tmp_path / "nowhere"], "nowhere does not exist; give a folder or .zip of images"),
        ([tmp_path / "none"], "none holds no file; give a folder or .zip of images"),
        ([first, tmp_path / "texts"], "texts holds no image: none of its files can be read (1), a.txt: it is"),
        ([tmp_path / "bad.zip"], "bad.zip is not a .zip archive, or is damaged"),
        ([first, first / ".."/ "first"], "first are the same; give one alone"),
        ([first, inside], f"{inside} is inside {first}; give two folders"),
        ([inside, first], f"{inside} is inside {first}; give two folders"),
        ([first, second, "-o", inside / "out"], "would count as images there; give -o another folder"),
        ([first, "-o", tmp_path / "full"], "full holds thesis.docx, which no earlier run has left there as it is now"),
        ([first, "-o", first / "a.png" / "out"], "is inside"),
        ([first, "-o", second / "near.jpg"], "near.jpg: File exists; give the name of a folder"),
        ([first, "-o", second / "near.jpg" / "out"], "near.jpg"),
    ]:  # fmt: skip
        given = arguments if "-o" in arguments else [*arguments, "-o", out]
        before = sorted(tmp_path.rglob("*"))
        assert message in fails(capsys, *given)
        assert sorted(tmp_path.rglob("*")) == before


def test_an_earlier_audit_is_replaced_as_a_whole(first, second, tmp_path, capsys):
    run(capsys, first, second, "-o", tmp_path / "out")
    (tmp_path / "alone").mkdir()
    HEADS[5].save(tmp_path / "alone/one.png")
    said = run(capsys, tmp_path / "alone", "-o", tmp_path / "out")
    assert "0 pairs of copies\n0 groups of copies; 1 image left if one of each is kept" in said
    assert not list((tmp_path / "out/thumbnails").iterdir())
    assert (tmp_path / "out/pairs.csv").read_text() == "path_a,path_b,kind,correlation,group\n"


@pytest.fixture
def tab(browser):
    return watched(browser, viewport={"width": 1280, "height": 900})


def test_the_page_filters_opens_groups_and_asks_for_nothing_but_its_pictures(first, second, tmp_path, capsys, tab):
    run(capsys, first, second, "-o", tmp_path / "out")
    tab.goto((tmp_path / "out/pairs.html").as_uri())
    shown = tab.locator("#shown")
    assert shown.inner_text() == "10 pairs in 4 groups"
    assert tab.locator(".pair").count() == 4
    strengths = [float(text.split()[-1]) for text in tab.locator(".pair > p").all_inner_texts()]
    assert strengths == sorted(strengths)

    tab.keyboard.press("j")
    assert tab.evaluate("document.activeElement.className") == "pair"
    assert tab.locator(".pair:focus .over").evaluate("it => getComputedStyle(it).mixBlendMode") == "difference"
    tab.keyboard.press("b")
    assert tab.locator(".pair:focus .over").evaluate("it => getComputedStyle(it).animationName") == "blink"

    tab.select_option("#kind", "mirrored")
    assert shown.inner_text() == "2 pairs in 1 group"
    assert tab.locator(".pair").count() == 1
    tab.get_by_role("button", name="1 more pair of 3 files").click()
    assert tab.locator(".pair").count() == 2
    assert set(tab.locator("figcaption").all_inner_texts()) == {"e.png", "same.png", "twice.png"}
    assert {image.get_attribute("alt") for image in tab.locator("img:not(.over)").all()} == {
        "e.png", "same.png", "twice.png",
    }  # fmt: skip
    tab.wait_for_load_state("networkidle")
    assert tab.said == []
    assert all(url.startswith((tmp_path / "out").as_uri()) for url in tab.asked if not url.startswith("data:"))
    tab.set_viewport_size({"width": 360, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    loaded = tab.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert loaded and all(width == 192 for width in loaded)


@pytest.mark.slow
def test_a_page_of_thousands_of_pairs_adds_them_as_one_goes_on(tmp_path, tab):
    from trueslice.report import audit as report

    count = 3000
    pixels = np.random.default_rng(0).integers(0, 256, (2 * count, 8, 8), dtype=np.uint8)
    rows = np.arange(count)
    pairs = Pairs(rows, rows + count, np.full(count, "near"), np.linspace(0.98, 1, count))
    maps = np.tile(np.eye(2, 3), (count, 1, 1))
    names = np.array([f"{row}.png" for row in range(2 * count)])
    images = audit.Images(pixels, names, names, np.repeat([0, 1], count), [[], []])
    report.write(tmp_path, ["one", "two"], images, audit.Found(pairs, maps, np.concatenate([rows, rows])))
    tab.goto((tmp_path / "pairs.html").as_uri())
    assert tab.locator("#shown").inner_text() == "3,000 pairs in 3,000 groups"
    before = tab.locator(".pair").count()
    assert 60 <= before <= 240
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_function(f"document.querySelectorAll('.pair').length > {before}")
    assert tab.said == []
