"""One small script per stage of the pipeline; run as `python -m stages.<name>` from the root."""
