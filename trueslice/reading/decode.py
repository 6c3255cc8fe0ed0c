"""Image files in, one uint8 array and one table row per file out. Every file is decoded exactly once."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from trueslice.errors import UserError
from trueslice.files import Upload, is_empty, is_litter, open_binary, printable
from trueslice.lifetime import start_worker
from trueslice.params import Verify
from trueslice.sources.masks import MASKS

OFFICIAL_SPLITS = {"Training": "train", "Testing": "test"}
# Named, so that Pillow never hands a file to an outside program (it would run Ghostscript on EPS).
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# A picture has colour if more than this share of its pixels has channels further apart than this.
# Of 3,926 files in colour modes of the Kaggle brain tumour data, 3,820 have none at all and 58 pass both limits;
# the others differ faintly or in a few pixels, as JPEG's subsampled chroma leaves them.
COLOUR_DIFFERENCE, COLOUR_SHARE = 8, 0.001


class ScanFile(NamedTuple):
    """A file that should be a scan; `path` is relative to the folder of the source, with forward slashes."""

    path: str
    class_name: str
    official_split: str


class Unreadable(NamedTuple):
    path: str
    reason: str


class Picture(NamedTuple):
    """A decoded image."""

    image: Image.Image  # L or RGB
    mode: str  # Pillow's, of the file
    has_colour: bool


class Scan(NamedTuple):
    """One decoded file, with the columns of `trueslice.tables.Scans`."""

    path: str
    class_name: str
    official_split: str
    width: int
    height: int
    mode: str
    pixel_hash: str
    has_colour: bool


def find(raw: Path) -> list[ScanFile]:
    """List the files in the class folders of `raw`, sorted by path.

    `raw` holds Training/<class>/ and Testing/<class>/, or Training/<class>/ alone, or <class>/ alone. Hidden files,
    system litter and the folder `masks` are passed over.

    Raises:
        UserError: there is no class folder, or one without files.
    """
    layout = "expected Training/<class>/ and Testing/<class>/, or <class>/ alone"
    tops = _folders(raw) if raw.is_dir() else []
    names = [folder.name for folder in tops]
    if "Testing" in names and "Training" not in names:
        raise UserError(f"{raw} holds Testing but no Training folder; {layout}")
    if "Training" in names:
        places = [(split, folder) for split in tops if split.name in OFFICIAL_SPLITS for folder in _folders(split)]
    else:
        places = [(raw, folder) for folder in tops if folder.name != MASKS]
    if not places:
        raise UserError(f"{raw} holds no class folder; {layout}: check data.source")
    files = []
    for split, folder in places:
        names = [path.relative_to(raw) for path in folder.rglob("*") if not path.is_dir()]
        scans = [name.as_posix() for name in names if not any(map(is_litter, name.parts))]
        if not scans:
            raise UserError(f"the class folder {folder} holds no scans; add some, or remove the folder")
        files += [ScanFile(name, folder.name, OFFICIAL_SPLITS.get(split.name, "")) for name in scans]
    return sorted(files)


def find_all(folder: Path) -> tuple[list[ScanFile], list[Unreadable]]:
    """List all files under `folder`, however nested and without a class, sorted by path; litter is passed over.

    Links to files are read. What is neither a file nor a folder, and links to folders, which may lead round in a
    circle, are unreadable.
    """
    files, unreadable = [], []

    def refused(error: OSError) -> None:
        unreadable.append(Unreadable(printable(os.path.relpath(error.filename, folder)), error.strerror))

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not is_litter(name)]
        for path in (Path(place, name) for name in [*folders, *names] if not is_litter(name)):
            inside = path.relative_to(folder).as_posix()
            if os.path.isfile(path):  # unlike Path's, it raises nothing
                files.append(ScanFile(inside, "", ""))
            elif path.is_symlink():
                unreadable.append(Unreadable(printable(inside), "it is a link to a folder or to nothing"))
            elif not os.path.isdir(path):
                unreadable.append(Unreadable(printable(inside), "it is not a file"))
    return sorted(files), sorted(unreadable)


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not is_litter(path.name)]


def check_classes(found: Iterable[tuple[str, str]], class_names: list[str]) -> None:
    """Hold the classes that there are scans of against the `classes:` of params.yaml.

    `found` holds (official split, class) of every scan; every class must be in each official split.

    Raises:
        UserError: a class folder has no entry in `classes:`, or an entry has no scans.
    """
    counts = Counter(found)
    folders = {name for _, name in counts}
    if unnamed := sorted(folders - set(class_names)):
        missing = sorted(set(class_names) - folders)
        without = f", while {', '.join(missing)} of `classes:` has no folder" if missing else ""
        problem = f"class folder without an entry under `classes:` in params.yaml: {', '.join(unnamed)}{without}"
        raise UserError(f"{problem}; rename the folder or edit `classes:`")
    for split in sorted({split for split, _ in counts} or {""}):
        if missing := [name for name in class_names if not counts[split, name]]:
            folder = {official: name for name, official in OFFICIAL_SPLITS.items()}.get(split)
            raise UserError(
                f"no scans of {', '.join(missing)}{f' in {folder}/' if folder else ''}, which params.yaml names under "
                f"`classes:`; add the class folder or remove the entry (found: {', '.join(sorted(folders)) or 'none'})"
            )


def read(
    raw: Path, files: list[ScanFile], into: Path, params: Verify, workers: int
) -> tuple[list[Scan], list[Unreadable]]:
    """Decode `files` and write them to `into`/pixels.npy, in their order; those that cannot be read are left out.

    pixels.npy is uint8 [N, S, S], or [N, S, S, 3] with `params.colour`, where S is `params.image_size`: each scan is
    fitted into the square (bicubic, antialiased, sides kept in proportion) and centred on black. `workers` is the
    number of processes; 0 takes one per CPU core.

    Raises:
        UserError: more than `params.max_unreadable` files cannot be read.
    """
    scans: list[Scan] = []
    unreadable: list[Unreadable] = []
    shape = (params.image_size, params.image_size, *([3] if params.colour else []))
    decode = partial(_decode, raw=raw, params=params)
    pool = ProcessPoolExecutor(workers or os.cpu_count(), initializer=_start_worker)
    with (into / "pixels.npy").open("wb") as pixels, pool:
        _write_header(pixels, (len(files), *shape))
        decoded = pool.map(decode, files, chunksize=8)
        try:
            for outcome in tqdm(decoded, total=len(files), desc="reading", unit="scan", disable=None):
                if isinstance(outcome, Unreadable):
                    unreadable.append(outcome)
                else:
                    scans.append(outcome[0])
                    pixels.write(outcome[1])
        except BrokenProcessPool:
            problem = f"a process died after {len(scans) + len(unreadable)} of {len(files)} scans were read"
            advice = "probably out of memory; set machine.workers or verify.max_pixels lower"
            raise UserError(f"{problem}, {advice}") from None
        pixels.seek(0)
        _write_header(pixels, (len(scans), *shape))
    if len(unreadable) > params.max_unreadable:
        first = "; ".join(f"{path} ({reason})" for path, reason in unreadable[:3])
        more = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        advice = f"remove or replace them, or raise verify.max_unreadable (now {params.max_unreadable})"
        raise UserError(f"{len(unreadable)} of {len(files)} files cannot be read: {first}{more}; {advice}")
    return scans, unreadable


def _write_header(file, shape: tuple[int, ...]) -> None:
    # NumPy leaves room for the first axis to grow, so the header is as long for any number of scans.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _start_worker() -> None:
    start_worker()
    # `max_pixels` takes the place of Pillow's own limit.
    Image.MAX_IMAGE_PIXELS = None


def _decode(file: ScanFile, raw: Path, params: Verify) -> tuple[Scan, bytes] | Unreadable:
    try:
        file.path.encode("utf-8")
        with open_image(raw / file.path, params.max_pixels) as image:
            # Anything with several pictures may be a volume, and which slice is meant?
            if (count := frames(image)) > 1:
                raise ValueError(f"it holds {count} frames; save one slice per file")
            picture = to_picture(image)
    except UnicodeEncodeError:
        return Unreadable(printable(file.path), "its name is not valid UTF-8")
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every exception there is on a broken file
        return Unreadable(file.path, why_unreadable(error))
    grey = picture.image.convert("RGB" if params.colour else "L")
    pixels = np.asarray(grey)
    pixel_hash = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:32]
    scan = Scan(*file, *grey.size, picture.mode, pixel_hash, picture.has_colour)
    return scan, fit(grey, params.image_size).tobytes()


def open_image(file: Path | Upload, max_pixels: int) -> Image.Image:
    """Open an image file, by its path or its content; no more than its header is read yet.

    Raises:
        OSError: it cannot be read, or is not an image in one of `FORMATS`.
        ValueError: it is empty, or has more than `max_pixels` pixels.
    """
    if is_empty(file):
        raise ValueError("the file is empty")
    # Pillow closes what it opened itself.
    image = Image.open(open_binary(file) if isinstance(file, Upload) else file, formats=FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise ValueError(f"{width} x {height} pixels are more than verify.max_pixels ({max_pixels})")
    return image


def frames(image: Image.Image) -> int:
    """How many pictures a file holds; a JPEG with a preview (MPO) is one."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def to_picture(image: Image.Image) -> Picture:
    """Decode an image as it is seen, after EXIF orientation, to 8 bits per channel."""
    mode = image.mode
    picture = _to_eight_bit(ImageOps.exif_transpose(image))
    return Picture(picture, mode, picture.mode == "RGB" and _has_colour(np.asarray(picture)))


