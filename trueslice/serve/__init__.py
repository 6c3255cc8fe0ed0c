"""Pages on the loopback address: one classifies the scans that are dropped on it, one takes decisions about scans."""
