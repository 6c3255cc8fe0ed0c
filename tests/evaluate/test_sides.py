import pytest

from trueslice.evaluate.sides import Made, comparable, differing, left_out, not_one_method

CODE = {"stages/train.py": "1", "trueslice/train": "2"}


def made(name: str, seed: int, checkpoint: str | None = "w", code: dict | None = None, **settings: object) -> Made:
    return Made(name, comparable({"seed": seed, "train.epochs": 3} | settings), code or CODE, checkpoint)


def test_runs_that_differ_in_seed_and_machine_are_one_method():
    side = [made("a", 0), made("b", 1, **{"train.device": "cuda"}), made("c", 2, **{"machine.workers": 3})]
    assert not_one_method(side) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (made("b", 0), "a and b have the same seed, 0"),
        (made("b", 1, **{"train.epochs": 4, "split.fold": 2}), "a and b differ in split.fold, train.epochs"),
        (made("b", 1, code=CODE | {"trueslice/train": "3"}), "a and b differ in trueslice/train"),
        (made("b", 1, checkpoint="v"), "a and b differ in the downloaded checkpoint"),
        (made("b", 1, **dict.fromkeys("efghi", 1)), "a and b differ in e, f, g and 2 more"),
    ],
)
def test_other_runs_are_not(other, said):
    assert not_one_method([made("a", 0), other]) == said


def test_what_differs_between_two_runs_is_named():
    assert differing(made("a", 0), made("b", 0)) == []
    assert differing(made("a", 0), made("b", 1, code={"trueslice/train": "3"}, x=1)) == [
        *("seed", "x", "stages/train.py", "trueslice/train")
    ]


def test_runs_of_the_method_with_other_seeds_are_left_out():
    side = [made("a", 0), made("b", 1)]
    others = [
        made("HEAD", 0),
        made("c", 2),
        made("d", 3, code={"trueslice/train": "3"}),
        made("e", 4, **{"train.epochs": 4}),
        *side,
    ]
    assert left_out(side, others) == ["c"]
