"""`trueslice init` on folders and archives of files that are never read."""

import os
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from trueslice import params
from trueslice.commands import cli

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / "params.yaml").read_text()
THREE = [f"{name}/{number}.png" for name in ("low_grade", "Metastasis", "normal") for number in range(6)]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml, in which the command is started; scans are beside it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/params.yaml").write_text(COMMITTED)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def fill(folder: Path, names: list[str], patients: dict[str, str] | None = None) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"never read")
    if patients:
        rows = "".join(f"{path},{patient}\n" for path, patient in patients.items())
        (folder / "patients.csv").write_text(f"path,patient\n{rows}")


def by_patient(names: list[str], scans: int = 2) -> dict[str, str]:
    return {name: f"{name.split('/')[-2]}-{int(Path(name).stem) // scans}" for name in names}


def chosen() -> params.Params:
    return params.load(Path("params.yaml"))


def test_three_folders_and_a_table_of_patients_become_parameters(project, capsys):
    fill(project / "scans", THREE, by_patient(THREE))
    cli.main(["init", "../scans"])
    found = chosen()
    assert found.data.source == "../scans" and found.verify.patients == "../scans/patients.csv"
    assert (found.split.protocol, found.evaluate.negative_class, found.external) == ("patients", "normal", [])
    assert found.classes == {
        "Metastasis": ["a brain MRI scan showing Metastasis", "a magnetic resonance image of Metastasis"],
        "low_grade": ["a brain MRI scan showing low grade", "a magnetic resonance image of low grade"],
        "normal": ["a normal brain MRI scan", "a magnetic resonance image of a healthy brain"],
    }
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "params.yaml fits ../scans now: 18 scan files"
    assert [line.split("  ")[0] for line in said[1:-1]] == [
        *("classes", "captions", "healthy", "patients", "test set", "other sets"),
    ]
    assert "9 patients, known for 18 of 18 scan files, by ../scans/patients.csv" in said[4]
    assert said[-1] == "Next: read the captions, then dvc repro"


def test_comments_and_all_other_lines_stay_in_the_form_of_dvc(project):
    fill(project / "scans", THREE)
    cli.main(["init", "../scans"])
    written = Path("params.yaml").read_text()
    end = COMMITTED.index("external:\n")
    old, new = COMMITTED[:end].splitlines(), written[: written.index("external: []\n")].splitlines()
    changed = {after.split(":")[0].strip() for before, after in zip(old, new, strict=True) if before != after}
    assert changed == {"source", "protocol", "negative_class"}
    assert [line.partition("#")[2] for line in old] == [line.partition("#")[2] for line in new]
    apply_overrides("params.yaml", ["seed=0"])
    assert Path("params.yaml").read_text() == written


def test_captions_that_were_edited_and_sets_of_ones_own_stay_at_a_second_time(project, capsys):
    fill(project / "scans", THREE)
    cli.main(["init", "../scans"])
    yaml = YAML()
    content = yaml.load(Path("params.yaml"))
    content["classes"]["low_grade"] = ["a brain MRI scan showing an astrocytoma"]
    content["external"] = [{"name": "elsewhere", "source": "../more", "classes": {"healthy": "normal"}}]
    yaml.dump(content, Path("params.yaml"))
    fill(project / "scans", ["other/1.png"])
    cli.main(["init", "../scans"])
    assert chosen().classes["low_grade"] == ["a brain MRI scan showing an astrocytoma"]
    assert [each.name for each in chosen().external] == ["elsewhere"]
    assert "from the names of the folders for other: edit them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "patients", "protocol"),
    [
        (["a/{}.png", "b/{}.png"], None, "blocked"),
        (["a/{}.png", "b/{}.png"], 2, "patients"),
        (["a/{}.png", "b/{}.png"], 6, "blocked"),  # one patient a class
        (["train/a/{}.png", "train/b/{}.png", "test/a/{}.png", "test/b/{}.png"], None, "official"),
        (["train/a/{}.png", "train/b/{}.png", "test/a/{}.png", "test/b/{}.png"], 2, "patients"),
        (["train/a/{}.png", "train/b/{}.png", "val/a/1{}.png", "val/b/1{}.png"], 2, "patients"),
        (
            ["train/a/{}.png", "train/b/{}.png", "test/a/1{}.png", "test/b/1{}.png"],
            2,
            "official",
        ),  # 10 and more: others
    ],
)
def test_the_protocol_keeps_patients_apart_where_they_are_known(project, names, patients, protocol):
    files = [name.format(number) for name in names for number in range(6)]
    fill(project / "scans", files, by_patient(files, patients) if patients else None)
    cli.main(["init", "../scans"])
    assert chosen().split.protocol == protocol


