"""Every stage and command in surroundings that fail: one line, nothing half-written, and nothing left running."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.failing import ROOT, ends
from tests.waiting import living
from trueslice import ending
from trueslice.errors import UserError
from trueslice.files import whole_file, whole_folder

STOPPED = "error: stopped by the user; `dvc repro` takes this stage up again\n"
STAGES = [f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("[!_]*.py"))]
COMMANDS = [  # that write files, and need no DVC
    "audit data/raw/Testing -o audited",
    "export onnx --out onnx",
    "init ../scans",
    "predict data/raw/Testing/glioma --explain maps",
    "preset laptop",
    "score given.csv --json scores.json",
]
ELSEWHERE = "{name: other, source: phantom, classes: null}"
# Has Ctrl-C pressed when the first process begins to import a module.
CUSTOM = """
import os, signal, sys
module = os.environ.pop("CTRL_C_AT", None)
signal.signal(signal.SIGINT, signal.default_int_handler)
def hook(event, arguments):
    if event == "import" and arguments[0] == module:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
"""


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a shell command in which PYTHON starts Python, and return its status and what it wrote."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable} | variables
    return subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["psutil", "numpy", "torch"])
@pytest.mark.parametrize("command", ["stages.baselines", "trueslice predict ."])
def test_ctrl_c_while_modules_are_imported_is_a_line_or_nothing(tmp_path, module, command):
    (tmp_path / "sitecustomize.py").write_text(CUSTOM)
    done = run(f"$PYTHON -m {command}", ROOT, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", CTRL_C_AT=module)
    said = STOPPED if "stages" in command else ""
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


@pytest.mark.parametrize(
    ("output", "reason"),
    [("/dev/full", "No space left on device; free some space"), ("&-", "Bad file descriptor; it is closed")],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_nothing_is_an_error_in_one_line(output, reason, unbuffered):
    done = run(f"$PYTHON -m trueslice preset >{output}", ROOT, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, f"error: standard output: {reason}\n")


def test_closed_input_and_errors_change_no_answer():
    expected = run("$PYTHON -m trueslice preset", ROOT)
    done = run("$PYTHON -m trueslice preset <&- 2>&-", ROOT)
    assert (done.returncode, done.stdout) == (0, expected.stdout) and expected.stdout


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: No space left on device; free some space"),
        (OSError(errno.EACCES, "Permission denied", "a", None, "b"), f"b: Permission denied; {ending.RIGHTS}"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), "a" * 300 + ": File name too long; take a"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory"), "there is no folder for temporary files"),
        (MemoryError(), "there is too little memory"),
        (UserError("so it is"), "so it is"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_file_and_with_advice(error, line):
    assert ending.explain(error).startswith(line)


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), OSError("no error of the system")])
def test_a_mistake_of_ours_is_raised(error):
    with pytest.raises(type(error), match=str(error)):
        ending.explain(error)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT),  # of a write, which names no file
        (OSError("12800 requested and 4096 written"), errno.ENOSPC),  # NumPy
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), errno.EFBIG),  # safetensors
        (OSError([("a", "b", "[Errno 28] No space left on device: 'b'")]), errno.ENOSPC),  # shutil.copytree
    ],
)
@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_failed_write_names_the_output_whatever_library_wrote(tmp_path, error, number, whole):
    with pytest.raises(OSError, match="output") as raised, whole(tmp_path / "output"):
        raise error
    assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path / "output"))
    assert not list(tmp_path.iterdir())


def test_other_errors_leave_a_block_that_writes_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, whole_file(tmp_path / "output"):
        Path("missing").read_text()
    assert raised.value.filename == "missing"


@pytest.fixture
def made(released, tmp_path) -> Path:
    """A folder with a released model, all that it was made of, and what the commands need."""
    folder = tmp_path / "made"
    shutil.copytree(released, folder)
    shutil.copytree(ROOT / "presets", folder / "presets")
    shutil.copytree(folder / "data/raw/Training", tmp_path / "scans")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("external: []", f"external:\n- {ELSEWHERE}"))
    rows = (folder / "plots/predictions.csv").read_text().splitlines()
    (folder / "given.csv").write_text("\n".join(["path,class", *(f"{row.split(',')[0]},glioma" for row in rows[1:])]))
    return folder


def names(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if ".cache" not in path.parts}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the failures are those of Linux")
@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        ("full disk", 1, r"(note: .+\n)?error: [\w./]+: (File too large; raise|No space left on device; free) .+\n"),
        ("no right", 1, r"error: [\w./]+( cannot be written)?: Permission denied.*\n"),
        ("ctrl-c at its first output", 130, STOPPED),
    ],
)
def test_whatever_fails_ends_every_stage_and_command_in_one_line_and_leaves_nothing_behind(made, failure, status, said):
    before = names(made)
    for end in ends(made, failure, [*STAGES, *COMMANDS]):
        wanted = "" if status == 130 and not end.name.startswith("stages.") else said
        assert end.status == status and re.fullmatch(wanted, end.err), end
    assert names(made) == before and not living(made)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the failures are those of Linux")
def test_a_full_output_is_an_error_of_stages_and_of_every_command(made):
    for end in ends(made, "full output", ["stages.split", "stages.evaluate", *COMMANDS]):
        said = r"(note: .+\n)?error: standard output: No space left on device; free some space\n"
        assert end.status == 1 and re.fullmatch(said, end.err), end
