"""What commands write, and where: no file of the user is lost, and names can neither forge a line nor be too long."""

import contextlib
import csv
import io
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.released import release, scans
from tests.scan_tables import scan_table
from trueslice.commands import cli

ROOT = Path(__file__).parents[2]
OURS = ("pairs.csv", "pairs.html", "thumbnails", "model.onnx", "model.json", "0001_0.png.png", "params.yaml")
OTHERS = ("model.safetensors", "model.pt", "model.onnx.data", "notes.txt", "new", "old", "README.md", "trueslice.json")
COMMANDS = {
    "audit": "audit scans -o {}",
    "export": "export onnx --model model --out {}",
    "explain": "predict scans --model model --explain {}",
}
HOSTILE = "0\n1.png: glioma\t\x1b[2J\x9b\u202egnp\u2028.png"
SHOWN = r"0\n1.png: glioma\t\x1b[2J\x9b\u202egnp\u2028.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder) -> Path:
    folder = tmp_path_factory.mktemp("made")
    release(tiny_folder, folder / "model")
    (folder / "scans").mkdir()
    for number in range(2):
        Image.fromarray(scans(1, number)[0]).save(folder / f"scans/{number}.png")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A folder with a model and scans, in which the commands run."""
    shutil.copytree(made, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def run(command: str, *names: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command; `names` may have spaces."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            cli.main([*command.split(), *names])
            status = 0
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def refused(command: str, *names: str) -> str:
    status, out, err = run(command, *names)
    assert (status, out, err.count("\n")) == (1, "", 1), err
    return err


def content(folder: Path) -> dict[str, object]:
    """All that is in a folder: text of files, targets of links, None for others."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        text = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[path.relative_to(folder).as_posix()] = text
    return found


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("how", ["file", "folder", "link"])
def test_a_folder_with_a_users_file_of_any_name_is_refused_and_stays_as_it_is(place, command, how):
    for name in (*OURS, *OTHERS):
        out = place / "out" / name
        out.mkdir(parents=True)
        if how == "file":
            (out / name).write_text("mine")
        elif how == "folder":
            (out / name).mkdir()
            (out / name / "0.jpg").write_text("mine")
        else:
            (out / name).symlink_to(place / "scans/0.png")
        before = content(place)
        assert f"holds {name}, which no earlier run has left there" in refused(command.format(out))
        assert content(place) == before


@pytest.mark.parametrize(
    "command",
    [COMMANDS["audit"], *(pytest.param(COMMANDS[name], marks=pytest.mark.slow) for name in ("export", "explain"))],
)
def test_a_second_run_replaces_the_first_also_through_a_link_or_from_inside(place, command, monkeypatch):
    assert run(command.format("out"))[0] == 0
    names = content(place / "out").keys()
    (place / "out/.hidden").write_text("mine")
    (place / "link").symlink_to("out")
    assert run(command.format("link"))[0] == 0
    assert content(place / "out").keys() == {*names, ".hidden"} and (place / "link").is_symlink()
    (place / "scans/0.png").unlink()
    monkeypatch.chdir(place / "out")
    inside = command.replace(" scans", " ../scans").replace(" model", " ../model").format(".")
    assert run(inside)[0] == 0
    assert not list((place / "out").glob("0002*")) and (place / "out/.hidden").read_text() == "mine"
    changed = next(path for path in (place / "out").iterdir() if path.is_file() and path.name[0] != ".")
    changed.write_text("mine")
    assert f"holds {changed.name}, which" in refused(inside)
    assert changed.read_text() == "mine"


@pytest.fixture
def scored(place) -> str:
    """A command that scores predictions."""
    paths = ["Testing/glioma/a.png", "Testing/notumor/b.png"]
    (place / "data/scans").mkdir(parents=True)
    scan_table(["test", "test"], ["glioma", "notumor"], [0, 1], path=np.array(paths)).write(
        place / "data/scans/scans.csv"
    )
    (place / "mine.csv").write_text("path,class\n" + "".join(f"{path},glioma\n" for path in paths))
    return "score mine.csv --json"


def test_the_result_of_score_goes_through_links_and_into_pipes(place, scored):
    (place / "far").mkdir()
    (place / "link").symlink_to("far/result.json")
    os.mkfifo(place / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((place / "pipe").read_text()))
    reader.start()
    for name in ("link", "pipe"):
        assert run(f"{scored} {name}")[0] == 0
    reader.join()
    assert (place / "link").is_symlink() and (place / "pipe").is_fifo()
    assert json.loads(read[0]) == json.loads((place / "far/result.json").read_text())


