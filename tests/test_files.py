import contextlib
import multiprocessing
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trueslice import files
from trueslice.ending import explain
from trueslice.errors import UserError
from trueslice.files import (
    files_in,
    open_binary,
    output_folder,
    printable,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)

ROOT = Path(__file__).parents[1]


class Broken(Exception):
    pass


def test_a_file_keeps_its_old_content_when_writing_breaks(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(Broken), whole_file(path) as beside:
        beside.write_text("half")
        raise Broken
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_keeps_its_old_content_when_writing_breaks_and_is_replaced_as_a_whole_when_not(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(Broken), whole_folder(folder) as beside:
        (beside / "new").write_text("half")
        raise Broken
    assert [path.name for path in folder.iterdir()] == ["old"]
    with whole_folder(folder) as beside:
        (beside / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_json_comes_back_as_it_went(tmp_path):
    write_json(tmp_path / "a.json", {"tumour": None, "é": 0.1})
    assert read_json(tmp_path / "a.json") == {"tumour": None, "é": 0.1}


def test_json_refuses_what_it_has_no_word_for(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


PROGRAM = """
import sys, time
from pathlib import Path
from trueslice.files import whole_file, whole_folder
with {how}(Path(sys.argv[1])) as beside:
    (beside / "half" if beside.is_dir() else beside).write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def start():
    """Starts a process that is in the midst of writing a file or folder."""
    started = []

    def run(how: str, path: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM.format(how=how), str(path)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("how", ["whole_file", "whole_folder"])
@pytest.mark.parametrize("after", [whole_file, whole_folder])
def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path, start, how, after):
    killed = start(how, tmp_path / "a")
    left = set(tmp_path.iterdir())
    living = start(how, tmp_path / "a")
    written = set(tmp_path.iterdir()) - left
    assert len(left) == len(written) == 1
    killed.kill()
    killed.wait()
    with after(tmp_path / "b") as beside:
        assert set(tmp_path.iterdir()) - {beside, beside.parent} == written
    living.kill()
    living.wait()
    with after(tmp_path / "b") as beside:
        assert not set(tmp_path.iterdir()) & written
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


@pytest.mark.parametrize("how", ["whole_file", "whole_folder"])
def test_what_was_whole_before_a_kill_stays(tmp_path, start, how):
    path = tmp_path / "a"
    with getattr(files, how)(path) as beside:
        (beside / "whole" if beside.is_dir() else beside).write_text("whole")
    process = start(how, path)
    process.kill()
    process.wait()
    assert (path / "whole" if how == "whole_folder" else path).read_text() == "whole"


def test_processes_that_write_the_same_file_at_once_do_not_delete_each_others_work(tmp_path):
    program = """
import sys
from pathlib import Path
from trueslice.files import whole_file
for _ in range(100):
    with whole_file(Path(sys.argv[1])) as beside:
        beside.write_text("whole")
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "whole"


def written(path: Path, text: str = "new") -> None:
    with whole_file(path) as new:
        new.write_text(text)


def refused(path: Path, how=whole_file) -> str:
    with pytest.raises((UserError, OSError)) as error, how(path):
        raise Broken  # not before hours of work
    return explain(error.value)


def test_a_link_is_followed_to_the_file_it_names_be_it_there_or_not(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/old").write_text("old")
    for name in ("old", "gone"):
        (tmp_path / f"to-{name}").symlink_to(f"far/{name}")
        written(tmp_path / f"to-{name}")
        assert (tmp_path / f"to-{name}").is_symlink() and (tmp_path / "far" / name).read_text() == "new"
    (tmp_path / "round").symlink_to("round")
    assert refused(tmp_path / "round") == f"{tmp_path}/round: Too many levels of symbolic links"
    assert (tmp_path / "round").is_symlink()


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    for name, how in (("whole", whole_folder), ("output", output_folder)):
        (tmp_path / name).symlink_to(f"far/{name}")
        for text in ("first", "second"):
            with how(tmp_path / name) as new:
                (new / "a").write_text(text)
        assert (tmp_path / name).is_symlink() and (tmp_path / f"far/{name}/a").read_text() == "second"


def test_the_other_name_of_a_hard_link_keeps_the_old_content(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    written(tmp_path / "b")
    assert (tmp_path / "a").read_text() == "old" and (tmp_path / "b").read_text() == "new"


def test_a_new_file_has_the_rights_of_the_umask_and_a_replaced_one_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        written(tmp_path / "new")
        (tmp_path / "kept").touch(0o604)
        (tmp_path / "kept").chmod(0o604)
        written(tmp_path / "kept")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "kept")] == [0o640, 0o604]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_stays_theirs(tmp_path):
    (tmp_path / "a").touch()
    os.chown(tmp_path / "a", 1234, 4321)
    written(tmp_path / "a")
    found = (tmp_path / "a").stat()
    assert (found.st_uid, found.st_gid) == (1234, 4321) and (tmp_path / "a").read_text() == "new"


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    written(tmp_path / "pipe")
    reader.join()
    assert read == ["new"] and (tmp_path / "pipe").is_fifo()


def test_a_device_stays_a_device(tmp_path):
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (tmp_path / "null").open("wb").close()
    except PermissionError:
        pytest.skip("this user cannot make a device here")
    written(tmp_path / "null")
    assert (tmp_path / "null").is_char_device() and list(tmp_path.iterdir()) == [tmp_path / "null"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device here")
def test_a_device_that_takes_no_more_is_named():
    with pytest.raises(OSError, match="No space") as error:
        written(Path("/dev/full"))
    assert explain(error.value) == "/dev/full: No space left on device; free some space"


@pytest.mark.parametrize("place", ["/dev/stdout", "out.txt"])
def test_standard_output_goes_on_in_the_file_that_it_was_sent_to(tmp_path, place):
    program = "import sys; from pathlib import Path; from trueslice.files import write_json; print('before'); "
    program += f"write_json(Path({place!r}), {{'a': 1}}); print('after')"
    with (tmp_path / "out.txt").open("w") as out:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program], stdout=out, cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "out.txt").read_text() == 'before\n{\n  "a": 1\n}\nafter\n'
    assert list(tmp_path.iterdir()) == [tmp_path / "out.txt"]


def test_what_cannot_be_written_is_refused_before_the_work_and_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(tmp_path):
        listening.bind("socket")
    before = sorted(tmp_path.rglob("*"))
    assert refused(tmp_path / "folder") == f"{tmp_path}/folder: Is a directory"
    assert refused(tmp_path / "socket").startswith(f"{tmp_path}/socket: ")
    assert refused(tmp_path / "file/a") == f"{tmp_path}/file: File exists; give the name of a folder"
    assert refused(tmp_path / "file", output_folder) == f"{tmp_path}/file: File exists; give the name of a folder"
    assert "File name too long" in refused(tmp_path / ("a" * 256) / "b")
    for how in (whole_file, whole_folder, output_folder):
        with pytest.raises(Broken), how(tmp_path / "new/deep/a"):
            raise Broken
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    for name in ("a" * 255, "é" * 127):
        written(tmp_path / name)
        assert (tmp_path / name).read_text() == "new"


def without_rights(work: Callable, folder: Path) -> object:
    """What a function returns in a process that is in a folder and has no more rights than any user."""

    def run() -> None:
        os.chdir(folder)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            tempfile.tempdir = "/tmp"
        sender.send(work())

    context = multiprocessing.get_context("fork")  # the other user may be unable to read this checkout
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run)
    process.start()
    sender.close()
    process.join()
    return receiver.recv()


@pytest.fixture
def open_folder():
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def test_a_file_in_a_folder_without_the_right_to_write_is_written_into(open_folder):
    (open_folder / "a").write_text("old, and longer")
    (open_folder / "fixed").write_text("old")
    (open_folder / "a").chmod(0o666)
    (open_folder / "fixed").chmod(0o444)
    open_folder.chmod(0o555)
    said = without_rights(lambda: [tried(name) for name in ("a", "fixed", "b")], open_folder)
    open_folder.chmod(0o755)
    assert said == [
        "written",
        "fixed: Permission denied; change its rights, or take another place",
        "b: Permission denied; change its rights, or take another place",
    ]
    assert (open_folder / "a").read_text() == "new" and (open_folder / "fixed").read_text() == "old"


def tried(name: str) -> str:
    try:
        written(Path(name))
    except OSError as error:
        return explain(error)
    return "written"


def filled(folder: Path, *names: str) -> None:
    with output_folder(folder) as new:
        for name in names:
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(name)


def test_an_output_folder_takes_the_place_of_an_earlier_one_and_hidden_files_stay(tmp_path):
    out = tmp_path / "out"
    filled(out, "a", "old/b", "old/c", "gone/d")
    (out / "a").chmod(0o604)
    for hidden in (".git", ".DS_Store", "old/.hidden"):
        (out / hidden).write_text("mine")
    filled(out, "a", "new/b")
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    assert found == [".DS_Store", ".git", ".trueslice.sha256", "a", "new", "new/b", "old", "old/.hidden"]
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o604
    assert subprocess.run(["sha256sum", "--check", "--quiet", ".trueslice.sha256"], cwd=out).returncode == 0


@pytest.mark.parametrize("change", ["other", "old/other", "a edited", "a linked", "pipe", "no list"])
def test_an_output_folder_with_anything_else_in_it_is_refused_and_stays_as_it_is(tmp_path, change):
    out = tmp_path / "out"
    filled(out, "a", "old/b")
    if change == "a edited":
        (out / "a").write_text("edited")
    elif change == "a linked":
        (out / "a").rename(tmp_path / "a")
        (out / "a").symlink_to(tmp_path / "a")
    elif change == "pipe":
        os.mkfifo(out / "pipe")
    elif change == "no list":
        (out / ".trueslice.sha256").unlink()
    else:
        (out / change).write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in out.rglob("*")}
    name = "a" if change == "no list" else change.split()[0]
    assert f"out holds {name}, which no earlier run has left there as it is now; give a new folder" in refused(
        out, output_folder
    )
    assert {path: path.is_file() and path.read_bytes() for path in out.rglob("*")} == before


def test_a_file_that_comes_while_the_work_goes_on_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="holds a, which"), output_folder(tmp_path) as new:
        (new / "a").write_text("ours")
        (tmp_path / "a").write_text("mine")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "mine"}


