"""The search for scans that show the same picture."""
