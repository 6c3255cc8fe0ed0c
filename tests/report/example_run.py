"""A made-up run, by the layout that metrics/*.json have, for every way of dividing scans.

The numbers fit together as those of a real run do. Intervals are the value and 0.05 either way.
"""

import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice import params
from trueslice.records.split import Placed
from trueslice.records.test import ModelScores
from trueslice.records.timing import TrainingTime
from trueslice.report.explanations import WORDS
from trueslice.report.figures import Tables
from trueslice.report.provenance import Drawing
from trueslice.report.run import BASELINES, MIN_DISTINCT, RECORDS, Run
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.examples import Examples
from trueslice.tables.steps import Steps

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
NAMES = ["glioma", "notumor"]
IN_TRAINING, IN_TEST = 120, 80  # files of each class in the published folders
SIDE = 32  # pixels of a scan
TIMING = TrainingTime(device="CPU, 2 threads", seconds=150.0, images_per_second=120.0, peak_memory_mb=1076.0)
HEALTHY = ("missed_tumours", "false_alarms", "upside_down_missed_tumours")  # scores of the healthy class


def example(
    names: list[str] = NAMES, negative: str | None = "notumor", published: bool = True, leaked: int = 35,
    conflicting: bool = False, source: str = "kaggle", wrong: int = 6, epochs: int = 3, unseen: tuple[str, ...] = (),
    patients: str = "some", **choices,
) -> Run:  # fmt: skip
    """A run over 120 training and 80 test scans of each class, of which `leaked` are copies of training scans.

    Of the test scans of each class the first `wrong` are taken for the next class; the leaked ones come first. Classes
    that are `unseen` have no test scan. `conflicting` gives the first training scans of two classes one group.
    `patients` are known of "all" classes, of "some" (all but the healthy, or the last) or of "none"; 16 of each class
    are in both folders.
    """
    settings = PARAMS.model_copy(
        update={
            "split": PARAMS.split.model_copy(update=choices),
            "evaluate": PARAMS.evaluate.model_copy(update={"negative_class": negative}),
            "data": PARAMS.data.model_copy(update={"source": source}),
        }
    )
    some = [name for name in names if name != (negative or names[-1])]
    known = {"all": names, "some": some, "none": []}[patients]
    split = _split(names, settings.split, published, leaked, conflicting, unseen)
    official = split["protocol"] == "official"
    exposed = leaked if official and settings.split.leaks in ("keep", "drop_random") else 0
    classes, records = _classes(names, [row["test"] for row in split["classes"]], wrong)
    for score, number in _overall(classes, negative).items():
        reason = "evaluate.negative_class is null" if score in HEALTHY else "it has no value in some class"
        records.append(_record(score, None, number, reason if number is None else None))
    overall = {row["score"]: row["value"] for row in records if row["class"] is None}
    test = {
        "scans": split["test"],
        **{key: number for key, number in overall.items() if key in ModelScores.model_fields},
        "calibration": {"nll": 0.31, "brier": 0.2, "ece": 0.031, "nll_before": 0.355, "brier_before": 0.21}
        | {"ece_before": 0.052, "ece_if_calibrated": 0.024}
        | {"ece_p95_if_calibrated": 0.041, "ece_p_value": 0.24, "verdict": "helped"}
        | {"nll_change": -0.045, "nll_change_low": -0.07, "nll_change_high": -0.02}
        | _slope(negative),
        "per_distinct_scan": {"scans": split["test"], "conflicting_groups_left_out": 0}
        | {key: overall[f"{key}_per_distinct_scan"] for key in ("accuracy", "balanced_accuracy", "macro_f1")},
        "classes": classes,
        "reliability": _reliability(split["test"]),
        "similarity": _similarity(split["test"]),
        "exposure": _exposures(classes, exposed, known, split["protocol"]),
        "name_runs": None if patients == "all" else {"length": 10, "low": 0.85, "high": 0.97, "times_as_wide": 1.4},
        "by": [
            {"column": "mode", "value": mode, "class": name} | _scored(40, right)
            for mode, right in (("L", 38), ("RGB", 20))
            for name in (None, *names)
        ],
        "tumour": None if negative is None else _tumour(),
        "risk_coverage": {"area": 0.021, "low": 0.011, "high": 0.034, "method": None, "reason": None, "covers": None}
        | {"rows": [{"coverage": share / 20, "risk": 0.06 * (share / 20) ** 2} for share in range(1, 21)]},
    }
    data = _data(names, published, leaked, conflicting, unseen, known)
    split |= {
        "patients_in_train_and_test": 0 if split["protocol"] == "patients" else 16 * len(known),
        **{f"patients_{part}": 18 * len(known) for part in ("train", "val", "test")},
        "units": 200,
        "leaked_by_patient": data["patient_leaked_test_scans"],
        "placed_by_names": 200 * (len(names) - len(known)) if split["protocol"] == "patients" else 0,
    }
    filled = {key: split[key] for key in Placed.model_fields}
    contents = {
        "data": data,
        "split": split | {"classes": [filled | row for row in split["classes"]]},
        "train": _train(epochs),
        "test": test,
        "intervals": {"unit": _unit(test["scans"], data), "intervals": records},
        "baselines": {
            "baselines": [
                _baseline(name, 0.5 - 0.1 * place, overall["accuracy"]) for place, name in enumerate(BASELINES)
            ]
        },
        "external": {"sets": [_external_set(each.name, names, test["tumour"]) for each in settings.external]},
        "embedding": {"variance": {"x": 0.41, "y": 0.22}},
        "explain": explained(names),
    }
    return Run(
        params=settings,
        **{name: RECORDS[name].model_validate(content) for name, content in contents.items()},
        model={"checkpoint": {"name": "tiny", "revision": None}, "wise_ft_alpha": None}
        | {"versions": {"torch": "2.0", "transformers": "5.0"}},
    )


