"""The guard's process: follows logs, does what the engine says, commits, watches."""
