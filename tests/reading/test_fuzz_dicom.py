"""Damaged DICOM files: each gives all its pictures, or one line in our words, and soon; nothing else is said."""

import io
import re
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from tests.dicom_files import SECRETS, write
from trueslice.files import Upload
from trueslice.inference.reading import Square, read
from trueslice.reading.dicom import PIXELS, TAGS

SETTINGS = {"image_size": 16, "colour": True, "max_pixels": 100_000}
VALUES = np.tile(np.arange(32, dtype=np.uint16) * 100, (32, 1))
WORDS = re.compile(
    r"its [A-Z][A-Za-z ]+ \([0-9A-F]{4},[0-9A-F]{4}\) (is|does|cannot|has|contradicts)"
    r" [a-zA-Z0-9 ,;_]+"
    r"|its (pixels are damaged, or cannot be decoded here|pixels are compressed) \([A-Za-z0-9 ,.()/:-]+\)"
    r"|its deflated content is (damaged|incomplete, or longer than 64 MB)"
    r"|its header (is longer than 16 MB|has too many items or values)"
    r"|it is not a DICOM file that holds a picture|the file is empty"
    r"|it holds more than 2000 pictures; divide it into files"
    r"|\d+ x \d+ pixels are more than verify.max_pixels \(100000\)"
)
# What may stand in a tag in place of its value.
ODD = [
    b"\0\0",
    b"\xff\xff",
    b"\x01\0",
    b"\x08\0",
    b"\x10\0",
    b"nan ",
    b"-1",
    b"1E999",
    b"1\\2",
    b"1A",
    b"0 ",
    b"  ",
    b"\\",
]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> list[bytes]:
    """Files of many kinds."""
    path = tmp_path_factory.mktemp("good") / "scan.dcm"
    item, frames = Dataset(), np.stack([VALUES, VALUES[::-1], VALUES.T])
    item.LUTDescriptor, item.LUTData = [32, 0, 16], np.arange(0, 3200, 100, "<u2").tobytes()
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth, group.FrameVOILUTSequence = 1500, 1001, [window]
    groups = {"PerFrameFunctionalGroupsSequence": [group] * 3, "SharedFunctionalGroupsSequence": [group]}
    shown = {
        "WindowCenter": 1500,
        "WindowWidth": 1001,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "PixelPaddingValue": 0,
    }
    palette = {f"{colour}PaletteColorLookupTableDescriptor": [32, 0, 16] for colour in ("Red", "Green", "Blue")}
    ramp = np.array([0, 1, 0, 1, 31, 60_000], "<u2").tobytes()
    palette |= {f"Segmented{colour}PaletteColorLookupTableData": ramp for colour in ("Red", "Green", "Blue")}
    rgb = np.stack([VALUES // 16] * 3, axis=-1).astype(np.uint8)
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "NumberOfFrames": 16}
    many = [
        *(write(path, frames, syntax, **shown).read_bytes() for syntax in SYNTAXES),
        write(path, frames, **groups).read_bytes(),
        write(path, VALUES // 100, PhotometricInterpretation="PALETTE COLOR", **palette).read_bytes(),
        write(path, VALUES, VOILUTSequence=[item], ModalityLUTSequence=[item]).read_bytes(),
        write(path, VALUES, PhotometricInterpretation="MONOCHROME1", **bits).read_bytes(),
        *(write(path, rgb, syntax).read_bytes() for syntax in SYNTAXES[-3:]),
        *(Path(str(get_testdata_file(name, download=False))).read_bytes() for name in WHEEL),
    ]
    return [*many, jpeg(path, rgb)]


SYNTAXES = (
    *(uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless),
)
# Small files of pydicom's wheel, in encodings that nothing here writes.
WHEEL = ("MR_small_jpeg_ls_lossless.dcm", "SC_rgb_small_odd_jpeg.dcm")


def jpeg(path, rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG")
    scan = pydicom.dcmread(write(path, rgb))
    scan.file_meta.TransferSyntaxUID, scan.PhotometricInterpretation = uid.JPEGBaseline8Bit, "YBR_FULL_422"
    scan.PixelData, scan.NumberOfFrames = encapsulate([stream.getvalue()] * 2), 2
    scan["PixelData"].VR = "OB"
    scan.save_as(path)
    return path.read_bytes()


EDITS = st.one_of(
    st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 3000)),
    st.tuples(st.just("tag"), st.sampled_from([*TAGS, *PIXELS]), st.sampled_from(ODD)),
    st.tuples(st.just("length"), st.sampled_from([*TAGS, *PIXELS]), st.integers(0, 2**32 - 1)),
)


def damaged(content: bytes, edits: list[tuple]) -> bytes:
    for kind, where, what in edits:
        if kind in ("tag", "length"):
            tag = tag_for_keyword(where)
            at = content.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF)) + 8
            new = what if kind == "tag" else struct.pack("<HL", what & 0xFFFF, what)
            at -= 2 * (kind == "length")
            content = content[:at] + new + content[at + len(new) :]
            continue
        # The header is the shorter part of a file, and has most to read.
        at = int(where * 2 * 1500) if where < 0.5 else int((where - 0.5) * 2 * len(content))
        new, cut = (b"", what) if kind == "cut" else (what, len(what) if kind == "set" else 0)
        content = content[:at] + new + content[at + cut :]
    return content


@pytest.mark.slow
def test_damaged_files_give_pictures_or_one_line(good, capfd, recwarn):
    seen: Counter[str] = Counter()

    @settings(max_examples=4000, derandomize=True, deadline=None, database=None)
    @given(st.integers(0, len(good) - 1), st.lists(EDITS, max_size=3), st.sampled_from(["all", 2, None]))
    def check(number: int, edits: list[tuple], frame: int | str | None):
        start = time.process_time()
        answers = read(Upload("scan.dcm", damaged(good[number], edits)), SETTINGS, frame)
        assert time.process_time() - start < 10
        assert answers
        for answer in answers:
            seen[type(answer).__name__] += 1
            if isinstance(answer, Square):
                assert answer.pixels.dtype == np.uint8 and answer.pixels.shape == (16, 16, 3)
                continue
            told = answer.reason.startswith(("it holds ", "it has no frame"))
            assert told or WORDS.fullmatch(answer.reason), answer.reason
            assert not [secret for secret in SECRETS if secret in answer.reason]

    check()
    said = capfd.readouterr()
    assert (said.out, said.err, recwarn.list) == ("", "", [])
    assert min(seen["Square"], seen["Unreadable"]) > 1000
