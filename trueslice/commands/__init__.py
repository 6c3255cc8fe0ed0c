"""The commands that a user types: `trueslice <command>`."""
