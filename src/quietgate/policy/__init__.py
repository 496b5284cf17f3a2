"""The policy: TOML text in, one checked `Policy` out, with the origin of each value. Pure."""
