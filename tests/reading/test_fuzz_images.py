"""Damaged image files of all formats: each gives a picture of 8 bits, or one line in our own words."""

import io
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trueslice.files import Upload
from trueslice.inference.reading import Square, read

SETTINGS = {"image_size": 16, "colour": True, "max_pixels": 100_000}
# What our messages are made of; no word of another library, no path and no value of the file is among them.
OURS = re.compile(
    r"its pixels are damaged|it ends too early|it has no pixels|it holds no finite value|the file is empty"
    r"|(its|\d+ x \d+) pixels are more than verify\.max_pixels \(100000\)"
    r"|it holds more than \d+ pictures( of \d+ x \d+ pixels)?; divide it into files"
    r"|the pictures of its file have too many pixels together; divide it into files"
    r"|it holds too many parts that are no pixels; save it again"
    r"|it is stored in too many pieces; save it again as PNG"
    r"|it is a PNM with pixels as text; save it as PNG|it is a TIFF of too many strips or tiles; save it again"
    r"|it is a JPEG 2000 of fewer than 8 bits, or of colours of more; save it as PNG with 8 bits"
    r"|it is a TIFF of a kind that is not read here: its pixels are grey with associated transparency; save it as PNG"
    r"|it is a JPEG of too many passes; save it again as PNG"
    r"|its channels have 16 bits and values of 14 or fewer; save it as 16-bit grey, or with 8 bits"
    r"|it is a[ A-Za-z0-9]+ that is damaged, or of a kind that is not read here(: its pixels are .*)?"
    r"|it is not an image in a format that is read here \([A-Za-z0-9, ]+\)"
)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def whole_files() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (24, 20, 4), dtype=np.uint8)
    colour, grey = Image.fromarray(noise[..., :3]), Image.fromarray(noise[..., 0])
    deep, real = Image.fromarray(noise[..., 0] * np.uint16(257)), Image.fromarray(noise[..., 0].astype(np.float32))
    clear = Image.fromarray(noise)
    exif = Image.Exif()
    exif[274] = 6
    several = {"save_all": True, "append_images": [grey.rotate(90), grey]}
    return [
        *(saved(grey, kind) for kind in ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")),
        *(saved(colour, kind) for kind in ("BMP", "JPEG2000", "PPM", "TIFF")),
        *(saved(clear, kind) for kind in ("PNG", "TIFF", "WEBP")),
        *(saved(deep, kind) for kind in ("PNG", "TIFF", "PPM", "JPEG2000")),
        *(saved(colour.quantize(16), kind) for kind in ("PNG", "TIFF", "GIF")),
        *(saved(grey, kind, **several) for kind in ("GIF", "PNG", "TIFF", "WEBP")),
        *(saved(colour, "TIFF", compression=f"tiff_{kind}") for kind in ("lzw", "adobe_deflate", "jpeg")),
        *(saved(colour, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        saved(colour, "JPEG", progressive=True),
        saved(colour.convert("CMYK"), "JPEG"),
        saved(colour.convert("CMYK"), "TIFF"),
        saved(real, "TIFF"),
        saved(real, "PPM"),
        saved(grey.point(lambda value: value > 99, "1"), "TIFF", compression="group4"),
        b"P5 20 24 1000\n" + bytes(2 * 20 * 24),
    ]


FILES = whole_files()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a file that was whole, with some of its bytes changed, cut, moved, or taken from another file."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers are hit as often as pixels.
        place = draw(st.integers(0, min(len(content), draw(st.sampled_from([48, 200, 100_000])))))
        kind = draw(st.sampled_from(["byte", "field", "cut", "remove", "repeat", "splice"]))
        if kind == "byte":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "field":
            size, order = draw(st.sampled_from([2, 4])), draw(st.sampled_from(["little", "big"]))
            value = draw(st.sampled_from([0, 1, 2, 7, 8, 16, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1]))
            content[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, order)
        elif kind == "cut":
            del content[place:]
        elif kind == "remove":
            del content[place : place + draw(st.integers(1, 40))]
        elif kind == "repeat":
            content[place:place] = content[place : place + draw(st.integers(1, 40))]
        else:
            other = draw(st.sampled_from(FILES))
            content[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(content)


def check(content: bytes, capfd: pytest.CaptureFixture) -> None:
    found = read(Upload("x", content), SETTINGS, "all")
    assert found
    for each in found:
        if isinstance(each, Square):
            assert each.pixels.dtype == np.uint8 and each.pixels.shape == (16, 16, 3)
        else:
            assert OURS.fullmatch(each.reason), each.reason
    heard = capfd.readouterr()
    assert heard.out == heard.err == ""


def test_whole_files_are_read(capfd):
    for content in FILES:
        found = read(Upload("x", content), SETTINGS, "all")
        assert all(isinstance(each, Square) for each in found), (content[:40], found)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@settings(
    max_examples=6_000,
    derandomize=True,
    deadline=10_000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=damaged())
def test_a_damaged_file_gives_a_picture_or_one_line_of_ours(content: bytes, capfd):
    check(content, capfd)
