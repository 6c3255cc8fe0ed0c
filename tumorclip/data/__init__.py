"""What comes in: scans, their copies, and how they are divided."""
