"""Memory of a camera's process over time: peak, and whether it stays flat."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from bench import camera, process
from bench.camera import Camera, Watched
from bench.clip import film
from bench.figures import Aim, Figure
from bench.process import Usage
from bench.replay import check
from bench.report import Result, rounded, say

PEAK, FLAT = Aim("<=", 500), Aim("<=", 10)
RATES = (30.0, 200.0)
_WARM_UP = 0.25  # share of the run before which memory may still grow
_WARM_UP_MOST_S = 120.0
_LEAST_FOR_SLOPE_S = 1800.0  # a shorter run's slope is told, not judged
_LEAST_S = 10.0
_ROWS = 6  # moments told in the course
_SAMPLES = 600  # of a long run, thinned for the regression, which grows as their square


def measure(seconds: float = 120.0, rates: Sequence[float] = RATES) -> list[Result]:
    """One camera by ``run_live.py`` at each rate.

    Raises:
        UserError: ``seconds`` is out of range, or there is no ``/proc``.
    """
    check(seconds, _LEAST_S)
    process.check()
    tables = []
    for fps in rates:
        path = film(seconds, fps, 10.0 if fps > 100 else 20.0)
        say(f"memory at {fps:g} fps: {seconds:g} s in real time")
        wanted = Camera(path, fps, more={"duration": seconds})
        (run,), watched = camera.apart([wanted], every_s=min(1.0, seconds / 20))
        made = table(watched, fps)
        made.notes.append(
            f"{run.frames} synthetic frames in {seconds:g} s, drops: {run.dropped}; with "
            "recognisers"
        )
        tables.append(made)
    return tables


def slope(samples: Sequence[tuple[float, Usage]], name: str) -> tuple[float, float, float]:
    """MB an hour after the warm-up, with its 95 % interval (Theil and Sen); nan of too few."""
    if not samples:
        return (float("nan"),) * 3
    begin = min(_WARM_UP * samples[-1][0], _WARM_UP_MOST_S)
    kept = [(t / 3600, getattr(one, name)) for t, one in samples if t >= begin]
    kept = kept[:: max(1, len(kept) // _SAMPLES)]
    if len(kept) < 3:
        return (float("nan"),) * 3
    times, values = zip(*kept, strict=True)
    found = stats.theilslopes(values, times)
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def table(watched: Watched, fps: float) -> Result:
    """Course, peak and slope."""
    samples = watched.samples
    result = Result(f"memory of one camera at {fps:g} fps, MB", ["", "RSS", "PSS"])
    for t, one in samples[:: max(1, len(samples) // _ROWS)]:
        result.add([f"after {t:.0f} s", rounded(one.rss), rounded(one.pss)])
    key = f"memory.at{fps:g}"
    peak = Figure(f"{key}.peak_mb", watched.most("peak"), "MB", aim=PEAK if fps <= 30 else None)
    pss = Figure(f"{key}.pss_mb", watched.most("pss"), "MB")
    result.add(["peak", rounded(peak.value), rounded(pss.value)], peak, pss)
    slopes = {name: slope(samples, name) for name in ("rss", "pss")}
    long = bool(samples) and samples[-1][0] >= _LEAST_FOR_SLOPE_S
    value, low, high = slopes["pss"]
    figure = Figure(
        f"{key}.slope_mb_h",
        value,
        "MB/h",
        {"min": low, "max": high},
        aim=FLAT if long else None,
    )
    cells = [f"{rounded(v):g} ({rounded(a):g} to {rounded(b):g})" for v, a, b in slopes.values()]
    result.add(["slope, MB an hour (95 %)", *cells], figure)
    if not long:
        result.notes.append(
            f"the slope of less than {_LEAST_FOR_SLOPE_S / 60:g} minutes is not judged: "
            "--seconds 3600 for an hour"
        )
    return result
