"""NIfTI files, written with words of a patient that must not come out again."""

import gzip
from pathlib import Path

import nibabel
import numpy as np

SECRETS = ("Doe^Jane", "ID-4711")


def content(
    values: np.ndarray, affine: np.ndarray | None = None, kind=nibabel.Nifti1Header, order="<", **fields
) -> bytes:
    """A NIfTI file of values as they are stored. The affine is 1 mm towards the right, the front and the head."""
    header = kind(endianness=order)
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    header.set_sform(np.eye(4) if affine is None else affine, 1)
    header["vox_offset"] = header.single_vox_offset
    header["descrip"], header["intent_name"] = SECRETS
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")


def write(path: Path, values: np.ndarray, *args, **fields) -> Path:
    """Write what `content` returns, packed if the path ends so."""
    made = content(values, *args, **fields)
    path.write_bytes(gzip.compress(made, 1) if path.suffix == ".gz" else made)
    return path
