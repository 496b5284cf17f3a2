"""Fuzzing with coverage (atheris) of what reads text and bytes of others. See CONTRIBUTING.md for how it is run."""
