"""The copies that an audit found, as one page of pictures, which audit.html lays out."""

import io
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.audit.folders import Found, Images

SIDE, QUALITY = 192, 80  # of the pictures: largest side in pixels, and JPEG's quality


def write(folder: Path, names: Sequence[str], images: Images, found: Found) -> None:
    """Write pairs.html into a folder, and its pictures into thumbnails/ there. The page loads nothing else.

    `names` are of the audited folders, whose `images` are.
    """
    rows = np.unique(np.concatenate([found.pairs.a, found.pairs.b]))
    pictures = folder / "thumbnails"
    pictures.mkdir()
    for row in rows.tolist():
        picture = Image.fromarray(images.pixels[np.array([row])][0])
        picture.thumbnail((SIDE, SIDE))
        jpeg = io.BytesIO()  # since Pillow, writing a JPEG itself, takes no notice of a disk that is full
        picture.save(jpeg, "JPEG", quality=QUALITY)
        (pictures / f"{row}.jpg").write_bytes(jpeg.getvalue())
    data = {
        "folders": [
            {"name": name, "images": int((images.part == part).sum()), "unreadable": unreadable}
            for part, (name, unreadable) in enumerate(zip(names, images.unreadable, strict=True))
        ],
        "paths": {row: images.path[row] for row in rows.tolist()},
        "groups": _groups(found),
    }
    # As ASCII without < it can neither end its element nor be broken by a name that is not text.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    (folder / "pairs.html").write_text(template.replace("{{ data }}", text), encoding="utf-8")


def _groups(found: Found) -> list[list[tuple]]:
    """Return the pairs of every group, the weakest first: both rows, kind, correlation, and the map from b to a."""
    pairs = found.pairs
    linear, shift = found.maps[:, :, :2], found.maps[:, :, 2:]
    inverse = np.linalg.inv(linear)
    # In the order of CSS: matrix(a, b, c, d), then the shift right and down, in half sides.
    placed = np.concatenate([inverse.swapaxes(1, 2).reshape(-1, 4), -(inverse @ shift)[..., 0]], axis=1).round(4)
    columns = (pairs.a, pairs.b, pairs.kind, pairs.correlation, placed + 0.0)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    order = np.argsort(found.group[pairs.a], kind="stable").tolist()
    groups = [[rows[at] for at in members] for _, members in groupby(order, lambda at: found.group[pairs.a[at]])]
    return sorted(groups, key=lambda group: group[0][3])
