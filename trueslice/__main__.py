"""`python -m trueslice`: the command `trueslice`."""

from trueslice.commands.cli import main

main()
