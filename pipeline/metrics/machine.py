"""What the run takes: processor and memory of its processes, and the GPUs' state."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LABELS = ("camera", "node")
Processes = Callable[[], Iterable[tuple[str, str, int]]]  # camera, node, process id


def usage(process: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes of a process; None where they cannot be had."""
    folder = Path("/proc") / str(process)
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


class NodeProcesses(Collector):
    """Nodes that are processes (``transport`` ipc or tcp); a replaced one's time is kept.

    Args:
        processes: those that live now.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._spent: dict[tuple[str, str], dict[int, float]] = {}

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        cpu = CounterMetricFamily(
            "mespot_node_process_cpu_seconds", "CPU time of a node's processes.", labels=_LABELS
        )
        memory = GaugeMetricFamily(
            "mespot_node_process_resident_memory_bytes",
            "Resident memory of a node's process.",
            labels=_LABELS,
        )
        with self._lock:
            for camera, node, process in self._processes():
                found = usage(process)
                if found is not None:
                    self._spent.setdefault((camera, node), {})[process] = found[0]
                    memory.add_metric((camera, node), found[1])
            for key, spent in self._spent.items():
                cpu.add_metric(key, sum(spent.values()))
        yield cpu
        yield memory


class Gpus(Collector):
    """The GPUs through NVML, where ``pynvml`` and a driver are there; else nothing at all."""

    def __init__(self) -> None:
        self._nvml: Any = _nvml()

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        if self._nvml is None:
            return
        names = ("gpu", "name")
        busy = GaugeMetricFamily(
            "mespot_gpu_utilization_ratio", "Share of time that the GPU was at work.", labels=names
        )
        used = GaugeMetricFamily(
            "mespot_gpu_memory_used_bytes", "GPU memory in use, by anybody.", labels=names
        )
        whole = GaugeMetricFamily("mespot_gpu_memory_bytes", "GPU memory.", labels=names)
        try:
            for index in range(self._nvml.nvmlDeviceGetCount()):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                name = self._nvml.nvmlDeviceGetName(handle)
                name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
                key = (str(index), name)
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
                used.add_metric(key, memory.used)
                whole.add_metric(key, memory.total)
                rates = self._nvml.nvmlDeviceGetUtilizationRates(handle)
                busy.add_metric(key, rates.gpu / 100)
        except self._nvml.NVMLError:  # a MIG slice tells no utilisation; a driver may go
            pass
        yield from (family for family in (busy, used, whole) if family.samples)

    def describe(self) -> list[Metric]:
        """Asked for at registration, when nothing is known yet."""
        return []


def _nvml() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001  missing, without a driver, or of another make: no figures
        return None
    return nvml
