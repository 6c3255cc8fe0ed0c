"""What is kept of a training for the case that it is interrupted, and what is never taken up."""

import errno
import signal
import sys
from importlib.metadata import version

import pytest
import torch

from trueslice.train import resume
from trueslice.train.resume import KEPT_RUNS, States, fingerprint


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


def test_a_fingerprint_changes_with_the_versions_of_packages(monkeypatch):
    before = fingerprint("a")
    monkeypatch.setattr(resume, "version", lambda name: "0.0" if name == "transformers" else version(name))
    assert fingerprint("a") != before
