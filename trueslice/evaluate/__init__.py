"""Scores of predictions, with their intervals."""
