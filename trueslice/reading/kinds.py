"""What a file is that is no image, or none that can be read, by its first bytes."""

SAVE, UNPACK, FETCH = "save its pictures as PNG", "unpack it", "download the file again"
# Where kinds of files have which bytes, in lower case.
IMAGES = (
    *((0, magic, "a TIFF") for magic in (b"ii*\0", b"mm\0*", b"ii+\0", b"mm\0+")),
    (0, b"\xff\xd8", "a JPEG"),
    (0, b"\x89png", "a PNG"),
    (0, b"gif8", "a GIF"),
    (8, b"webp", "a WebP"),
    (4, b"jp  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    *((0, f"p{number}".encode(), "a PNM") for number in range(1, 8)),
    (0, b"bm", "a BMP"),
)
# With what to do about them.
OTHERS = (
    (0, b"%pdf", "a PDF", SAVE),
    (0, b"%!ps", "PostScript", SAVE),
    (0, b"pk\x03\x04", "a ZIP archive or an Office document", f"{UNPACK}, or {SAVE}"),
    (0, b"\xd0\xcf\x11\xe0", "an Office document", SAVE),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (0, b"rar!", "a RAR archive", UNPACK),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself by `git lfs pull`"),
    (0, b"<!doctype html", "a web page", FETCH),
    (0, b"<html", "a web page", FETCH),
    (0, b"<svg", "an SVG drawing", SAVE),
    (0, b"<?xml", "XML", SAVE),
    (0, b"8bps", "a Photoshop file", SAVE),
    (0, b"\x93numpy", "a NumPy array", SAVE),
    (0, b"\x89hdf", "an HDF5 or MATLAB file", SAVE),
    (0, b"matlab", "a MATLAB file", SAVE),
    (4, b"ftyp", "HEIC, AVIF or a video", SAVE),
)


def what_it_is(start: bytes, formats: str) -> str:
    """Say what a file is that begins with these bytes, and is not read as one of `formats`."""
    start = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for at, magic, name in IMAGES:
        if start[at:].startswith(magic):
            return f"it is {name} that is damaged, or of a kind that is not read here"
    for at, magic, name, advice in OTHERS:
        if start[at:].startswith(magic):
            return f"it is {name}; {advice}"
    return f"it is not an image in a format that is read here ({formats})"
