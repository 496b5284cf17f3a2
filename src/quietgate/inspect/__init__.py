"""What is true now: changes nothing."""
