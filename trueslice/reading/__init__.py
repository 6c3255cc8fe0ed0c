"""Files in, pixels out: images, DICOM, masks."""
