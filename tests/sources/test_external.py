"""Other data sets that cannot fit are found before any scan is read."""

import shutil
from pathlib import Path

import pytest

from trueslice.errors import UserError
from trueslice.params import External
from trueslice.sources import external

CLASSES = ("glioma", "notumor")


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("wrapped/Training/glioma/1.png", "wrapped/Training/normal/2.png", "wrapped/Testing/other/3.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"no picture yet")
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    return tmp_path


@pytest.mark.parametrize("source", ["set", "set.zip"])
@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (None, None),
        ({"normal": "notumor"}, None),
        (
            {"Normal": "notumor"},
            r"external: a: `classes` names Normal, not among its folders \(glioma, normal, other\)",
        ),
        (
            {"glioma": "x"},
            r"external: a: none of its folders \(.*\) is named like a class \(glioma, notumor\); tell by",
        ),
    ],
)
def test_class_folders_that_do_not_fit_are_named(root, source, classes, said):
    chosen = External(name="a", source=source, classes=classes)
    if said is None:
        external.check(chosen, root, CLASSES)
    else:
        with pytest.raises(UserError, match=said):
            external.check(chosen, root, CLASSES)


def test_a_missing_source_ends_in_one_line_that_names_the_set(root):
    with pytest.raises(UserError, match=r"external: a: .*nowhere does not exist; give phantom, or a folder or"):
        external.check(External(name="a", source="nowhere", classes=None), root, CLASSES)
