"""Where scans come from and what is known about them."""
