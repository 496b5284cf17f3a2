"""What quietgate does: the core and the edge put together, one file for each deed."""
