"""A page on the loopback address where one drops a scan and sees what a released model says of it."""
