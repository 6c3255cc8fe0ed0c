"""The places that scans can come from."""
