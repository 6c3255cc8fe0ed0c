"""The JSON files of metrics/, one typed record each: the only place that knows their keys."""
