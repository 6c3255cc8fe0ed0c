"""Classifiers without any fine-tuning."""
