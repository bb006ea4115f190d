"""The curves behind an announcement, from what was recorded of its window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stages.joint import JointParams
from stages.noise import Filters, explainers
from stages.peaks import smooth

if TYPE_CHECKING:
    from models.joint import JointModel
    from models.prototypes import PrototypeSet
    from pipeline.config import Config
    from pipeline.explain_account import Account, Window
    from stages.items import Side

Array = npt.NDArray[np.float64]


def thetas(known: PrototypeSet, config: Config) -> dict[int, float]:
    """theta of eq. 24 of each AU of the set, as the paper's rules use it."""
    scaled = known.thetas * config.spot.threshold_scale
    return {au: float(theta) for au, theta in zip(known.aus, scaled, strict=True)}


def weights(parts: Iterable[tuple[int, Side, float]], model: JointModel) -> Array:
    """(R,) px of each prototype, from AUs with their side and px."""
    found = np.zeros(len(model.rows))
    for au, side, px in parts:
        if side != "right":
            found[model.index(au, "left")] = px
        if side != "left":
            found[model.index(au, "right")] = px
    return found


def account_weights(account: Account, model: JointModel) -> Array:
    """(R,) px of each prototype, from the AUs that the event names."""
    return weights(((a.au, a.side, a.index) for a in account.interval.aus), model)


def matching(window: Window, known: PrototypeSet, config: Config) -> tuple[Array, Array]:
    """Times (n,) and low-passed matching indices over theta (n, V) (eqs 22-24)."""
    times, values = np.array(window.times), np.array(window.values, np.float64)
    scale = np.array([thetas(known, config)[au] for au in known.aus])
    return times, smooth(times, values, config.spot.smooth_s) / scale


def announced_profile(
    window: Window, number: int, known: PrototypeSet, config: Config
) -> tuple[Array, Array]:
    """Times (n,) and the curve (n,) of the AUs as they were announced."""
    announcement = window.announced[number]
    noise, model = window.filters_of(number), known.joint
    if window.projections is None or noise is None or model is None:
        times, values = matching(window, known, config)
        return times, values[:, announcement.au]
    times, x = window.projections
    px = weights(((model.aus[p.au], p.side, p.value) for p in announcement.aus), model)
    return times, x @ (px @ noise.rows)


def mixture(account: Account, model: JointModel) -> tuple[Array, Array] | None:
    """Times (n,) and the curve (n,) of the event's AUs together, in standard deviations.

    0 at its first key frame. Their prototypes' errors count as noise, as in ``stages.joint``.
    None without recorded projections.
    """
    noise = account.window.filters_of(account.number)
    if account.window.projections is None or noise is None:
        return None
    times, x = account.window.projections
    curve = x @ _mixture_filter(account_weights(account, model), model, noise)
    return times, np.asarray(curve - curve[nearest(times, account.keys[0].stamp.pts)])


def _mixture_filter(px: Array, model: JointModel, noise: Filters) -> Array:
    wide = noise.covariance.copy()
    for row in np.flatnonzero(px):
        wide += JointParams.mismatch * px[row] ** 2 * model.mismatch[model.rows[row][0]]
    rows, gram = explainers(model, wide)
    return np.asarray(px @ rows / np.sqrt(px @ gram @ px))


def lowest_before(times: Array, curve: Array, apex_s: float, search_s: float) -> int:
    """The last of the lowest frames in the ``search_s`` before the apex (eq. 24)."""
    first = int(np.searchsorted(times, apex_s - search_s))
    stop = max(int(np.searchsorted(times, apex_s, side="right")), first + 1)
    back = curve[first:stop][::-1]
    return min(stop, len(curve)) - 1 - int(back.argmin())


def nearest(times: Array, time: float) -> int:
    """Index of the frame nearest to ``time``."""
    return int(np.abs(times - time).argmin())
