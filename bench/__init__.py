"""Every claim that the README makes, as a command."""
