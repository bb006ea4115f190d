"""The page: what a run sees, live, in a browser (docs/dashboard.md)."""