def changed(run: Run, part: str, **values) -> Run:
    """Return the run with other values in one of its records."""
    return replace(run, **{part: getattr(run, part).model_copy(update=values)})


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


def explained(names: list[str], masks: bool = True) -> dict:
    """How explanations point: in 80 % of scans, a fixed point in 50 %, all else in 10 %; energies are half of it."""
    if not masks:
        return {"scans": 0, "shown": False, "reason": "no mask of a test scan is known", "rows": [], "differences": []}
    rows = []
    kinds = [("all", None), *(("class", name) for name in names[:-1]), ("size", "small"), ("answer", "wrong")]
    for by, name in kinds:
        for of in WORDS:
            for score, half in (("pointing", 1), ("energy", 0.5)):
                number = {"explanation": 0.8, "fixed_point": 0.5}.get(of, 0.1) * half
                low, high, _ = _limits(number)
                row = {"by": by, "value_of": name, "score": score, "of": of, "value": number}
                rows.append(row | {"low": low, "high": high, "scans": 60, "units": 20})
    return {"scans": 60, "shown": True, "reason": "it points", "rows": rows, "differences": []}


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


def _split(
    names: list[str], settings: params.Split, published: bool, leaked: int, conflicting: bool, unseen: tuple[str, ...]
) -> dict:
    protocol = settings.protocol if published or settings.protocol != "official" else "grouped"
    leaks, rows = settings.leaks, []
    for place, name in enumerate(names):
        tested = 0 if name in unseen else IN_TEST if protocol == "official" else 40
        dropped = dict.fromkeys(("dropped_as_conflicting", "dropped_as_leaked", "dropped_at_random"), 0)
        if protocol == "official" and tested:
            dropped["dropped_as_leaked"] = leaked if leaks.startswith("drop_t") else 0
            dropped["dropped_at_random"] = leaked if leaks == "drop_random" else 0
        if conflicting and place < 2 and settings.conflicts == "drop":
            dropped["dropped_as_conflicting"] = 1
        dropped["dropped_as_repeated"] = 5 if settings.copies == "one" else 0
        out_of_test = dropped["dropped_as_leaked"] if leaks == "drop_test" else 0
        tested -= out_of_test
        rest = IN_TRAINING + (0 if name in unseen else IN_TEST) - sum(dropped.values()) - tested
        row = {"class": name, "train": rest - rest // 7, "val": rest // 7, "test": tested}
        row |= {"dropped": sum(dropped.values())} | dropped
        rows.append(row | {"leaked_test_scans": leaked if published and name not in unseen else 0})
    totals = {key: sum(row[key] for row in rows) for key in rows[0] if key != "class"}
    paths = [{"path": f"Training/{name}/0.png", "class": name, "group": 0} for name in names[: 2 * conflicting]]
    return {"protocol": protocol} | totals | {"classes": rows, "conflicting": paths}


def _data(
    names: list[str], published: bool, leaked: int, conflicting: bool, unseen: tuple[str, ...], known: list[str]
) -> dict:
    rows = []
    for name in names:
        test = 0 if name in unseen else IN_TEST
        copies = leaked if test else 0
        counts = {"scans": IN_TRAINING + test, "train": IN_TRAINING * published, "test": test * published}
        distinct = counts["scans"] - copies
        rows.append({"class": name} | counts | {"distinct": distinct, "leaked": copies * published})
        rows[-1]["source_conflicts"] = 0
        # Four scans a patient: 20 patients of each class are tested, and 16 of them are in Training too.
        tested, of_known = bool(test) and published, name in known
        rows[-1] |= {
            "patients": 34 * of_known,
            "patients_train": 30 * of_known,
            "patients_test": 20 * of_known * tested,
        }
        rows[-1] |= {"patients_in_both": 16 * of_known * tested, "without_patient": counts["scans"] * (not of_known)}
        shared = max(64, leaked) * of_known * tested
        rows[-1] |= {"patient_leaked": max(0, shared - leaked), "test_of_train_patients": shared}
        rows[-1] |= {"train_of_other_patients": 56 * of_known}
    files, copies = sum(row["scans"] for row in rows), sum(row["scans"] - row["distinct"] for row in rows)
    edges = [-1.0, *(round(0.8 + 0.005 * place, 3) for place in range(41))]
    bins = [{"from": low, "to": high, "copies": 0, "others": 0} for low, high in itertools.pairwise(edges)]
    bins[0]["others"] = files - 2 * copies
    bins[-1]["copies"] = 2 * copies
    kinds = ["exact", "mirrored", "upside_down", "quarter_turn_right", "aligned", "near", "half_turn", "exact"]
    examples = [
        {"a": place, "b": place + 8, "kind": kind, "correlation": correlation}
        | {"class": " / ".join(names[: 1 + place % 2])}
        for place, (kind, correlation) in enumerate(zip(kinds, [1.0, 0.99998, 0.9812, *[0.99] * 5], strict=True))
    ]  # fmt: skip
    return {
        "files": files, "decoded": files, "unreadable_files": 0, "colour_files": 0,
        "distinct_scans": files - copies - conflicting, "copy_pairs": copies + conflicting,
        "copy_groups": copies + conflicting, "largest_copy_group": 2 if copies else 1,
        "label_conflicts": int(conflicting), "source_conflicts": int(conflicting),
        "patients": sum(row["patients"] for row in rows),
        "scans_without_patient": sum(row["without_patient"] for row in rows),
        "patients_in_both_folders": sum(row["patients_in_both"] for row in rows),
        "patient_leaked_test_scans": sum(row["patient_leaked"] for row in rows),
        "test_scans_of_train_patients": sum(row["test_of_train_patients"] for row in rows),
        "test_scans": sum(row["test"] for row in rows),
        "leaked_test_scans": sum(row["leaked"] for row in rows), "classes": rows,
        "copy_kinds": [{"kind": "exact", "pairs": copies + conflicting}], "best_matches": bins,
        "examples": sorted(examples, key=lambda pair: pair["kind"])[: min(8, copies)], "unreadable": [],
    }  # fmt: skip


def _train(epochs: int) -> dict:
    rows = [
        {"epoch": epoch, "train_loss": 1.4 / epoch, "train_accuracy": 1 - 0.5 / epoch}
        | {"val_loss": 1.5 / epoch, "val_accuracy": 0.95 - 0.5 / epoch, "learning_rate": 1e-3}
        for epoch in range(1, epochs + 1)
    ]
    best = {key: rows[-1][key] for key in ("val_loss", "val_accuracy", "train_loss", "train_accuracy")}
    return {"best_epoch": epochs, **best, "temperature": 1.234, "wise_ft_alpha": None, "steps": 20 * epochs} | {
        "epochs": rows
    }


def _classes(names: list[str], tested: list[int], wrong: int) -> tuple[list[dict], list[dict]]:
    """The rows of test.json's `classes`, and the interval records of their scores."""
    confusion = np.diag([max(0, count - wrong) for count in tested])
    for place, count in enumerate(tested):
        confusion[place, (place + 1) % len(names)] += min(wrong, count)
    rows, records = [], []
    total, right = confusion.sum(), np.diag(confusion)
    actual, called = confusion.sum(axis=1), confusion.sum(axis=0)
    for place, name in enumerate(names):
        hits, scans, predicted = int(right[place]), int(actual[place]), int(called[place])
        rest = int(total) - scans - predicted + hits
        scores = {
            "recall": _share(hits, scans), "precision": _share(hits, predicted),
            "f1": _share(2 * hits, scans + predicted),
            "specificity": _share(rest, int(total) - scans), "npv": _share(rest, int(total) - predicted),
        }  # fmt: skip
        scores["auroc"] = 0.97 if 0 < scans < total else None
        scores["average_precision"] = 0.95 if scans else None
        row = {"class": name, "scans": scans, "distinct": scans, "units": scans, "predicted": predicted} | scores
        rows.append(row | {"predicted_as": confusion[place].tolist()})
        reasons = {"precision": f"{name} is never predicted"}
        records += [
            _record(score, name, number, reasons.get(score, f"{name} has no test scan") if number is None else None)
            for score, number in scores.items()
        ]
    return rows, records


def _overall(classes: list[dict], negative: str | None) -> dict[str, float | None]:
    total, right = sum(row["scans"] for row in classes), sum(row["predicted_as"][i] for i, row in enumerate(classes))
    means = {key: _mean([row[key] for row in classes])
             for key in ("recall", "precision", "f1", "auroc", "average_precision")}  # fmt: skip
    accuracy, healthy = right / total, 0.03 if negative is not None else None
    return {
        "accuracy": accuracy, "balanced_accuracy": means["recall"], "macro_precision": means["precision"],
        "macro_f1": means["f1"], "mcc": 0.83, "cohen_kappa": 0.83, "macro_auroc": means["auroc"],
        "macro_average_precision": means["average_precision"], **dict.fromkeys(HEALTHY, healthy),
        "nll": 0.31, "brier": 0.2, "ece": 0.031,
        "accuracy_per_distinct_scan": accuracy, "balanced_accuracy_per_distinct_scan": means["recall"],
        "macro_f1_per_distinct_scan": means["f1"],
    }  # fmt: skip


def _record(score: str, name: str | None, number: float | None, reason: str | None) -> dict:
    if score == "ece" and number is not None:
        return {"score": score, "class": name, "value": number, "low": None, "high": None, "method": None} | {
            "reason": "no valid interval; see ece_if_calibrated",
            "covers": None,
        }
    low, high, method = _limits(number)
    covers = 0.905 if score.endswith("auroc") and number is not None else None
    return {"score": score, "class": name, "value": number, "low": low, "high": high, "method": method} | {
        "reason": reason, "covers": covers
    }  # fmt: skip


def _limits(number: float | None) -> tuple[float | None, float | None, str | None]:
    return (None, None, None) if number is None else (max(0.0, number - 0.05), min(1.0, number + 0.05), "wilson")


def _baseline(name: str, accuracy: float, of_model: float) -> dict:
    low, high, method = _limits(accuracy)
    return {"baseline": name, "accuracy": accuracy, "low": low, "high": high, "method": method, "reason": None} | {
        "balanced_accuracy": accuracy, "macro_f1": accuracy, "missed_tumours": 0.2, "false_alarms": None,
        "difference": of_model - accuracy, "difference_low": of_model - accuracy - 0.05,
        "difference_high": of_model - accuracy + 0.05, "difference_reason": None, "covers": None,
        "accuracy_copy": 0.99, "accuracy_patient": 0.97, "accuracy_neither": 0.81,
    }  # fmt: skip


def _reliability(scans: int) -> list[dict]:
    keys = ("scans", "confidence", "accuracy", "low", "high", "scans_before", "confidence_before", "accuracy_before")
    filled = {
        6: (1, 0.41, 0.0, 0.0, 0.975, 0, None, None), 9: (2, 0.63, 0.5, 0.1, 0.9, 0, None, None),
        14: (scans - 3, 0.99, 0.95, 0.9, 1.0, scans, 0.999, 0.92),
    }  # fmt: skip
    empty = (0, None, None, None, None, 0, None, None)
    return [
        {"from": place / 15, "to": (place + 1) / 15} | dict(zip(keys, filled.get(place, empty), strict=True))
        for place in range(15)
    ]


def _similarity(scans: int) -> list[dict]:
    edges = [-1.0, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0]
    rows = [(0, 0, None), (1, 1, 1.0), (35, 29, 0.5), (1035, 30, 0.6), (40, 40, 1.0), (scans, scans, 0.91)]
    result = []
    for low, high, (number, distinct, accuracy) in zip(edges, edges[1:], rows, strict=False):
        limits = _limits(accuracy) if number > 1 else (None, None, None)
        row = {"from": low, "to": high, "scans": number, "distinct": distinct, "units": distinct, "accuracy": accuracy}
        result.append(row | {"low": limits[0], "high": limits[1]})
    return result


def _exposures(classes: list[dict], copies: int, known: list[str], protocol: str) -> list[dict]:
    """Rows of every class and of all. Copies come first, then scans of known patients, and so do the mistakes."""
    scores = {}
    for place, row in enumerate(classes):
        scans, of_known = row["scans"], row["class"] in known
        copied = min(copies, scans)
        seen = max(0, scans * 4 // 5 - copied) if of_known and protocol != "patients" else 0
        rest, wrong = scans - copied - seen, scans - row["predicted_as"][place]
        for exposure, number in (("copy", copied), ("patient", seen), ("neither" if of_known else "unknown", rest)):
            errors = min(wrong, number)
            wrong -= errors
            scores[exposure, row["class"]] = np.array([number, number - errors])
    rows = []
    for exposure in ("copy", "patient", "neither", "unknown"):
        own = {name: each for (kind, name), each in scores.items() if kind == exposure and each[0]}
        if own:
            own = {None: sum(own.values())} | own
            rows += [{"exposure": exposure, "class": name} | _scored(*each) for name, each in own.items()]
    return rows


def _scored(scans: int, right: int) -> dict:
    accuracy = float(right / scans) if scans >= MIN_DISTINCT else None
    low, high, _ = _limits(accuracy)
    reason = f"fewer than {MIN_DISTINCT} distinct scans" if accuracy is None else None
    counts = {"scans": int(scans), "distinct": int(scans), "units": int(scans) // 2}
    return counts | {"accuracy": accuracy, "low": low, "high": high, "method": None, "reason": reason, "covers": None}


def _unit(scans: int, data: dict) -> dict:
    names = {0: "patient", data["decoded"]: "group of copies"}
    without = scans * data["scans_without_patient"] // data["decoded"]
    name = names.get(data["scans_without_patient"], "patient, or group of copies where none is known")
    known = (scans - without) // 4
    return {"name": name, "count": known + without, "patients": known, "scans_without_patient": without}


def _slope(negative: str | None) -> dict:
    keys = [f"{name}{end}" for name in ("slope", "intercept") for end in ("", "_low", "_high")]
    found = dict(zip(keys, (0.93, 0.8, 1.1, -0.2, -0.5, 0.1), strict=True)) if negative else dict.fromkeys(keys)
    return found | {"slope_covers": None}


def _tumour() -> dict:
    """A receiver whose sensitivity is the twentieth root of the false alarms."""
    roc = [
        {"false_alarms": alarms, "sensitivity": alarms**0.05, "low": alarms**0.1, "high": alarms**0.02}
        for alarms in (np.linspace(0, 1, 101) ** 2).tolist()
    ]
    points, predictive = [], []
    for target, threshold, specificity in ((0.95, 0.4, 1 - 0.94**20), (0.98, 0.2, 1 - 0.97**20)):
        point = {"target": target, "threshold": threshold}
        point |= _bounded("sensitivity", target - 0.01) | _bounded("specificity", specificity)
        points.append(point)
        predictive += [
            {"target": target, "prevalence": share} | _bounded("ppv", 5 * share) | _bounded("npv", 0.999)
            for share in (0.01, 0.1)
        ]
    return {"auroc": 0.952, "low": 0.91, "high": 0.98, "method": None, "reason": None, "covers": None, "roc": roc} | {
        "operating_points": points, "predictive_values": predictive
    }  # fmt: skip


def _bounded(name: str, number: float) -> dict:
    low, high, _ = _limits(number)
    return {name: number, f"{name}_low": low, f"{name}_high": high}


def _external_set(name: str, names: list[str], tumour: dict | None) -> dict:
    """A set without the last class, of which a tenth of the files are copies."""
    low, high, method = _limits(0.7)
    accuracy = {"accuracy": 0.7, "low": low, "high": high, "method": method, "reason": None}
    recall = {"kept": 90, "recall": 0.7, "low": low, "high": high, "method": method, "reason": None}
    lacking = dict.fromkeys(recall) | {"kept": 0, "reason": "no scan counts"}
    keys = (
        "target",
        "threshold",
        *(key + end for key in ("sensitivity", "specificity") for end in ("", "_low", "_high")),
    )
    held = len(names) - 1
    return {
        "set": name, "files": 100 * held, "unreadable": 0, "without_class": [], "dropped_as_development": 9 * held,
        "dropped_within": held, "kept": 90 * held, "kept_distinct": 90 * held, **accuracy, "accuracy_of_dropped": 0.96,
        "classes": [{"class": each} | (recall if each != names[-1] else lacking) for each in names],
        "missing_classes_answered": 0.11, "nll": 0.9, "ece": 0.1,
        "tumour": tumour and [{key: point[key] for key in keys} for point in tumour["operating_points"]],
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(numbers: list[float | None]) -> float | None:
    return None if None in numbers else float(np.mean(numbers))
