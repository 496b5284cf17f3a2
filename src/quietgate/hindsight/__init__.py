"""What happened: only reads."""
