"""`python -m tumorclip`: the command `tumorclip`."""

from tumorclip.commands.cli import main

main()
