"""Receives LSL streams as a recorder does, and prints what came as JSON.

Run as a program: liblsl reads its configuration (LSLAPICFG) when it is loaded.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pylsl
from pylsl.util import LostError


def received(source_id: str, seconds: float) -> dict[str, Any]:
    """A stream's header and samples, until it goes or ``seconds`` after the first."""
    found = pylsl.resolve_byprop("source_id", source_id, minimum=1, timeout=seconds)
    if not found:
        return {"header": None, "samples": [], "times": []}
    inlet = pylsl.StreamInlet(found[0], recover=False)
    info = inlet.info(timeout=seconds)
    inlet.open_stream(timeout=seconds)
    print("open", flush=True)
    samples, times = [], []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            sample, at = inlet.pull_sample(timeout=1.0)
        except LostError:
            break
        if sample is not None:
            samples.append(sample)
            times.append(at)
    description = info.desc()
    header = {
        "name": info.name(),
        "type": info.type(),
        "rate": info.nominal_srate(),
        "labels": info.get_channel_labels(),
        "types": info.get_channel_types(),
        "units": info.get_channel_units(),
        "synchronization": {
            name: description.child("synchronization").child_value(name)
            for name in ("offset_mean", "can_drop_samples")
        },
        "utc_minus_local_clock_s": description.child("mespot").child_value(
            "utc_minus_local_clock_s"
        ),
        "manufacturer": description.child("acquisition").child_value("manufacturer"),
    }
    return {"header": header, "samples": samples, "times": times}


if __name__ == "__main__":
    print(json.dumps(received(sys.argv[1], float(sys.argv[2]))), flush=True)
