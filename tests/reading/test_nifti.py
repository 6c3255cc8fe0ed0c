"""NIfTI files, as a radiologist's viewer shows them."""

import gzip
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.nifti_files import SECRETS, content, write
from trueslice.files import Upload
from trueslice.inference.reading import read
from trueslice.reading import nifti
from trueslice.reading.pictures import is_image, read_pictures

ROOT = Path(__file__).parents[2]
SETTINGS = {"image_size": 32, "colour": False, "max_pixels": 10_000}
# Of a head, towards the right, the front and the head: all places differ, and so do the sides.
HEAD = np.arange(1, 5 * 6 * 4 + 1, dtype=np.int16).reshape(5, 6, 4)
WINDOW = {"cal_min": 0, "cal_max": 255}  # so that grey values come out as they are


def shown(path: Path, frame: int | str = "all") -> list[np.ndarray]:
    return [np.asarray(picture.image) for _, picture in read_pictures(path, path.name, 10_000, frame)]


def reason(path: Path) -> str:
    (found,) = read(path, SETTINGS, "all")
    assert not any(secret in found.reason for secret in SECRETS)
    return found.reason


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "scan.nii.gz"


ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def placed(order: tuple[int, ...], signs: tuple[int, ...], spacing=(1, 1, 1)) -> tuple[np.ndarray, np.ndarray]:
    """HEAD as a file of another order and direction of axes holds it, with the affine that says so."""
    values, affine = HEAD.transpose(order), np.eye(4)
    affine[:3, :3] = 0
    for axis, (of_head, sign) in enumerate(zip(order, signs, strict=True)):
        affine[of_head, axis] = sign * spacing[of_head]
        values = values if sign == 1 else np.flip(values, axis)
    return np.ascontiguousarray(values), affine


def test_slices_look_the_same_from_all_48_orientations_of_axes(file):
    axial = [HEAD[::-1, ::-1, z].T for z in range(4)]  # the right on the left, the front up
    coronal = [HEAD[::-1, y, ::-1].T for y in reversed(range(6))]  # the right on the left, the head up
    sagittal = [HEAD[x, ::-1, ::-1].T for x in reversed(range(5))]  # the front on the left, the head up
    assert len(ORIENTATIONS) == 48
    for thick, expected in ((2, axial), (1, coronal), (0, sagittal)):
        spacing = [1, 1, 1]
        spacing[thick] = 3
        for order, signs in ORIENTATIONS:
            pictures = shown(write(file, *placed(order, signs, spacing), **WINDOW))
            assert len(pictures) == len(expected)
            assert all(map(np.array_equal, pictures, expected)), (order, signs)


def test_slices_are_axial_where_no_axis_stands_out(file):
    for order, signs in ORIENTATIONS:
        assert len(shown(write(file, *placed(order, signs, (1, 1.04, 1)), **WINDOW))) == 4
        assert len(shown(write(file, *placed(order, signs, (2, 2, 1)), **WINDOW))) == 4


def test_the_header_may_name_the_slice_axis(file):
    for axis in range(3):
        pictures = shown(write(file, HEAD, np.diag([1, 1, 3, 1]), dim_info=(axis + 1) << 4))
        assert len(pictures) == HEAD.shape[axis]
    (picture,) = shown(write(file, HEAD[:, :1], dim_info=3 << 4, **WINDOW))
    assert np.array_equal(picture, HEAD[::-1, 0, ::-1].T)  # one slice is one picture


def test_oblique_slices_are_shown_as_they_were_acquired(file):
    turn = np.radians(30)
    affine = np.array(
        [[np.cos(turn), 0, -np.sin(turn), 0], [0, 1, 0, 0], [np.sin(turn), 0, np.cos(turn), 0], [0] * 3 + [1]]
    )
    pictures = shown(write(file, HEAD, affine, **WINDOW))
    assert all(map(np.array_equal, pictures, [HEAD[::-1, ::-1, z].T for z in range(4)]))


