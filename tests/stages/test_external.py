"""The stage `external` on small pictures: from a folder, from a .zip, and from nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import stages
from stages import evaluate, external, plot
from tests import nifti_files
from tests.dicom_files import write
from tests.made import trained_model
from tests.scan_tables import scan_table
from trueslice import params
from trueslice.copies.thumbnails import thumbnails
from trueslice.errors import UserError
from trueslice.files import read_json
from trueslice.model.encoder import Encoder
from trueslice.patients import slices
from trueslice.patients.fingerprints import fingerprints, to_text
from trueslice.records.external import ExternalScores
from trueslice.tables.external import ExternalPredictions

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
CLASSES = PARAMS.class_names
SIZE, TEMPERATURE = 64, 2.5


def picture(number: int) -> Image.Image:
    """A smooth picture that resembles no other."""
    grey = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    return Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def save(folder: Path, scans: dict[str, Image.Image]) -> Path:
    for name, image in scans.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    return folder


@pytest.fixture
def run(tmp_path, tiny_folder, monkeypatch) -> Path:
    """A folder with all that the stage reads: eight development scans of 64 pixels, and a model."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_folder, folder / stages.FINETUNED)
    trained_model(temperature=TEMPERATURE).write(folder / stages.FINETUNED / "trueslice.json")
    (folder / stages.SCANS).mkdir(parents=True)
    pixels = np.stack([np.asarray(picture(number)) for number in range(8)])
    np.save(folder / stages.SCANS / "pixels.npy", pixels)
    np.save(folder / stages.SCANS / "thumbnails.npy", thumbnails(pixels))
    rows = np.arange(8)
    columns = {"path": np.array([f"{row}.png" for row in rows])}
    scans = scan_table(np.where(rows < 6, "train", "test"), np.array(CLASSES)[rows % 4], rows, **columns)
    scans.write(folder / stages.SCANS / "scans.csv")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def settings(*sets: dict, max_unreadable: int = 0) -> params.Params:
    """params.yaml with these data sets; every scan is decoded to 64 pixels on the CPU."""
    verify = PARAMS.verify.model_copy(update={"image_size": SIZE, "max_unreadable": max_unreadable})
    return PARAMS.model_copy(
        update={
            "external": [params.External(**{"classes": None} | each) for each in sets],
            "verify": verify,
            "train": PARAMS.train.model_copy(update={"device": "cpu"}),
            "machine": PARAMS.machine.model_copy(update={"workers": 1}),
        }
    )


def table() -> ExternalPredictions:
    return ExternalPredictions.read(stages.PLOTS / "external.csv")


