"""DICOM files, written with tags of a patient that must not come out again."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SECRETS = ("Doe^Jane", "ID-4711", "19700102", "20200304")


def write(path: Path, values: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags) -> Path:
    """Write uint16 [H, W] or [F, H, W], or uint8 [H, W, 3], as a DICOM file of a patient."""
    scan = Dataset()
    scan.file_meta = FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_compressed else syntax
    scan.file_meta.MediaStorageSOPClassUID = scan.SOPClassUID = MRImageStorage
    scan.file_meta.MediaStorageSOPInstanceUID = scan.SOPInstanceUID = generate_uid()
    scan.PatientName, scan.PatientID, scan.PatientBirthDate, scan.StudyDate = SECRETS
    is_colour = values.dtype == np.uint8
    if values.ndim == 3 and not is_colour:
        scan.NumberOfFrames = len(values)
    scan.Rows, scan.Columns = values.shape[:2] if is_colour else values.shape[-2:]
    scan.SamplesPerPixel, scan.PixelRepresentation = 3 if is_colour else 1, 0
    scan.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        scan.PlanarConfiguration = 0
    scan.BitsAllocated = scan.BitsStored = 8 * values.itemsize
    scan.HighBit = scan.BitsStored - 1
    for name, value in tags.items():
        setattr(scan, name, value)
    scan.PixelData = (values if syntax.is_little_endian else values.byteswap()).tobytes()
    if syntax.is_compressed:
        scan.compress(syntax)
    scan.save_as(path, enforce_file_format=True)
    return path