def test_the_orientation_is_the_sform_or_else_the_qform_or_else_as_in_analyze(file):
    image = nibabel.Nifti1Image(HEAD, None)
    image.header["cal_max"] = 255
    image.set_qform(np.diag([1, -1, 1, 1]), 1)
    image.set_sform(np.diag([1, 1, 1, 1]), 1)
    nibabel.save(image, file)
    assert np.array_equal(shown(file, 1)[0], HEAD[::-1, ::-1, 0].T)
    image.set_sform(None, 0)
    nibabel.save(image, file)
    assert np.array_equal(shown(file, 1)[0], HEAD[::-1, :, 0].T)
    image.set_qform(None, 0)
    nibabel.save(image, file)
    assert np.array_equal(shown(file, 1)[0], HEAD[:, ::-1, 0].T)  # x towards the left


def test_voxels_that_are_not_square_become_square_pixels(file):
    values = np.repeat([[10], [250]], 6, axis=1)[..., None].astype(np.uint8)  # [2, 6, 1]
    (picture,) = shown(write(file, values, np.diag([3, 1, 9, 1]), **WINDOW))
    assert picture.shape == (6, 6)
    expected = Image.fromarray(np.ascontiguousarray(values[::-1, ::-1, 0].T)).resize((6, 6), Image.Resampling.BICUBIC)
    assert np.array_equal(picture, expected)
    too_many = write(file, values, np.diag([1, 9_000, 9_000, 1]))
    assert reason(too_many) == "2 x 54000 pixels are more than verify.max_pixels (10000)"


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def test_black_and_white_are_percentiles_of_what_is_not_zero_in_the_whole_volume(file):
    volume = np.random.default_rng(0).normal(500, 100, (32, 30, 20))
    volume[:, :, :8] = 0
    brain = volume[volume != 0]
    low, high = np.percentile(brain, (1, 99))
    pictures = shown(write(file, volume.astype(np.float32)))
    for z in (0, 8, 19):
        assert np.abs(pictures[z] - grey(volume[::-1, ::-1, z].T, low, high)).max() <= 1
    # Saved as integers, zeros are no longer exactly 0.
    slope, intercept = np.float32(volume.max() / 65_535), np.float32(volume.max() / 2)
    stored = np.rint((volume - intercept) / slope).astype(np.int16)
    assert 0 < np.abs(stored * float(slope) + float(intercept)).min() < 1e-2
    for z in (0, 8, 19):
        pictures = shown(write(file, stored, scl_slope=slope, scl_inter=intercept))
        assert np.abs(pictures[z] - grey(volume[::-1, ::-1, z].T, low, high)).max() <= 1


