"""What is kept of a training for the case that it is interrupted, and what is never taken up."""

import errno
import itertools
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from trueslice.train import resume
from trueslice.train.resume import KEPT_RUNS, States, fingerprint

ROOT = Path(__file__).parents[2]


def state(step: int) -> dict:
    return {"step": step, "weights": {"a": torch.full((1000,), float(step))}, "history": {"steps": [{"loss": 0.1}]}}


def saved(folder):
    return sorted(path.name for path in folder.glob("step-*"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "training/run"


def reopened(states: States) -> States:
    """As a process finds them that starts after the first one has gone."""
    states._lock.release()
    return States(states.folder, states.interval)


def test_the_latest_state_comes_back_and_the_one_before_is_gone(folder):
    states = States(folder, 0)
    assert states.load() is None
    states.save(state(3))
    states.save(state(12))
    assert len(saved(folder)) == 1
    again = reopened(states)
    found = again.load()
    assert found["step"] == 12
    assert found["history"] == state(12)["history"] and torch.equal(found["weights"]["a"], state(12)["weights"]["a"])


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_is_set_aside_and_named_and_the_one_before_is_taken(folder, capsys, damage):
    states = States(folder, 0)
    states.save(state(3))
    older = (folder / saved(folder)[0]).read_bytes()
    name = saved(folder)[0]
    states.save(state(4))
    (folder / name).write_bytes(older)  # as after a crash between writing the one and deleting the other
    latest = folder / saved(folder)[-1]
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes({"flip": bytes(content), "cut": content[:-100], "empty": b""}[damage])
    again = reopened(states)
    assert again.load()["step"] == 3
    said = capsys.readouterr().err
    assert "is damaged, and was set aside" in said and said.count("\n") == 1
    assert latest.with_suffix(".damaged").exists() and not latest.exists()


def test_a_half_written_state_is_cleared_away(folder):
    states = States(folder, 0)
    states.save(state(3))
    (folder / "writing.pt").write_bytes(b"half, or whole, but without its name")
    again = reopened(states)
    assert [path.name for path in folder.iterdir()] == saved(folder)
    assert again.load()["step"] == 3


def test_nothing_stays_of_a_training_that_ended_well(folder):
    states = States(folder, 0)
    states.save(state(3))
    states.finish()
    assert list(folder.parent.iterdir()) == []


def test_a_second_run_of_the_same_training_neither_reads_nor_writes(folder, capsys):
    first = States(folder, 0)
    first.save(state(3))
    second = States(folder, 0)
    assert second.load() is None and not second.due()
    second.finish()
    assert "another run trains the same right now" in capsys.readouterr().out
    assert first.load()["step"] == 3


def test_states_of_trainings_that_were_given_up_go_the_oldest_first(folder):
    runs = [States(folder.with_name(f"run-{number:02d}"), 0) for number in range(KEPT_RUNS + 2)]
    for number, states in enumerate(runs):
        states.save(state(number))
        if number:  # the first one is still training
            states._lock.release()
    States(folder, 0)
    left = {path.name for path in folder.parent.iterdir() if path.is_dir()}
    assert "run" in left and "run-00" in left and "run-01" not in left and len(left) <= KEPT_RUNS + 1


def test_a_state_that_is_saved_twice_stays(folder):
    states = States(folder, 0)
    for _ in range(2):
        states.save(state(3))
    assert reopened(states).load()["step"] == 3


def test_ctrl_c_at_any_call_while_a_state_is_written_is_ctrl_c_and_a_whole_state_stays(folder):
    states = States(folder, 0)
    states.save(state(3))

    def interrupted_at(number: int) -> bool:
        calls = 0

        def press_ctrl_c(*_):
            nonlocal calls
            calls += 1
            if calls == number:
                signal.raise_signal(signal.SIGINT)

        try:
            sys.setprofile(press_ctrl_c)
            states.save(state(4))
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False

    numbers = itertools.takewhile(interrupted_at, itertools.count(1))
    for number in numbers:
        assert len(saved(folder)) in (1, 2) and len(list(folder.iterdir())) == len(saved(folder)), number
    assert number > 300
    assert reopened(states).load()["step"] == 4


def test_a_state_that_ctrl_c_has_to_wait_for_is_not_lost(folder):
    states = States(folder, 0)

    def press_ctrl_c(frame, event, _):
        if event == "call" and frame.f_code is torch.save.__code__:
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(press_ctrl_c)
    try:
        with pytest.raises(KeyboardInterrupt):
            states.save(state(3))
    finally:
        sys.setprofile(None)
    assert reopened(states).load()["step"] == 3


def test_a_full_disk_is_an_error_of_the_system_and_the_state_before_stays(small_disk):
    states = States(small_disk / "training/run", 0)
    states.save(state(3))
    with pytest.raises(OSError, match=r"No space left|write error|os error") as error:
        states.save(state(4) | {"large": torch.zeros(20_000_000)})
    assert error.value.errno == errno.ENOSPC
    assert reopened(states).load()["step"] == 3
    assert [path.name for path in states.folder.iterdir()] == saved(states.folder)


def test_a_fingerprint_depends_on_every_part_and_their_order():
    prints = {fingerprint(*parts) for parts in [("a", b"b"), (b"b", "a"), ("a", "b"), ("ab",), ("a", b"b", None)]}
    assert len(prints) == 5
    assert fingerprint("a", {"b": 1.5}) == fingerprint("a", {"b": 1.5})


def test_a_fingerprint_covers_the_code_that_dvc_lists_for_training():
    listed = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["train"]["deps"]
    assert [f"trueslice/{name}" for name in resume.CODE] == [name for name in listed if name.startswith("trueslice/")]
    assert {path.name for path in resume.code_files()} >= {"choices.py", "encoder.py", "splits.py", "loop.py"}


def test_a_fingerprint_changes_with_code_and_with_the_versions_of_packages(monkeypatch, tmp_path):
    before = fingerprint("a")
    monkeypatch.setattr(resume, "version", lambda name: "0.0" if name == "transformers" else version(name))
    assert fingerprint("a") != before
    monkeypatch.undo()
    other = tmp_path / "loop.py"
    other.write_text("changed = True")
    files = [other if path.name == "loop.py" else path for path in resume.code_files()]
    monkeypatch.setattr(resume, "code_files", lambda: files)
    assert fingerprint("a") != before
