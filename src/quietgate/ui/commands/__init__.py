"""One file for each command: its action, its options, its help."""
