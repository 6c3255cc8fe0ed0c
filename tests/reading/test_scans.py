import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dicom_files import write
from trueslice import params
from trueslice.errors import UserError
from trueslice.files import Upload
from trueslice.reading import scans as reading
from trueslice.reading.classes import check_classes
from trueslice.reading.names import file_of
from trueslice.reading.pictures import read_pictures

SIZE = 32
VERIFY = params.load(Path(__file__).parents[2] / "params.yaml").verify


def picture(height: int = 48, width: int = 48) -> np.ndarray:
    """A smooth slope that no turn or flip leaves as it is: uint8 [height, width]."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(40 + 60 * columns + 120 * rows**2).astype(np.uint8)


def put(path: Path, image: Image.Image | np.ndarray | bytes, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def tiff(values: np.ndarray, photometric: int = 1) -> bytes:
    """A TIFF of one channel, [H, W], of kinds that Pillow does not write."""
    tags = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.itemsize, 259: 1, 262: photometric}
    tags |= {
        273: 134,
        277: 1,
        278: values.shape[0],
        279: values.nbytes,
        339: {"u": 1, "i": 2, "f": 3}[values.dtype.kind],
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + values.tobytes()


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits in each of 2 to 4 channels, [H, W, C], which Pillow does not write."""
    head = struct.pack(">2I5B", *values.shape[1::-1], 16, {2: 4, 3: 2, 4: 6}[values.shape[2]], 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read(raw: Path, into: Path, **changes) -> tuple[list[reading.Scan], list[reading.Unreadable], np.ndarray]:
    workers = changes.pop("workers", 1)
    verify = VERIFY.model_copy(update={"image_size": SIZE, "max_pixels": 10**6} | changes)
    scans, unreadable = reading.read(raw, reading.find(raw), into, verify, workers)
    return scans, unreadable, np.load(into / "pixels.npy", mmap_mode="r")


def read_one(tmp_path: Path, image, name: str = "x.png", colour: bool = False, **options):
    """Save one image and read it at its own size (square ones), without any resizing."""
    put(tmp_path / "raw" / "a" / name, image, **options)
    size = max(Image.open(tmp_path / "raw" / "a" / name).size)
    scans, _, pixels = read(tmp_path / "raw", tmp_path, image_size=size, colour=colour)
    return scans[0], pixels[0].astype(int)


# Which files are scans


def test_find_lists_all_official_folders_and_passes_litter_over(tmp_path: Path):
    for name in (
        "Training/b/2.jpg", "Training/b/1.jpg", "Training/a/sub/3.jpg", "Testing/a/4.jpg", "Testing/b/5.jpg",
        "Validation/a/6.jpg",
        "Training/a/.hidden.jpg", "Training/a/Thumbs.db", "Training/.ipynb_checkpoints/6.jpg", "__MACOSX/a/7.jpg",
        "Training/a/desktop.ini", "Training/b/._1.jpg", "Training/read me.txt", "docs/manual.pdf",
    ):  # fmt: skip
        put(tmp_path / name, b"x")
    assert reading.find(tmp_path) == [
        ("Testing/a/4.jpg", "a", "test"),
        ("Testing/b/5.jpg", "b", "test"),
        ("Training/a/sub/3.jpg", "a", "train"),
        ("Training/b/1.jpg", "b", "train"),
        ("Training/b/2.jpg", "b", "train"),
        ("Validation/a/6.jpg", "a", "val"),
    ]


def test_what_is_no_file_in_a_class_folder_is_found_and_named(tmp_path: Path):
    put(tmp_path / "raw/glioma/scan.png", Image.new("L", (8, 8)))
    os.mkfifo(tmp_path / "raw/glioma/pipe.jpg")
    scans, unreadable, _ = read(tmp_path / "raw", tmp_path, max_unreadable=1)
    assert [scan.path for scan in scans] == ["glioma/scan.png"]
    assert unreadable == [("glioma/pipe.jpg", "it is a pipe, a socket or a device")]


@pytest.mark.parametrize("files", [[], ["stray.jpg"], ["Training/.hidden"]])
def test_find_refuses_a_folder_without_scans(tmp_path: Path, files: list[str]):
    for name in files:
        put(tmp_path / name, b"x")
    with pytest.raises(UserError, match=r"holds no class folder with scans; .*check data.source"):
        reading.find(tmp_path)


# Which classes there are


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([("", "a"), ("", "gliom")], ["gliom", "b of `classes:` has no folder", "params.yaml"]),
        ([("", "a"), ("", "b"), ("", "c")], ["c; rename the folder or edit"]),
        ([("", "a")], ["no scans of b, which params.yaml names"]),
        ([("train", "a"), ("train", "b"), ("test", "a")], ["no scans of b in Testing/"]),
        ([], ["no scans of a, b,", "found: none"]),
    ],
)
def test_classes_that_differ_are_named(found: list[tuple[str, str]], words: list[str]):
    check_classes([("train", "a"), ("train", "b"), ("test", "b"), ("test", "a")], ["a", "b"])
    with pytest.raises(UserError) as error:
        check_classes(found, ["a", "b"])
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


