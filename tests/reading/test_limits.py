import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trueslice.files import Upload
from trueslice.inference.reading import read, read_each
from trueslice.params import load
from trueslice.reading import limits

SETTINGS = {"image_size": 32, "colour": True, "max_pixels": 10_000}
SIDE = 5000  # of the largest picture
# Reads files as `trueslice predict` does, in several threads if it is given several.
MEASURED = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from trueslice.inference.reading import Square, read_each
from trueslice.reading.limits import MAX_PIXELS

def memory(kind):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(kind)) * 1024

def count(path):
    settings = {"image_size": 224, "colour": True, "max_pixels": MAX_PIXELS}
    return sum(isinstance(each, Square) for each in read_each(Path(path), settings, "all"))

list(read_each(np.zeros((8, 8), np.uint8), {"image_size": 224, "colour": True}))
resting, start = memory("VmRSS"), time.process_time()
with ThreadPoolExecutor(8) as pool:
    read = sum(pool.map(count, sys.argv[1:]))
json.dump([read, memory("VmHWM") - resting, time.process_time() - start], sys.stdout)
"""


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes], width: int = 8, height: int = 8) -> bytes:
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * height))
    parts = ((b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def gif(screen: int, *sides: int, disposal: int = 0) -> bytes:
    """Make a GIF of square frames; none has enough pixels."""
    head = struct.pack("<6s2H3B", b"GIF89a", screen, screen, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = bytes([0x21, 0xF9, 4, disposal << 2, 1, 0, 0, 0])
    frames = (control + b"," + struct.pack("<4HB", 0, 0, side, side, 0) + b"\2\2\x44\1\0" for side in sides)
    return head + b"".join(frames) + b";"


def tiff(*pages: dict[int, int], pixels: bytes = bytes(64)) -> bytes:
    """Make a TIFF whose pages share their pixels; each is given by its tags."""
    content, end = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels, 8 + len(pixels)
    directories = []
    for number, tags in enumerate(pages, 1):
        whole = {258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: tags[257], 279: len(pixels)} | tags
        entries = b"".join(struct.pack("<2H2I", tag, 4, 1, value) for tag, value in sorted(whole.items()))
        end += 2 + len(entries) + 4
        directories.append(struct.pack("<H", len(whole)) + entries + struct.pack("<I", end * (number < len(pages))))
    return content + b"".join(directories)


def bomb(name: str) -> bytes:
    """Make a small file that would take much memory or time."""
    jpeg = saved(Image.new("L", (32, 32)), "JPEG", progressive=True)
    scan = jpeg.rfind(b"\xff\xda")
    strips = bytearray(tiff({256: 8, 257: 8}))
    place = strips.rfind(struct.pack("<2HI", 273, 4, 1))
    strips[place + 4 : place + 8] = struct.pack("<I", 10**6)
    return {
        "frames.gif": lambda: gif(100, *[1] * 11),
        "beyond its screen.gif": lambda: gif(1, 1, 60_000, 60_000),
        "filled.gif": lambda: gif(1, 60_000, disposal=2),
        "kept.gif": lambda: gif(1, 1, 60_000, 60_000, disposal=3),
        "many frames.gif": lambda: gif(1, *[1] * 2001),
        "blocks.gif": lambda: gif(1, 1)[:-1] + b"!\xfe" + b"\1a" * 1_000_000 + b"\0" + gif(1, 1)[19:],
        "canvas.webp": lambda: animated(4, "WEBP").replace(b"\7\0\0\7\0\0", b"\xff\xff\0\xff\xff\0", 1),
        "frames.png": lambda: png((b"acTL", struct.pack(">2I", 2001, 0))),
        "chunks.png": lambda: png(*[(b"prVt", b"")] * 1001),
        "profiles.png": lambda: png(*[(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6)))] * 500),
        "text.png": lambda: png((b"zTXt", b"x\0\0" + zlib.compress(bytes(10**7)))),
        "pages.tif": lambda: tiff(*[{256: 1, 257: 1}] * 2001),
        "vast second page.tif": lambda: tiff({256: 1, 257: 1}, {256: 60_000, 257: 60_000}),
        "tile.tif": lambda: tiff({256: 8, 257: 8, 322: 60_000, 323: 60_000, 324: 8, 325: 64}),
        "strips.tif": lambda: bytes(strips),
        "scans.jpg": lambda: jpeg[:-2] + jpeg[scan:-2] * 101 + b"\xff\xd9",
        "exif.jpg": lambda: jpeg[:2] + (b"\xff\xe1\0\x0aExif\0\0ab" * 1000) + jpeg[2:],
        "text.pgm": lambda: b"P2 2 1 255 1 2",
        "ten bits.pgm": lambda: b"P5 90 90 1000\n" + bytes(90 * 90 * 2),
        "vast.jp2": lambda: saved(Image.new("L", (300, 300)), "JPEG2000"),
    }[name]()


def animated(count: int, kind: str, side: int = 8, **options) -> bytes:
    frames = [Image.new("L" if kind == "GIF" else "RGB", (side, side), "#" + 6 * str(grey)) for grey in range(count)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("frames.gif", "it holds more than 10 pictures of 100 x 100 pixels; divide it into files"),
        ("beyond its screen.gif", "its pixels are more than verify.max_pixels (10000)"),
        ("filled.gif", "its pixels are more than verify.max_pixels (10000)"),
        ("kept.gif", "its pixels are more than verify.max_pixels (10000)"),
        ("many frames.gif", "it holds more than 2000 pictures of 1 x 1 pixels; divide it into files"),
        ("blocks.gif", "it is stored in too many pieces; save it again as PNG"),
        ("canvas.webp", "its pixels are more than verify.max_pixels (10000)"),
        ("frames.png", "it holds more than 1562 pictures of 8 x 8 pixels; divide it into files"),
        ("chunks.png", "it holds too many parts that are no pixels; save it again"),
        ("profiles.png", "it is stored in too many pieces; save it again as PNG"),
        ("text.png", "its pixels are damaged"),
        ("pages.tif", "it holds more than 2000 pictures; divide it into files"),
        ("vast second page.tif", "60000 x 60000 pixels are more than verify.max_pixels (10000)"),
        ("tile.tif", "60000 x 60000 pixels are more than verify.max_pixels (10000)"),
        ("strips.tif", "it is a TIFF of too many strips or tiles; save it again"),
        ("scans.jpg", "it is a JPEG of too many passes; save it again as PNG"),
        ("exif.jpg", "it is stored in too many pieces; save it again as PNG"),
        ("text.pgm", "it is a PNM with pixels as text; save it as PNG"),
        ("vast.jp2", "300 x 300 pixels are more than verify.max_pixels (10000)"),
    ],
)
def test_a_file_beyond_a_limit_is_refused_in_one_line(name: str, reason: str):
    found = read(Upload(name, bomb(name)), SETTINGS, "all")
    assert found[-1].reason == reason


def test_pages_of_different_sizes_are_counted_together():
    pages = [{256: 1, 257: 1}, *[{256: 100, 257: 100}] * 12]
    found = read(Upload("x.tif", tiff(*pages, pixels=zlib.compress(bytes(10_000)))), SETTINGS, "all")
    reason = "the pictures of its file have too many pixels together; divide it into files"
    assert [getattr(each, "reason", "read") for each in found] == ["read"] * 10 + [reason] * 3


@pytest.mark.parametrize(("kind", "most"), [("BMP", 200), ("JPEG2000", 64)])
def test_a_file_that_is_too_large_is_not_read(kind: str, most: int, tmp_path: Path):
    with (tmp_path / "x").open("wb") as file:
        file.write(saved(Image.new("L", (8, 8)), kind))
        file.truncate(most * 2**20 + 1)
    (found,) = read(tmp_path / "x", SETTINGS)
    assert found.reason == f"the file is larger than {most} MB; divide it, or save it smaller"


def test_frames_are_read_one_by_one():
    frames = read_each(Upload("x.gif", animated(3, "GIF")), SETTINGS, "all")
    assert next(frames).name == "x.gif, frame 1"
    frames.close()


def test_the_default_of_max_pixels_is_the_one_that_was_measured():
    assert load(Path(__file__).parents[2] / "params.yaml").verify.max_pixels == limits.MAX_PIXELS
    assert limits.MAX_PIXELS == SIDE**2


def large(name: str) -> tuple[bytes, int]:
    """Make a file that is just within the limits, and the number of its pictures."""
    ramp = np.broadcast_to(np.arange(SIDE, dtype=np.uint8)[:, None, None], (SIDE, SIDE, 4))
    picture = Image.fromarray(np.ascontiguousarray(ramp))
    if name in ("gif", "webp", "apng", "tiff"):
        options = {"gif": {}, "webp": {"lossless": True, "method": 0}, "apng": {"compress_level": 1}}
        kind = name.upper().replace("APNG", "PNG")
        return animated(4, kind, SIDE, **options.get(name, {"compression": "tiff_lzw"})), 4
    if name == "float":
        return saved(Image.fromarray(ramp[..., 0].astype(np.float32)), "TIFF", compression="tiff_lzw"), 1
    if name == "exif":
        small = saved(Image.new("L", (8, 8)), "JPEG")
        return small[:2] + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) * 200 + small[2:], 1
    if name == "passes":
        jpeg = saved(picture.convert("RGB"), "JPEG", progressive=True)
        return jpeg[:-2] + jpeg[jpeg.rfind(b"\xff\xda") : -2] * 80 + b"\xff\xd9", 1
    return saved(picture, name, **({"compress_level": 1} if name == "PNG" else {})), 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["JPEG2000", "PNG", "gif", "webp", "apng", "tiff", "float", "exif", "passes"])
def test_no_file_that_is_read_takes_more_than_a_gigabyte_and_ten_seconds(name: str, tmp_path: Path):
    content, count = large(name)
    (tmp_path / name).write_bytes(content)
    assert measured(tmp_path / name)[0] == count


@pytest.mark.slow
def test_threads_together_take_no_more_than_a_gigabyte(tmp_path: Path):
    (tmp_path / "large").write_bytes(large("JPEG2000")[0])
    (tmp_path / "small").write_bytes(saved(Image.new("RGBA", (1000, 1000)), "JPEG2000"))
    assert measured(*[tmp_path / "large", tmp_path / "small"] * 4)[0] == 8


def measured(*paths: Path) -> tuple[int, float, float]:
    """Return the number of pictures that another process read, and check its memory and CPU time."""
    command = [sys.executable, "-c", MEASURED, *map(str, paths)]
    count, memory, seconds = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert memory < 10**9
    assert seconds / len(paths) < 10
    return count, memory, seconds
