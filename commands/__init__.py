"""Commands over several runs of the pipeline, for `python -m commands.<name>`: what no single stage can say."""
