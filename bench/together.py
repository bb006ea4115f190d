"""``python -m bench.together JOBS.json OUT.json``: graphs in one process, each in a thread.

A job is the options of one ``pipeline.config.load``. What each came to is written to OUT.json.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.summary import Summary


def told(summary: Summary) -> dict[str, Any]:
    """Plain types: frames, drops, and per node the ages and the work of its items, ms."""
    return {
        "frames": summary.frames,
        "seconds": summary.seconds,
        "dropped": dict(summary.dropped),
        "restarts": summary.restarts,
        "warning": summary.warning,
        "nodes": {
            name: {"age_ms": list(node.latencies_ms), "work_ms": list(node.work_ms)}
            for name, node in summary.nodes.items()
        },
    }


def _run(options: dict[str, Any], into: list[Any], number: int) -> None:
    try:
        into[number] = told(Graph(load(**options)).run())
    except UserError as error:
        into[number] = {"error": str(error)}


def main(jobs: Path, out: Path) -> int:
    """Run all of them; 1 when one failed."""
    wanted = json.loads(jobs.read_text(encoding="utf-8"))
    made: list[Any] = [{"error": "ended without a word"}] * len(wanted)
    threads = [
        threading.Thread(target=_run, args=(options, made, i)) for i, options in enumerate(wanted)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.write_text(json.dumps(made), encoding="utf-8")
    return int(any("error" in one for one in made))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
