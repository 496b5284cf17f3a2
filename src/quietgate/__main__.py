"""`python -m quietgate` is the same command as `quietgate`."""

from quietgate.ui.cli import main

main()
