"""What dvc.lock says of a run, whoever wrote it."""

import pytest

from trueslice.commands.revisions import has_run, is_stale, read_lock
from trueslice.errors import UserError

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    params: {params.yaml: {train: {epochs: 3}, seed: 0}}
    outs: [{path: models/finetuned, hash: md5, md5: a1, size: 5, nfiles: 2}]
  predict:
    cmd: python -m stages.predict
    deps: [{path: models/finetuned, hash: md5, md5: a1}]
"""


def test_a_run_is_stale_once_what_it_read_is_made_anew():
    assert not is_stale(read_lock("HEAD", LOCK))
    assert is_stale(read_lock("HEAD", LOCK.replace("md5: a1", "md5: a2", 1)))


def test_a_run_has_the_parameters_that_its_stages_ran_with():
    lock = read_lock("HEAD", LOCK)
    assert has_run(lock, {"train.epochs": 3, "seed": 0, "data.source": "phantom"})
    assert not has_run(lock, {"train.epochs": 4, "seed": 0})


def test_without_a_lock_nothing_has_run():
    assert read_lock("HEAD", "") == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("  train:", "<<<<<<< HEAD\n  train:"), "not valid YAML at line 3: it has the marks of a merge"),
        (("md5: a1", "md5: 2024-31-12"), "not valid YAML at line 6, column 53: this value cannot be read"),
        (("'2.0'", "9" * 4301), "not valid YAML at line 1, column 9: this value cannot be read"),
        ((LOCK, "stages: " + "[" * 1000), "not valid YAML: it is nested too deeply"),
        ((LOCK, "stages: [1]"), "not as DVC writes it"),
        ((LOCK, "- 1"), "not as DVC writes it"),
        (("[{path: models/finetuned, hash: md5, md5: a1}]", "3"), "not as DVC writes it"),
    ],
)
def test_a_damaged_lock_is_refused_in_one_line(damage, said):
    with pytest.raises(UserError) as error:
        read_lock("workspace", LOCK.replace(*damage))
    assert str(error.value).startswith(f"workspace: dvc.lock is {said}")
    assert str(error.value).endswith("; `git restore dvc.lock` brings the last one back")
