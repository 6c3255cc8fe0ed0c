"""A released model at work: answers for any scan, and how much each of them is worth."""
