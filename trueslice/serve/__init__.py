"""A page on the loopback address that classifies the scans that a user drops on it."""
