"""The stages from the scans to a trained model, on a folder of DICOM files."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

import stages
from stages import checkpoint, download, split, train, verify
from tests.dicom_files import write
from trueslice import params
from trueslice.files import read_json
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Params:
    """Six series of two frames and six single slices per class, for one epoch of the small encoder."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "series" / name).mkdir(parents=True)
        for number in range(12):
            shape = (2, 32, 32) if number % 2 else (32, 32)
            write(tmp_path / "series" / name / f"{number}.dcm", rng.integers(0, 4000, shape, dtype=np.uint16))
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["data"]["source"] = "series"
    content["verify"]["image_size"] = 32
    content["split"]["protocol"] = "grouped"
    content["train"] |= {"epochs": 1, "device": "cpu"}
    content["machine"]["workers"] = 1
    yaml.dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return params.load(Path("params.yaml"))


def test_a_model_is_trained_on_dicom_files_and_no_file_is_divided(settings: params.Params):
    for stage in (download, verify, split, checkpoint, train):
        stage.main(settings)
    scans, splits = Scans.read(stages.SCANS / "scans.csv"), Splits.read(stages.SPLITS)
    assert len(scans) == 4 * 18 and set(scans.mode) == {"DICOM"}
    assert scans.path[:3].tolist() == ["glioma/0.dcm", "glioma/1.dcm, frame 1", "glioma/1.dcm, frame 2"]
    frames = splits.take(np.char.find(splits.path, "frame") > 0)
    assert len(frames) == 48
    assert np.array_equal(frames.split[::2], frames.split[1::2]) and np.array_equal(frames.unit[::2], frames.unit[1::2])
    counts = read_json(stages.METRICS / "data.json")
    assert (counts["files"], counts["decoded"], counts["unreadable_files"]) == (48, 72, 0)
    assert len(read_json(stages.METRICS / "train.json")["epochs"]) == 1
