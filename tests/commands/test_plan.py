"""`trueslice plan`: its table, that of the docs, and what it refuses."""

import shlex
import shutil
from pathlib import Path

import pytest

from trueslice.commands import cli

ROOT = Path(__file__).parents[2]


def printed(capsys, command: str) -> str:
    cli.main(shlex.split(command)[1:])
    return capsys.readouterr().out


def test_the_table_of_the_docs_is_what_the_command_prints(capsys):
    page = (ROOT / "docs/statistics.md").read_text()
    block = next(block for block in page.split("```")[1::2] if block.startswith("\n$ trueslice plan"))
    command, _, expected = block.strip().removeprefix("$ ").partition("\n")
    assert printed(capsys, command).split() == expected.split()


def test_a_plan_is_like_the_last_run_and_shows_its_own_interval(capsys, tmp_path, monkeypatch):
    (tmp_path / "plots").mkdir()
    shutil.copy(ROOT / "plots/predictions.csv", tmp_path / "plots")
    monkeypatch.chdir(tmp_path)
    lines = printed(capsys, "trueslice plan --patients 100").splitlines()
    own = lines[-1].rpartition(", ")[2]
    assert lines[-1].startswith("plots/predictions.csv itself: 100 units, ") and lines[3].split("  ")[-1] == own
    assert (
        printed(capsys, "trueslice plan --patients 100 --scans 1")
        .splitlines()[0]
        .startswith("95 % intervals in %, with 1 scans a patient")
    )


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--accuracy 95", 2, "'95' is not a share between 0 and 1, such as 0.95"),
        ("--accuracy nan", 2, "'nan' is not a share between 0 and 1"),
        ("--patients 1", 2, "'1' is not a whole number from 2"),
        ("--patients 2.5", 2, "'2.5' is not a whole number from 2"),
        ("--scans 0", 2, "'0' is not a number from 1"),
        ("--correlation 2", 2, "'2' is not a number from 0 to 1"),
        ("--accuracy 0.9", 1, "cannot be read: No such file or directory; give --accuracy, --scans and --correlation"),
    ],
)
def test_what_is_no_plan_ends_in_one_line(options, status, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["plan", *options.split()])
    assert end.value.code == status and said in capsys.readouterr().err
