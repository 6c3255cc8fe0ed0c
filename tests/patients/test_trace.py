"""The command `trueslice trace`, on drawn heads whose slices stand in real .mat files."""

import io
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps

from trueslice.commands import cli
from trueslice.copies.thumbnails import KINDS, ORIENTATIONS, thumbnails
from trueslice.patients import trace
from trueslice.patients.lookup import fingerprints, to_text
from trueslice.patients.trace import place_mask
from trueslice.tables.scans import Scans

LABELS = {label: code for code, label in trace.LABELS.items()}
# Three slices of each head: class, id in the source.
HEADS = [("meningioma", "100360"), ("glioma", "MR051644"), ("glioma", "MR051644B"), ("pituitary", "MR049142")]


def head(seed: int, height: float) -> np.ndarray:
    """A slice of a head, float [192, 192] from 0 to 1: coarse structure that changes slowly with the height."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    radius = np.hypot(x / 0.75, y / 0.9) ** 2 + height**2
    picture = 0.35 * (radius < 1)
    for _ in range(60):
        (cx, cy, cz), (rx, ry, rz), grey = rng.uniform(-0.6, 0.6, 3), rng.uniform(0.1, 0.3, 3), rng.uniform(0, 0.9)
        picture[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((height - cz) / rz) ** 2 < 1] = grey
    picture[(radius > 0.85) & (radius < 1)] = 0.8
    return picture


SLICES = {3 * seed + place + 1: head(seed, 0.1 * place) for seed in range(len(HEADS)) for place in range(3)}


def tumour(number: int) -> np.ndarray:
    """Where the source says that the tumour is in a slice, bool [192, 192], or [64, 64] in the smaller one."""
    side = 64 if number == 2 else 192
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 8 : side // 4 + 3 * (number % 3)] = True
    return mask


def mat(number: int) -> bytes:
    """The article's file of a slice, as MATLAB v7.3 writes it: HDF5 with all arrays transposed."""
    class_name, source_id = HEADS[(number - 1) // 3]
    image = np.rint(4000 * SLICES[number]).astype(np.int16)
    if number == 2:  # a few are smaller
        image = image.reshape(64, 3, 64, 3).mean(axis=(1, 3)).astype(np.int16)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        content = file.create_group("cjdata")
        content["image"] = image.T
        content["label"] = np.array([[float(LABELS[class_name])]])
        content["tumorMask"] = tumour(number).T.astype(np.uint8)
        content["PID"] = np.array([[ord(letter)] for letter in source_id], np.uint16)
    return buffer.getvalue()


def save(path: Path, picture: np.ndarray, change=lambda image: image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    change(Image.fromarray(np.rint(255 * picture).astype(np.uint8))).save(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Half of the slices in a zip, half as files; what else the article holds lies beside them."""
    folder = tmp_path_factory.mktemp("source")
    with zipfile.ZipFile(folder / "1-6.zip", "w") as archive:
        for number in range(1, 7):
            archive.writestr(f"{number}.mat", mat(number))
    (folder / "more").mkdir()
    for number in range(7, 13):
        (folder / f"more/{number}.mat").write_bytes(mat(number))
    with h5py.File(folder / "cvind.mat", "w") as file:
        file["cvind"] = np.zeros((1, 12))
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Slices as they are, mirrored, recompressed, in a wrong class folder; and scans of other heads."""
    folder = tmp_path_factory.mktemp("scans")
    save(folder / "Training/Glioma_tumor/1.jpg", SLICES[4])
    save(folder / "Training/Glioma_tumor/2.jpg", SLICES[7], ImageOps.mirror)
    save(folder / "Training/Glioma_tumor/3.jpg", head(50, 0))
    save(folder / "Testing/Glioma_tumor/4.png", SLICES[5], lambda image: image.resize((512, 512)))
    save(folder / "Training/pituitary/5.jpg", SLICES[2])
    save(folder / "Training/pituitary/6.jpg", SLICES[12])
    save(folder / "Training/no/7.jpg", head(51, 0))
    return folder


def run(capsys, *arguments: object) -> list[str]:
    """What the command says, line by line."""
    cli.main(["trace", *map(str, arguments)])
    return capsys.readouterr().out.splitlines()


def error_of(capsys, *arguments: object) -> str:
    """The one line in which it ends."""
    with pytest.raises(SystemExit) as end:
        cli.main(["trace", *map(str, arguments)])
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (1, "")
    assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
    return said.err


def test_every_scan_of_the_source_is_traced_and_no_other(source: Path, scans: Path, tmp_path: Path, capsys):
    (tmp_path / "planes.csv").write_text("name,plane\nTraining/pituitary/6.jpg,coronal\nelsewhere.jpg,axial\n")
    said = run(capsys, scans, source, "-o", tmp_path / "new/out.csv", "--planes", tmp_path / "planes.csv")
    table = trace.Traced.read(tmp_path / "new/out.csv")
    expected = [
        ("Testing/Glioma_tumor/4.png", 5, "near", "MR051644", "MR051644", "Glioma_tumor", ""),
        ("Training/Glioma_tumor/1.jpg", 4, "near", "MR051644", "MR051644", "Glioma_tumor", ""),
        ("Training/Glioma_tumor/2.jpg", 7, "mirrored", "MR051644B", "MR051644", "Glioma_tumor", ""),
        ("Training/pituitary/5.jpg", 2, "near", "100360", "100360", "meningioma", ""),
        ("Training/pituitary/6.jpg", 12, "near", "MR049142", "MR049142", "pituitary", "coronal"),
    ]
    names = ("path", "slice", "orientation", "source_id", "patient", "source_class", "plane")
    assert list(zip(*(getattr(table, name).tolist() for name in names), strict=True)) == expected
    assert set(table.source) == {"figshare"} and table.correlation.min() > 0.985
    drawn = np.rint(255 * SLICES[4]).astype(np.uint8)[None]
    assert (
        sum(a != b for a, b in zip(table.fingerprint[1], to_text(fingerprints(thumbnails(drawn))[0]), strict=True)) < 9
    )
    assert said[:2] == [
        "5 of 7 scans are slices of the source, which has 12",
        "They show 5 slices of 3 patients; orientations: 4 near, 1 mirrored",
    ]
    assert said[2] == f"Lowest correlation that was accepted: {table.correlation.min():.4f}"
    assert 0 < float(said[3].removeprefix("Highest correlation that was rejected: ")) < 0.98
    assert said[4:6] == [
        "1 are in a folder of another class than in the source:",
        "  Training/pituitary/5.jpg: meningioma (slice 2)",
    ]


def test_scans_in_a_zip_give_the_same_bytes_and_unreadable_ones_are_counted(source, scans, tmp_path, capsys):
    run(capsys, scans, source, "-o", tmp_path / "folder.csv")
    shutil.copytree(scans, tmp_path / "wrapped/scans")
    (tmp_path / "wrapped/scans/Training/no/8.jpg").write_bytes(b"no picture")
    shutil.make_archive(str(tmp_path / "scans"), "zip", tmp_path / "wrapped")
    said = run(capsys, tmp_path / "scans.zip", source, "-o", tmp_path / "zip.csv")
    assert said[0].startswith("5 of 7 scans (1 files more are unreadable) are slices")
    assert (tmp_path / "zip.csv").read_bytes() == (tmp_path / "folder.csv").read_bytes()


def test_where_nothing_is_traced_the_table_is_empty(source: Path, scans: Path, tmp_path: Path, capsys):
    shutil.copytree(scans / "Training/no", tmp_path / "scans/no")
    save(tmp_path / "scans/other/1.png", head(52, 0))
    said = run(capsys, tmp_path / "scans", source, "-o", tmp_path / "out.csv")
    assert said[0].startswith("0 of 2 scans are slices") and len(said) == 4
    assert len(trace.Traced.read(tmp_path / "out.csv")) == 0


def test_the_best_of_all_slices_is_found_however_many_scans_are_compared_at_once(monkeypatch: pytest.MonkeyPatch):
    pixels = np.stack([np.rint(255 * picture).astype(np.uint8) for picture in SLICES.values()])
    means, turned = thumbnails(pixels), np.rot90(pixels, axes=(1, 2))
    for size in (5, 1000):
        monkeypatch.setattr(trace, "AT_ONCE", size)
        rows, kinds, correlations, bits = trace.match(turned, means)
        assert rows.tolist() == list(range(len(means)))
        assert set(kinds) == {"quarter_turn_left"} and correlations.tolist() == [1] * len(means)
        assert (bits == fingerprints(thumbnails(turned))).all()
    assert trace.most_alike(means[:3], means[1:2])[0].tolist() == [0, 0, 0], "fewer slices than candidates"


def spoiled(content: str) -> bytes:
    """A file that opens as HDF5, but lacks something, or holds something else."""
    buffer = io.BytesIO(mat(1))
    with h5py.File(buffer, "a") as file:
        if content == "group":
            del file["cjdata"]
        else:
            del file[f"cjdata/{content}"]
            if content == "label":
                file["cjdata/label"] = np.array([[4.0]])
            if content == "image":
                file["cjdata/image"] = np.zeros((2, 3, 4), np.int16)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"MATLAB 5.0 MAT-file", b"", mat(1)[:3000], *map(spoiled, ("group", "PID", "label", "image"))],
    ids=["older", "empty", "cut", "group", "PID", "label", "image"],
)
def test_a_file_that_is_no_slice_is_told(content: bytes, source: Path, scans: Path, tmp_path: Path, capsys):
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    (folder / "more/8.mat").write_bytes(content)
    said = error_of(capsys, scans, folder, "-o", tmp_path / "out.csv")
    assert "more/8.mat is no slice of the figshare article (" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{scans} {tmp}/zipped -o {tmp}/out.csv", "1-6.zip is not a .zip archive, or is damaged"),
        ("{scans} {scans} -o {tmp}/out.csv", "holds no 1.mat, 2.mat, … and no .zip of them"),
        ("{tmp}/missing {source} -o {tmp}/out.csv", "missing does not exist; give the path of a folder or .zip"),
        ("{scans} {source} -o {tmp}/bare.csv/out.csv", "bare.csv: File exists; give the name of a folder"),
        ("{scans} {source} -o {tmp}", ": Is a directory"),
        (
            "{scans} {source} -o {tmp}/out.csv --planes {tmp}/bare.csv",
            "bare.csv: its first line names '1.jpg', 'axial', but must name path and plane, divided by commas",
        ),
        ("{scans} {source} -o {tmp}/out.csv --planes {tmp}/others.csv", "others.csv names no scan that was traced"),
        ("{scans} {source} -o {tmp}/out.csv --planes {tmp}/twice.csv", "twice.csv: line 3 gives '1.jpg' another plane"),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(arguments, words, source, scans, tmp_path, capsys):
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped/1-6.zip").write_bytes(b"PK\3\4 not really")
    (tmp_path / "bare.csv").write_text("1.jpg,axial\n")
    (tmp_path / "others.csv").write_text("path,plane\n1.jpg,axial\n")
    (tmp_path / "twice.csv").write_text("path,plane\n1.jpg,axial\n1.jpg,coronal\n")
    assert words in error_of(capsys, *arguments.format(scans=scans, source=source, tmp=tmp_path).split())
    assert not (tmp_path / "out.csv").exists() and not list(tmp_path.glob(".*"))


def test_without_h5py_the_command_says_how_to_get_it(source, scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    said = error_of(capsys, scans, source, "-o", tmp_path / "out.csv")
    assert "h5py, which reads .mat files, is not installed; run: pip install -e '.[trace]'" in said


def test_what_was_traced_can_be_given_to_the_pipeline(source: Path, scans: Path, tmp_path: Path, capsys):
    from trueslice.patients import lookup as patients

    run(capsys, scans, source, "-o", tmp_path / "out.csv")
    paths = [path.relative_to(scans).as_posix() for path in sorted(scans.rglob("*.[jp]*"))]
    found = patients.read_own(tmp_path / "out.csv", paths, [], ["Glioma_tumor", "no", "pituitary", "meningioma"])
    assert sorted(found["patient"]) == ["", "", "100360", "MR049142", "MR051644", "MR051644", "MR051644"]
    assert set(found) <= set(Scans.__dataclass_fields__)


def test_masks_lie_over_the_scans_as_the_slices_do(source: Path, scans: Path, tmp_path: Path, capsys):
    run(capsys, scans, source, "-o", tmp_path / "plain.csv")
    said = run(capsys, scans, source, "-o", tmp_path / "out.csv", "--masks", tmp_path / "masks")
    assert said[-1] == f"Masks written to {tmp_path / 'masks'}; set explain.masks to it"
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    table = trace.Traced.read(tmp_path / "out.csv")
    written = sorted(path.relative_to(tmp_path / "masks").as_posix() for path in (tmp_path / "masks").rglob("*.png"))
    assert written == [f"{path}.png" for path in table.path]
    for path, number, orientation in zip(table.path, table.slice, table.orientation, strict=True):
        with Image.open(tmp_path / "masks" / f"{path}.png") as mask, Image.open(scans / path) as scan:
            assert mask.size == scan.size
            expected = Image.fromarray(tumour(number)).convert("L").resize(scan.size)
            expected = np.asarray(ImageOps.mirror(expected) if orientation == "mirrored" else expected) > 127
            assert (np.asarray(mask) == expected).mean() > 0.99, path


def test_masks_go_into_a_folder_without_other_files_and_only_if_all_can_be_read(source, scans, tmp_path: Path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/1.png").touch()
    said = error_of(capsys, scans, source, "-o", tmp_path / "out.csv", "--masks", tmp_path / "there")
    assert "there holds 1.png, which no earlier run has left there as it is now; give a new folder" in said
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    (folder / "more/7.mat").write_bytes(mat(7))
    with h5py.File(folder / "more/7.mat", "a") as file:
        del file["cjdata/tumorMask"]
    said = error_of(capsys, scans, folder, "-o", tmp_path / "out.csv", "--masks", tmp_path / "new")
    assert "more/7.mat has no tumour mask that can be read" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "there"]


@pytest.mark.parametrize("orientation", KINDS)
@pytest.mark.parametrize(("width", "height"), [(96, 96), (96, 60), (50, 96)])
def test_a_mask_is_turned_and_cut_as_the_scan_is(orientation: str, width: int, height: int):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:34, 26:32] = 255
    laid = place_mask(mask, orientation, width, height)
    assert laid.shape == (height, width)
    whole = np.asarray(Image.fromarray(ORIENTATIONS[orientation](mask)).resize((96, 96), Image.Resampling.BICUBIC))
    top, left = (96 - height) // 2, (96 - width) // 2
    assert (laid == (whole[top : top + height, left : left + width] >= 128)).mean() > 0.99 and laid.any()