# What a file holds


def test_rows_and_pixels_come_in_the_order_of_the_paths_with_any_number_of_processes(tmp_path: Path):
    for index in range(40):
        put(tmp_path / "raw" / "ab"[index % 2] / f"{index}.png", np.full((8, 8), index * 5, np.uint8))
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    one, _, pixels = read(tmp_path / "raw", first, workers=1)
    two, _, _ = read(tmp_path / "raw", second, workers=2)
    assert one == two and (first / "pixels.npy").read_bytes() == (second / "pixels.npy").read_bytes()
    assert [scan.path for scan in one] == sorted(scan.path for scan in one)
    assert pixels.shape == (40, SIZE, SIZE) and pixels.dtype == np.uint8
    assert [int(scan.path[2:-4]) * 5 for scan in one] == pixels[:, 16, 16].tolist()


def test_a_wide_scan_is_fitted_in_proportion_and_centred_on_black(tmp_path: Path):
    put(tmp_path / "raw/a/wide.png", np.full((20, 40), 200, np.uint8))
    scans, _, pixels = read(tmp_path / "raw", tmp_path, image_size=16)
    assert (scans[0].width, scans[0].height) == (40, 20)
    assert (pixels[0, 4:12] == 200).all() and (pixels[0, :4] == 0).all() and (pixels[0, 12:] == 0).all()


def test_a_line_of_pixels_needs_no_more_memory_than_its_square(tmp_path: Path):
    put(tmp_path / "raw/a/line.png", np.full((1, 900_000), 255, np.uint8))
    _, _, pixels = read(tmp_path / "raw", tmp_path, image_size=16)
    assert pixels[0].any(axis=1).sum() == 1


def test_shrinking_is_antialiased(tmp_path: Path):
    checkerboard = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    put(tmp_path / "raw/a/fine.png", checkerboard)
    _, _, pixels = read(tmp_path / "raw", tmp_path)
    assert np.abs(pixels[0].astype(int) - 127).max() < 12


def test_orientation_in_exif_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter to the right
    scan, pixels = read_one(tmp_path, picture(20, 40), "x.png", exif=exif)
    assert (scan.width, scan.height) == (20, 40)
    assert np.array_equal(pixels[:, 10:30], np.rot90(picture(20, 40), -1))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_scans_are_scaled_by_their_own_range(tmp_path: Path, mode: str):
    values = 300.0 + 10.0 * picture()
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    scan, pixels = read_one(tmp_path, Image.fromarray(values.astype(dtype)), "x.tif")
    low, high = int(picture().min()), int(picture().max())
    assert scan.mode == mode
    assert np.abs(pixels - (picture().astype(int) - low) / (high - low) * 255).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_whose_zero_is_white_is_no_negative(tmp_path: Path, dtype: type):
    values = picture().astype(dtype)
    values[0, :2] = 0, 255
    _, pixels = read_one(tmp_path, tiff(255 - values, photometric=0), "x.tif")
    assert np.abs(pixels - values).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_whole_numbers_do_not_wrap(tmp_path: Path, dtype: type):
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    values = np.tile(np.linspace(low, high, 52)[:52].astype(np.int64), (52, 1)).astype(dtype)
    _, pixels = read_one(tmp_path, tiff(values), "x.tif")
    assert np.abs(pixels[0] - np.linspace(0, 255, 52)).max() <= 1.5


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_of_16_bits_are_read_only_if_their_values_have_16(tmp_path: Path, channels: int):
    values = np.stack([257 * picture().astype(np.uint16)] * channels, axis=-1)
    if channels != 3:
        values[..., -1] = 65535  # opaque
    _, pixels = read_one(tmp_path, deep_png(values))
    assert np.array_equal(pixels, picture())
    values[..., : 3 if channels > 2 else 1] >>= 4  # as scanners write 12 bits
    put(tmp_path / "raw/a/x.png", deep_png(values))
    _, unreadable, _ = read(tmp_path / "raw", tmp_path, max_unreadable=1)
    said = "its channels have 16 bits and values of 14 or fewer; save it as 16-bit grey, or with 8 bits"
    assert unreadable == [("a/x.png", said)]


def test_a_tiff_of_a_kind_that_is_not_read_is_called_a_tiff(tmp_path: Path):
    put(tmp_path / "raw/a/x.tif", tiff(picture().astype(np.float64)))
    _, unreadable, _ = read(tmp_path / "raw", tmp_path, max_unreadable=1)
    assert unreadable[0].reason.startswith("it is a TIFF that is damaged, or of a kind that is not read here")
    assert "its pixels are 1 x 64-bit floating-point numbers; save it as PNG" in unreadable[0].reason


