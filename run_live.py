"""The door: ``python run_live.py [SOURCE] [options]``, the same as ``mespot live``."""

from __future__ import annotations

import sys

from pipeline.cli import door, run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], door))
