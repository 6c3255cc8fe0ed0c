"""The way of the files from the source to the test, as STARD and CLAIM ask to draw it: one picture in SVG."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from trueslice.report.run import EXPOSURES, Run, count, percent

WIDTH = 420  # of the picture, in its own units; text of 13 units stays readable on a phone
LEFT, RIGHT = 205, 190  # widths of the main way, and of what leaves it
GAP, LINE, PAD = 26, 17, 9
LETTER = 7.5  # width of a usual letter of a wide sans-serif
DROPPED = {
    "dropped_as_conflicting": "with conflicting labels",
    "dropped_as_leaked": "copies of the other side",
    "dropped_at_random": "at random",
    "dropped_as_repeated": "repetitions",
}
PARTS = {"train": "Training", "val": "Validation", "test": "Test"}


@dataclass(frozen=True)
class Box:
    """A box of text; the first item is bold, and each begins a line."""

    x: int
    y: int
    width: int
    items: tuple[str, ...]
    kind: str  # of what it holds: `way`, `out` of what leaves the way, or `end`

    @property
    def lines(self) -> list[str]:
        """The items, broken where the box ends."""
        letters = int((self.width - 2 * PAD) / LETTER)
        return [line for item in self.items for line in textwrap.wrap(item, letters)]

    @property
    def height(self) -> int:
        return LINE * len(self.lines) + 2 * PAD

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


def flow(run: Run) -> Markup:
    """The flow diagram as an SVG element, with a description that says the same in words."""
    boxes, arrows = _development(run)
    below = max(box.bottom for box in boxes) + GAP
    for each in run.external["sets"]:
        more, between = _external(each, below)
        boxes += more
        arrows += between
        below = max(box.bottom for box in more) + GAP // 2
    height = max(box.bottom for box in boxes) + 1
    described = " ".join(f"{box.items[0]}: {', '.join(box.items[1:])}." for box in boxes)
    body = Markup().join([*map(_line, arrows), *map(_drawn, boxes)])
    return Markup(
        '<svg class="flow" viewBox="0 0 {} {}" role="img" aria-labelledby="flow-title flow-words">\n'
        '<title id="flow-title">The way of the files from the source to the test</title>\n'
        '<desc id="flow-words">{}</desc>\n{}</svg>'
    ).format(WIDTH, height, described, body)


def _development(run: Run) -> tuple[list[Box], list[tuple[int, ...]]]:
    """Boxes and arrows from the files found to training, validation and test."""
    data, split = run.data, run.split
    found = _box(0, 0, ["Found", count(data["files"], "file")])
    unread = _out(found, ["Left out", f"{data['unreadable_files']:,} unreadable"])
    lines = ["Readable", count(data["decoded"], "file"), count(data["distinct_scans"], "distinct scan")]
    if data["patients"]:
        lines.append(count(data["patients"], "known patient"))
    read = _box(0, _below(found, unread), lines)
    repeated = count(data["decoded"] - data["distinct_scans"], "repeated file")
    copies = _out(read, ["Of these", repeated, *_shared(run)])
    how = {"official": "by the published test set"}.get(split["protocol"], f"anew: {split['protocol']}")
    divided = _box(0, _below(read, copies), ["Divided", how])
    dropped = [f"{split[key]:,} {why}" for key, why in DROPPED.items() if split[key]]
    left_out = _out(divided, ["Dropped", *(dropped or ["none"])])
    ends = _ends(run, _below(divided, left_out))
    ways = [(box.middle, box.bottom, box.middle, below.y) for box, below in ((found, read), (read, divided))]
    asides = [_aside(*pair) for pair in ((found, unread), (read, copies), (divided, left_out))]
    fork = ends[0].y - GAP // 2
    down = [(divided.middle, divided.bottom, divided.middle, fork, 0), (ends[0].middle, fork, ends[-1].middle, fork, 0)]
    boxes = [found, unread, read, copies, divided, left_out]
    return [*boxes, *ends], [*ways, *asides, *down, *((end.middle, fork, end.middle, end.y) for end in ends)]


def _shared(run: Run) -> Iterable[str]:
    """Test scans of the published division that Training knows."""
    if run.data["test_scans"]:
        yield f"{run.data['leaked_test_scans']:,} published test scans have a copy in Training"


def _ends(run: Run, top: int) -> list[Box]:
    """Training, validation and test, side by side."""
    width = (WIDTH - 2 * 12) // 3
    boxes = []
    for place, (key, name) in enumerate(PARTS.items()):
        lines = [name, count(run.split[key], "scan")]
        if patients := run.split[f"patients_{key}"]:
            lines.append(count(patients, "patient"))
        if key == "test" and len(run.exposures) > 1:
            # Of the test scans: what the model has seen of them.
            for row in run.exposures:
                lines.append(f"{row['scans']:,}: {EXPOSURES[row['exposure']]}")
        boxes.append(Box(place * (width + 12), top, width, tuple(lines), "end"))
    return boxes


def _external(each: dict, top: int) -> tuple[list[Box], list[tuple[int, ...]]]:
    """Another data set: its files, what is left out of it, and what is scored."""
    found = _box(0, top, [f"Other set {each['set']}", count(each["files"], "file")])
    out = [
        f"{each['dropped_as_development']:,} copies of known scans",
        f"{each['dropped_within']:,} copies within the set",
    ]
    if each["unreadable"]:
        out.append(f"{each['unreadable']:,} unreadable")
    aside = _out(found, ["Left out", *out])
    accuracy = "" if each["accuracy"] is None else f"accuracy {percent(each['accuracy'])}"
    lines = ["External test", count(each["kept"], "scan"), *filter(None, [accuracy])]
    scored = Box(0, _below(found, aside), LEFT, tuple(lines), "end")
    arrows = [(found.middle, found.bottom, scored.middle, scored.y)]
    return [found, aside, scored], [*arrows, _aside(found, aside)]


def _box(x: int, y: int, lines: Sequence[str]) -> Box:
    return Box(x, y, LEFT, tuple(lines), "way")


def _out(box: Box, lines: Sequence[str]) -> Box:
    """What leaves the way at a box, on its right."""
    return Box(WIDTH - RIGHT, box.y, RIGHT, tuple(lines), "out")


def _below(*boxes: Box) -> int:
    """Where the next box begins."""
    return max(box.bottom for box in boxes) + GAP


def _aside(box: Box, out: Box) -> tuple[int, ...]:
    """The arrow from a box to what leaves the way there."""
    return box.x + box.width, box.y + 18, out.x, box.y + 18


def _drawn(box: Box) -> Markup:
    rows = Markup().join(
        Markup('<text x="{}" y="{}"{}>{}</text>').format(
            box.x + PAD, box.y + PAD + 13 + LINE * row, Markup(' class="first"') if not row else "", line
        )
        for row, line in enumerate(box.lines)
    )
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="4"/>{}\n').format(
        box.kind, box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1, rows
    )


def _line(points: tuple[int, ...]) -> Markup:
    """A line with an arrow head at its end; without one where a fifth number follows."""
    x, y, to_x, to_y, *plain = points
    head = ""
    if not plain:
        back = (-5, -4, -5, 4) if y == to_y else (-4, -5, 4, -5)
        head = Markup("M{} {}L{} {}L{} {}").format(
            to_x + back[0], to_y + back[1], to_x, to_y, to_x + back[2], to_y + back[3]
        )
    return Markup('<path d="M{} {}L{} {}{}"/>\n').format(x, y, to_x, to_y, head)
