"""The curves of an event's window, with theta and the interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.explain_account import Account
from pipeline.explain_profile import announced_profile, lowest_before, matching, mixture, nearest
from stages.joint import JointParams

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

Array = npt.NDArray[np.float64]
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan")
_AROUND_S = 0.5  # shown before the first key frame and after the last in the close view


def draw_curves(figure: FigureBase, account: Account, config: Config) -> str:
    """The curves of the window, and its event from near; returns the caption."""
    whole, close = figure.subplots(1, 2, width_ratios=[1.5, 1])
    if config.method == "paper":
        return _paper(whole, close, account, config)
    return _joint(whole, close, account, config)


def span(account: Account) -> tuple[float, float]:
    """From the first key frame to the last, source time in s."""
    interval = account.interval
    if interval.onset is not None and interval.offset is not None:
        return interval.onset.pts, interval.offset.pts
    times = [key.stamp.pts for key in account.keys] or [interval.apex.pts]
    return min(times), max(times)


def _mark(axes: Axes, account: Account, words: bool = False) -> None:
    low, high = span(account)
    colour = "tab:orange" if account.final else "0.5"
    axes.axvspan(low, high, color=colour, alpha=0.18, lw=0)
    axes.axvline(account.interval.apex.pts, color="tab:red", lw=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("source time, s")
    axes.margins(x=0.01)
    if not words:
        return
    # the apex a line higher, the others outside the interval: never on top of one another
    first, last = ("onset", "offset") if account.final else ("before", "withdrawn")
    for time, word, side, lift in (
        (low, f"{first} ", "right", 0.0),
        (account.interval.apex.pts, "apex", "center", 0.075),
        (high, f" {last}", "left", 0.0),
    ):
        axes.text(
            time,
            1.0 + lift,
            word,
            transform=axes.get_xaxis_transform(),
            ha=side,
            va="bottom",
            fontsize=9,
            color="tab:red" if word == "apex" else "tab:brown",
        )


def _legend(axes: Axes, title: str) -> None:
    """Above the curves, where it covers none."""
    axes.set_title(title, fontsize=10, pad=30)
    lines, words = axes.get_legend_handles_labels()
    order = sorted(range(len(lines)), key=lambda i: (words[i][0] == "θ", lines[i].get_gid() or ""))
    axes.legend(
        [lines[i] for i in order],
        [words[i] for i in order],
        fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
        ncols=8,
        handlelength=1.4,
        columnspacing=1.2,
    )


def _near(axes: Axes, account: Account, times: Array) -> npt.NDArray[np.bool_]:
    """Sets the limits of the close view; which frames lie in it."""
    low, high = span(account)
    low, high = max(low - _AROUND_S, times[0]), high + _AROUND_S  # room for the last word
    axes.set_xlim(low, high)
    return np.asarray((times >= low) & (times <= high))


# ---------------------------------------------------------------- the paper's rules


def _paper(whole: Axes, close: Axes, account: Account, config: Config) -> str:
    known = prototypes(config)
    times, curves = matching(account.window, known, config)
    shown = [a.au for a in account.interval.aus]
    near = _near(close, account, times)
    for row, au in enumerate(known.aus):
        if au not in shown:
            whole.plot(times, curves[:, row], color="0.8", lw=0.8)
            continue
        place = shown.index(au)
        colour = _COLOURS[place % len(_COLOURS)]
        whole.plot(
            times, curves[:, row], color=colour, lw=1.8, zorder=3, label=f"AU {au}", gid=str(place)
        )
        close.plot(times[near], curves[near, row], color=colour, lw=2, marker=".", ms=5)
    for axes in (whole, close):
        axes.axhline(1, color="k", ls=":", lw=1, label="θ of each AU")
        _mark(axes, account, words=axes is close)
    whole.set_ylabel("matching index / θ")
    _legend(whole, "matching curves of the whole window")
    close.set_title("the event from near", fontsize=10, pad=30)
    return (
        "Matching curves (rows of W, eq. 23), low-passed, each divided by its θ: how much the "
        "movement against the window's first frame is like the AU's prototype. A point belongs to "
        f"a peak when it stands more than θ above the lowest point of the {config.spot.search_s:g} "
        "s before it and of as long after it (eq. 24). Grey: the other AUs. Shaded: the interval."
    )


# ---------------------------------------------------------------- joint explanation


def _joint(whole: Axes, close: Axes, account: Account, config: Config) -> str:
    known, window = prototypes(config), account.window
    model, noise = known.joint, window.filters_of(account.number)
    assert model is not None and noise is not None and window.projections is not None
    times, x = window.projections
    base = _base(account, config)
    curves = (x - x[base]) @ noise.detect.T
    shown = [(a.au, a.side) for a in account.interval.aus]
    theta = JointParams.theta * config.spot.threshold_scale
    low, high = span(account)
    inside = (times >= low) & (times <= high)
    peak = theta
    for row, (au, side) in enumerate(model.templates()[0]):
        if (au, side) in shown:
            place = shown.index((au, side))
            colour = _COLOURS[place % len(_COLOURS)]
            words = f"AU {au}" + ("" if side == "both" else f" {side}")
            whole.plot(
                times, curves[:, row], color=colour, lw=1.8, zorder=3, label=words, gid=str(place)
            )
            peak = max(peak, float(curves[inside, row].max(initial=0)))
        elif side == "both":
            whole.plot(times, curves[:, row], color="0.8", lw=0.7, zorder=1)
    whole.axhline(theta, color="k", ls=":", lw=1, label=f"θ = {theta:g}")
    whole.set_ylim(-0.4 * peak, 1.25 * peak)
    whole.set_ylabel("standard deviations of\nthis face's noise")
    _mark(whole, account)
    _legend(whole, "detection curves of the whole window")
    _draw_mixture(close, account, config)
    borders = " Onset and offset lie where its flanks, drawn out, reach 2 % of its height."
    return (
        "Left: the detection curve of each AU, 0 where this movement begins: its prototype, "
        "matched to the movement in this face's own noise as it was known at the announcement. It "
        f"must rise and fall by more than θ within {config.spot.search_s:g} s. Grey: the other "
        "AUs. Right: the named AUs together, recomputed, the differences between faces counted as "
        f"noise (hence lower).{borders * account.final}"
    )


def _base(account: Account, config: Config) -> int:
    """The lowest frame of the announced AUs' curve before the apex."""
    times, curve = announced_profile(account.window, account.number, prototypes(config), config)
    return lowest_before(times, curve, account.interval.apex.pts, config.spot.search_s)


def _draw_mixture(axes: Axes, account: Account, config: Config) -> None:
    model = prototypes(config).joint
    assert model is not None
    found = mixture(account, model)
    assert found is not None
    times, curve = found
    near = _near(axes, account, times)
    axes.plot(times[near], curve[near], color="tab:red", lw=2, marker=".", ms=5)
    axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    axes.axhline(JointParams.least, color="k", ls=":", lw=1)
    axes.annotate(
        f" must exceed {JointParams.least:g}",
        (1.0, JointParams.least),
        xycoords=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=8,
        bbox={"facecolor": "w", "alpha": 0.7, "lw": 0, "pad": 1},
        zorder=5,
    )
    for key in account.keys:
        at = nearest(times, key.stamp.pts)
        axes.plot(times[at], curve[at], "o", color="k", ms=5, zorder=4)
    axes.set_ylabel("standard deviations")
    _mark(axes, account, words=True)
    axes.set_title("the AUs of this event together", fontsize=10, pad=30)