def test_sets_from_a_folder_and_a_zip_are_classified_and_their_copies_told(run, tmp_path, capsys):
    first = save(
        tmp_path / "first",
        {
            "wrapped/glioma/a.png": picture(10),
            "wrapped/glioma/b.png": picture(7),  # a test scan of development
            "wrapped/normal/c.png": picture(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            "wrapped/normal/d.png": picture(10),
            "wrapped/other/e.png": picture(11),
        },
    )
    (first / "wrapped/glioma/z.png").write_bytes(b"nonsense")
    second = save(tmp_path / "second", {"pituitary/a.png": picture(12), "pituitary/b.png": picture(0)})
    shutil.make_archive(str(second), "zip", second)
    sets = (
        {"name": "first", "source": str(first), "classes": {"normal": "notumor"}},
        {
            "name": "second",
            "source": "../second.zip",
        },
    )
    external.main(settings(*sets, max_unreadable=1))

    found = table()
    assert found.name.tolist() == ["first"] * 4 + ["second"] * 2
    assert found.path.tolist()[:4] == ["glioma/a.png", "glioma/b.png", "normal/c.png", "normal/d.png"]
    assert [CLASSES[index] for index in found.y_true] == ["glioma"] * 2 + ["notumor"] * 2 + ["pituitary"] * 2
    assert found.dropped.tolist() == ["", "development", "development", "within", "", "development"]
    assert found.group.tolist() == [0, 1, 2, 0, 0, 1]
    assert read_json(stages.EXTERNAL)["sets"] == [
        {"set": "first", "files": 5, "unreadable": 1, "without_class": [{"folder": "other", "files": 1}]}
        | {"of_known_patients": 0},
        {"set": "second", "files": 2, "unreadable": 0, "without_class": [], "of_known_patients": 0},
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("external: first: 5 files, besides other (1 files) of no class, 1 unreadable, 3 copies")
    assert not list(Path("data").glob(".*"))


def test_new_scans_of_patients_of_development_scans_are_counted(run, tmp_path, monkeypatch, capsys):
    shown = {0: "7", 30: "7", 31: "8", 32: "7"}  # number of a picture and its patient; only 0 is a development scan
    means = thumbnails(np.stack([np.asarray(picture(number)) for number in shown]))
    ids, none = np.array(list(shown.values())), np.full(len(shown), "")
    texts = np.array([to_text(bits) for bits in fingerprints(means)])
    slices.Slices(np.arange(1, 5), ids, ids, none, none, texts).write(tmp_path / "slices.csv")
    monkeypatch.setattr(slices, "SHIPPED", tmp_path / "slices.csv")
    # 0 is a copy, and so is the second 30; 31 is of a patient who is new, 33 of none that is known.
    pictures = {f"glioma/{number}.png": picture(number) for number in (0, 30, 31, 32, 33)}
    other = save(tmp_path / "other", pictures | {"glioma/again.png": picture(30)})
    external.main(settings({"name": "other", "source": str(other)}))
    assert read_json(stages.EXTERNAL)["sets"][0]["of_known_patients"] == 2
    assert table().dropped.tolist() == ["development", "", "", "", "", "within"]
    assert "2 copies dropped, 4 scans kept, 2 of these of known patients" in capsys.readouterr().out


def test_each_frame_of_a_dicom_file_is_classified_and_the_file_counts_once(run, tmp_path):
    frames = 10 * np.stack([np.asarray(picture(number)) for number in (20, 21)]).astype(np.uint16)
    (tmp_path / "other/glioma").mkdir(parents=True)
    write(tmp_path / "other/glioma/series.dcm", frames)
    external.main(settings({"name": "other", "source": str(tmp_path / "other")}))
    assert table().path.tolist() == ["glioma/series.dcm, frame 1", "glioma/series.dcm, frame 2"]
    assert table().group.tolist() == [0, 0] and table().dropped.tolist() == ["", ""]
    assert read_json(stages.EXTERNAL)["sets"][0]["files"] == 1


def test_each_slice_of_a_nifti_file_is_classified_and_the_file_counts_once(run, tmp_path):
    volume = np.stack([np.asarray(picture(number)) for number in (20, 21)], axis=2)
    (tmp_path / "other/glioma").mkdir(parents=True)
    nifti_files.write(tmp_path / "other/glioma/head.nii.gz", volume, np.diag([1, 1, 5, 1]))
    external.main(settings({"name": "other", "source": str(tmp_path / "other")}))
    assert table().path.tolist() == ["glioma/head.nii.gz, frame 1", "glioma/head.nii.gz, frame 2"]
    assert table().group.tolist() == [0, 0] and table().dropped.tolist() == ["", ""]
    assert read_json(stages.EXTERNAL)["sets"][0]["files"] == 1


def test_predictions_are_what_the_encoder_says_at_the_fixed_temperature(run, tmp_path):
    other = save(tmp_path / "other", {f"glioma/{number}.png": picture(20 + number) for number in range(3)})
    external.main(settings({"name": "other", "source": str(other)}))
    encoder = Encoder.load(stages.FINETUNED, "cpu")
    scans = torch.from_numpy(np.stack([np.asarray(picture(20 + number)) for number in range(3)]))[:, None]
    with torch.inference_mode():
        logits = encoder.logits([scans], encoder.encode_classes(list(PARAMS.classes.values())))
    expected = (logits.double() / TEMPERATURE).softmax(dim=1).numpy()
    assert table().probabilities == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(table().y_pred, expected.argmax(axis=1))


def test_no_set_is_an_empty_table(run, capsys):
    external.main(settings())
    assert len(table()) == 0 and table().class_names == tuple(CLASSES)
    assert read_json(stages.EXTERNAL) == {"sets": []}
    assert capsys.readouterr().out == "external: no data set is named under `external:` in params.yaml\n"


def test_phantoms_are_no_test_of_a_model_of_real_scans(run, capsys):
    real = PARAMS.data.model_copy(update={"source": "kaggle"})
    external.main(settings({"name": "other_scanner", "source": "phantom"}).model_copy(update={"data": real}))
    assert len(table()) == 0 and read_json(stages.EXTERNAL) == {"sets": []}
    said = "external: other_scanner: skipped, as phantoms are no test of a model of real scans\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("broken", r"1 of 2 files cannot be read: glioma/z.png .* raise verify.max_unreadable \(now 0\)"),
        ("flat", "flat has no class folders, only files"),
    ],
)
def test_a_set_that_cannot_be_used_ends_in_one_line_and_leaves_nothing(run, tmp_path, source, said):
    (save(tmp_path / "broken", {"glioma/a.png": picture(3)}) / "glioma/z.png").write_bytes(b"nonsense")
    save(tmp_path / "flat", {"a.png": picture(4)})
    with pytest.raises(UserError, match=said) as error:
        external.main(settings({"name": "other", "source": f"../{source}"}))
    assert "\n" not in str(error.value)
    assert not stages.EXTERNAL.exists() and not (stages.PLOTS / "external.csv").exists()
    assert not list(Path("data").glob(".*"))


@pytest.mark.slow
def test_a_set_without_a_new_scan_is_scored_and_reported(released, tmp_path, monkeypatch):
    shutil.copytree(released, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    chosen = {"name": "training", "source": "data/raw/Training", "classes": None}
    settings = params.load(Path("params.yaml"))
    settings = settings.model_copy(update={"external": [params.External(**chosen)]})
    for stage in (external, evaluate, plot):
        stage.main(settings)
    (scored,) = ExternalScores.read(stages.METRICS / "external.json").sets
    assert (scored.kept, scored.accuracy, scored.tumour) == (0, None, None)
    assert "training" in (stages.PLOTS / "report.html").read_text()
