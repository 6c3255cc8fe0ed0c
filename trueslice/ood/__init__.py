"""Pictures unlike the training scans (out of distribution)."""
