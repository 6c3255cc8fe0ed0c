"""What a DICOM header says of how to show pixels, as a viewer does it.

A tag that is empty counts as absent. One that cannot be used is an error that names the tag, and no value of the file.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from trueslice.reading.images import stretch

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# Without a window, these percentiles are black and white: a few very bright pixels would leave the others dark.
DARKEST, BRIGHTEST = 1, 99
# Pixels that are converted at a time: numbers with a point take eight times the memory of a grey.
STRIP = 2**20
# Bytes of a value that is no sequence; those of lookup tables are the longest.
LONGEST = 2**17


def named(keyword: str) -> str:
    """Return what a tag is called in a message: its name and number."""
    from pydicom.datadict import dictionary_description
    from pydicom.tag import Tag

    return f"its {dictionary_description(keyword)} {Tag(keyword)}"


def value_of(part, keyword: str):
    """Return the value of a tag, None where it is absent or empty; a list of items for a sequence.

    Raises:
        ValueError: it cannot be read, or is longer than `LONGEST`.
    """
    is_sequence = keyword.endswith("Sequence")
    with reworded(f"{named(keyword)} cannot be read"):
        length = getattr(part.get_item(keyword), "length", 0)
        if is_sequence:
            return [item for item in part.get(keyword) or [] if item.get_item]
        if length <= LONGEST:
            return part.get(keyword)
    raise ValueError(f"{named(keyword)} is too long")


def number(parts: list, keyword: str, default: float = math.nan) -> float:
    """Return the first value of a tag, of the first part of a header that has one.

    Raises:
        ValueError: it is not a finite number.
    """
    return next((value for part in parts for value in _numbers(part, keyword) if not math.isnan(value)), default)


@contextmanager
def reworded(problem: str) -> Iterator[None]:
    """Say in our words what pydicom and decoders cannot read: they raise many kinds, and quote values of the file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception:
        raise ValueError(problem) from None


def greys(values: np.ndarray, header, frame: int) -> np.ndarray:
    """Convert stored values [H, W] of a frame to greys, uint8; black where there is nothing to show.

    Raises:
        ValueError: a tag cannot be used.
    """
    is_inverse = _is_inverse(header)
    is_outside = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    is_padding = _is_padding(values, header)
    if table := _table(header, "ModalityLUTSequence", header):
        values, slope, intercept = _by_strips(lambda strip: _looked_up(strip, *table), values), 1.0, 0.0
    else:
        slope, intercept = _rescaling(header, frame)
        ends = [end(where=~is_outside, initial=0) for end in (values.min, values.max)]
        if not all(math.isfinite(float(end) * slope + intercept) for end in ends):
            raise ValueError(f"{named('RescaleSlope')} is too great for its pixels")
    to_shares = _voi(header, frame)
    if not to_shares:
        is_outside |= is_padding
        to_shares = _whole_range(values[~is_outside].astype(np.float64), slope, intercept)

    def show(strip: np.ndarray) -> np.ndarray:
        shares = np.nan_to_num(to_shares(strip.astype(np.float64) * slope + intercept))
        return np.rint(255 * (1 - shares if is_inverse else shares)).astype(np.uint8)

    shown = _by_strips(show, values)
    shown[is_outside] = 0
    return shown


def colours(values: np.ndarray, header, kind: str) -> np.ndarray:
    """Convert stored values [H, W, 3] of colours to RGB, uint8.

    Raises:
        ValueError: they take far fewer bits than the header says, which viewers show as nearly black.
    """
    from pydicom.pixels import convert_color_space

    bits = min(int(number([header], "BitsStored")), 8 * values.itemsize)
    used = _bits(values)
    if bits > 8 and used <= bits - 2:
        raise ValueError(f"{named('BitsStored')} is greater than its colours need; they would be nearly black")
    bits = max(bits, used)  # a decoder may give more than the header says
    is_luma = kind.startswith("YBR_FULL")

    def show(strip: np.ndarray) -> np.ndarray:
        scaled = strip >> bits - 8 if bits >= 8 else strip.astype(np.uint16) * 255 // (2**bits - 1)
        strip = scaled.astype(np.uint8)
        return convert_color_space(strip, "YBR_FULL", "RGB") if is_luma else strip

    return _by_strips(show, values)