def test_the_current_folder_and_a_mount_point_can_be_output_folders(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    filled(Path("."), "a")
    filled(Path("."), "b")
    assert sorted(os.listdir()) == [".trueslice.sha256", "b"]
    disk = request.getfixturevalue("small_disk")
    filled(disk, "a")
    filled(disk, "b")
    assert sorted(os.listdir(disk)) == [".trueslice.sha256", "b"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 日本 %.png", "plain é 日本 %.png"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x9b1m\x07", r"\x1b[2J\x9b1m\x07"),
        ("\u202egnp.exe\u2066\u200f", r"\u202egnp.exe\u2066\u200f"),
        ("\u2028\u2029\x85\xa0\udce9", r"\u2028\u2029\x85\xa0\udce9"),
    ],
)
def test_a_name_is_printed_on_one_line_and_shows_what_is_in_it(name, shown):
    assert printable(name) == shown


def test_a_walk_names_what_it_does_not_read_and_waits_for_nothing(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/file").touch()
    (tmp_path / "link").symlink_to("deep/er/file")
    (tmp_path / "folder").symlink_to("deep")
    (tmp_path / "deep/up").symlink_to("..")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(tmp_path):
        listening.bind("socket")
    unread = "it is a pipe, a socket or a device"
    assert files_in(tmp_path) == (
        ["deep/er/file", "link"],
        [
            ("deep/up", "it is a link to a folder"),
            ("folder", "it is a link to a folder"),
            ("gone", "it is a broken link"),
            ("pipe", unread),
            ("round", "it is a broken link"),
            ("socket", unread),
        ],
    )
    for name in ("pipe", "socket"):
        with pytest.raises(OSError, match=unread):
            open_binary(tmp_path / name)


def test_a_walk_names_what_it_has_no_right_to_read(open_folder):
    for name, mode in (("locked", 0), ("names only", 0o444), ("open", 0o755)):
        (open_folder / name).mkdir()
        (open_folder / name / "1.png").touch()
        (open_folder / name).chmod(mode)
    (open_folder / "2.png").touch(0)
    found = without_rights(lambda: files_in(Path(".")), open_folder)
    for path in open_folder.iterdir():
        path.chmod(0o755)
    denied = [(name, "Permission denied") for name in ("2.png", "locked", "names only/1.png")]
    assert found == (["open/1.png"], denied)
