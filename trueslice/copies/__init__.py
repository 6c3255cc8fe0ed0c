"""Which scans show the same picture."""