def palette_colours(values: np.ndarray, header) -> np.ndarray:
    """Look up indices [H, W] in the palette: uint8 [H, W, 3].

    Raises:
        ValueError: there is no palette, or one that cannot be used.
    """
    tables = _palette(header)
    bits = max(8, *(_bits(entries) for entries, _ in tables))
    if bits > 8:  # some files say 16 of entries of 8
        bits = max(bits, min(16, int(_numbers(header, "RedPaletteColorLookupTableDescriptor")[2])))

    def show(strip: np.ndarray) -> np.ndarray:
        found = np.stack([_looked_up(strip, *table) for table in tables], axis=-1)
        return (found >> (bits - 8)).astype(np.uint8)

    return _by_strips(show, values)


def _by_strips(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    return np.concatenate([function(strip) for strip in np.array_split(values, max(1, values.size // STRIP))])


def _numbers(part, keyword: str) -> list[float]:
    """Return the values of a tag, nan where one is empty."""
    with reworded(f"{named(keyword)} is not a finite number"):
        value = value_of(part, keyword)
        values = value if hasattr(value, "append") else [value]
        found = [math.nan if each is None or not str(each).strip() else float(each) for each in values]
        if any(map(math.isinf, found)):
            raise OverflowError
    return found


def _parts(header, sequence: str, frame: int) -> list:
    """Return what may say how to show a frame, nearest first: its own group, that of all frames, the header."""
    own, shared = (value_of(header, f"{kind}FunctionalGroupsSequence") for kind in ("PerFrame", "Shared"))
    return [*(item for group in [*own[frame - 1 : frame], *shared] for item in value_of(group, sequence)), header]


def _is_inverse(header) -> bool:
    """Tell whether low values are white. Two tags may say so; viewers disagree where they contradict each other."""
    is_inverse = value_of(header, "PhotometricInterpretation") == "MONOCHROME1"
    if value_of(header, "PresentationLUTShape") == ("IDENTITY" if is_inverse else "INVERSE"):
        raise ValueError(f"{named('PresentationLUTShape')} contradicts its Photometric Interpretation")
    return is_inverse


def _is_padding(values: np.ndarray, header) -> np.ndarray:
    kind = {"f4": "Float", "f8": "DoubleFloat"}.get(values.dtype.str[1:], "")
    value = number([header], f"{kind}PixelPaddingValue")
    if math.isnan(value):
        return np.zeros(values.shape, bool)
    limit = number([header], f"{kind}PixelPaddingRangeLimit", value)
    size = 8 * values.itemsize
    if not kind and not all(-(2 ** (size - 1)) <= end < 2**size for end in (value, limit)):
        return np.zeros(values.shape, bool)
    # Negative ones are often written as if they had no sign.
    low, high = np.sort(np.array([value, limit]).astype(np.float64 if kind else np.int64).astype(values.dtype))
    return (low <= values) & (values <= high)


def _rescaling(header, frame: int) -> tuple[float, float]:
    """Return slope and intercept."""
    parts = _parts(header, "PixelValueTransformationSequence", frame)
    slope = number(parts, "RescaleSlope", 1)
    if slope == 0:
        raise ValueError(f"{named('RescaleSlope')} is 0")
    return slope, number(parts, "RescaleIntercept", 0)


def _voi(header, frame: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what converts rescaled values to shares of white: the nearest lookup table or window."""
    for part in _parts(header, "FrameVOILUTSequence", frame):
        if table := _table(part, "VOILUTSequence", header):
            # Some devices declare more bits than their entries have.
            white = 2 ** max(8, _bits(table[0])) - 1
            return lambda values: _looked_up(values, *table) / white
        if window := _window(part):
            return lambda values: _windowed(values, *window)
    return None


def _whole_range(stored: np.ndarray, slope: float, intercept: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what converts rescaled values to shares of white by the range of stored ones, which it sorts."""
    if not stored.size:
        return np.zeros_like
    ends = np.percentile(stored, (DARKEST, BRIGHTEST), overwrite_input=True)
    if ends[0] == ends[1]:
        ends = np.array([stored.min(), stored.max()])
    low, high = np.sort(ends * slope + intercept)
    return lambda values: stretch(values, low, high)


def _window(part) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window that has a width above 0."""
    for centre, width in zip(_numbers(part, "WindowCenter"), _numbers(part, "WindowWidth"), strict=False):
        if width > 0 and not math.isnan(centre):
            function = str(value_of(part, "VOILUTFunction") or FUNCTIONS[0]).upper()
            if function not in FUNCTIONS:
                raise ValueError(f"{named('VOILUTFunction')} is none of {', '.join(FUNCTIONS)}")
            return centre, width, function
    return None


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Return the shares of white in a window: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    # The standard allows no LINEAR window narrower than 1; those that there are mean LINEAR_EXACT.
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    return stretch(values, centre - width / 2, centre + width / 2)


def _looked_up(values: np.ndarray, entries: np.ndarray, first: int) -> np.ndarray:
    """Return the entry of each value; those before the first and after the last have these."""
    places = np.clip(np.rint(np.nan_to_num(values)) - first, 0, len(entries) - 1)
    return entries[places.astype(np.int64)]


def _bits(entries: np.ndarray) -> int:
    return int(entries.max()).bit_length()


def _table(part, sequence: str, header) -> tuple[np.ndarray, int] | None:
    """Return the lookup table in the first item of a sequence: its entries, and the value that the first is for."""
    for item in value_of(part, sequence)[:1]:
        if value_of(item, "LUTDescriptor") and value_of(item, "LUTData"):
            return _entries(item, "LUTDescriptor", "LUTData", header)
    return None


def _palette(header) -> list[tuple[np.ndarray, int]]:
    """Return the tables of red, green and blue."""
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    kind = "Segmented" if f"Segmented{names[0]}Data" in header else ""
    return [_entries(header, f"{name}Descriptor", f"{kind}{name}Data", header) for name in names]


def _entries(part, descriptor: str, data: str, header) -> tuple[np.ndarray, int]:
    """Read a table. pydicom keeps places in 8 bits where entries have 8, and refuses entries of 10 to 15 bits."""
    with reworded(f"{named(data)} is missing or cannot be read"):
        count, first, bits = map(int, _numbers(part, descriptor))
        count = count % 2**16 or 2**16
        value = value_of(part, data)
        order = "<u2" if header.original_encoding[1] else ">u2"
        words = (np.frombuffer(value, order) if isinstance(value, bytes) else np.array(value)).astype("<u2")
        if data.startswith("Segmented"):
            entries = _expanded((words.view(np.uint8) if bits == 8 else words).tolist(), count)
        else:
            # Entries of 8 bits may stand two in a word, the lower first.
            entries = words if len(words) >= count else words.view(np.uint8)
    if len(entries) < count:
        raise ValueError(f"{named(data)} has fewer entries than it should")
    if first >= 2**15 and (number([header], "PixelRepresentation") == 1 or number([header], "RescaleIntercept") < 0):
        first -= 2**16  # often written as if it had no sign
    return entries[:count], first


def _expanded(segments: list[int], count: int) -> np.ndarray:
    """Expand a segmented table to at least `count` entries: DICOM PS3.3, C.7.9.2."""
    found: list[int] = []
    at = 0
    while len(found) < count and at + 1 < len(segments):
        kind, length = segments[at : at + 2]
        if kind > 1:
            raise ValueError("a segment repeats others, which may take any amount of memory")
        if kind == 0:
            found += segments[at + 2 : at + 2 + length]
        else:
            found += np.rint(np.linspace(found[-1], segments[at + 2], length + 1)[1:]).astype(int).tolist()
        at += 3 if kind else 2 + length
    return np.array(found, np.uint16)
