"""Explanations of predictions: heat maps, similar training scans, and their comparison with masks."""
