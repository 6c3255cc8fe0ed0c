"""Every mode that Pillow writes in every format, held against the numbers that were written."""

import io
import struct
import zlib

import numpy as np
import pytest
from openjpeg.utils import encode_array
from PIL import Image

from trueslice.files import Upload
from trueslice.reading.limits import PictureError
from trueslice.reading.pictures import read_pictures

rows, columns = np.mgrid[0:1:40j, 0:1:48j]
GREY = np.rint(40 + 60 * columns + 120 * rows**2).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2 + 30], axis=-1)
CLEAR = np.where(columns > 0.5, 255, np.where(rows > 0.5, 128, 0)).astype(np.uint8)
OVER_BLACK = {2: GREY * (CLEAR / 255), 3: COLOUR * (CLEAR / 255)[..., None]}
TURNED = {
    1: lambda seen: seen,
    2: np.fliplr,
    3: lambda seen: np.rot90(seen, 2),
    4: np.flipud,
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen, -1),
    7: lambda seen: np.rot90(seen.swapaxes(0, 1), 2),
    8: np.rot90,
}


def pictures() -> dict[str, tuple[Image.Image, np.ndarray]]:
    """Return a picture of each mode, with what a viewer shows."""
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    palette = grey.convert("P")
    palette.putpalette([value for grey in range(256) for value in (grey, 255 - grey, grey // 2 + 30)])
    clear = {"LA": grey.convert("LA"), "PA": palette.convert("PA"), "RGBA": colour.convert("RGBA")}
    for image in clear.values():
        image.putalpha(Image.fromarray(CLEAR))
    own_range = (GREY - GREY.min().astype(float)) / np.ptp(GREY) * 255
    return {
        "1": (Image.fromarray(GREY > 90), np.where(GREY > 90, 255, 0)),
        "L": (grey, GREY),
        "LA": (clear["LA"], OVER_BLACK[2]),
        "P": (palette, COLOUR),
        "PA": (clear["PA"], OVER_BLACK[3]),
        "RGB": (colour, COLOUR),
        "RGBA": (clear["RGBA"], OVER_BLACK[3]),
        "CMYK": (colour.convert("CMYK"), COLOUR),
        "I": (Image.fromarray(GREY.astype(np.int32) * 1000 - 5000), own_range),
        "I;16": (Image.fromarray(GREY.astype(np.uint16) * 13), own_range),
        "I;16B": (Image.frombytes("I;16B", (48, 40), (GREY.astype(np.uint16) * 13).astype(">u2").tobytes()), own_range),
        "F": (Image.fromarray(GREY.astype(np.float32) * 0.7 - 3), own_range),
    }


def shown(content: bytes) -> np.ndarray:
    ((_, picture),) = read_pictures(Upload("x", content), "x", 10**6, None)
    return np.asarray(picture.image).astype(float)


MODES = {
    ("BMP", ""): "1 L P RGB",
    ("GIF", ""): "1 L P",
    ("JPEG", ""): "1 L RGB CMYK",
    ("JPEG2000", ""): "L LA RGB RGBA CMYK I;16",
    ("PNG", ""): "1 L LA P RGB RGBA I;16 I;16B",
    ("PPM", ""): "1 L RGB I;16 F",
    ("WEBP", ""): "1 L LA P PA RGB RGBA CMYK",
    **{("TIFF", kind): "1 L LA P PA RGB RGBA CMYK I I;16 I;16B F" for kind in ("", "tiff_lzw", "packbits")},
}


@pytest.mark.parametrize(("kind", "compression"), MODES)
def test_every_mode_is_shown_as_it_was_written_in_every_orientation(kind: str, compression: str):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    options |= {"compression": compression} if compression else {}
    for mode in MODES[kind, compression].split():
        image, expected = pictures()[mode]
        for orientation in TURNED if kind in ("JPEG", "PNG", "TIFF", "WEBP") else [1]:
            exif = Image.Exif()
            exif[274] = orientation
            buffer = io.BytesIO()
            image.save(buffer, kind, **options, **({"exif": exif} if orientation > 1 else {}))
            seen, turned = shown(buffer.getvalue()), TURNED[orientation](expected)
            if seen.ndim < turned.ndim:
                turned = turned @ [0.299, 0.587, 0.114]
            elif seen.ndim > turned.ndim:
                turned = np.repeat(turned[..., None], 3, axis=-1)
            assert seen.shape == turned.shape, (mode, orientation)
            assert np.abs(seen - turned).max() <= (6 if kind == "JPEG" else 1.5), (mode, orientation)


@pytest.mark.parametrize(("bits", "row", "clear", "expected"), [(2, 0x1B, 2, [0, 85, 0, 255]), (4, 0x8F, 8, [0, 255])])
def test_a_transparent_grey_of_a_few_bits_is_black(bits: int, row: int, clear: int, expected: list[int]):
    head = struct.pack(">2I5B", len(expected), 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"tRNS", struct.pack(">H", clear)), (b"IDAT", zlib.compress(bytes([0, row]))))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*chunks, (b"IEND", b""))
    ]
    assert shown(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).tolist() == [expected]


