"""Copies within and between folders and data sets."""
