"""How head, eyes and mouth of a scene move in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.synthesis.script import (
    EDGE_AT,
    Axis,
    Blink,
    Gaze,
    HeadEpisode,
    Scene,
    Speech,
    profile,
    step,
)

Floats = npt.NDArray[np.float64]

_SACCADE_S = 0.04
_SYLLABLE_HZ = (2.0, 6.0)
_FADE_S = 0.15
_DRIFT_WAVES = 5
_JITTER_WAVES = 12
_JITTER_HZ = (0.7, 8.0)
# the quasi-periodic mode: first phase and frequency ratio of each freedom
_WAVES = {
    "roll": (0, 0.8),
    "scale": (2, 0.6),
    "x": (4, 1.0),
    "y": (6, 0.9),
    "yaw": (8, 0.7),
    "pitch": (10, 1.1),
}


@dataclass(frozen=True)
class Pose:
    """Six freedoms: angles (rad), scale, translation (px)."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    x: float
    y: float


class HeadPath:
    """The head's pose at any time."""

    def __init__(self, scene: Scene, phases: Floats) -> None:
        self._head = scene.head
        more = np.random.default_rng([scene.seed, 4]).uniform(0, 2 * np.pi, 4)
        self._phases = np.concatenate([phases, more])
        rng = np.random.default_rng([scene.seed, 5])
        shape = (len(_WAVES), _DRIFT_WAVES)
        self._slow = np.geomspace(0.2, 3.0, _DRIFT_WAVES) * rng.uniform(0.8, 1.25, shape)
        self._slow_phases = rng.uniform(0, 2 * np.pi, shape)
        self._slow_share = 1 / self._slow / (1 / self._slow).sum(axis=1, keepdims=True)
        self._fast = rng.uniform(*_JITTER_HZ, (2, _JITTER_WAVES))
        self._fast_phases = rng.uniform(0, 2 * np.pi, (2, _JITTER_WAVES))
        share = self._fast**-0.5
        self._fast_share = share / np.sqrt(0.5 * (share**2).sum(axis=1, keepdims=True))

    def at(self, t: float) -> Pose:
        """The pose at ``t`` seconds."""
        head = self._head
        turns: dict[Axis, float] = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}
        for episode in head.episodes:
            turns[episode.axis] += _swing(episode, t)
        jitter = np.zeros(2)
        if head.jitter_px:
            waves = np.sin(2 * np.pi * self._fast * t + self._fast_phases)
            jitter = head.jitter_px * (self._fast_share * waves).sum(axis=1)
        return Pose(
            yaw=np.radians(head.yaw_deg) * self._wave("yaw", t) + turns["yaw"],
            pitch=np.radians(head.pitch_deg) * self._wave("pitch", t) + turns["pitch"],
            roll=np.radians(head.roll_deg) * self._wave("roll", t) + turns["roll"],
            scale=1 + head.scale * self._wave("scale", t),
            x=head.shift_px * self._wave("x", t) + jitter[0],
            y=head.shift_px * self._wave("y", t) + jitter[1],
        )

    def _wave(self, freedom: str, t: float) -> float:
        slow = 2 * np.pi * t / self._head.period_s
        if self._head.mode == "drift":
            row = list(_WAVES).index(freedom)
            waves = np.sin(slow * self._slow[row] + self._slow_phases[row])
            return float(self._slow_share[row] @ waves)
        k, ratio = _WAVES[freedom]
        p = self._phases
        return float(
            0.7 * np.sin(slow * ratio + p[k]) + 0.3 * np.sin(2.3 * slow * ratio + p[k + 1])
        )


def _swing(e: HeadEpisode, t: float) -> float:
    """Angle (rad) that ``e`` adds: swings that grow from 0 and end at 0."""
    since = t - e.start_s
    if not 0 < since < e.duration_s:
        return 0.0
    edge = min(0.3 * e.duration_s, 0.5 / e.hz)
    grown = float(step(since / edge) * step((e.duration_s - since) / edge))
    return float(np.radians(e.amplitude_deg) * grown * np.sin(2 * np.pi * e.hz * since))


def closed(blink: Blink, t: float) -> float:
    """How far the lids are closed, 0 to 1."""
    since = t - blink.start_s
    if not 0 < since < blink.duration_s:
        return 0.0
    down = blink.closing * blink.duration_s
    at = since / down if since < down else (blink.duration_s - since) / (blink.duration_s - down)
    return blink.depth * float(step(at))


def looking(gaze: Gaze, t: float) -> float:
    """Share of the gaze shift reached: there and back in two saccades."""
    since = t - gaze.start_s
    return float(step(since / _SACCADE_S) * step((gaze.duration_s - since) / _SACCADE_S))


class Talk:
    """Jaw and lips of a speech episode: syllables at 2-6 Hz."""

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        rng = np.random.default_rng([speech.seed, 6])
        self._knots = [_knots(rng, speech.duration_s) for _ in range(3)]

    def at(self, t: float) -> tuple[float, float, float, float] | None:
        """Share of jaw, parted lips, spread (rounded if negative), pressed; None in silence."""
        since = t - self.speech.start_s
        if not 0 < since < self.speech.duration_s:
            return None
        ends = np.minimum(since, self.speech.duration_s - since) / _FADE_S
        loud = float(step(ends))
        jaw, lips, spread = (_along(knots, since) for knots in self._knots)
        pressed = max(0.0, 0.25 - jaw) * 4
        return loud * jaw, loud * lips, loud * (2 * spread - 1), loud * pressed


def _knots(rng: np.random.Generator, duration_s: float) -> tuple[Floats, Floats]:
    """Turning points of a signal that goes up and down once a syllable."""
    n = int(np.ceil(duration_s * _SYLLABLE_HZ[1])) + 1
    halves = np.repeat(0.5 / rng.uniform(*_SYLLABLE_HZ, n), 2)
    high = rng.uniform(0.55, 1.0, n)
    high[0] = 1.0
    values = np.column_stack([rng.uniform(0.0, 0.15, n), high]).ravel()
    return np.cumsum(halves) - halves[0], values


def _along(knots: tuple[Floats, Floats], since: float) -> float:
    times, values = knots
    k = min(int(np.searchsorted(times, since, side="right")) - 1, len(times) - 2)
    u = float(step((since - times[k]) / (times[k + 1] - times[k])))
    return float(values[k] + u * (values[k + 1] - values[k]))


def span(onset: float, apex: float, offset: float, hold: float = 0.0) -> tuple[float, float]:
    """First and last moment at which ``profile`` is above 0."""
    top = apex + hold
    return apex - (apex - onset) / (1 - EDGE_AT), top + (offset - top) / (1 - EDGE_AT)


def old_blink(t: float, middle: float, duration_s: float) -> float:
    """How far the lids are closed in one of ``Scene.blinks_s``."""
    return float(profile(t, middle - duration_s / 2, middle, middle + duration_s / 2))
