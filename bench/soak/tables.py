"""The soak's report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from bench.figures import Aim, Figure, of_items
from bench.report import Result, rounded
from bench.soak.outcome import Outcome

_SEGMENT_S = 600.0
_ZERO = Aim("==", 0)
_WARM_UP_S = 120.0


def tables(outcomes: Sequence[Outcome], seconds: float) -> list[Result]:
    """Faults and recoveries, accounts, deliveries, resources, latency."""
    return [
        _faults(outcomes, seconds),
        _accounts(outcomes),
        _deliveries(outcomes),
        _resources(outcomes),
        _latency(outcomes),
    ]


def _percentiles(values: Iterable[float]) -> list[str | float]:
    known = list(values)
    if not known:
        return ["-", "-", "-"]
    return [rounded(float(np.percentile(known, at))) for at in (50, 95, 100)]


def _faults(outcomes: Sequence[Outcome], seconds: float) -> Result:
    columns = ["fault", "injected", "survived", "recovery p50 s", "p95 s", "most s"]
    result = Result(f"{seconds / 3600:.2f} h of synthetic cameras under faults", columns)
    faults = [fault for one in outcomes for fault in one.faults]
    for name in dict.fromkeys(fault.kind.name for fault in faults):
        chosen = [fault for fault in faults if fault.kind.name == name]
        times = [f.recovery_s for f in chosen if f.kind.picture and f.recovery_s is not None]
        survived = sum(fault.survived for fault in chosen)
        result.rows.append([name, len(chosen), survived, *_percentiles(times)])
    times = [f.recovery_s for f in faults if f.kind.picture and f.recovery_s is not None]
    dead = sum(not fault.survived for fault in faults)
    p95 = of_items("soak.recovery_p95_s", times, "s", at=95)
    injected = Figure("soak.faults", len(faults), "faults", larger_is_better=True)
    figures = (injected, Figure("soak.not_survived", dead, "faults", portable=True, aim=_ZERO), p95)
    result.add(["all", len(faults), len(faults) - dead, *_percentiles(times)], *figures)
    result.notes.append(
        "recovery: from the fault's end to a subscriber's first frame captured after it. "
        "Subscribers' faults have none: the deliveries judge them."
    )
    return result


def _accounts(outcomes: Sequence[Outcome]) -> Result:
    columns = ["camera", "runs", "apex", "final", "retracted", "update", "missing seq"]
    columns += [
        "repeated seq",
        "never closed",
        "closed twice",
        "stray updates",
        "unannounced (allowed)",
    ]
    result = Result("event accounting: the logs", columns)
    for one in outcomes:
        a = one.account
        phases = [a.events[phase] for phase in ("apex", "final", "retracted", "update")]
        wrong = [a.gaps, a.repeated, a.never_closed, a.closed_twice, a.stray_updates, a.unannounced]
        figure = Figure(f"soak.{one.rig}.log_faults", a.faults, "", portable=True, aim=_ZERO)
        result.add([one.rig, one.starts, *phases, *wrong], figure)
    return result


def _deliveries(outcomes: Sequence[Outcome]) -> Result:
    columns = ["subscriber", "kills of both", "received", "lost", "twice", "out of order"]
    result = Result("event accounting: the subscribers", [*columns, "changed"])
    for one in outcomes:
        for i, got in enumerate(one.deliveries):
            name = f"{one.rig}-{i}"
            wrong = [got.lost, got.duplicates, got.out_of_order, got.changed]
            figure = Figure(f"soak.{name}.faults", got.faults, "", portable=True, aim=_ZERO)
            result.add([name, one.subscriber_kills, got.received, *wrong], figure)
    return result


def _resources(outcomes: Sequence[Outcome]) -> Result:
    columns = ["camera", "PSS first MB", "last MB", "most MB", "MB/h (95 %)", "files first"]
    columns += ["last", "most", "threads first", "last", "most", "SIGTERM to end s"]
    result = Result("what the runs held", columns)
    for one in outcomes:
        samples = [s for s in one.samples if s.at_s >= min(_WARM_UP_S, one.samples[-1].at_s / 4)]
        memory = [s.used.pss for s in samples]
        files, threads = [s.files for s in samples], [s.threads for s in samples]
        hours = [s.at_s / 3600 for s in samples]
        slope = stats.theilslopes(memory[::3], hours[::3]) if len(samples) > 8 else None
        told = "-" if slope is None else f"{slope[0]:.1f} ({slope[2]:.1f} to {slope[3]:.1f})"
        cells: list[str | float] = [one.rig, *_ends(memory), max(map(rounded, memory)), told]
        for counts in (files, threads):
            cells += [counts[0], counts[-1], max(counts)]
        figure = Figure(f"soak.{one.rig}.stop_s", one.stopped_s, "s", aim=Aim("<=", 3))
        result.add([*cells, rounded(one.stopped_s)], figure)
    result.notes.append("of the run and its nodes' processes; a run that was killed begins anew")
    return result


def _ends(values: Sequence[float]) -> list[float]:
    """Medians of the first and the last tenth."""
    tenth = max(1, len(values) // 10)
    return [rounded(float(np.median(part))) for part in (values[:tenth], values[-tenth:])]


def _latency(outcomes: Sequence[Outcome]) -> Result:
    columns = ["camera", "part", "events", "p50 ms", "p95 ms", "most ms"]
    result = Result("processing latency of apex and final, deciding frame to publication", columns)
    for one in outcomes:
        told = [m for m in one.messages if m["phase"] in ("apex", "final")]
        if not told:
            continue
        begin, end = told[0]["published_utc_ns"], told[-1]["published_utc_ns"]
        parts = {
            "all": told,
            "first 10 min": [m for m in told if m["published_utc_ns"] <= begin + _SEGMENT_S * 1e9],
            "last 10 min": [m for m in told if m["published_utc_ns"] >= end - _SEGMENT_S * 1e9],
        }
        for name, chosen in parts.items():
            times = [m["delays"]["processing_ms"] for m in chosen]
            result.rows.append([one.rig, name, len(chosen), *_percentiles(times)])
    result.notes.append("faults included: a frame that waited for a frozen node is late")
    return result
