"""Bytes in, pixels out: images and DICOM, frame by frame, and the masks of tumours."""
