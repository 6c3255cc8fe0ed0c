"""Where a dual encoder comes from."""
