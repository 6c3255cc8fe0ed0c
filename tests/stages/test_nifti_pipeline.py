"""The stages that read and place scans, on a folder of NIfTI volumes."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

import stages
from stages import download, split, verify
from tests.nifti_files import write
from trueslice import params
from trueslice.files import read_json
from trueslice.reading.names import file_of
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
THICK = np.diag([1, 1, 5, 1])


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight volumes a class, each of three slices with something to see between two empty ones; two are one head's."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "volumes" / name).mkdir(parents=True)
        for number in range(8):
            values = np.zeros((32, 32, 5), np.int16)
            values[..., 1:4] = rng.integers(1, 4000, (32, 32, 3))
            write(tmp_path / "volumes" / name / f"{number}.nii.gz", values, THICK)
    rows = [f"{name}/{number}.nii.gz,{name}{number // 2}\n" for name in CLASSES for number in range(8)]
    (tmp_path / "patients.csv").write_text("path,patient\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def settings(folder: Path, protocol: str) -> params.Params:
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["data"]["source"] = "volumes"
    content["verify"] |= {"image_size": 32, "patients": "patients.csv" if protocol == "patients" else None}
    content["split"]["protocol"] = protocol
    content["machine"]["workers"] = 1
    yaml.dump(content, folder / "params.yaml")
    return params.load(folder / "params.yaml")


@pytest.mark.parametrize("protocol", ["grouped", "blocked", "patients"])
def test_the_slices_of_a_volume_are_one_unit_on_one_side(volumes, protocol):
    wanted = settings(volumes, protocol)
    for stage in (download, verify, split):
        stage.main(wanted)
    scans, splits = Scans.read(stages.SCANS / "scans.csv"), Splits.read(stages.SPLITS)
    assert len(scans) == 4 * 8 * 5 and set(scans.mode) == {"NIfTI"}
    assert scans.path[:2].tolist() == ["glioma/0.nii.gz, frame 1", "glioma/0.nii.gz, frame 2"]
    counts = read_json(stages.METRICS / "data.json")
    assert (counts["files"], counts["decoded"], counts["unreadable_files"]) == (32, 160, 0)
    kept = splits.take(splits.split != "dropped")
    heads = kept.patient if protocol == "patients" else [file_of(path) for path in kept.path]
    sides = {(head, part) for head, part in zip(heads, kept.split, strict=True)}
    units = {(head, unit) for head, unit in zip(heads, kept.unit, strict=True)}
    assert len(sides) == len(units) == len(set(heads)) == (16 if protocol == "patients" else 32)
    assert len(set(kept.unit)) == len(set(heads)) and set(kept.split) == {"train", "val", "test"}
