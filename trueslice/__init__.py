"""The library behind the stages: scans, the model that learns from them, and its results."""

from importlib import import_module


def __getattr__(name: str):
    # Only when asked for: it imports PyTorch, for which `trueslice --help` must not wait.
    if name == "Classifier":
        return import_module("trueslice.inference.classifier").Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
