"""The tables that pass between stages, one file each: the only place that knows their columns."""
