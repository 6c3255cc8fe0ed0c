"""Sources of a dual encoder: the Hugging Face hub, or random weights."""