def test_channels_of_16_bits_that_are_stored_apart_are_refused():
    values = 1000 * np.arange(64, dtype="<u2")
    fields = {256: 8, 257: 8, 258: 16, 259: 1, 262: 2, 277: 3, 278: 8, 284: 2}
    tags = [struct.pack("<2H2I", tag, 3, 1, value) for tag, value in fields.items()]
    tags[2] = struct.pack("<2H2I", 258, 3, 3, 134)
    tags.insert(5, struct.pack("<2H2I", 273, 4, 3, 140))
    tags.insert(8, struct.pack("<2H2I", 279, 4, 3, 152))
    head = b"II*\0" + struct.pack("<IH", 8, 10) + b"".join(tags) + bytes(4)
    content = head + struct.pack("<3H6I", 16, 16, 16, 164, 292, 420, 128, 128, 128) + 3 * values.tobytes()
    with pytest.raises(PictureError, match="its channels of 16 bits are stored apart; save it as 16-bit grey, or with"):
        shown(content)


STEPS = np.tile(np.linspace(0, 255, 8).round().astype(int).repeat(8), (64, 1))
COLOURS = np.stack([STEPS] * 3, axis=-1)


def test_a_ppm_of_16_bits_with_values_of_12_is_refused():
    start = b"P6\n64 64\n65535\n"
    assert np.array_equal(shown(start + (COLOURS * 257).astype(">u2").tobytes()), COLOURS)
    content = start + (COLOURS * 16).astype(">u2").tobytes()
    ((_, said),) = read_pictures(Upload("x", content), "x", 10**6, None)
    assert str(said).startswith("its channels have 16 bits and values of 14 or fewer")


@pytest.mark.parametrize(
    ("values", "bits"), [(STEPS >> 7, 1), (STEPS >> 4, 4), (COLOURS * 16, 12), (COLOURS * 257, 16)]
)
def test_jpeg_2000_that_pillow_shows_wrongly_is_refused(values: np.ndarray, bits: int):
    content = encode_array(values.astype(np.uint16), bits_stored=bits, photometric_interpretation=4 - values.ndim)
    with pytest.raises(PictureError, match="it is a JPEG 2000 of fewer than 8 bits, or of colours of more; save it"):
        shown(content)


def shown_with(alpha: np.ndarray, colour: np.ndarray, kind: str = "PNG") -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8)).save(buffer, kind)
    return shown(buffer.getvalue())[..., 0]


@pytest.mark.parametrize(("rows", "grey"), [(4, 128), (1, 9)])
def test_a_black_drawing_with_something_small_that_is_not_black_is_read_over_white(rows: int, grey: int):
    alpha, colour = STEPS.copy(), np.zeros_like(COLOURS)
    small = (slice(rows), slice(64 if rows > 1 else 1))
    alpha[small], colour[small] = 255, grey
    expected = 255 - alpha
    expected[small] = grey
    assert np.abs(shown_with(alpha, colour) - expected).max() <= 1


def test_a_scan_on_black_with_a_transparent_margin_is_read_over_black():
    alpha, colour = np.zeros_like(STEPS), np.zeros_like(COLOURS)
    alpha[8:56, 8:56] = 255
    colour[20:44, 20:44] = COLOURS[20:44, 20:44]
    assert np.array_equal(shown_with(alpha, colour), colour[..., 0])


def test_transparency_that_is_everywhere_is_ignored():
    assert np.array_equal(shown_with(np.zeros_like(STEPS), COLOURS, "TIFF"), STEPS)
    head = struct.pack("<I2i2H6I4I", 108, 64, 64, 1, 32, 3, 0, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = np.dstack([COLOURS, 0 * STEPS]).astype(np.uint8).tobytes()
    content = b"BM" + struct.pack("<I2HI", 122 + len(pixels), 0, 0, 122) + head + bytes(52) + pixels
    assert np.array_equal(shown(content)[..., 0], STEPS)


def tiff(order: str, fields: dict[int, int | tuple[int, int]]) -> bytes:
    """Return a TIFF of 8 x 8 pixels and 128 bytes."""
    fields = {256: 8, 257: 8, 259: 1, 278: 8, 279: 128, 273: 26 + 12 * (len(fields) + 6) - 12, **fields}
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(fields))
    for tag, value in sorted(fields.items()):
        values = value if isinstance(value, tuple) else (value,)
        head += struct.pack(order + "2HI", tag, 3, len(values)) + struct.pack(f"{order}{len(values)}H", *values)
        head += bytes(4 - 2 * len(values))
    return head + bytes(4) + bytes(range(128))


def test_a_tiff_of_a_kind_that_is_not_read_is_to_be_saved_as_png():
    with pytest.raises(
        PictureError, match=r"a kind that is not read here: .* associated transparency; save it as PNG$"
    ):
        shown(tiff("<", {258: (8, 8), 262: 1, 277: 2, 338: 1}))
    with pytest.raises(PictureError, match=r"a kind that is not read here: .* 1 x 16-bit numbers; save it as PNG$"):
        shown(tiff(">", {258: 16, 262: 0, 277: 1}))
