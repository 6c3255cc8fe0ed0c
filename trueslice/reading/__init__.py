"""Bytes in, pixels out: images, DICOM and NIfTI, frame by frame, and the masks of tumours."""