def test_a_window_of_the_header_is_taken_if_it_is_one(file):
    volume = np.linspace(-100, 1000, 5 * 6 * 4).reshape(5, 6, 4)
    whole = grey(volume[::-1, ::-1, 2].T, *np.percentile(volume, (1, 99)))
    for low, high, expected in (
        (100, 400, grey(volume[::-1, ::-1, 2].T, 100, 400)),
        (400, 100, whole),
        (0, 0, whole),
        (0, np.nan, whole),
        (-np.inf, np.inf, whole),
    ):
        assert np.abs(shown(write(file, volume, cal_min=low, cal_max=high), 3)[0] - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_all_kinds_of_grey_values_are_shown_as_scaled(file, dtype):
    values = (HEAD % 100).astype(dtype)
    expected = (250 - 2 * values.astype(int))[::-1, ::-1, 1].T
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        for order in "<>":
            write(file, values, kind=kind, order=order, scl_slope=-2, scl_inter=250, **WINDOW)
            assert np.array_equal(shown(file, 2)[0], expected)


def test_values_that_are_not_finite_are_black_and_count_for_nothing(file):
    values = HEAD.astype(np.float32)
    values[0, 0, 0], values[1, 0, 0], values[2, 0, 0] = np.nan, np.inf, -np.inf
    picture = shown(write(file, values), 1)[0]
    rest = HEAD.ravel()[~np.isin(HEAD.ravel(), HEAD[:3, 0, 0])]
    expected = grey(HEAD[::-1, ::-1, 0].T, *np.percentile(rest, (1, 99)))
    expected[-1, -3:] = 0
    assert np.abs(picture - expected).max() <= 1
    assert reason(write(file, np.full((5, 6, 4), np.nan))) == "it holds no finite value"


def test_a_volume_of_one_value_is_black_and_one_of_two_is_black_and_white(file):
    for value in (0, 7):
        assert not np.any(shown(write(file, np.full_like(HEAD, value))))
    assert np.array_equal(shown(write(file, (HEAD > 60).astype(np.uint8)))[2], 255 * (HEAD[::-1, ::-1, 2] > 60).T)


def test_a_large_slice_is_shown_as_a_small_one(file, monkeypatch):
    whole = shown(write(file, HEAD))
    monkeypatch.setattr(nifti, "BAND", 11)
    assert all(map(np.array_equal, shown(file), whole))


def test_files_are_read_packed_or_not_in_one_or_more_parts_from_disk_or_memory(tmp_path):
    made = content(HEAD, **WINDOW)
    parts = [gzip.compress(made[:400]), gzip.compress(b""), gzip.compress(made[400:])]
    for name, held in {
        "a.nii": made,
        "B.NII": made,
        "c.nii.gz": gzip.compress(made),
        "d.NII.GZ": gzip.compress(made) + bytes(100),
        "e.nii": gzip.compress(made),
        "f.nii.gz": made + b"more",
        "g.nii.gz": b"".join(parts),
        "i.nii": content(HEAD, vox_offset=0, **WINDOW),
        "h.nii.gz": gzip.compress(made + bytes(10_000)),
    }.items():
        (tmp_path / name).write_bytes(held)
        assert is_image(tmp_path / name)
        for one in (tmp_path / name, Upload(name, held)):
            (_, picture), *_ = read_pictures(one, name, 10_000, "all")
            assert np.array_equal(picture.image, HEAD[::-1, ::-1, 0].T) and picture.mode == "NIfTI", name


def test_one_of_several_slices_must_be_chosen_and_one_slice_needs_no_choice(file):
    (asked,) = read(write(file, HEAD), SETTINGS)
    assert asked.frames == 4 and asked.reason.startswith("it holds 4 frames; choose one")
    assert [each.name for each in read(file, SETTINGS, "all")] == [f"{file}, frame {number}" for number in range(1, 5)]
    assert read(file, SETTINGS, 5)[0].reason == "it has no frame 5, only 4"
    for values in (HEAD[..., 0], HEAD[..., :1], HEAD[..., :1, None, None]):
        (found,) = read(write(file, values, **WINDOW), SETTINGS)
        assert (found.name, found.width, found.height) == (str(file), 5, 6)


DAMAGE = {
    "dim": [
        0,
        *([3, *each, 1, 1, 1, 1] for each in ((-5, 6, 4), (5, 0, 4), (-1, 1, 1))),
        *([n, 5, 6, 4, 1, 1, 1, 1] for n in (9, -1, 257)),
    ],
    "datatype": [0, 1, 255, 1536, 2048, 9999],
    "vox_offset": [np.nan, np.inf, -8],
    "scl_inter": [np.nan, np.inf],
    "srow_x": [0, np.nan, np.inf, [0, 1, 0, 0], [1e-9, 0, 0, 0], 3e38],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in DAMAGE.items() for value in values])
def test_a_damaged_header_is_refused_in_our_words(file, field, value):
    damaged = {"scl_slope": 1} | {field: value}
    expected = "its orientation (sform, or else qform) is damaged" if field == "srow_x" else "its header is damaged"
    assert reason(write(file, HEAD, **damaged)).startswith(expected)


def test_nibabel_says_nothing_of_a_file_by_itself(file):
    write(file, HEAD, vox_offset=np.nan)
    program = "import sys; from trueslice.inference.reading import read; print(read(sys.argv[1], {'max_pixels': 1}))"
    done = subprocess.run([sys.executable, "-c", program, file], cwd=ROOT, capture_output=True, text=True)
    assert "its header is damaged" in done.stdout and done.stderr == ""


