"""The firewall as data: a small rule model, and what compiles, prints, runs and compares it. Pure."""
