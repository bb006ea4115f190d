"""Prometheus metrics and health of the runs of this process (docs/metrics.md)."""
