"""The library behind the stages: scans, the model that learns from them, and its results."""
