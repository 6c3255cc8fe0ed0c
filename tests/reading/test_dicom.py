"""DICOM files, as a viewer shows them."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, RLELossless

from tests.dicom_files import SECRETS, write
from trueslice.commands import cli
from trueslice.inference.reading import read
from trueslice.reading import dicom, pixel_data

SETTINGS = {"image_size": 32, "colour": False, "max_pixels": 10_000}
VALUES = np.tile(np.arange(32) * 100, (32, 1))  # 0 to 3100


def shown(path: Path, frame=None) -> list[float]:
    """The middle row as a viewer shows it."""
    (found,) = read(path, SETTINGS, frame)
    return found.pixels[16].tolist()


def grey(shares: np.ndarray) -> list[float]:
    return pytest.approx(255 * np.clip(shares, 0, 1), abs=1)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "scan.dcm"


def test_without_a_window_all_but_the_darkest_and_the_brightest_hundredth_is_shown(file):
    assert shown(write(file, VALUES.astype(np.uint16))) == grey(VALUES[0] / 3100)
    values = VALUES.astype(np.uint16)
    values[0, :3] = 60_000  # as few hot pixels are
    assert shown(write(file, values)) == grey(VALUES[0] / 3100)
    sparse = np.zeros((32, 32), np.uint16)
    sparse[16, :3] = 100, 200, 300
    assert shown(write(file, sparse))[:4] == [85, 170, 255, 0]


def test_a_window_is_applied_as_the_standard_says(file):
    values = VALUES.astype(np.uint16)
    write(file, values, WindowCenter=1500, WindowWidth=1001)
    assert shown(file) == grey((VALUES[0] - 1499.5) / 1000 + 0.5)
    write(file, values, WindowCenter=1500, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    assert shown(file) == grey((VALUES[0] - 1500) / 1000 + 0.5)
    write(file, values, WindowCenter=1500, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert shown(file) == grey(1 / (1 + np.exp(-4 * (VALUES[0] - 1500) / 1000)))
    write(file, values, WindowCenter=[1500, 9], WindowWidth=[1001, 9])
    assert shown(file) == grey((VALUES[0] - 1499.5) / 1000 + 0.5)


def test_the_window_is_of_rescaled_values(file):
    write(file, VALUES.astype(np.uint16), RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1500, WindowWidth=1001)
    assert shown(file) == grey((2 * VALUES[0] - 1000 - 1499.5) / 1000 + 0.5)


def test_monochrome1_is_white_where_values_are_low(file):
    write(file, VALUES.astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    assert shown(file) == grey(1 - VALUES[0] / 3100)


def test_windows_of_frames_are_their_own(file):
    frames = np.stack([VALUES, VALUES]).astype(np.uint16)
    groups = []
    for centre in (1000, 2000):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 1001
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    write(file, frames, PerFrameFunctionalGroupsSequence=groups)
    assert shown(file, 1) == grey((VALUES[0] - 999.5) / 1000 + 0.5)
    assert shown(file, 2) == grey((VALUES[0] - 1999.5) / 1000 + 0.5)
    assert read(file, SETTINGS)[0].reason.startswith("it holds 2 frames; choose one")
    assert [each.name[-7:] for each in read(file, SETTINGS, "all")] == ["frame 1", "frame 2"]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels_are_the_same(file, tmp_path, syntax):
    plain = shown(write(tmp_path / "plain.dcm", VALUES.astype(np.uint16)))
    assert shown(write(file, VALUES.astype(np.uint16), syntax)) == plain


def test_rle_with_more_pixels_than_rows_does_not_end_the_process(file):
    scan = pydicom.dcmread(write(file, VALUES.astype(np.uint16), RLELossless))
    scan.Rows = 16
    scan.save_as(file)
    assert len(read(file, SETTINGS)) == 1


def test_colour_is_colour(file):
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[..., 0] = 200
    (found,) = read(write(file, colour), SETTINGS | {"colour": True})
    assert found.has_colour and found.pixels[16, 16].tolist() == [200, 0, 0]


# Tags that are empty, or of no use


def item(**tags) -> list[Dataset]:
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return [made]


def lookup(entries: np.ndarray | bytes, bits: int, first: int = 0, count: int | None = None) -> list[Dataset]:
    is_packed = isinstance(entries, bytes)
    made = item(LUTDescriptor=[count or len(entries), first, bits])
    made[0].add_new("LUTData", "OW" if is_packed else "US", entries if is_packed else entries.tolist())
    return made


WINDOW = {"WindowCenter": 1500, "WindowWidth": 1001}
IN_WINDOW = (VALUES[0] - 1499.5) / 1000 + 0.5
WHOLE = VALUES[0] / 3100


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (WINDOW | {"RescaleSlope": None, "RescaleIntercept": None}, IN_WINDOW),
        (WINDOW | {"RescaleSlope": [1, 9], "RescaleIntercept": [0, 9]}, IN_WINDOW),
        (WINDOW | {"VOILUTSequence": []}, IN_WINDOW),
        (WINDOW | {"VOILUTSequence": item()}, IN_WINDOW),
        (WINDOW | {"ModalityLUTSequence": []}, IN_WINDOW),
        (WINDOW | {"VOILUTFunction": None, "PixelPaddingValue": None, "NumberOfFrames": None}, IN_WINDOW),
        ({"WindowCenter": ["", 1500], "WindowWidth": ["", 1001]}, IN_WINDOW),
        ({"WindowWidth": 1001}, WHOLE),
        ({"WindowCenter": None, "WindowWidth": 1001}, WHOLE),
        ({"WindowCenter": 0, "WindowWidth": 0}, WHOLE),
        ({"WindowCenter": 0, "WindowWidth": -1}, WHOLE),
        ({"WindowCenter": 0.45, "WindowWidth": 0.9, "RescaleSlope": 0.0003, "RescaleIntercept": 0}, VALUES[0] / 3000),
        ({"WindowCenter": 1600.5, "WindowWidth": 1}, VALUES[0] > 1600),
        ({"PixelPaddingValue": [0, 0]}, (VALUES[0] - 100) / 3000),
    ],
)
def test_what_is_empty_counts_as_absent(file, tags, expected):
    assert shown(write(file, VALUES.astype(np.uint16), **tags)) == grey(expected)


def test_an_empty_window_of_a_frame_leaves_the_one_of_all_frames(file):
    own, shared = item(FrameVOILUTSequence=item(WindowCenter=None)), item(FrameVOILUTSequence=item(**WINDOW))
    groups = {"PerFrameFunctionalGroupsSequence": own, "SharedFunctionalGroupsSequence": shared}
    assert shown(write(file, VALUES.astype(np.uint16), **groups)) == grey(IN_WINDOW)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (WINDOW | {"VOILUTFunction": "CUBIC"}, "VOI LUT Function (0028,1056) is none of LINEAR, LINEAR_EXACT, SIGMOID"),
        ({"RescaleSlope": 0}, "Rescale Slope (0028,1053) is 0"),
        ({"RescaleSlope": 1e308}, "Rescale Slope (0028,1053) is too great for its pixels"),
        ({"VOILUTSequence": lookup(np.arange(2), 16, 0, 9)}, "LUT Data (0028,3006) has fewer entries than it should"),
        (
            {"NumberOfFrames": 2**31 - 1},
            "Number of Frames (0028,0008) is greater than the frames that it holds",
        ),
        ({"NumberOfFrames": -1}, "Number of Frames (0028,0008) is not a whole number above 0"),
        (
            {"PhotometricInterpretation": None},
            "Photometric Interpretation (0028,0004) is missing, or none that is read here",
        ),
        (
            {"PhotometricInterpretation": "RGB"},
            "Samples per Pixel (0028,0002) does not fit its Photometric Interpretation",
        ),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "Red Palette Color Lookup Table Data (0028,1201) is missing or cannot be read",
        ),
    ],
)
def test_what_cannot_be_used_is_named_by_its_tag(file, tags, said):
    write(file, VALUES.astype(np.uint16), **tags)
    assert [each.reason for each in read(file, SETTINGS)] == [f"its {said}"]


@pytest.mark.parametrize("written", ["1500,5", "inf", "1E999", "4711-0"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WindowCenter", "its Window Center (0028,1050) is not a finite number"),
        ("WindowWidth", "its Window Width (0028,1051) is not a finite number"),
        ("RescaleSlope", "its Rescale Slope (0028,1053) is not a finite number"),
        ("NumberOfFrames", "its Number of Frames (0028,0008) is not a finite number"),
    ],
)
def test_what_is_no_number_is_named_by_its_tag_without_its_value(file, recwarn, name, said, written):
    write(file, VALUES.astype(np.uint16), **WINDOW | {name: 765432})
    file.write_bytes(file.read_bytes().replace(b"765432", written.ljust(6).encode()))
    assert [each.reason for each in read(file, SETTINGS)] == [said]
    assert not recwarn.list


# Lookup tables


@pytest.mark.parametrize("entries", [np.arange(4096) // 16, (np.arange(4096) // 16).astype(np.uint8).tobytes()])
def test_a_table_of_8_bits_takes_values_of_12(file, entries):
    write(file, VALUES.astype(np.uint16), VOILUTSequence=lookup(entries, 8))
    assert shown(file) == grey(VALUES[0] / 16 / 255)


@pytest.mark.parametrize("bits", [12, 16])
def test_the_range_of_a_table_is_black_to_white_whatever_bits_it_declares(file, bits):
    table = np.arange(4096)
    write(file, VALUES.astype(np.uint16) // 4, VOILUTSequence=lookup(table, bits))
    assert shown(file) == grey(VALUES[0] // 4 / 4095)


def test_a_table_begins_at_its_first_value_and_its_ends_go_on(file):
    write(file, VALUES.astype(np.uint16), VOILUTSequence=lookup(np.arange(0, 1001), 10, first=1000))
    assert shown(file) == grey(np.clip(VALUES[0] - 1000, 0, 1000) / 1023)


@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_negative_first_value_may_be_written_without_its_sign(file, kind):
    table = lookup(np.arange(3101), 12)
    table[0].add_new("LUTDescriptor", "US", [3101, 2**16 - 1500, 12])
    write(file, (VALUES - 1500).astype(np.int16).view(np.uint16), PixelRepresentation=1, **{kind: table})
    assert shown(file) == grey(VALUES[0] / (4095 if kind == "VOILUTSequence" else 3100))
    if kind == "VOILUTSequence":
        write(file, VALUES.astype(np.uint16), RescaleIntercept=-1500, RescaleSlope=1, VOILUTSequence=table)
        assert shown(file) == grey(VALUES[0] / 4095)


def test_a_modality_table_of_12_bits_comes_before_the_window(file):
    write(file, VALUES.astype(np.uint16), ModalityLUTSequence=lookup(4095 - np.arange(4096), 12), **WINDOW)
    assert shown(file) == grey((4095 - VALUES[0] - 1499.5) / 1000 + 0.5)


# Padding, and numbers that are none


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [-2000, 63_536])  # 63536 is -2000 without its sign
def test_all_padding_is_black_and_no_part_of_the_range(file, kind, value):
    values = VALUES.astype(np.int16)
    values[:, :3] = -2000, -1500, -1024
    tags = {"PixelRepresentation": 1, "PhotometricInterpretation": kind}
    write(file, values.view(np.uint16), **tags)
    scan = pydicom.dcmread(file)
    for name, number in (("PixelPaddingValue", value), ("PixelPaddingRangeLimit", -1024)):
        scan.add_new(name, "US" if number > 0 else "SS", number)
    scan.save_as(file)
    shares = (VALUES[0, 3:] - 300) / 2800
    assert shown(file) == [0, 0, 0, *(255 * (shares if kind == "MONOCHROME2" else 1 - shares)).round().tolist()]


def test_a_frame_of_nothing_but_padding_is_black(file):
    assert not any(shown(write(file, np.full((32, 32), 7, np.uint16), PixelPaddingValue=7)))


def test_padding_that_no_pixel_can_have_matches_none(file):
    values = (VALUES // 100 * 8).astype(np.uint8)
    tags = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME1"}
    for padding, first in ((256, 255), (0, 0)):
        assert shown(write(file, values, **tags, PixelPaddingValue=padding))[0] == first


@pytest.mark.parametrize("window", [{}, WINDOW])
def test_numbers_that_are_not_finite_are_black(file, recwarn, window):
    values = VALUES.astype(np.float32)
    values[16, 31] = np.nan
    write(file, values.view(np.uint32), **window)
    scan = pydicom.dcmread(file)
    del scan.PixelData
    scan.FloatPixelData = values.tobytes()
    scan.save_as(file)
    recwarn.clear()
    assert shown(file) == grey(np.append((IN_WINDOW if window else WHOLE)[:31], 0))
    assert not recwarn.list


# How a file is written


def test_values_that_stand_to_the_left_of_their_bits_are_read(file):
    write(file, VALUES.astype(np.uint16) << 4, BitsStored=12, HighBit=15, **WINDOW)
    assert shown(file) == grey(IN_WINDOW)


@pytest.mark.parametrize("is_implicit", [True, False])
def test_a_file_without_a_meta_header_is_read_as_its_tags_are_written(file, is_implicit):
    scan = pydicom.dcmread(write(file, VALUES.astype(np.uint16)))
    del scan.file_meta
    pydicom.dcmwrite(file, scan, implicit_vr=is_implicit, little_endian=True, enforce_file_format=False)
    assert shown(file) == grey(WHOLE)


@pytest.mark.parametrize(
    "syntax", [uid.DeflatedExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_a_file_is_read_in_any_encoding(file, syntax):
    assert shown(write(file, VALUES.astype(np.uint16), syntax)) == grey(WHOLE)


def test_an_unknown_encoding_is_named_by_its_tag(file):
    scan = pydicom.dcmread(write(file, VALUES.astype(np.uint16)))
    scan.file_meta.TransferSyntaxUID = "1.2.3.4711"
    scan.save_as(file, implicit_vr=False, little_endian=True)
    assert read(file, SETTINGS)[0].reason == "its Transfer Syntax UID (0002,0010) is none that is known"


def test_a_wrong_table_of_offsets_does_not_lead_to_wrong_frames(file):
    frames = np.stack([VALUES, VALUES[:, ::-1]]).astype(np.uint16)
    scan = pydicom.dcmread(write(file, frames, RLELossless))
    assert int.from_bytes(scan.PixelData[4:8], "little") == 8
    scan.PixelData = scan.PixelData[:8] + bytes(8) + scan.PixelData[16:]  # both frames are said to begin at 0
    scan.save_as(file)
    assert shown(file, 1) == grey(WHOLE) and shown(file, 2) == grey(WHOLE[::-1])


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_looked_up_in_any_order_of_bytes(file, syntax, bits):
    red = np.arange(32, dtype="<u2" if syntax.is_little_endian else ">u2") * 8 * (257 if bits == 16 else 1)
    tags = {f"{colour}PaletteColorLookupTableDescriptor": [32, 0, bits] for colour in ("Red", "Green", "Blue")}
    tags |= {f"{colour}PaletteColorLookupTableData": bytes(64) for colour in ("Green", "Blue")}
    tags |= {"RedPaletteColorLookupTableData": red.tobytes(), "PhotometricInterpretation": "PALETTE COLOR"}
    (found,) = read(write(file, (VALUES // 100).astype(np.uint16), syntax, **tags), SETTINGS | {"colour": True})
    assert found.pixels[16].tolist() == [[8 * place, 0, 0] for place in range(32)]


def test_a_dark_palette_of_16_bits_stays_dark(file):
    tags = {f"{colour}PaletteColorLookupTableDescriptor": [32, 0, 16] for colour in ("Red", "Green", "Blue")}
    ramp = (np.arange(32) * 1057).astype("<u2").tobytes()  # up to 32767
    tags |= {f"{colour}PaletteColorLookupTableData": ramp for colour in ("Red", "Green", "Blue")}
    write(file, (VALUES // 100).astype(np.uint16), PhotometricInterpretation="PALETTE COLOR", **tags)
    assert shown(file) == (np.arange(32) * 1057 // 256).tolist()


def test_segmented_palettes_are_expanded(file):
    ramp = np.array([0, 1, 0, 1, 31, 248 * 256], "<u2").tobytes()  # one entry of 0, then 31 to 248 in a straight line
    tags = {f"{colour}PaletteColorLookupTableDescriptor": [32, 0, 16] for colour in ("Red", "Green", "Blue")}
    tags |= {f"Segmented{colour}PaletteColorLookupTableData": ramp for colour in ("Red", "Green", "Blue")}
    write(file, (VALUES // 100).astype(np.uint16), PhotometricInterpretation="PALETTE COLOR", **tags)
    assert shown(file) == grey(np.arange(32) * 8 / 255)


# How pixels are stored


def colour_file(file: Path, values: np.ndarray, **tags) -> Path:
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **tags}
    return write(file, values, Rows=32, Columns=32, NumberOfFrames=1, **tags)


def test_colours_of_16_bits_are_refused_where_they_would_be_nearly_black(file):
    rgb = np.stack([VALUES] * 3, axis=-1).astype(np.uint16)
    assert shown(colour_file(file, rgb * 20)) == (VALUES[0] * 20 // 256).tolist()
    assert shown(colour_file(file, rgb, BitsStored=12, HighBit=11)) == (VALUES[0] // 16).tolist()
    said = "its Bits Stored (0028,0101) is greater than its colours need; they would be nearly black"
    assert read(colour_file(file, rgb), SETTINGS)[0].reason == said
    for bits in (10, 12):
        assert read(colour_file(file, rgb // 13, BitsStored=bits, HighBit=bits - 1), SETTINGS)[0].reason == said


def test_colours_of_fewer_than_8_bits_reach_white(file):
    rgb = np.stack([VALUES // 200] * 3, axis=-1).astype(np.uint8)  # 0 to 15
    assert shown(colour_file(file, rgb, BitsStored=4, HighBit=3)) == (VALUES[0] // 200 * 17).tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_with_a_sign_are_refused(file, kind):
    rgb = np.stack([VALUES // 13] * 3, axis=-1).astype(kind)
    said = "its Pixel Representation (0028,0103) is missing, or none that is read here"
    assert read(colour_file(file, rgb, PixelRepresentation=1), SETTINGS)[0].reason == said


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_shape_of_grey_that_contradicts_monochrome_is_refused(file, kind):
    tags, values = {"PhotometricInterpretation": kind}, VALUES.astype(np.uint16)
    good, bad = ("INVERSE", "IDENTITY")[:: 1 if kind == "MONOCHROME1" else -1]
    expected = shown(write(file, values, **tags))
    assert shown(write(file, values, **tags, PresentationLUTShape=good)) == expected
    said = "its Presentation LUT Shape (2050,0020) contradicts its Photometric Interpretation"
    assert read(write(file, values, **tags, PresentationLUTShape=bad), SETTINGS)[0].reason == said


def test_monochrome1_is_inverted_after_a_lookup_table(file):
    tags = {"VOILUTSequence": lookup(np.arange(4096), 12), "PhotometricInterpretation": "MONOCHROME1"}
    assert shown(write(file, VALUES.astype(np.uint16), **tags)) == grey(1 - VALUES[0] / 4095)


def test_supplemental_palettes_and_overlays_in_unused_bits_are_not_shown(file):
    tags = {f"{colour}PaletteColorLookupTableDescriptor": [16, 1600, 16] for colour in ("Red", "Green", "Blue")}
    tags |= {f"{colour}PaletteColorLookupTableData": bytes(32) for colour in ("Red", "Green", "Blue")}
    assert shown(write(file, VALUES.astype(np.uint16), PixelPresentation="COLOR", **tags)) == grey(WHOLE)
    values = (VALUES | np.where(VALUES > 1500, 0xF000, 0)).astype(np.uint16)
    assert shown(write(file, values, BitsStored=12, HighBit=11)) == grey(WHOLE)


def test_all_frames_are_read_where_their_number_is_missing(file):
    frames = np.stack([VALUES, VALUES[:, ::-1]]).astype(np.uint16)
    for syntax in (uid.ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless):
        without(write(file, frames, syntax), "NumberOfFrames")
        assert shown(file, 1) == grey(WHOLE) and shown(file, 2) == grey(WHOLE[::-1])


def test_frames_of_several_fragments_are_put_together(file):
    frames = np.stack([VALUES, VALUES[:, ::-1]]).astype(np.uint16)
    scan = pydicom.dcmread(write(file, frames, JPEG2000Lossless))
    parts = list(generate_frames(scan.PixelData, number_of_frames=2))
    scan.PixelData = encapsulate(parts, fragments_per_frame=3, has_bot=False)
    scan.save_as(file)
    assert shown(file, 1) == grey(WHOLE) and shown(file, 2) == grey(WHOLE[::-1])


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint32, np.int32])
def test_numbers_of_any_size_and_sign_are_read(file, kind):
    low, high = (-100, 100) if kind == np.int8 else (-30_000, 30_000) if kind == np.int16 else (0, 2**30)
    values = np.linspace(low, high, 32).astype(kind)
    size = 8 * values.itemsize
    tags = {"BitsAllocated": size, "BitsStored": size, "HighBit": size - 1, "Rows": 32, "Columns": 32}
    raw = np.frombuffer(np.tile(values, (32, 1)).tobytes(), np.uint16)
    write(file, raw.reshape(1, -1), PixelRepresentation=int(low < 0 or kind == np.int32), **tags)
    assert shown(file) == grey((values - float(low)) / (float(high) - low))
    sparse = np.full((32, 32), low, kind)
    sparse[16, :8] = high  # the 99th percentile is between two values that are further apart than the type has room
    write(file, np.frombuffer(sparse.tobytes(), np.uint16).reshape(1, -1), PixelRepresentation=int(low < 0), **tags)
    assert shown(file)[7:9] == [255, 0]


def test_a_negative_slope_inverts_the_range(file):
    assert shown(write(file, VALUES.astype(np.uint16), RescaleSlope=-2, RescaleIntercept=9)) == grey(1 - WHOLE)


def test_luma_and_chroma_become_colours(file):
    ybr = np.full((32, 32, 3), (76, 85, 255), np.uint8)  # red
    tags = {"PhotometricInterpretation": "YBR_FULL"}
    (found,) = read(write(file, ybr, **tags), SETTINGS | {"colour": True})
    assert found.pixels[16, 16].tolist() == pytest.approx([255, 0, 0], abs=2)
    tags = {"PhotometricInterpretation": "YBR_FULL_422", "Rows": 32, "Columns": 32}
    pairs = np.tile(np.array([76, 76, 85, 255], np.uint8), (32, 16)).reshape(32, 64, 1)
    (found,) = read(write(file, pairs, **tags), SETTINGS | {"colour": True})
    assert found.pixels[16, 16].tolist() == pytest.approx([255, 0, 0], abs=2)
    said = "its Photometric Interpretation (0028,0004) does not fit the length of its pixels"
    assert read(write(file, ybr, **tags), SETTINGS)[0].reason == said
    said = "its Photometric Interpretation (0028,0004) is missing, or none that is read here"
    assert read(write(file, ybr, PhotometricInterpretation="YBR_PARTIAL_420"), SETTINGS)[0].reason == said


def without(path: Path, *names: str) -> Path:
    scan = pydicom.dcmread(path)
    for name in names:
        delattr(scan, name)
    scan.save_as(path)
    return path


def test_files_without_a_picture_are_named_in_one_line(file):
    write(file, VALUES.astype(np.uint16))
    assert read(without(file, "PixelData"), SETTINGS)[0].reason == "its Pixel Data (7FE0,0010) is missing"
    assert read(without(file, "Rows"), SETTINGS)[0].reason == "it is not a DICOM file that holds a picture"
    write(file, VALUES.astype(np.uint16))
    said = "its Rows (0028,0010) is missing, or none that is read here"
    assert read(without(file, "Rows"), SETTINGS)[0].reason == said
    file.write_bytes(b"nothing of the kind" * 20)
    assert read(file, SETTINGS)[0].reason == "it is not a DICOM file that holds a picture"
    file.write_bytes(b"")
    assert read(file, SETTINGS)[0].reason == "the file is empty"
    write(file, np.zeros((200, 200), np.uint16))
    assert read(file, SETTINGS)[0].reason == "200 x 200 pixels are more than verify.max_pixels (10000)"


def test_a_missing_extra_is_named_with_the_command_that_brings_it(file, monkeypatch):
    write(file, VALUES.astype(np.uint16), JPEG2000Lossless)
    monkeypatch.setattr(pixel_data, "is_installed", lambda name: name != "pylibjpeg")
    monkeypatch.setattr("pydicom.pixels.get_decoder", None)
    said = "its pixels are compressed (JPEG 2000 Image Compression (Lossless Only)); install what decodes them: "
    assert read(file, SETTINGS)[0].reason == said + "pip install -e '.[dicom]'"
    monkeypatch.setattr(dicom, "is_installed", lambda name: False)
    assert read(file, SETTINGS)[0].reason == "DICOM files need pydicom; run: pip install -e '.[dicom]'"


def test_nothing_of_the_patient_is_ever_written(tmp_path, released, monkeypatch, capfd):
    write(tmp_path / "good.dcm", VALUES.astype(np.uint16))
    write(tmp_path / "many.dcm", np.stack([VALUES, VALUES]).astype(np.uint16))
    # Values that do not fit their kind make pydicom warn, and quote them.
    write(tmp_path / "odd.dcm", VALUES.astype(np.uint16), StudyTime="20200304", PatientAge="19700102")
    without(write(tmp_path / "none.dcm", VALUES.astype(np.uint16)), "PixelData")
    monkeypatch.chdir(released)
    for arguments in (["--format", "json"], ["--format", "csv", "--frame", "all"], []):
        with pytest.raises(SystemExit):
            cli.main(["predict", str(tmp_path), *arguments])
        said = capfd.readouterr()
        assert "good.dcm" in said.out and "none.dcm" in said.err
        assert not [secret for secret in SECRETS if secret in said.out + said.err]
