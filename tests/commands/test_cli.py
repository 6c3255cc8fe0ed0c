"""The command `trueslice` itself; its subcommands have tests of their own."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from trueslice.commands import cli

ROOT = Path(__file__).parents[2]


def trueslice(arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = f"{sys.executable} -m trueslice {arguments}"
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.run(command, shell=True, cwd=cwd, env=env, capture_output=True, text=True)


def test_help_names_every_command_and_what_it_is_for():
    done = trueslice("--help")
    assert done.returncode == 0
    for name, summary in cli.COMMANDS.items():
        assert f"{name} " in done.stdout and summary in " ".join(done.stdout.split())
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_has_help_of_its_own(name):
    done = trueslice(f"{name} --help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: trueslice {name} ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_help_is_quick_because_nothing_heavy_is_imported():
    program = "import sys; from trueslice.commands import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    program += "print([name for name in ('numpy', 'scipy', 'torch', 'dvc', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("", "required: COMMAND"), ("nonsense", "invalid choice: 'nonsense'"), ("compare HEAD", "required: B")],
)
def test_a_wrong_argument_is_status_2_without_a_traceback(arguments, said):
    done = trueslice(arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_an_error_is_one_line_on_stderr(tmp_path):
    done = trueslice("compare HEAD workspace", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: this folder is not in a DVC repository; start the command in the project's folder\n"


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_reader_that_has_seen_enough_ends_it_quietly(size):
    program = "import sys; from trueslice.commands import cli\nfrom argparse import Namespace\n"
    program += f"class Parser:\n  def parse_args(self, _): return Namespace(run=lambda _: print('x' * {size}))\n"
    program += "cli._parser = lambda _: Parser()\ncli.main(['x'])"
    command = f"{{ {sys.executable} -c \"$PROGRAM\"; echo status $? >&2; }} | sh -c 'exec <&-; sleep 2'"
    # Buffered output fails only once it is flushed.
    env = os.environ | {"PROGRAM": program, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "status 0\n")


def test_the_installed_command_is_this_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["scripts"]["trueslice"].split(":")
    assert getattr(import_module(module), name) is cli.main
    assert project["name"] == "trueslice"


def test_without_dvc_only_the_commands_that_need_it_end_and_say_so():
    program = "import sys; sys.modules['dvc.exceptions'] = None; sys.modules['kaggle'] = None\n"
    program += "from trueslice.commands import cli; cli.main(sys.argv[1:])"
    for name in ("audit", "predict", "serve", "compare"):
        done = subprocess.run([sys.executable, "-c", program, name, "--help"], cwd=ROOT, capture_output=True, text=True)
        needs_dvc = name == "compare"
        assert (done.returncode, done.stderr.startswith("error: this needs DVC; run ")) == (needs_dvc, needs_dvc)
