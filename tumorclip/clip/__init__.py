"""The dual encoder and how it learns."""