def test_a_place_that_cannot_be_written_to_is_named_before_the_work(place, scored):
    (place / "broken.csv").write_text("no predictions")
    (place / "file").touch()
    before = content(place)
    long = "n" * 256
    for command, name, problem in [
        ("score broken.csv --json", "scans", "scans: Is a directory"),
        ("score broken.csv --json", "file/a.json", "file: File exists; give the name of a folder"),
        ("score broken.csv --json", f"{long}/a.json", "File name too long"),
        ("predict scans --model nowhere --explain", "file", "file: File exists; give the name of a folder"),
        ("predict scans --model nowhere --explain", long, "File name too long"),
        ("export onnx --model nowhere --out", "file", "file: File exists; give the name of a folder"),
        ("audit scans -o", "file/deep", "file/deep: Not a directory"),
        ("audit scans -o", long, "File name too long"),
    ]:
        assert problem in refused(command, name)
    assert content(place) == before


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("preset laptop", {"far/params.yaml"}),
        ("init own", {"far/params.yaml"}),
        ("push a/b --model model --dry-run", set()),
        ("predict scans --model model --format csv", set()),
        ("score mine.csv", set()),
    ],
)
def test_other_commands_change_nothing_but_the_parameters_through_their_link(place, scored, command, changed):
    shutil.copytree(ROOT / "presets", place / "presets")
    (place / "far").mkdir()
    shutil.copy(ROOT / "params.yaml", place / "far")
    (place / "far/params.yaml").chmod(0o640)
    (place / "params.yaml").symlink_to("far/params.yaml")
    for name in ("a", "b"):
        shutil.copytree(place / "scans", place / "own" / name)
    for name in (*OURS, *OTHERS, "new/new", "models/released/notes.txt", "metrics/mine.json", "plots/mine.csv"):
        (place / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "data" / name).with_suffix(".mine").write_text("mine")
    before = content(place)
    assert run(command)[0] == 0
    after = content(place)
    assert after.keys() == before.keys() and {name for name in after if after[name] != before[name]} == changed
    assert (place / "far/params.yaml").stat().st_mode & 0o777 == 0o640


def answers(*arguments: str) -> tuple[list[str], list[str]]:
    """Lines on standard output and on standard error; without the note on drawn scans."""
    _, out, err = run("predict --model model", *arguments)
    return out.splitlines(), err.splitlines()


def test_a_name_cannot_forge_a_row_or_reach_the_terminal_and_csv_and_json_keep_it(place):
    shutil.move(place / "scans/0.png", place / "scans" / HOSTILE)
    (place / "scans/\x1b]0;x\x07.png").write_bytes(b"no image")
    table, errors = answers("scans")
    assert len(table) == 1 + 2 + 1 + sum(line.startswith("  ! ") for line in table)
    assert sum(line.endswith(f"scans/{SHOWN}") for line in table) == 1
    assert errors[0].startswith(r"unreadable: scans/\x1b]0;x\x07.png: it is not an image")
    assert all(line.isprintable() for line in (*table, *errors))
    _, out, _ = run("predict --model model --format csv scans")
    assert {row["path"] for row in csv.DictReader(io.StringIO(out))} == {f"scans/{HOSTILE}", "scans/1.png"}
    _, out, _ = run("predict --model model --format json scans")
    assert out.isascii()
    assert {json.loads(line)["path"] for line in out.splitlines()} == {f"scans/{HOSTILE}", "scans/1.png"}


@pytest.mark.parametrize(
    "command",
    ["audit X", "audit scans -o scans/X", "audit scans model X", "predict scans --frame X", "export onnx --model X",
     "score a --scans X", "push a/b --model X", "preset X", "trace X", "serve X", "init X"],
)  # fmt: skip
def test_an_error_shows_what_is_in_a_name(place, command):
    shutil.copy(ROOT / "params.yaml", place)
    shutil.copytree(ROOT / "presets", place / "presets")
    name = HOSTILE.replace(".png", "")
    status, _, err = run("", *(part.replace("X", name) for part in command.split()))
    assert status and SHOWN.replace(".png", "") in err
    assert all(line.isprintable() for line in err.splitlines())


def test_pictures_of_files_with_long_names_are_written(place):
    os.rename(place / "scans/0.png", place / "scans" / f"{'a' * 251}.png")
    os.rename(place / "scans/1.png", place / "scans" / f"{'é' * 125}.png")
    _, errors = answers("scans", "--explain", "maps")
    assert errors == []
    assert [len(path.name.encode()) for path in sorted((place / "maps").glob("*.png"))] == [209, 209]
    assert run("audit scans -o out")[0] == 0


def test_predict_names_all_that_it_does_not_read_and_does_not_wait(place):
    os.mkfifo(place / "scans/pipe.dcm")
    (place / "scans/gone.png").symlink_to("nowhere")
    (place / "scans/up").symlink_to("..")
    os.mkfifo(place / "named")
    table, errors = answers("scans", "named", "/dev/zero")
    assert table[-1].startswith("2 scans: ")
    pipe = "it is a pipe, a socket or a device"
    assert errors == [
        "unreadable: scans/gone.png: it is a broken link",
        f"unreadable: scans/pipe.dcm: {pipe}",
        "unreadable: scans/up: it is a link to a folder",
        f"unreadable: named: {pipe}",
        f"unreadable: /dev/zero: {pipe}",
        "error: 5 of 7 files gave no answer, see above",
    ]
