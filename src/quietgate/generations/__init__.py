"""Which ruleset decides here, and from which policy."""
