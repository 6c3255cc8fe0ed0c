"""A small run: tables that are made up, and the records that the pipeline's own functions make of them."""

import io
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.made import trained_model
from tests.scan_tables import scan_table
from trueslice import params
from trueslice.copies import groups
from trueslice.evaluate import explanations, external, score
from trueslice.evaluate import patients as per_patient
from trueslice.params import Params
from trueslice.records.data import DataCounts
from trueslice.records.embedding import EmbeddingAxes, Variance
from trueslice.records.external import ExternalFiles, ExternalScores, SetFiles
from trueslice.records.timing import TrainingTime
from trueslice.records.train import Epoch
from trueslice.records.withheld import AnsweredScans, Promise, Withheld
from trueslice.report.figures import Tables
from trueslice.report.provenance import Drawing
from trueslice.report.run import Run
from trueslice.report.templates import TEMPLATES
from trueslice.splits import split as splitting
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.examples import Examples
from trueslice.tables.explanations import Explanations
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, Predictions
from trueslice.tables.scans import Pairs, Scans
from trueslice.tables.splits import Splits
from trueslice.tables.steps import Steps
from trueslice.train.history import History

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
NAMES = ["glioma", "notumor"]
IN_TRAINING, IN_TEST = 120, 80  # files of each class in the published folders
KINDS = ("exact", "mirrored", "upside_down", "quarter_turn_right", "aligned", "near", "half_turn")
FILES = {"unreadable_files": 0, "colour_files": 0, "unreadable": []}
SIDE = 32  # pixels of a scan
TEMPERATURE = 1.234
TIMING = TrainingTime(device="CPU, 2 threads", seconds=150.0, images_per_second=120.0, peak_memory_mb=1076.0)


def example(names: list[str] = NAMES, unseen: tuple[str, ...] = (), **choices) -> Run:
    """A run over 120 training and 80 test scans of each class; see `_scans` and `_run` for the choices."""
    return _run(tuple(names), unseen, **choices)


@lru_cache(maxsize=64)
def _run(
    names: tuple[str, ...], unseen: tuple[str, ...], negative: str | None = "notumor", published: bool = True,
    leaked: int = 35, conflicting: bool = False, source: str = "kaggle", wrong: int = 6, epochs: int = 3,
    patients: str = "some", **choices,
) -> Run:  # fmt: skip
    """A run in which of the test scans of each class the first `wrong` are predicted as the next class.

    Classes that are `unseen` have no test scan. `choices` are parameters of the split.
    """
    settings = PARAMS.model_copy(
        update={
            "split": PARAMS.split.model_copy(update=choices),
            "evaluate": PARAMS.evaluate.model_copy(update={"negative_class": negative}),
            "data": PARAMS.data.model_copy(update={"source": source}),
        }
    )
    some = tuple(name for name in names if name != (negative or names[-1]))
    scans, pairs = _scans(names, published, leaked, conflicting, {"all": names, "some": some, "none": ()}[patients])
    placed = splitting.split(scans, settings.split, settings.seed)
    is_gone = np.isin(scans.class_name, unseen) & (placed.splits.split == "test")
    splits = replace(placed.splits, split=np.where(is_gone, "dropped", placed.splits.split))
    table, validation = _predictions(splits, names, wrong)
    labels = {"mode": np.where(np.arange(len(table)) % 2, "L", "RGB")}
    test, intervals = score.evaluate(table, validation, labels, settings.evaluate)
    return Run(
        params=settings,
        data=_shown(groups.summarise(scans, pairs, **FILES | {"files": len(scans), "decoded": len(scans)})),
        split=splitting.count(placed._replace(splits=splits)),
        train=_history(epochs).summary(),
        test=test,
        intervals=intervals,
        baselines=score.score_baselines(_baselines(table), table, negative),
        external=_external(settings, names, negative, test.tumour.operating_points if test.tumour else []),
        embedding=EmbeddingAxes(variance=Variance(x=0.41, y=0.22)),
        explain=explanations.score(_explanations(names)),
        withheld=Withheld(promise=None, reason="evaluate.max_error is null", rows=[]),
        patients=per_patient.score(table, validation, settings.evaluate),
        model=trained_model(),
    )


