"""What a DICOM header says of how to show pixels, as a viewer does it.

A tag that is empty counts as absent. One that cannot be used is an error that names the tag, and no value of the file.
"""

import math

import numpy as np

from trueslice.reading.images import stretch

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# Without a window, these percentiles are black and white: a few very bright pixels would leave the others dark.
DARKEST, BRIGHTEST = 1, 99


def named(keyword: str) -> str:
    """Return what a tag is called in a message: its name and number."""
    from pydicom.datadict import dictionary_description
    from pydicom.tag import Tag

    return f"its {dictionary_description(keyword)} {Tag(keyword)}"


def number(parts: list, keyword: str, default: float = math.nan) -> float:
    """Return the first value of a tag, of the first part of a header that has one.

    Raises:
        ValueError: it is not a finite number.
    """
    return next((value for part in parts for value in _numbers(part, keyword) if not math.isnan(value)), default)


def shares_of_white(values: np.ndarray, header, frame: int) -> np.ndarray:
    """Convert stored values [H, W] of a frame to shares of white; nan where there is nothing to show.

    Raises:
        ValueError: a tag cannot be used.
    """
    is_outside = _is_padding(values, header)
    values = _rescaled(values.astype(np.float64), header, frame)
    is_outside |= ~np.isfinite(values)
    for part in _parts(header, "FrameVOILUTSequence", frame):
        if table := _table(part, "VOILUTSequence", header):
            # Some devices declare more bits than their entries have.
            return _looked_up(values, *table) / (2 ** max(8, _bits(table[0])) - 1)
        if window := _window(part):
            return _windowed(values, *window)
    if is_outside.all():
        return np.full(values.shape, np.nan)
    inside = values[~is_outside]
    low, high = np.percentile(inside, (DARKEST, BRIGHTEST))
    if low == high:
        low, high = inside.min(), inside.max()
    return np.where(is_outside, np.nan, stretch(values, low, high))


def colours(values: np.ndarray, header) -> np.ndarray:
    """Look up indices [H, W] in the palette: uint8 [H, W, 3].

    Raises:
        ValueError: there is no palette, or one that cannot be used.
    """
    tables = _palette(header)
    bits = max(8, *(_bits(entries) for entries, _ in tables))
    found = np.stack([_looked_up(values, *table) for table in tables], axis=-1)
    return (found >> (bits - 8)).astype(np.uint8)


def _numbers(part, keyword: str) -> list[float]:
    """Return the values of a tag, nan where one is empty."""
    try:
        value = part.get(keyword)
        values = value if hasattr(value, "append") else [value]
        found = [math.nan if each is None or not str(each).strip() else float(each) for each in values]
    except Exception:  # pydicom raises many kinds
        found = [math.inf]
    if any(map(math.isinf, found)):
        raise ValueError(f"{named(keyword)} is not a finite number") from None
    return found


def _parts(header, sequence: str, frame: int) -> list:
    """Return what may say how to show a frame, nearest first: its own group, that of all frames, the header."""
    own, shared = (header.get(f"{kind}FunctionalGroupsSequence") or [] for kind in ("PerFrame", "Shared"))
    return [*(item for group in [*own[frame - 1 : frame], *shared] for item in group.get(sequence) or []), header]


def _is_padding(values: np.ndarray, header) -> np.ndarray:
    kind = {"f4": "Float", "f8": "DoubleFloat"}.get(values.dtype.str[1:], "")
    value = number([header], f"{kind}PixelPaddingValue")
    if math.isnan(value):
        return np.zeros(values.shape, bool)
    limit = number([header], f"{kind}PixelPaddingRangeLimit", value)
    # Negative ones are often written as if they had no sign.
    low, high = np.sort(np.array([value, limit]).astype(np.float64 if kind else np.int64).astype(values.dtype))
    return (low <= values) & (values <= high)


def _rescaled(values: np.ndarray, header, frame: int) -> np.ndarray:
    if table := _table(header, "ModalityLUTSequence", header):
        return _looked_up(values, *table).astype(np.float64)
    parts = _parts(header, "PixelValueTransformationSequence", frame)
    slope = number(parts, "RescaleSlope", 1)
    if slope == 0:
        raise ValueError(f"{named('RescaleSlope')} is 0")
    return values * slope + number(parts, "RescaleIntercept", 0)


def _window(part) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window that has a width above 0."""
    for centre, width in zip(_numbers(part, "WindowCenter"), _numbers(part, "WindowWidth"), strict=False):
        if width > 0 and not math.isnan(centre):
            function = str(part.get("VOILUTFunction") or FUNCTIONS[0]).upper()
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
    for item in (part.get(sequence) or [])[:1]:
        if item.get("LUTDescriptor") and item.get("LUTData"):
            return _entries(item, "LUTDescriptor", "LUTData", header)
    return None


def _palette(header) -> list[tuple[np.ndarray, int]]:
    """Return the tables of red, green and blue."""
    from pydicom.pixels import apply_color_lut

    prefixes = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    if not header.get(f"Segmented{prefixes[0]}Data"):
        return [_entries(header, f"{prefix}Descriptor", f"{prefix}Data", header) for prefix in prefixes]
    try:
        count, first, _ = map(int, _numbers(header, f"{prefixes[0]}Descriptor"))
        found = apply_color_lut(np.arange(first, first + (count % 2**16 or 2**16)), header)
    except Exception:  # pydicom raises many kinds
        raise ValueError(f"{named(f'Segmented{prefixes[0]}Data')} cannot be read") from None
    return [(entries, first) for entries in found.T]


def _entries(part, descriptor: str, data: str, header) -> tuple[np.ndarray, int]:
    """Read a table. pydicom keeps places in 8 bits where entries have 8, and refuses entries of 10 to 15 bits."""
    try:
        count, first, _ = map(int, _numbers(part, descriptor))
        count = count % 2**16 or 2**16
        value = part[data].value
        order = "<u2" if header.original_encoding[1] else ">u2"
        words = np.frombuffer(value, order) if isinstance(value, bytes) else np.array(value)
        # Entries of 8 bits may stand two in a word, the lower first.
        entries = words.astype("<u2") if len(words) >= count else words.astype("<u2").view(np.uint8)
    except Exception:  # pydicom and NumPy raise many kinds
        raise ValueError(f"{named(data)} is missing or cannot be read") from None
    if len(entries) < count:
        raise ValueError(f"{named(data)} has fewer entries than it should")
    return entries[:count], first