def why_unreadable(error: Exception) -> str:
    """Why a file could not be decoded, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image in a format that is read here ({', '.join(FORMATS)})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Bring any of Pillow's modes to L or RGB: deep ones scaled by their own range, transparent ones over black."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError("it holds no finite value")
        low, high = values[finite].min(), values[finite].max()
        values = (np.where(finite, values, low) - low) / max(high - low, np.finfo(np.float64).tiny)
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if image.has_transparency_data:
        solid = Image.new("RGBA", image.size, "black")
        solid.alpha_composite(image.convert("RGBA"))
        return solid.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _has_colour(pixels: np.ndarray) -> bool:
    """Whether the channels of uint8 [H, W, 3] differ by more than what saving grey as JPEG leaves."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool((spread > COLOUR_DIFFERENCE).mean() > COLOUR_SHARE)


def square(values: np.ndarray, size: int) -> np.ndarray:
    """Bring a picture of whole numbers, int [H, W], to grey values as a deep file is: uint8 [size, size]."""
    return fit(_to_eight_bit(Image.fromarray(values.astype(np.int32))), size)


def fit(image: Image.Image, size: int) -> np.ndarray:
    """Fit an image into a black square of `size` pixels per side, centred: uint8 [size, size], or [size, size, 3]."""
    scale = size / max(image.size)
    fitted = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    square = Image.new(image.mode, (size, size))
    square.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
    return np.asarray(square)
