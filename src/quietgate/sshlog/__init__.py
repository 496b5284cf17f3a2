"""Pure: what SSH servers write, to records, events and attempts."""
