"""Where a prediction comes from."""