def test_a_qform_that_cannot_be_is_refused(file):
    for fields in ({"quatern_b": 2}, {"quatern_b": np.nan}, {"pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}):
        assert "orientation" in reason(write(file, HEAD, sform_code=0, qform_code=1, **fields))


def test_what_is_no_volume_of_grey_values_is_refused_with_advice(tmp_path, file):
    several = "it holds several volumes, of times or contrasts; save the one to read as a file of its own"
    assert reason(write(file, np.zeros((5, 6, 4, 2), np.uint8))) == several
    assert reason(write(file, np.zeros((5, 6, 4, 1, 3), np.uint8))) == several
    colours = "its voxels are colours or complex numbers; save it as a volume of grey values"
    assert reason(write(file, np.zeros((5, 6, 4), np.complex64))) == colours
    assert reason(write(file, np.zeros((5, 6, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))) == colours
    pair = "a pair of .hdr and .img is not read; save it as one NIfTI file, .nii or .nii.gz"
    assert reason(write(file, HEAD, magic=b"ni1")) == pair
    for name in ("scan.hdr", "scan.img"):
        assert is_image(tmp_path / name) and reason(write(tmp_path / name, HEAD)) == pair
    for held in (b"II*\0", gzip.compress(b"text"), bytes(400), content(HEAD).replace(b"n+1", b"n-1")):
        file.write_bytes(held)
        assert reason(file) == "it is not a NIfTI file"
    # In the other byte order, the number of dimensions is as impossible, and the kind of voxels is a known one too.
    held = write(file, HEAD.astype(np.uint16), dim=[-1, 5, 6, 4, 1, 1, 1, 1], vox_offset=0)
    assert reason(held).startswith("its header is damaged")
    file.write_bytes(b"")
    assert reason(file) == "the file is empty"


def test_missing_and_damaged_voxels_are_no_picture(tmp_path):
    made = content(np.random.default_rng(0).integers(0, 1000, (40, 40, 4), np.int16))
    packed = bytearray(gzip.compress(made))
    packed[len(packed) // 2] ^= 0xFF
    for name, held, expected in (
        ("a.nii", made[:-1], "some of its voxels are missing"),
        ("b.nii", made[:350], "some of its voxels are missing"),
        ("c.nii.gz", gzip.compress(made[:-1]), "some of its voxels are missing"),
        ("d.nii.gz", gzip.compress(made)[:-100], "some of its voxels are missing"),
        ("g.nii.gz", gzip.compress(made)[:15], "it is packed, and damaged"),
        ("e.nii.gz", bytes(packed), "it is packed, and damaged"),
        ("f.nii.gz", gzip.compress(made)[:-5] + b"wrong", "it is packed, and damaged"),  # the checksum
    ):
        (tmp_path / name).write_bytes(held)
        assert reason(tmp_path / name) == expected, name


def test_more_than_is_read_is_refused_before_it_is_unpacked(file):
    too_large = "it holds more than 512 MiB or 2000 slices; crop it, or save it with fewer bits"
    small = np.zeros((1, 1, 1), np.uint8)
    for dim, fields in (
        ([512, 512, 257], {"datatype": 64}),
        ([2, 2, 2001], {}),
        ([100, 2, 2000], {"srow_y": [0, 5000, 0, 0], "srow_z": [0, 0, 9000, 0]}),  # as large once its pixels are square
        ([5, 6, 4], {"vox_offset": 2**30}),
    ):
        write(file, small, dim=[3, *dim, 1, 1, 1, 1], **fields)
        assert read(file, SETTINGS | {"max_pixels": 10**9})[0].reason == too_large
    too_many = "pixels are more than verify.max_pixels (10000)"
    assert too_many in reason(write(file, small, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]))
    assert too_many in reason(write(file, small, kind=nibabel.Nifti2Header, dim=[3, 2**62, 2**62, 2**62, 1, 1, 1, 1]))
    file.write_bytes(gzip.compress(b"") * (nifti.MAX_PARTS + 1))
    assert reason(file) == "it is packed in more than 16,384 parts; pack it anew"


def test_without_nibabel_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert reason(write(file, HEAD)) == "NIfTI files need nibabel; run: pip install -e '.[nifti]'"