def changed(run: Run, part: str, **values) -> Run:
    """Return the run with other values in one of its records."""
    return replace(run, **{part: getattr(run, part).model_copy(update=values)})


def promising(wrong: float = 0.06) -> Run:
    """A run with a promise of 10 % errors, of whose answers on another data set 32 % are wrong."""
    run = example(protocol="patients")
    limits = {"answered_low": 0.7, "answered_high": 0.9, "wrong_low": wrong / 2, "wrong_high": 2 * wrong}
    rows = [
        AnsweredScans(by=by, value_of=name, scans=100, answered=0.8, wrong=wrong, **limits)
        for by, name in (("all", None), ("exposure", "neither"), ("exposure", "unknown"), ("class", "glioma"))
    ]
    broken = {"by": "external", "value_of": "elsewhere", "wrong": 0.32, "wrong_low": 0.2, "wrong_high": 0.45}
    rows.append(rows[0].model_copy(update=broken))
    nothing = dict.fromkeys(("wrong", "wrong_low", "wrong_high"))
    rows.append(rows[0].model_copy(update={"value_of": "notumor", "by": "class", "answered": 0.0} | nothing))
    promise = Promise(max_error=0.1, holds_with=0.9, threshold=0.8123, scans=200, independent=50)
    return asking(replace(run, withheld=Withheld(promise=promise, reason=None, rows=rows)))


def asking(run: Run) -> Run:
    """The same run, with `evaluate.max_error`."""
    evaluate = run.params.evaluate.model_copy(update={"max_error": 0.1})
    return replace(run, params=run.params.model_copy(update={"evaluate": evaluate}))


def degenerate() -> dict[str, Run]:
    """Runs at the edge of what can be, by what is missing in them."""
    return {
        "a class without test scans": example(unseen=("glioma",)),
        "nothing is defined": example(names=["a", "b", "c"], negative="b", unseen=("a", "c"), wrong=80),
        "no published test set": example(published=False, leaked=0, protocol="grouped"),
        "one epoch": example(epochs=1),
        "few test scans left": example(leaked=75, leaks="drop_test"),
        "no negative class": example(negative=None),
        "names like keys and tags": example(names=["total", "classes", "mean_over_classes", "<b>", "$a_b$"],
                                            negative="total", leaks="keep"),
    }  # fmt: skip


def steps(epochs: int = 3) -> Steps:
    """Of a training with 20 steps in each epoch."""
    number = np.arange(1, 20 * epochs + 1)
    loss = 1.4 / number**0.5 + 0.1 * np.sin(number)
    return Steps(number, loss, 1.4 / number**0.5, np.full(len(number), 1e-3))


