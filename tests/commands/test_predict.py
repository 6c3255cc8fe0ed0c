"""`trueslice predict`, on a model that the stages released."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stages
from tests import nifti_files
from tests.finished import files, predictions
from tests.released import release, release_again, scans
from tests.scan_tables import scan_table
from trueslice.commands import cli
from trueslice.commands.predict import find
from trueslice.records.withheld import Promise

ROOT = Path(__file__).parents[2]
NOTE = "note: The model was trained on drawn scans. Of a person's scan its answers say nothing.\n"


@pytest.fixture
def run(released, monkeypatch, capsys):
    """Runs the command in the folder of the released model: exit status, stdout and stderr."""
    monkeypatch.chdir(released)

    def run(*arguments) -> tuple[int, str, str]:
        status = 0
        try:
            cli.main(["predict", *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, err.removeprefix(NOTE)

    return run


def test_a_model_of_drawn_scans_says_so_once(released, monkeypatch, capsys):
    monkeypatch.chdir(released)
    cli.main(["predict", "data/raw/Testing/glioma"])
    assert capsys.readouterr().err == NOTE


def test_a_picture_unlike_the_scans_has_no_error_rate(run, tmp_path):
    Image.effect_noise((200, 200), 100).save(tmp_path / "noise.png")
    _, out, _ = run(tmp_path / "noise.png")
    assert "  -  " in out and "  ! unlike the training scans" in out
    _, out, _ = run(tmp_path / "noise.png", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["error_rate"], row["error_scans"], row["warnings"]) == ("", "", "unlike")


def test_the_test_scans_get_the_bytes_of_the_pipeline(run, released, monkeypatch):
    monkeypatch.setattr("sys.stdin", stdin("".join(f"{path}\n" for path in files(released)).encode()))
    status, out, err = run("-", "--format", "csv")
    assert (status, err) == (0, "")
    found = list(csv.DictReader(io.StringIO(out)))
    expected = list(csv.DictReader((released / stages.PLOTS / "predictions.csv").open(newline="")))
    names = [f"probability_{name}" for name in predictions(released).class_names]
    assert [[row[name] for name in names] for row in found] == [[row[name] for name in names] for row in expected]
    assert [row["class"] for row in found] == [row["y_pred"] for row in expected]


def test_score_reads_what_predict_writes(run, released, capsys, tmp_path):
    _, out, _ = run("data/raw/Testing", "--format", "csv")
    (tmp_path / "mine.csv").write_text(out)
    cli.main(["score", str(tmp_path / "mine.csv"), "--json", str(tmp_path / "score.json")])
    table = predictions(released)
    rows = json.loads((tmp_path / "score.json").read_text())["rows"]
    (whole,) = [row for row in rows if row["part"] == "all" and not row["class"]]
    assert whole["accuracy"] == pytest.approx((table.y_true == table.y_pred).mean())


ODD = [
    "image(1).jpg",
    'a, "b".jpg',
    "a\nb.jpg",
    "a\rb.jpg",
    "a\r\nb.jpg",
    "a\x1b[2Jb.jpg",
    " a.jpg",
    "a\u2028b.jpg",
    "a\x85b.jpg",
]
ODD += [
    "a\\b.jpg",
    "é.jpg",
    "e\u0301.jpg",
    "a;b.jpg",
    "'=1+1'.jpg",
    "-.jpg",
    "test.jpg",
    "\u202ea.jpg",
    "#.jpg",
    "a\tb.jpg",
]


def test_score_reads_odd_names_that_repeat_in_each_class_as_predict_writes_them(run, released, capsys, tmp_path):
    classes = ("glioma", "notumor")
    paths = [f"Testing/{class_name}/{name}" for class_name in classes for name in ODD]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(released / "data/raw/Testing/glioma/Te-gl_0000.jpg", tmp_path / path)
    names = [Path(path).parent.name for path in paths] + ["meningioma", "pituitary"]
    scans_there = np.array([*paths, "Training/meningioma/1.jpg", "Training/pituitary/1.jpg"])
    parts = ["test"] * len(paths) + ["train"] * 2
    scan_table(parts, names, range(len(names)), path=scans_there).write(tmp_path / "scans.csv")
    for given in (tmp_path, tmp_path / "Testing/.."):
        status, out, _ = run(given, "--format", "csv")
        assert status == 0
        (tmp_path / "mine.csv").write_text(out, newline="")
        cli.main(["score", f"{tmp_path}/mine.csv", "--scans", f"{tmp_path}/scans.csv", "--json", f"{tmp_path}/s.json"])
        capsys.readouterr()
        rows = json.loads((tmp_path / "s.json").read_text())["rows"]
        answer = next(csv.DictReader(io.StringIO(out, newline="")))["class"]
        assert rows[0]["scans"] == len(paths) and rows[0]["accuracy"] == (answer in classes) / 2


def test_the_table_shows_answer_probability_errors_and_warnings_in_80_columns(run):
    path = "data/raw/Testing/glioma/Te-gl_0000.jpg"
    status, out, err = run(path)
    header, row, *warnings = out.splitlines()
    assert (status, err) == (0, "")
    assert header.split() == ["answer", "sure", "%", "next", "%", "wrong,", "%", "scan"]
    assert row.endswith(path) and row.split()[0] in ("glioma", "meningioma", "notumor", "pituitary")
    assert "  ! it is the test scan Testing/glioma/Te-gl_0000.jpg (glioma)" in warnings
    assert all(len(line) <= 100 for line in out.splitlines())


def test_a_model_with_a_promise_says_refer_where_it_is_too_unsure(run, released, tmp_path):
    _, out, _ = run("data/raw/Testing", "--format", "csv")
    everything = list(csv.DictReader(io.StringIO(out)))
    assert {row["refer"] for row in everything} == {""}
    sure = sorted(max(float(row[name]) for name in row if name.startswith("probability_")) for row in everything)
    folder = shutil.copytree(released / "models/released", tmp_path / "model")
    least = (sure[9] + sure[10]) / 2
    promise = Promise(max_error=0.1, holds_with=0.9, threshold=least, scans=100, independent=50)
    release_again(folder, promise=promise)
    _, out, err = run("data/raw/Testing", "--model", folder)
    assert err.startswith(
        f"note: It answers from {100 * least:.2f} % on and refers other scans to a person: at most 10 %"
    )
    referred = [line.split()[1] for line in out.splitlines() if line.startswith("refer ")]
    assert referred == ["-"] * 10 and out.splitlines()[-1].count("10 refer") == 1
    _, out, _ = run("data/raw/Testing", "--model", folder, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["refer"] for row in rows].count("yes") == 10 and {row["refer"] for row in rows} == {"yes", "no"}
    assert [row["class"] for row in rows] == [row["class"] for row in everything]
    _, out, _ = run("data/raw/Testing", "--model", folder, "--format", "json")
    assert [json.loads(line)["refer"] for line in out.splitlines()] == [row["refer"] == "yes" for row in rows]


def test_json_is_one_object_a_line(run):
    _, out, _ = run("data/raw/Testing/glioma", "--format", "json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 10
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    assert rows[0]["warnings"][0]["kind"] == "known"
    assert len(rows[0]["nearest"]) == 5


def test_folders_are_searched_litter_is_passed_over_and_other_files_are_counted(run, released, tmp_path):
    scan = released / "data/raw/Testing/glioma/Te-gl_0000.jpg"
    for name in ("a/b/1.jpg", "a/2.JPG", ".hidden/3.jpg", "__MACOSX/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, tmp_path / name)
    (tmp_path / "patients.csv").write_text("path\n")
    status, out, err = run(tmp_path, "--format", "csv")
    assert status == 0
    assert [Path(row["path"]).name for row in csv.DictReader(io.StringIO(out))] == ["2.JPG", "1.jpg"]
    assert err == f"skipped in folders: 1 that are not images, such as {tmp_path / 'patients.csv'}\n"


def test_an_unreadable_file_is_named_and_the_others_are_answered(run, released, tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"nothing")
    shutil.copy(released / "data/raw/Testing/glioma/Te-gl_0000.jpg", tmp_path / "2.jpg")
    status, out, err = run(tmp_path, tmp_path / "none.png", "--format", "csv")
    assert status == 1
    assert [Path(row["path"]).name for row in csv.DictReader(io.StringIO(out))] == ["2.jpg"]
    first, second, last = err.splitlines()
    assert first.startswith(f"unreadable: {tmp_path / '1.jpg'}: it is not an image")
    assert second == f"unreadable: {tmp_path / 'none.png'}: No such file or directory"
    assert last == "error: 2 of 3 files gave no answer, see above"


def test_the_slices_of_a_nifti_file_are_answered_and_no_text_of_its_header_comes_out(run, tmp_path):
    volume = np.random.default_rng(0).integers(0, 4000, (40, 40, 3), np.int16)
    head = nifti_files.write(tmp_path / "head.nii.gz", volume, np.diag([1, 1, 5, 1]))
    status, out, err = run(tmp_path)
    assert (status, out.count("\n")) == (1, 1)
    assert err.startswith(
        f"unreadable: {head}: it holds 3 frames; choose one by --frame N, or take all by --frame all\n"
    )
    for form in ("csv", "json", "table"):
        status, out, err = run(tmp_path, "--frame", "all", "--format", form)
        assert (status, err) == (0, "")
        assert [out.count(f"head.nii.gz, frame {number}") for number in (1, 2, 3, 4)] == [1, 1, 1, 0]
        assert not [secret for secret in nifti_files.SECRETS if secret in out]
    nifti_files.write(head, volume[..., None].repeat(2, axis=3))
    status, out, err = run(tmp_path, "--format", "csv")
    assert status == 1 and err.startswith(f"unreadable: {head}: it holds several volumes")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["empty"], 1, "empty holds no images; give a folder that does"),
        (["x.png", "--model", "data"], 1, "data has no trueslice.json, so it is not a released model"),
        (["x.png", "--model", "models/finetuned"], 1, "trueslice.json is damaged: it is not of a released model, or"),
        (["x.png", "--model", "nonsense"], 1, "is not in a DVC repository"),
        (["x.png", "--frame", "0"], 2, "'0' is neither a number from 1 nor all"),
        (["x.png", "--frame", "1" * 4301], 2, "is neither a number from 1 nor all"),
        (["x.png", "--format", "xml"], 2, "invalid choice: 'xml'"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(run, tmp_path, released, arguments, status, said):
    if arguments[0] == "empty":
        (tmp_path / "empty").mkdir()
        arguments = [tmp_path / "empty"]
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert said in err.splitlines()[-1] and "Traceback" not in err


def test_each_answer_is_explained_by_a_picture(run, tmp_path):
    status, _, err = run("data/raw/Testing/glioma", "--explain", tmp_path / "maps")
    assert (status, err) == (0, "")
    names = sorted(path.name for path in (tmp_path / "maps").glob("*.png"))
    assert names == [f"{number:04}_Te-gl_{number - 1:04}.jpg.png" for number in range(1, 11)]
    with Image.open(tmp_path / "maps" / names[0]) as picture:
        assert min(picture.size) > 300
    (tmp_path / "file").touch()
    status, out, err = run("data/raw/Testing/glioma", "--explain", tmp_path / "file")
    assert (status, out) == (1, "") and err == f"error: {tmp_path / 'file'}: File exists; give the name of a folder\n"


def stdin(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"\xef\xbb\xbfa.jpg\r\n\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (
            "a\u2028b.jpg\nc\x85d.jpg\ne\x0cf.jpg\n g\rh.jpg \n".encode(),
            ["a\u2028b.jpg", "c\x85d.jpg", "e\x0cf.jpg", " g\rh.jpg "],
        ),
        (b"\xff\xe4.jpg\n", ["\udcff\udce4.jpg"]),
        (b"-\n", ["-"]),
        (b"folder\na.jpg\n", ["folder/1.jpg", "folder/2.jpg", "a.jpg"]),
    ],
)
def test_a_list_has_one_path_a_line_whatever_bytes_it_holds(monkeypatch, tmp_path, content, names):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Path("folder", name).touch()
    monkeypatch.setattr("sys.stdin", stdin(content))
    assert [str(path) for path in find(["x.jpg", "-"])[0]] == ["x.jpg", *names]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (stdin(b"\n"), "standard input names no file; write one path a line"),
        (stdin(b"\xef\xbb\xbf"), "standard input names no file; write one path a line"),
        (
            stdin("a.jpg\n".encode("utf-16")),
            "standard input holds NUL bytes, as UTF-16 text and the lists of find -print0 do",
        ),
        (stdin(b"a.jpg\0b.jpg\0"), "standard input holds NUL bytes, as UTF-16 text and the lists of find -print0 do"),
        (None, "standard input is closed; write paths there, one a line"),
    ],
)
def test_a_list_of_another_kind_is_named_in_one_line(run, monkeypatch, content, said):
    monkeypatch.setattr("sys.stdin", content)
    status, out, err = run("-")
    assert (status, out, err.count("\n")) == (1, "", 1) and err.startswith(f"error: {said}")


def test_a_terminal_is_told_what_is_waited_for(monkeypatch, capsys):
    ours, theirs = os.openpty()
    os.write(ours, b"a.jpg\n\x04")
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert find(["-"])[0] == [Path("a.jpg")]
    os.close(ours)
    assert capsys.readouterr().err == "paths, one a line; Ctrl-D ends the list\n"


def test_an_endless_or_write_only_list_ends_in_one_line(tmp_path):
    command = [sys.executable, "-m", "trueslice", "predict", "-"]
    with Path("/dev/zero").open("rb") as endless, (tmp_path / "out").open("wb") as write_only:
        for input, said in ((endless, "more than 30,000,000 bytes; divide"), (write_only, "is closed; write paths")):
            done = subprocess.run(command, stdin=input, capture_output=True, text=True, cwd=ROOT)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and said in done.stderr


@pytest.mark.slow
def test_the_model_of_a_revision_answers_as_it_did_there(released, project):
    for part in ("data", "metrics", "models", "plots"):
        shutil.copytree(released / part, project.root / part)
    project.run("dvc commit --force release", check=True)
    project.run("git add dvc.lock && git commit -qm released", check=True)
    predict = "python -m trueslice predict data/raw/Testing --format csv"
    there = project.run(predict, check=True).stdout
    shutil.rmtree(project.root / "models")
    assert project.run(f"{predict} --model HEAD", check=True).stdout == there
    assert not (project.root / "models").exists()
    said = project.run(f"{predict} --model nowhere").stdout
    assert said == "error: nowhere: no such revision or experiment; `trueslice runs` names them\n"
    said = project.run(f"{predict} --model HEAD~1").stdout
    assert said.startswith("error: HEAD~1 has no models/released; run the pipeline there")
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.root / ".cache")
    said = project.run(f"{predict} --model HEAD").stdout
    assert said.startswith("error: HEAD: models/released is not in DVC's cache; ") and said.count("\n") == 1, said


def test_an_answer_needs_no_module_of_training_scores_or_figures(tiny_folder, tmp_path):
    release(tiny_folder, tmp_path / "model")
    Image.fromarray(scans(1)[0]).save(tmp_path / "scan.png")
    needless = ("torchvision", "matplotlib", "sklearn", "scipy.optimize", "peft", "dvc")
    needless += ("trueslice.evaluate", "trueslice.train", "trueslice.report", "trueslice.ood.pictures")
    program = "import sys; from trueslice.commands.cli import main; main(); "
    program += f"print([name for name in {needless} if name in sys.modules])"
    command = [sys.executable, "-c", program, "predict", tmp_path / "scan.png", "--model", tmp_path / "model"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
