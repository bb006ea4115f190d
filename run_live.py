"""The door: ``python run_live.py [SOURCE] [options]``, the same as ``mespot live``."""

from __future__ import annotations

import sys

from pipeline.cli_live import leave, obey

if __name__ == "__main__":
    leave(obey(sys.argv[1:]))