def examples(names: list[str] = NAMES) -> Examples:
    """Of eight test scans two drawn at random, two confident mistakes and two doubtful hits."""
    row = np.arange(6)
    names_of = np.array(names)[row % len(names)]
    return Examples(
        kind=np.repeat(["example", "mistake", "hit"], 2), row=row, scan=row, nearest_1=row + 2, nearest_2=row + 4,
        nearest_3=row + 6, class_name=names_of, predicted=np.where(row // 2 == 1, names_of[::-1], names_of),
        probability=np.linspace(0.5, 0.99, 6),
    )  # fmt: skip


def maps() -> np.ndarray:
    """Explanations of six scans, brightest in the middle, where all but the last have a tumour."""
    found = np.zeros((6, 2, 16, 16), np.uint8)
    found[:, 0, 6:10, 6:10] = 255
    found[:5, 1, 5:11, 5:11] = 255
    return found


def embedding(names: list[str] = NAMES) -> EmbeddingMap:
    """Twelve scans of each class: training scans, and test scans of which one is wrong."""
    number = np.arange(12 * len(names))
    class_name, split = np.array(names)[number // 12], np.where(number % 3, "train", "test")
    y_pred = np.where(split == "test", np.where(number == 3, names[-1], class_name), "")
    return EmbeddingMap(number.astype(str), class_name, split, y_pred, np.sin(number), np.cos(number))


def tables(epochs: int = 3, names: list[str] = NAMES) -> Tables:
    """Tables to draw from."""
    return Tables(steps(epochs), embedding(names))


def png(colour: str = "white") -> bytes:
    """A picture of a few pixels."""
    with io.BytesIO() as file:
        Image.new("RGB", (8, 4), colour).save(file, "PNG")
        return file.getvalue()


def drawing(**changes) -> Drawing:
    """A drawing at a commit without changes on top."""
    return replace(Drawing("2026-11-24 18:00 UTC", "0123abcd", (), (), TIMING), **changes)


def without_drawing(page: str) -> str:
    """A report without what differs between two drawings of the same run."""
    parts = re.split(r'<section id="drawing">.*?</section>', page, flags=re.DOTALL)
    assert len(parts) == 2
    return "".join(parts)


def pixels(count: int, colour: bool = False) -> np.ndarray:
    """`count` scans of noise."""
    shape = (count, SIDE, SIDE, 3) if colour else (count, SIDE, SIDE)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _scans(
    names: tuple[str, ...], published: bool, leaked: int, conflicting: bool, known: tuple[str, ...]
) -> tuple[Scans, Pairs]:
    """Scans of each class, four of a patient, of which 16 are in both folders; patients of `known` classes are known.

    The first `leaked` test scans of each class are copies of its first training scans. `conflicting` gives the last
    training scans of two classes one group, and one of them another class in its source.
    """
    per_class = IN_TRAINING + IN_TEST
    number = np.arange(per_class * len(names))
    place, class_name, start = number % per_class, np.repeat(names, per_class), number // per_class * per_class
    in_test = place >= IN_TRAINING
    rank = np.where(in_test, place - IN_TRAINING, place)
    is_copy = in_test & (rank < leaked)
    group = np.where(is_copy, start + rank, number)
    if conflicting:
        group[per_class + IN_TRAINING - 1] = group[IN_TRAINING - 1]
    of_training = ~in_test | (rank < max(4 * 16, leaked))
    patient = np.where(of_training, rank // 4, IN_TRAINING // 4 + rank // 4)
    patient = np.array(
        [f"{name} {each}" if name in known else "" for name, each in zip(class_name, patient, strict=True)]
    )
    folder = np.where(in_test, "test", "train") if published else np.full(len(number), "")
    scans = scan_table(
        folder, class_name, group, patient=patient, best_match=np.where(is_copy, 1.0, 0.7),
        path=np.array([f"{'Testing' if test else 'Training'}/{name}/{at}.png"
                       for test, name, at in zip(in_test, class_name, rank, strict=True)]),
        source_class=np.where(conflicting & (number == IN_TRAINING - 1), names[1], ""),
    )  # fmt: skip
    b = np.flatnonzero(group != number)
    kinds = np.array(KINDS)[np.arange(len(b)) % len(KINDS)]
    return scans, Pairs(group[b], b, kinds, np.where(kinds == "exact", 1, 0.99))


def _shown(data: DataCounts) -> DataCounts:
    """The counts with example pairs that are among 16 scans, as many as `pixels` makes in the tests."""
    pairs = [pair.model_copy(update={"a": row, "b": row + 8}) for row, pair in enumerate(data.examples)]
    return data.model_copy(update={"examples": pairs})


def _shares(y_pred: np.ndarray, count: int, top: np.ndarray) -> np.ndarray:
    """Probabilities of which that of the predicted class is `top`, and all others are alike."""
    others = ((1 - top) / (count - 1))[:, None]
    return np.where(np.eye(count, dtype=bool)[y_pred], top[:, None], others)


def _predictions(splits: Splits, names: tuple[str, ...], wrong: int) -> tuple[ModelPredictions, Predictions]:
    tables = []
    for part, mistakes in (("test", wrong), ("val", 1)):
        columns = splits.columns_of(part, names)
        y_true = columns["y_true"]
        rank = np.array([np.sum(y_true[:row] == label) for row, label in enumerate(y_true)])
        y_pred = np.where(rank < mistakes, (y_true + 1) % len(names), y_true)
        top = np.where(rank < mistakes, 0.7, np.linspace(0.75, 0.999, len(y_true)))
        tables.append(Predictions(**columns, y_pred=y_pred, probabilities=_shares(y_pred, len(names), top)))
    test, validation = tables
    return ModelPredictions(
        **vars(test),
        logits=TEMPERATURE * np.log(test.probabilities),
        upside_down=np.where(np.arange(len(test)) % 10, test.y_pred, 0),
        similarity=np.linspace(0.6, 1, len(test)),
        distance=np.linspace(0, 1, len(test)),
    ), validation


def _baselines(model: ModelPredictions) -> BaselinePredictions:
    """Predictions of baselines, each wrong on more scans than the one before."""
    tables, count = [], len(model.class_names)
    for place, name in enumerate(TEMPLATES.globals["BASELINES"]):
        is_wrong = (np.arange(len(model)) % 10 < 4 + place) & (model.exposure != "copy")
        y_pred = np.where(is_wrong, (model.y_true + 1) % count, model.y_true)
        columns = {each: getattr(model, each) for each in Predictions.__dataclass_fields__}
        columns |= {"y_pred": y_pred, "probabilities": np.eye(count)[y_pred]}
        tables.append(BaselinePredictions(**columns, baseline=np.full(len(model), name)))
    return BaselinePredictions.concatenate(tables)


def _external(settings: Params, names: tuple[str, ...], negative: str | None, points: list) -> ExternalScores:
    """Each set without the last class: of 100 files of every other class nine are copies of development scans."""
    held = len(names) - 1
    y_true, place = np.repeat(np.arange(held), 100), np.tile(np.arange(100), held)
    y_pred = np.where(place % 10 < 3, (y_true + 1) % len(names), y_true)
    tables, sets = [ExternalPredictions.empty(names)], []
    for each in settings.external:
        sets.append(SetFiles(set=each.name, files=len(place), unreadable=0, without_class=[]))
        tables.append(
            ExternalPredictions(
                class_names=names, name=np.full(len(place), each.name), path=place.astype(str),
                pixel_hash=place.astype(str), group=np.arange(len(place)), y_true=y_true, y_pred=y_pred,
                dropped=np.select([place < 90, place < 99], ["", "development"], "within"),
                probabilities=_shares(y_pred, len(names), np.full(len(place), 0.8)),
            )
        )  # fmt: skip
    table = ExternalPredictions.concatenate(tables)
    return external.score(table, ExternalFiles(sets=sets), negative, points)


def _history(epochs: int) -> History:
    rows = [
        Epoch(epoch=epoch, train_loss=1.4 / epoch, train_accuracy=1 - 0.5 / epoch, val_loss=1.5 / epoch,
              val_accuracy=0.95 - 0.5 / epoch, learning_rate=1e-3)
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    steps = [{"step": step} for step in range(20 * epochs)]
    return History(steps=steps, epochs=rows, best_epoch=epochs, temperature=TEMPERATURE)


def _explanations(names: tuple[str, ...]) -> Explanations:
    """Maps of 60 scans that point at 80 % of the tumours, where the fixed point hits half of them."""
    row = np.arange(60)
    columns = {name: np.full(60, 0.1) for pair in explanations.COLUMNS.values() for name in pair}
    columns |= {"pointing": (row % 5 > 0) * 1.0, "fixed_point": (row % 2) * 1.0, "energy": np.full(60, 0.4)}
    class_name = np.array(names)[row % len(names)]
    predicted = np.where(row % 6, class_name, names[0])
    return Explanations(
        path=row.astype(str), class_name=class_name, predicted=predicted, unit=row // 3, area=row / 60, **columns
    )
