"""quietgate: a host firewall and SSH guard that cannot lock its administrator out."""

__version__ = "0.1.0"
