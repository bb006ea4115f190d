"""A subscriber that may be killed at any moment: what it got is in a file, and it goes on there.

``python -m bench.soak.subscriber EVENTS REPLAY FILE``: one line of JSON an event, on disk before
the next is asked for.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def last_line(path: Path) -> int:
    """Sequence number of the last whole line; a torn one is cut off. -1: nothing yet."""
    if not path.is_file():
        return -1
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    lines = data[:whole].splitlines()
    return int(json.loads(lines[-1])["seq"]) if lines else -1


def main(events: str, replay: str, path: Path) -> None:
    """Take down events for ever."""
    from pipeline.events import subscribe

    since = last_line(path)
    with path.open("ab") as file:
        for _, message in subscribe(events, since=since, replay=replay):
            if message.get("type") != "event":
                continue
            file.write(json.dumps(message).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
