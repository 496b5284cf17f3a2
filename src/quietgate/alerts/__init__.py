"""Alerts: recorded, paced, queued, handed over."""
