"""What the flow diagram shows, and that its boxes hold their text."""

import re
from html import unescape

import pytest

from tests.report.example_run import degenerate, example
from trueslice.report.flow import LETTER, WIDTH, flow

RUNS = degenerate() | {
    "everything is left out": example(leaks="keep", conflicting=True, patients="all"),
    "patients": example(protocol="patients", source="phantom"),
}


def words(run) -> str:
    return unescape(re.search(r"<desc[^>]*>(.*?)</desc>", str(flow(run)))[1])


def test_the_way_goes_from_files_found_to_the_test():
    said = words(example())
    assert said.startswith("Found: 400 files. Left out: 0 unreadable. Readable: 400 files, 330 distinct scans")
    assert "Dropped: 70 copies of the other side." in said
    assert "Test: 160 scans, 18 patients" in said
    assert "Other set other_scanner: 100 files" in said
    assert "External test: 90 scans, accuracy 70.0 %." in said


def test_what_was_seen_of_the_test_scans_stands_in_their_box():
    said = words(example(leaks="keep"))
    assert "70: a copy was seen" in said
    assert "Divided: anew: patients." in words(example(protocol="patients"))
    assert "Dropped: none." in words(example(protocol="patients"))


@pytest.mark.parametrize("name", RUNS)
def test_boxes_lie_within_the_picture_do_not_overlap_and_hold_their_text(name):
    picture = str(flow(RUNS[name]))
    height = int(re.search(r'viewBox="0 0 \d+ (\d+)"', picture)[1])
    boxes = [
        tuple(map(float, numbers))
        for numbers in re.findall(r'x="([\d.]+)" y="([\d.]+)" width="(\d+)" height="(\d+)" rx', picture)
    ]
    for place, (x, y, width, tall) in enumerate(boxes):
        assert x >= 0 and x + width <= WIDTH and y >= 0 and y + tall <= height
        for left, top, wide, high in boxes[place + 1 :]:
            assert x + width <= left or left + wide <= x or y + tall <= top or top + high <= y
    for x, y, text in re.findall(r'<text x="(\d+)" y="(\d+)"[^>]*>(.*?)</text>', picture):
        left, top, width, high = next(
            box for box in boxes if box[0] < int(x) < box[0] + box[2] and box[1] < int(y) < box[1] + box[3]
        )
        assert int(x) + LETTER * len(unescape(text)) <= left + width + 1, text


def test_names_are_escaped():
    run = example()
    run.external["sets"][0]["set"] = "<b>&"
    assert "<b>" not in str(flow(run)) and "&lt;b&gt;&amp;" in str(flow(run))
