"""What sshd says, understood: lines in, events out. Pure."""
