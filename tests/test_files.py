import subprocess
import sys
from pathlib import Path

import pytest

from trueslice import files
from trueslice.files import read_json, whole_file, whole_folder, write_json

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
