"""Training, validation and test scans."""
