"""Cameras under faults of all kinds for as long as wanted, and what became of every event."""
