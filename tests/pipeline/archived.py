"""A small archive of synthetic clips, each with one micro-expression, and a local cluster."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.clip import encode, repeated
from models.synthesis import Expression, SyntheticFace, demo_scene

SECONDS = 2.9
TIMES = 3  # each clip is so many times in its recording: long enough to be killed within
MOVED = (((1, 2), 2.6), ((4,), 2.8), ((12,), 3.0))
STORE_BYTES = 80 * 2**20


def make_archive(root: Path, count: int) -> list[str]:
    """``count`` recordings below ``root``, two to a folder; their names in order."""
    names = []
    for number in range(count):
        begin = 1.2 + 0.07 * number
        moved = Expression(begin, begin + 0.17, begin + 0.37, *MOVED[number % len(MOVED)])
        scene = demo_scene(SECONDS, seed=7 + number)
        scene = replace(scene, width=320, height=240, expressions=(moved,), blinks_s=())
        face = SyntheticFace(scene)
        name = f"s{number // 2}/clip{number}.mp4"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, (face.frame(i) for i in range(scene.n_frames)), 30)
        repeated(path, TIMES).replace(path)
        names.append(name)
    return names


def load_ray() -> Any:
    """Ray, or skip."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return pytest.importorskip("ray", reason="Ray is not installed (mespot[ray])")


def three_nodes(head_cpus: float = 1) -> Any:
    """A cluster of three nodes on this machine, with a core each."""
    load_ray()
    from ray.cluster_utils import Cluster

    room = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "memory": 3e9}
    head = room | {"include_dashboard": False, "num_cpus": head_cpus}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    for _ in range(2):
        cluster.add_node(**room)
    cluster.wait_for_nodes()
    return cluster


def wait_for_cores(ray: Any, count: int) -> None:
    """Until Ray tells of ``count`` cores; it does so some time after nodes have joined."""
    deadline = time.monotonic() + 60
    while sum(n["Resources"].get("CPU", 0) for n in ray.nodes() if n["Alive"]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def raylet(node: Any) -> int:
    """The process that all workers of ``node`` are children of."""
    return int(node.all_processes["raylet"][0].process.pid)


def working(node: Any, title: str) -> list[int]:
    """Processes of ``node`` whose title begins with ``title``: those that are at it now."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes()
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if line.startswith(title.encode()) and int(stat[1]) == raylet(node):
            found.append(int(folder.name))
    return found
