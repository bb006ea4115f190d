"""A scripted camera behind the bridge: curves of every frame, an event in three phases.

Run as a program with the stream's name; frames are told by lines on standard input, so that the
receiver is there first. Prints what it stamped as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import msgspec

from pipeline.config import load
from pipeline.lsl import LslBridge

FPS = 100.0
FRAMES = 60
MISSING = {30, 31}


def moment(frame: int, utc_ns: int) -> dict[str, Any]:
    """A moment as messages have it."""
    return {"frame": frame, "pts": frame / FPS, "utc_ns": utc_ns}


def main(stream: str) -> None:
    """Tell the bridge."""
    notes: list[str] = []
    bridge = LslBridge(load(lsl={"enabled": True, "offset_s": 0.02}), notes.append)
    bridge.announce(stream)
    print("begun", flush=True)
    captured: dict[int, tuple[int, int]] = {}

    def publish(message: dict[str, Any]) -> None:
        body = msgspec.msgpack.encode(message | {"v": 1, "stream": stream, "face": 0})
        bridge.on_message([f"{message['type']}.{stream}".encode(), body])

    for frame in range(FRAMES):
        if frame in (0, 12):
            sys.stdin.readline()  # 12: the curves' outlet is there, and has its inlet
        time.sleep(1 / FPS)
        if frame in MISSING:
            continue
        captured[frame] = (time.monotonic_ns(), time.time_ns())
        for reference in (0, 5):  # a second window, and a frame that is computed again
            at = moment(frame, captured[frame][1])
            values = [frame + 0.5, -1.0]
            publish(
                {"type": "curves", "at": at, "reference": reference}
                | {"aus": [12, 4], "values": values}
            )
        if frame == 40:
            publish(
                {"type": "curves", "at": moment(20, captured[20][1]), "reference": 7}
                | {"aus": [12, 4], "values": [99.0, 99.0]}
            )
    onset, apex, offset = (moment(n, captured[n][1]) for n in (10, 20, 29))
    publish(
        {"type": "event", "phase": "final", "id": "x", "onset": onset, "apex": apex}
        | {"offset": offset, "aus": [{"au": 12}]}
    )
    publish({"type": "state", "state": "ended"})
    bridge.close()
    print(json.dumps({"captured": captured, "notes": notes}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