@pytest.mark.parametrize("patients", [False, True])
def test_an_archive_and_a_table_beside_it_are_taken(project, patients, capsys):
    fill(project / "scans", [f"wrapped/{name}" for name in THREE] + ["wrapped/normal/3_mask.png"])
    shutil.make_archive(str(project / "mine"), "zip", project / "scans")
    (project / "unrelated.csv").write_text("name,age\nx,1\n")
    os.mkfifo(project / "zzz.csv")  # nobody writes to it, so reading it never ends
    (project / "others.csv").write_text("path,patient\nelsewhere/1.png,1\n")
    if patients:
        fill(project, [], by_patient(THREE))
    cli.main(["init", "../mine.zip"])
    assert chosen().data.source == "../mine.zip"
    assert chosen().verify.patients == ("../patients.csv" if patients else "auto")
    said = capsys.readouterr().out
    assert "18 scan files" in said and "1 beside their scans; explanations" in said
    if not patients:
        assert (
            "none known: ../unrelated.csv: its first line names 'name', 'age', but must name path and patient" in said
        )


def test_yes_and_no_are_a_tumour_and_none(project):
    fill(project / "scans", ["yes/1.png", "no/1.png"])
    cli.main(["init", "../scans"])
    assert chosen().evaluate.negative_class == "no"
    assert [captions[0] for captions in chosen().classes.values()] == [
        *("a normal brain MRI scan", "a brain MRI scan showing a tumour"),
    ]


def test_a_folder_that_is_called_like_a_source_is_a_folder(project):
    fill(project / "project/kaggle", THREE)
    cli.main(["init", "kaggle"])
    assert chosen().data.source == "./kaggle"


def test_scans_that_dvc_would_delete_are_refused(project, capsys):
    fill(project / "project/data/raw", THREE)
    for scans in ("data/raw", "data/raw/", str(project / "project/data/raw")):
        with pytest.raises(SystemExit):
            cli.main(["init", scans])
        assert "is in data/, where DVC deletes what is there before a run; move your scans" in capsys.readouterr().err
    assert Path("params.yaml").read_text() == COMMITTED


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "../scans does not exist; give the path of a folder or .zip"),
        (["1.png", "2.png"], "../scans has no class folders, only files; expected Training/<class>/"),
        (["a/1.png", "a/2.png"], "../scans has one class folder, a; there must be two or more to tell apart"),
        (["1/1.png", "2/2.png"], "the class folder 1 of ../scans has a number for a name, of which no caption can be"),
        (["Glioma/1.png", "glioma/2.png"], "../scans has class folders Glioma and glioma, which differ in signs alone"),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png"], "../scans: Testing has no class folder b; add it, or"),
        (["a&b/1.png", "c/1.png"], "params.yaml would be wrong: classes: 'a&b' cannot be the name of a class folder"),
        (["test/a/1.png", "test/b/1.png"], "../scans holds test but no Training folder"),
    ],
)
def test_what_cannot_be_fitted_ends_in_one_line_and_leaves_params_as_they_were(project, capsys, names, said):
    fill(project / "scans", names)
    with pytest.raises(SystemExit):
        cli.main(["init", "../scans"])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1
    assert Path("params.yaml").read_text() == COMMITTED


def test_an_archive_that_cannot_be_read_is_named(project, capsys):
    (project / "scans.zip").write_bytes(b"PK nothing")
    with pytest.raises(SystemExit):
        cli.main(["init", "../scans.zip"])
    assert "../scans.zip is not a .zip archive, or is damaged" in capsys.readouterr().err
    assert Path("params.yaml").read_text() == COMMITTED