@pytest.mark.parametrize("compression", ["tiff_lzw", "group4"])  # Pillow goes on in the second
def test_a_damaged_tiff_is_named_in_words_and_by_nothing_else(compression: str, capfd):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise > 100 if compression == "group4" else noise).save(whole, "TIFF", compression=compression)
    content = bytearray(whole.getvalue())
    content[200:400] = bytes(index * 7 % 256 for index in range(200))
    ((_, said),) = read_pictures(Upload("x.tif", bytes(content)), "x.tif", 10**6, None)
    assert said == "its pixels are damaged" and capfd.readouterr().err == ""


def test_a_flat_sixteen_bit_png_is_black(tmp_path: Path):
    _, flat = read_one(tmp_path, Image.fromarray(np.full((48, 48), 5000, np.uint16)))
    assert not flat.any()


def test_numbers_that_are_not_finite_do_not_spoil_the_range(tmp_path: Path):
    values = picture().astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    _, pixels = read_one(tmp_path, Image.fromarray(values), "x.tif")
    assert pixels[0, 0] == pixels[0, 1] == 0 and pixels.max() == 255


def test_palette_is_looked_up(tmp_path: Path):
    image = Image.fromarray(255 - np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("P")
    image.putpalette([255 - value for value in range(256) for _ in "rgb"])
    scan, pixels = read_one(tmp_path, image)
    assert scan.mode == "P" and not scan.has_colour
    assert np.array_equal(pixels, np.arange(256).reshape(16, 16))


def test_cmyk_is_no_negative(tmp_path: Path):
    grey = Image.fromarray(picture())
    scan, pixels = read_one(tmp_path, grey.convert("RGB").convert("CMYK"), "x.jpg", quality=100)
    assert scan.mode == "CMYK"
    assert np.abs(pixels - picture()).max() <= 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_black(tmp_path: Path, mode: str):
    opaque = np.zeros((48, 48), np.uint8)
    opaque[:, 24:] = 255
    if mode == "P":
        image, options = (
            Image.fromarray(np.where(opaque, 200, 255).astype(np.uint8)).convert("P"),
            {"transparency": 255},
        )
        expected = np.where(opaque, 200, 0)
    else:
        image, options = Image.fromarray(picture()).convert(mode), {}
        image.putalpha(Image.fromarray(opaque))
        expected = np.where(opaque, picture(), 0)
    scan, pixels = read_one(tmp_path, image, **options)
    assert scan.mode == mode
    assert np.abs(pixels - expected).max() <= 1


def test_a_black_drawing_on_nothing_is_read_over_white(tmp_path: Path):
    drawing = Image.new("LA", (48, 48))
    drawing.putalpha(Image.fromarray(picture()))
    _, pixels = read_one(tmp_path, drawing)
    assert np.abs(pixels - (255 - picture().astype(int))).max() <= 1
    _, blank = read_one(tmp_path, Image.new("LA", (48, 48), (0, 255)), "opaque.png")
    assert not blank.any()


def test_one_bit_scans_are_black_and_white(tmp_path: Path):
    scan, pixels = read_one(tmp_path, Image.fromarray(picture() > 90))
    assert scan.mode == "1" and np.array_equal(pixels, np.where(picture() > 90, 255, 0))


def test_colour_is_counted_and_kept_only_if_asked_for(tmp_path: Path):
    colours = np.stack([picture(), picture().T, 255 - picture()], axis=-1)
    scan, grey = read_one(tmp_path / "grey", colours)
    assert scan.has_colour and grey.shape == (48, 48)
    scan, kept = read_one(tmp_path / "colour", colours, colour=True)
    assert scan.has_colour and np.array_equal(kept, colours)


def test_grey_saved_as_a_colour_jpeg_has_no_colour(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 30, (48, 48), dtype=np.uint8)
    faint = np.stack([picture() + noise, picture() + noise, picture() + noise + 3], axis=-1)
    scan, _ = read_one(tmp_path, faint, "x.jpg", quality=75)
    assert scan.mode == "RGB" and not scan.has_colour


def test_the_hash_is_of_what_is_seen_not_of_the_file(tmp_path: Path):
    images = {
        "1.png": picture(), "2.bmp": picture(), "3.png": np.stack([picture()] * 3, axis=-1),
        "4.png": picture().reshape(24, 96), "5.png": picture() + np.uint8(1),
    }  # fmt: skip
    for name, image in images.items():
        put(tmp_path / "raw/a" / name, image)
    hashes = [scan.pixel_hash for scan in read(tmp_path / "raw", tmp_path)[0]]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes)) == 3 and all(len(value) == 32 for value in hashes)


# What cannot be read


