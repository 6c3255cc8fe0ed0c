"""What people type: `trueslice <command>`."""
