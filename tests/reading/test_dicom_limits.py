"""Small DICOM files that would take a lot of memory or time are refused in one line, and none takes more than 1 GB."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.dicom_files import write
from trueslice.reading import dicom
from trueslice.reading.limits import MAX_PIXELS
from trueslice.reading.pictures import read_pictures

VALUES = np.tile(np.arange(32, dtype=np.uint16) * 100, (32, 1))
# Reads good files, and then another; prints the peak of memory that the last adds, in MB, and what was found in it.
MEASURE = """
import re, sys
from pathlib import Path
from trueslice.reading.pictures import read_pictures

def peak():  # of this process alone; getrusage has that of the one that started it too
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

for path in sys.argv[2:]:
    before = peak()
    try:
        found = [str(getattr(one, "image", one)) for _, one in read_pictures(Path(path), "", int(sys.argv[1]), "all")]
    except ValueError as error:
        found = [str(error)]
print((peak() - before) // 1024, len(found), found[-1], sep="|")
"""


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "scan.dcm"


def said_of(file: Path, max_pixels: int = 10_000) -> str:
    """The reason why it is not read."""
    try:
        return next(found for _, found in read_pictures(file, "", max_pixels, "all"))
    except ValueError as error:
        return str(error)


def measured(file: Path, max_pixels: int = 10_000) -> tuple[int, int, str]:
    """Return MB of memory, the number of pictures, and what the last one is, or why it's not read."""
    good = [write(file.with_name("good.dcm"), VALUES), write(file.with_name("j2k.dcm"), VALUES, uid.JPEG2000Lossless)]
    command = [sys.executable, "-c", MEASURE, str(max_pixels), *map(str, [*good, file])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    memory, count, last = done.stdout.strip().split("|")
    return int(memory), int(count), last


def encapsulated(file: Path, syntax: uid.UID, frames: list[bytes], **tags) -> Path:
    """Write compressed frames under the header of 32 x 32 pixels of 16 bits."""
    scan = pydicom.dcmread(write(file, VALUES))
    scan.file_meta.TransferSyntaxUID = syntax
    for name, value in tags.items():
        setattr(scan, name, value)
    scan.PixelData = encapsulate(frames, has_bot=False)
    scan["PixelData"].VR = "OB"
    scan.save_as(file)
    return file


def jpeg2000(width: int, height: int) -> bytes:
    """A good JPEG 2000 of 32 x 32 pixels that says it has others."""
    stream = io.BytesIO()
    Image.fromarray(VALUES).save(stream, "JPEG2000", no_jp2=True)
    code = stream.getvalue()
    assert code[8:16] == struct.pack(">2L", 32, 32)
    return code[:8] + struct.pack(">2L", width, height) + code[16:24] + struct.pack(">2L", width, height) + code[32:]


def jpeg(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((VALUES // 16).astype(np.uint8)).save(stream, "JPEG")
    head, tail = stream.getvalue().split(struct.pack(">BHH", 8, 32, 32))
    return head + struct.pack(">BHH", 8, height, width) + tail


ODD = "its Pixel Data (7FE0,0010) is not a complete JPEG of its Rows and Columns, or is of an odd kind"
EIGHT_BITS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


@pytest.mark.parametrize(
    ("syntax", "code", "tags"),
    [(uid.JPEG2000Lossless, jpeg2000, {}), (uid.JPEGBaseline8Bit, jpeg, EIGHT_BITS)],
)
def test_a_compressed_frame_that_is_larger_than_rows_and_columns_is_not_decoded(file, syntax, code, tags):
    assert said_of(encapsulated(file, syntax, [code(32, 32)], **tags)).image.size == (32, 32)
    memory, _, said = measured(encapsulated(file, syntax, [code(60_000, 60_000)], **tags))
    assert said == ODD
    assert memory < 100


def test_a_jpeg_of_more_scans_than_samples_is_not_decoded(file):
    code = jpeg(32, 32)
    scan = code[code.index(b"\xff\xda") : -2]
    assert said_of(encapsulated(file, uid.JPEGBaseline8Bit, [code[:-2] + scan + code[-2:]], **EIGHT_BITS)) == ODD


def finely_divided(block: int = 4, precinct: int | None = None, layers: int = 1) -> bytes:
    """A JPEG 2000 of 32 x 32 black pixels, in blocks and precincts of 2 ** block or precinct pixels a side."""
    stream = io.BytesIO()
    Image.fromarray(VALUES * 0).save(stream, "JPEG2000", no_jp2=True, num_resolutions=1)
    code = stream.getvalue()
    at = code.index(b"\xff\x52")
    precincts = b"" if precinct is None else bytes([precinct << 4 | precinct])
    style = struct.pack(">BBHBBBBBB", len(precincts), 0, layers, 0, 0, block, block, 0, 1) + precincts
    assert code[at + 2 : at + 4] == b"\0\x0c"
    return code[: at + 2] + struct.pack(">H", 2 + len(style)) + style + code[at + 14 :]


@pytest.mark.parametrize("divided", [{"block": 1}, {"precinct": 3}, {"layers": 101}])
def test_a_jpeg_2000_of_many_blocks_is_not_decoded(file, divided):
    for good in ({}, {"block": 2}, {"precinct": 4}, {"layers": 100}):
        assert said_of(encapsulated(file, uid.JPEG2000Lossless, [finely_divided(**good)])) != ODD
    assert said_of(encapsulated(file, uid.JPEG2000Lossless, [finely_divided(**divided)])) == ODD
    image = file.with_suffix(".j2k")
    image.write_bytes(finely_divided(**divided))
    assert said_of(image) == "it is a JPEG 2000 of too many blocks; save it again as PNG"


@pytest.mark.parametrize(
    ("syntax", "code", "tags"),
    [(uid.JPEG2000Lossless, jpeg2000, {}), (uid.JPEGBaseline8Bit, jpeg, EIGHT_BITS)],
)
def test_a_compressed_frame_that_is_cut_off_is_refused(file, syntax, code, tags):
    cut = [code(32, 32)[:-6]]
    assert said_of(encapsulated(file, syntax, cut, **tags)) == "its Pixel Data (7FE0,0010) is incomplete"
    assert said_of(encapsulated(file, syntax, cut, **tags, NumberOfFrames=1)) == ODD


def test_runs_are_not_expanded_beyond_the_last_pixel(file):
    runs = b"\x81\x07" * 250_000  # of 128 pixels
    frame = struct.pack("<16L", 2, 64, 64 + len(runs), *[0] * 13) + 2 * runs
    memory, _, found = measured(encapsulated(file, uid.RLELossless, [frame]))
    assert "size=32x32" in found and memory < 20
    longer = struct.pack("<16L", 2, 64, 64 + len(runs), *[0] * 13) + 4 * runs
    said = "its Pixel Data (7FE0,0010) is longer than a frame would be without compression"
    assert said_of(encapsulated(file, uid.RLELossless, [longer])) == said


@pytest.mark.slow
def test_a_deflated_file_is_not_inflated_beyond_a_limit(file):
    content = write(file, VALUES, uid.DeflatedExplicitVRLittleEndian).read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")  # of the file meta information
    zipper = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = b"".join(zipper.compress(bytes(2**24)) for _ in range(64)) + zipper.flush()  # 1 GB
    file.write_bytes(content[:start] + bomb)
    memory, _, said = measured(file)
    assert said == "its deflated content is incomplete, or longer than 64 MB" and memory < 400
    file.write_bytes(content[:-20])
    assert said_of(file) == said
    file.write_bytes(content[:start] + b"\xff" + content[start:])
    assert said_of(file) == "its deflated content is damaged"


def with_element(file: Path, group: int, element: int, vr: bytes, value: bytes) -> Path:
    """Write an element before the pixels, in explicit or, without `vr`, in implicit encoding."""
    content = write(file, VALUES, uid.ExplicitVRLittleEndian if vr else uid.ImplicitVRLittleEndian).read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    head = struct.pack("<HH2sHL", group, element, vr, 0, len(value))
    if not vr:
        head = struct.pack("<HHL", group, element, len(value))
    file.write_bytes(content[:at] + head + value + content[at:])
    return file


ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
GROUPS, CHARACTERS = (0x5200, 0x9230), (0x0008, 0x0005)


def test_a_header_of_many_items_or_values_is_refused_and_one_of_fewer_takes_little_memory(file):
    memory, _, found = measured(with_element(file, *GROUPS, b"SQ", ITEM * (dicom.MOST_PARTS - 9)))
    assert "size=32x32" in found and memory < 400
    said = "its header has too many items or values"
    assert said_of(with_element(file, *GROUPS, b"SQ", ITEM * (dicom.MOST_PARTS + 1))) == said
    memory, _, found = measured(with_element(file, *CHARACTERS, b"", b"x\\" * (dicom.MOST_PARTS + 1)))
    assert found == said and memory < 100


def test_a_header_that_is_too_long_is_refused(file):
    said = "its header is longer than 16 MB"
    assert said_of(with_element(file, 0x5400, 0x1010, b"OW", bytes(dicom.HEADER))) == said


@pytest.mark.slow
def test_the_largest_picture_of_the_longest_numbers_takes_less_than_a_gigabyte(file):
    scan = pydicom.dcmread(write(file, VALUES))
    del scan.PixelData
    scan.Rows = scan.Columns = 5000
    scan.BitsAllocated, scan.DoubleFloatPixelData = 64, np.linspace(0, 1, MAX_PIXELS).tobytes()
    scan.save_as(file)
    memory, _, found = measured(file, MAX_PIXELS)
    assert "size=5000x5000" in found and memory < 1000