def broken(folder: Path) -> dict[str, str]:
    """Put one file of each kind that cannot be read in `folder`: their names with a word of the reason."""
    whole = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)))
    jpeg = io.BytesIO()
    Image.fromarray(picture(200, 200)).save(jpeg, "JPEG", quality=95)
    put(folder / "empty.jpg", b"")
    put(folder / "text.jpg", b"this is no image")
    put(folder / "cut.png", whole[: len(whole) // 2])
    put(folder / "cut.jpg", jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    put(folder / "vast.png", np.zeros((1001, 1000), np.uint8))
    put(folder / "text.dcm", b"this is no image")
    put(folder / "script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    return {
        "empty.jpg": "the file is empty",
        "text.jpg": "not an image",
        "cut.png": "it ends too early",
        "cut.jpg": "it ends too early",
        "vast.png": "1000 x 1001 pixels are more than verify.max_pixels (1000000)",
        "text.dcm": "it is not a DICOM file that holds a picture",
        "script.eps": "it is PostScript",
    }


def test_unreadable_files_are_left_out_with_their_reason(tmp_path: Path):
    reasons = broken(tmp_path / "raw/a")
    put(tmp_path / "raw/a/bright.png", np.full((8, 8), 250, np.uint8))
    put(tmp_path / "raw/a/zero.png", np.zeros((8, 8), np.uint8))
    scans, unreadable, pixels = read(tmp_path / "raw", tmp_path, max_unreadable=len(reasons))
    assert [scan.path for scan in scans] == ["a/bright.png", "a/zero.png"]
    assert pixels.shape == (2, SIZE, SIZE) and (pixels[0] == 250).all() and not pixels[1].any()
    assert {Path(path).name for path, _ in unreadable} == set(reasons)
    for path, reason in unreadable:
        assert reasons[Path(path).name] in reason, path


def test_each_frame_of_a_file_is_a_scan(tmp_path: Path):
    frames = [Image.fromarray(np.full((SIZE, SIZE), grey, np.uint8)) for grey in (0, 200, 100)]
    for name in ("moving.gif", "volume.tif"):
        put(tmp_path / "raw/a" / name, frames[0], save_all=True, append_images=frames[1:])
    write(tmp_path / "raw/a/series.dcm", 10 * np.stack([np.asarray(frame) for frame in frames]).astype(np.uint16))
    scans, unreadable, pixels = read(tmp_path / "raw", tmp_path)
    names = [f"a/{name}, frame {number}" for name in ("moving.gif", "series.dcm", "volume.tif") for number in (1, 2, 3)]
    assert [scan.path for scan in scans] == names and unreadable == []
    assert pixels[[0, 1, 2, 6, 7, 8], 16, 16].tolist() == [0, 200, 100] * 2
    assert {file_of(scan.path) for scan in scans} == {"a/moving.gif", "a/series.dcm", "a/volume.tif"}


def test_a_frame_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path):
    frames = [Image.new("L", (side, side)) for side in (8, 2000, 8)]
    put(tmp_path / "raw/a/volume.tif", frames[0], save_all=True, append_images=frames[1:])
    scans, unreadable, pixels = read(tmp_path / "raw", tmp_path, max_unreadable=1)
    assert [scan.path for scan in scans] == ["a/volume.tif, frame 1", "a/volume.tif, frame 3"] and len(pixels) == 2
    reason = "2000 x 2000 pixels are more than verify.max_pixels (1000000)"
    assert unreadable == [("a/volume.tif, frame 2", reason)]


def test_more_unreadable_files_than_allowed_are_an_error_that_names_them(tmp_path: Path):
    reasons = broken(tmp_path / "raw/a")
    with pytest.raises(UserError) as error:
        read(tmp_path / "raw", tmp_path, max_unreadable=len(reasons) - 1)
    message = str(error.value)
    assert "7 of 7 files cannot be read: a/cut.jpg (" in message and "verify.max_unreadable (now 6)" in message
    assert "and 4 more" in message and "\n" not in message


def test_a_picture_beyond_pillows_own_limit_is_read_if_max_pixels_allows(tmp_path: Path, monkeypatch):
    put(tmp_path / "raw/a/large.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scans, _, _ = read(tmp_path / "raw", tmp_path)
    assert len(scans) == 1


@pytest.mark.parametrize("home", ["Training", "."])
def test_masks_and_tables_beside_the_class_folders_are_not_scans(home: str, tmp_path: Path):
    for folder in (tmp_path / home / "glioma", tmp_path / "masks" / home / "glioma"):
        folder.mkdir(parents=True)
        Image.new("L", (8, 8)).save(folder / "1.png")
    (tmp_path / "patients.csv").write_text("path,patient\n")
    assert [file.path for file in reading.find(tmp_path)] == [(Path(home) / "glioma/1.png").as_posix()]
