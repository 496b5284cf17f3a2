"""Who must get in: known sources, administrators; which user names are kept."""
