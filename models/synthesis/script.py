"""What a synthetic clip is made of: scenes, their parts, their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Side = Literal["both", "left", "right"]
Axis = Literal["yaw", "pitch", "roll"]

EDGE_AT = 0.1355  # argument at which the minimum-jerk step reaches 2 %: onset and offset
LONGEST_MICRO_S = 0.5
_LATEST_SD = 3.0
_SIDES: dict[Side, float] = {"left": -1.0, "both": 0.0, "right": 1.0}


@dataclass(frozen=True)
class Expression:
    """One scripted expression; times in seconds, amplitude in px of the frame.

    Args:
        onset_s: the profile crosses 2 % of its peak.
        apex_s: the peak is reached.
        offset_s: the profile crosses 2 % again.
        aus: action units that move together.
        amplitude_px: movement at the apex of the landmark that moves most.
        side: subject's side that moves.
        balance: continuous ``side``: -1 left only, 0 both alike, 1 right only.
        weights: one per AU; default: all alike.
        hold_s: time at the peak, from ``apex_s`` on.
    """

    onset_s: float
    apex_s: float
    offset_s: float
    aus: tuple[int, ...]
    amplitude_px: float
    side: Side = "both"
    balance: float | None = None
    weights: tuple[float, ...] = ()
    hold_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.onset_s < self.apex_s < self.offset_s or self.hold_s < 0:
            raise ValueError(f"onset < apex < offset is needed: {self}")
        if not self.apex_s + self.hold_s < self.offset_s:
            raise ValueError(f"apex + hold < offset is needed: {self}")
        if self.balance is not None and not -1 <= self.balance <= 1:
            raise ValueError(f"the balance lies between -1 and 1: {self}")
        if self.weights and (len(self.weights) != len(self.aus) or not max(self.weights) > 0):
            raise ValueError(f"one weight per AU is needed, one of them above 0: {self}")

    @property
    def leaning(self) -> float:
        """``balance``, or what ``side`` says: -1 left only to 1 right only."""
        return _SIDES[self.side] if self.balance is None else self.balance


@dataclass(frozen=True)
class Blink:
    """One blink: closes fast, opens slowly.

    Args:
        start_s: the lids begin to move.
        duration_s: until they stand still again.
        depth: 1 closes the eye, less is an incomplete blink.
        closing: share of the time spent closing.
        brow_px: how far the brows' skin goes down with the lids.
    """

    start_s: float
    duration_s: float = 0.2
    depth: float = 1.0
    closing: float = 0.35
    brow_px: float = 0.0

    def __post_init__(self) -> None:
        if not (self.duration_s > 0 and 0 < self.closing < 1 and 0 < self.depth <= 1):
            raise ValueError(f"a time, a depth and a share of closing are needed: {self}")


@dataclass(frozen=True)
class Gaze:
    """The eyes go ``dx``, ``dy`` px off, stay for the duration and come back."""

    start_s: float
    duration_s: float
    dx: float = 0.0
    dy: float = 0.0


@dataclass(frozen=True)
class Speech:
    """Speech-like motion of jaw and lips, ``amplitude_px`` at its widest."""

    start_s: float
    duration_s: float
    amplitude_px: float
    seed: int = 0


@dataclass(frozen=True)
class HeadEpisode:
    """A shake (yaw), nod (pitch) or tilt (roll): swings of ``amplitude_deg``."""

    start_s: float
    duration_s: float
    amplitude_deg: float
    axis: Axis = "yaw"
    hz: float = 1.5


@dataclass(frozen=True)
class HeadMotion:
    """Slow motion: amplitudes of translation (px), rotations (deg), scale; and episodes.

    ``mode``: quasi-periodic, or a random drift (a sum of incommensurate sines). Yaw turns to
    the image's right, pitch down, roll clockwise. ``jitter_px``: sd of the postural jitter.
    """

    shift_px: float = 0.0
    roll_deg: float = 0.0
    scale: float = 0.0
    period_s: float = 5.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    mode: Literal["periodic", "drift"] = "periodic"
    jitter_px: float = 0.0
    episodes: tuple[HeadEpisode, ...] = ()


@dataclass(frozen=True)
class Lighting:
    """Disturbances of light, as shares of the brightness.

    Args:
        flicker: amplitude of the mains flicker.
        flicker_hz: its frequency, twice the mains': 100 or 120; aliased by the frame rate.
        readout_s: time from the first to the last row; above 0 the flicker makes bands.
        exposures: (time s, gain from then on); the camera takes ``exposure_s`` to get there.
        exposure_s: see ``exposures``.
        local: amplitude of a soft shadow edge that swings across the face.
        local_period_s: period of its swing.
    """

    flicker: float = 0.0
    flicker_hz: float = 100.0
    readout_s: float = 0.0
    exposures: tuple[tuple[float, float], ...] = ()
    exposure_s: float = 0.3
    local: float = 0.0
    local_period_s: float = 7.0


@dataclass(frozen=True)
class Timing:
    """What goes wrong on the way from the sensor.

    Args:
        dropped: share of frames that never arrive.
        duplicated: share of frames replaced by the picture before.
        jitter_s: sd of the time stamps' error.
    """

    dropped: float = 0.0
    duplicated: float = 0.0
    jitter_s: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that a synthetic clip is made of.

    ``blinks_s`` are middles of symmetric blinks of 0.23 s; ``light`` is the amplitude of a slow
    brightness drift, a share; ``noise`` the sensor's, grey levels (sd); ``identity`` other than
    0 is another face made from the portrait; ``eye_px`` the distance of the outer eye corners
    in the frame (None: the portrait's own).
    """

    duration_s: float
    expressions: tuple[Expression, ...] = ()
    blinks_s: tuple[float, ...] = ()
    head: HeadMotion = HeadMotion()
    noise: float = 2.0
    light: float = 0.0
    seed: int = 0
    fps: float = 30.0
    width: int = 640
    height: int = 480
    blinks: tuple[Blink, ...] = ()
    gaze: tuple[Gaze, ...] = ()
    speech: tuple[Speech, ...] = ()
    lighting: Lighting = field(default_factory=Lighting)
    jpeg_quality: int | None = None
    timing: Timing = field(default_factory=Timing)
    identity: int = 0
    eye_px: float | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return round(self.duration_s * self.fps)


