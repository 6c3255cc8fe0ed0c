"""Whose scans they are."""
