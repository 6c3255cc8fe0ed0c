"""NIfTI files that are damaged at random, and ones that take as much as they may: a picture, or one line."""

import gzip
import re
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nifti_files import SECRETS, content
from trueslice.files import Upload
from trueslice.inference.reading import Square, read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SETTINGS = {"image_size": 16, "colour": False, "max_pixels": 1_000_000}
# All that the module and its neighbours say.
REASON = re.compile(
    "it is (not a NIfTI file|packed)|its (header|voxels|orientation)|it holds (more|several|no)|some of its voxels|"
    "a pair of|the file is empty|[0-9]+ x [0-9]+ pixels are more"
)
HEADERS = {nibabel.Nifti1Header: 352, nibabel.Nifti2Header: 544}
# Numbers at the ends of their kinds, as bytes of either order.
ODD = [
    np.array(value, order + kind).tobytes()
    for kind, values in {
        "i2": [0, -1, 1, 7, 8, 32767, -32768],
        "i4": [0, -1, 2**31 - 1],
        "i8": [0, -1, 2**62, -(2**63)],
        "f4": [0, np.nan, np.inf, -np.inf, 3e38, 1e-38, -1],
        "f8": [np.nan, np.inf, 1e308, 5e-324],
    }.items()
    for value in values
    for order in "<>"
]


@st.composite
def damaged(draw) -> Upload:
    """A file of few voxels, with bytes of its header overwritten, cut off or made longer, packed or not."""
    kind = draw(st.sampled_from(list(HEADERS)))
    dtype = draw(st.sampled_from(["u1", "i2", "i4", "f4", "f8", "c8"]))
    shape = draw(st.sampled_from([(5, 6, 4), (6, 5), (3, 4, 2, 2), (1, 5, 5)]))
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    form = draw(st.sampled_from([{}, {"sform_code": 0, "qform_code": 1}, {"sform_code": 0}]))
    held = bytearray(content(values, kind=kind, order=draw(st.sampled_from("<>")), **form))
    anywhere = st.integers(0, HEADERS[kind] - 1) | st.integers(0, len(held) - 1)
    for at, value in draw(
        st.lists(st.tuples(anywhere, st.sampled_from(ODD) | st.binary(min_size=1, max_size=4)), max_size=4)
    ):
        held[at : at + len(value)] = value
    held = held[: draw(st.just(len(held)) | st.integers(0, len(held)))] + draw(st.binary(max_size=20))
    if draw(st.booleans()):
        held = bytearray(gzip.compress(held, 1))
        for at, value in draw(st.lists(st.tuples(st.integers(0, len(held) - 1), st.integers(0, 255)), max_size=1)):
            held[at] = value
    return Upload("scan.nii.gz", bytes(held))


def test_a_damaged_file_gives_pictures_or_one_line(capfd):
    outcomes = {Square: 0, str: 0}

    @settings(max_examples=1000, deadline=None, derandomize=True, database=None)
    @given(damaged())
    def try_one(file: Upload) -> None:
        start = time.process_time()
        found = read(file, SETTINGS, "all")
        assert found and time.process_time() - start < 10
        for each in found:
            if isinstance(each, Square):
                outcomes[Square] += 1
                assert each.pixels.shape == (16, 16) and each.pixels.dtype == np.uint8
            else:
                outcomes[str] += 1
                assert REASON.match(each.reason) and "\n" not in each.reason, each.reason
                assert not any(secret in each.reason for secret in SECRETS)

    try_one()
    assert min(outcomes.values()) > 200
    assert capfd.readouterr() == ("", "")


MEASURE = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
import nibabel, nibabel.orientations, numpy as np
from trueslice.inference.reading import read
from pathlib import Path
np.percentile(np.arange(9.0), 50)
# Of this process alone; getrusage has the peak of the one that started it too.
def peak(): return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
rest = peak()
settings = {"image_size": 64, "colour": False, "max_pixels": 50_000_000}
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: read(sys.argv[1], settings, 1)[0].pixels, range(int(sys.argv[2]))))
print(peak() - rest)
"""


@pytest.mark.parametrize(
    ("dim", "datatype", "more", "times"),
    [
        ([512, 512, 2000], 2, 0, 1),  # nearly as many bytes as are read
        ([512, 512, 255], 64, 0, 4),
        ([7000, 7000, 1], 64, 0, 1),  # as many pixels
        ([5, 6, 1], 2, 2**32, 1),  # a bomb
    ],
)
def test_a_file_or_several_at_a_time_take_less_than_a_gigabyte(tmp_path, dim, datatype, more, times):
    start = content(np.zeros((1, 1, 1), np.uint8), dim=[3, *dim, 1, 1, 1, 1], datatype=datatype)[:352]
    size = np.prod(dim) * np.dtype({2: "u1", 64: "f8"}[datatype]).itemsize + more
    with gzip.open(tmp_path / "scan.nii.gz", "wb", 1) as file:
        file.write(start)
        for _ in range(size // 2**20 + 1):
            file.write(bytes(2**20))
    command = [sys.executable, "-c", MEASURE, tmp_path / "scan.nii.gz", str(times)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**30