@dataclass(frozen=True)
class TrueExpression:
    """What a scene holds, in frames from 0."""

    onset: int
    apex: int
    offset: int
    kind: Literal["micro", "macro"]
    aus: tuple[int, ...]
    peak_px: float


@dataclass(frozen=True)
class Delivered:
    """One frame as it arrives: nominal index, time stamp (s), the nominal frame it shows."""

    index: int
    pts: float
    shows: int


def step(u: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Minimum-jerk step from 0 to 1 over u in [0, 1]."""
    v = np.clip(np.asarray(u, np.float64), 0.0, 1.0)
    return np.asarray(v**3 * (10 - 15 * v + 6 * v * v), np.float64)


def profile(
    t: npt.ArrayLike, onset: float, apex: float, offset: float, hold: float = 0.0
) -> npt.NDArray[np.float64]:
    """Movement profile in [0, 1]: 2 % at ``onset`` and ``offset``, 1 at ``apex`` for ``hold``."""
    times = np.asarray(t, np.float64)
    rise = (apex - onset) / (1 - EDGE_AT)
    fall = (offset - apex - hold) / (1 - EDGE_AT)
    up = step((times - (apex - rise)) / rise)
    down = step(((apex + hold + fall) - times) / fall)
    return np.where(times <= apex, up, down)


def demo_scene(duration_s: float = 20.0, seed: int = 7) -> Scene:
    """The scripted demonstration: micro- and macro-expressions, blinks, a moving head.

    The script of 20 s repeats for longer durations.
    """
    script = (
        Expression(1.60, 1.77, 1.97, (1, 2), 2.6),
        Expression(4.80, 5.20, 5.75, (6, 12), 6.0),
        Expression(8.00, 8.17, 8.37, (4,), 2.6),
        Expression(11.20, 11.57, 12.10, (15, 17), 5.0),
        Expression(14.40, 14.57, 14.80, (12,), 2.6),
        Expression(17.20, 17.37, 17.57, (1, 2), 2.6),
    )
    blinks = (3.3, 7.0, 9.8, 13.2, 16.1)
    rounds = range(int(np.ceil(duration_s / 20.0)))
    return Scene(
        duration_s=duration_s,
        expressions=tuple(
            Expression(
                e.onset_s + 20 * k, e.apex_s + 20 * k, e.offset_s + 20 * k, e.aus, e.amplitude_px
            )
            for k in rounds
            for e in script
            if e.offset_s + 20 * k < duration_s
        ),
        blinks_s=tuple(b + 20 * k for k in rounds for b in blinks if b + 20 * k < duration_s),
        head=HeadMotion(shift_px=1.2, roll_deg=0.25, scale=0.002, period_s=7.0),
        light=0.01,
        seed=seed,
    )


def kind_of(e: Expression) -> Literal["micro", "macro"]:
    """Micro below 0.5 s from onset to offset."""
    return "micro" if e.offset_s - e.onset_s < LONGEST_MICRO_S else "macro"


def truth(scene: Scene) -> list[TrueExpression]:
    """The scene's expressions in nominal frames."""
    return [
        TrueExpression(
            round(e.onset_s * scene.fps),
            round(e.apex_s * scene.fps),
            round(e.offset_s * scene.fps),
            kind_of(e),
            e.aus,
            e.amplitude_px,
        )
        for e in scene.expressions
    ]


def schedule(scene: Scene) -> list[Delivered]:
    """What arrives of the nominal frames: some are dropped, some show the one before."""
    timing, n = scene.timing, scene.n_frames
    rng = np.random.default_rng([scene.seed, 8])
    lost, again = rng.random((2, n))
    late = timing.jitter_s * np.clip(rng.standard_normal(n), -_LATEST_SD, _LATEST_SD)
    late = np.clip(late, -0.4 / scene.fps, 0.4 / scene.fps)
    arrived: list[Delivered] = []
    for i in range(n):
        if lost[i] < timing.dropped and i > 0:
            continue
        repeats = again[i] < timing.duplicated and i > 0
        shows = arrived[-1].shows if repeats else i
        arrived.append(Delivered(i, max(0.0, float(i / scene.fps + late[i])), shows))
    return arrived


def delivered(
    frames: Sequence[TrueExpression], arrived: Sequence[Delivered]
) -> list[TrueExpression]:
    """``frames`` in positions of what arrived: the first frame not earlier than the nominal."""
    nominal = np.array([a.index for a in arrived])

    def at(frame: int) -> int:
        return min(int(np.searchsorted(nominal, frame)), len(nominal) - 1)

    return [replace(e, onset=at(e.onset), apex=at(e.apex), offset=at(e.offset)) for e in frames]


def truth_rows(frames: Sequence[TrueExpression]) -> list[dict[str, Any]]:
    """``frames`` as plain rows for a truth file."""
    return [
        {
            "onset": e.onset,
            "apex": e.apex,
            "offset": e.offset,
            "kind": e.kind,
            "aus": list(e.aus),
            "peak_px": e.peak_px,
        }
        for e in frames
    ]
