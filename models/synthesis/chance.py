"""Random scenes of three levels of difficulty.

========================  ===============  ===============  ================
drawn per scene           easy             medium           hard
========================  ===============  ===============  ================
expressions a minute      6-9              6-9              6-9
of them micro             65 %             65 %             65 %
micro: length, s          0.17-0.48, at least 5 frames
macro: length, s          0.52-2.0
micro: peak, px           1.5-3.0          1.0-2.5          0.7-2.0
macro: peak, px           3-8, at most 1.5 times the AU at full strength
blinks a minute           8-20             8-20             8-20
... during expressions    no               no               yes
gaze shifts a minute      2-6              6-15             10-25
speech, episodes/min      none             1-3              2-5
... peak, px              -                1-3              1.5-4.5
... during expressions    -                no               yes
head: translation, px     0.2-1            1-4              3-8
head: each rotation, deg  0.05-0.3         0.5-2            2-6
head: scale, %            0-0.2            0.2-1            0.5-3
head: jitter, px (sd)     0-0.05           0.05-0.15        0.1-0.3
shakes and nods a minute  none             none             1-4, 2-6 deg
noise, grey levels (sd)   1-2              1.5-3            2.5-5
brightness drift, %       0-1              0.5-3            2-8
flicker, %                0-0.3            0-1              0.5-3, half banded
exposure steps a minute   none             0-1              1-3, to 75-110 %
moving shadow, %          0-1              1-5              4-15
JPEG quality              none             90-97            60-90
frames dropped, doubled   none             none             0-2 % each
time stamps (sd), ms      0                0                0-2
eye distance, px          126              110-140          95-150
========================  ===============  ===============  ================

Lengths in px count at an eye distance of 126 px and grow with it; the eye distance is that of
frames 640 px wide and 480 high and grows with them. Expressions lie at least 0.7 s apart and
1 s from the ends. Every part has a random stream of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.synthesis.fields import au_displacements
from models.synthesis.script import (
    Axis,
    Blink,
    Expression,
    Gaze,
    HeadEpisode,
    HeadMotion,
    Lighting,
    Scene,
    Speech,
    Timing,
)

Level = Literal["easy", "medium", "hard"]
Range = tuple[float, float]
Span = tuple[float, float]

_EYE_PX = 126.0
_PER_MINUTE = (6.0, 9.0)
_MICRO_SHARE = 0.65
_MICRO_S, _MACRO_S = (0.17, 0.48), (0.52, 2.0)
_MICRO_FRAMES = 5
_MACRO_PX = (3.0, 8.0)
_STRONGEST = 1.5
_APART_S = 0.7
_MARGIN_S = 1.0
_EXPOSURES = (0.75, 1.1)
_ASIDE_S = 0.15  # other movements keep so far from expressions where they must not collide
_TRIES = 40
# combinations met in FACS practice, and how often
COMBINATIONS: tuple[tuple[tuple[int, ...], float], ...] = (
    *(((1, 2), 3), ((4,), 3), ((1, 4), 2), ((1,), 1), ((2,), 1), ((1, 2, 5), 1)),
    *(((5,), 0.5), ((4, 7), 2), ((7,), 1), ((6,), 0.5), ((9,), 1), ((10,), 1)),
    *(((12,), 3), ((6, 12), 3), ((12, 14), 0.5), ((14,), 2), ((15,), 2), ((15, 17), 2)),
    *(((17,), 2), ((20,), 1), ((24,), 1), ((17, 24), 0.5), ((1, 2, 4), 0.5)),
)


@dataclass(frozen=True)
class _Ranges:
    micro_px: Range
    gaze: Range
    speech: Range
    speech_px: Range
    shift_px: Range
    turn_deg: Range
    scale: Range
    jitter_px: Range
    gestures: Range
    noise: Range
    drift: Range
    flicker: Range
    exposures: Range
    local: Range
    jpeg: Range | None
    faults: float
    eye_px: Range
    colliding: bool


_LEVELS: dict[Level, _Ranges] = {
    "easy": _Ranges(
        micro_px=(1.5, 3.0),
        gaze=(2, 6),
        speech=(0, 0),
        speech_px=(0, 0),
        shift_px=(0.2, 1.0),
        turn_deg=(0.05, 0.3),
        scale=(0, 0.002),
        jitter_px=(0, 0.05),
        gestures=(0, 0),
        noise=(1, 2),
        drift=(0, 0.01),
        flicker=(0, 0.003),
        exposures=(0, 0),
        local=(0, 0.01),
        jpeg=None,
        faults=0.0,
        eye_px=(_EYE_PX, _EYE_PX),
        colliding=False,
    ),
    "medium": _Ranges(
        micro_px=(1.0, 2.5),
        gaze=(6, 15),
        speech=(1, 3),
        speech_px=(1, 3),
        shift_px=(1, 4),
        turn_deg=(0.5, 2),
        scale=(0.002, 0.01),
        jitter_px=(0.05, 0.15),
        gestures=(0, 0),
        noise=(1.5, 3),
        drift=(0.005, 0.03),
        flicker=(0, 0.01),
        exposures=(0, 1),
        local=(0.01, 0.05),
        jpeg=(90, 97),
        faults=0.0,
        eye_px=(110, 140),
        colliding=False,
    ),
    "hard": _Ranges(
        micro_px=(0.7, 2.0),
        gaze=(10, 25),
        speech=(2, 5),
        speech_px=(1.5, 4.5),
        shift_px=(3, 8),
        turn_deg=(2, 6),
        scale=(0.005, 0.03),
        jitter_px=(0.1, 0.3),
        gestures=(1, 4),
        noise=(2.5, 5),
        drift=(0.02, 0.08),
        flicker=(0.005, 0.03),
        exposures=(1, 3),
        local=(0.04, 0.15),
        jpeg=(60, 90),
        faults=0.02,
        eye_px=(95, 150),
        colliding=True,
    ),
}


def random_scene(
    seed: int,
    level: Level = "medium",
    duration_s: float = 60.0,
    fps: float = 30.0,
    *,
    empty: bool = False,
    identity: int | None = None,
    width: int = 640,
    height: int = 480,
) -> Scene:
    """A scene drawn from ``seed``; the module's table says from what.

    Args:
        seed: 0 or more.
        level: how much disturbs.
        duration_s: length.
        fps: frames a second.
        empty: no expressions, everything else alike.
        identity: of the face; default: drawn, one in five the portrait as it is.
        width: of the frames, px.
        height: of the frames, px.
    """
    if level not in get_args(Level):
        raise ValueError(f"level {level!r}: one of {', '.join(get_args(Level))}")
    ranges = _LEVELS[level]
    parts = iter(np.random.default_rng([seed, 100, k]) for k in range(9))
    rng = next(parts)
    frame = min(width / 640, height / 480)
    eye_px = _drawn(rng, ranges.eye_px) * frame
    px = eye_px / _EYE_PX
    drawn = int(rng.integers(1, 2**31)) if rng.random() < 0.8 else 0
    expressions = _expressions(next(parts), ranges, duration_s, fps, px)
    busy = [(e.onset_s, e.offset_s) for e in expressions]
    avoid = [] if ranges.colliding else busy
    blinks = _blinks(next(parts), duration_s, avoid, px)
    gaze = _gaze(next(parts), ranges, duration_s, px)
    speech = _speech(next(parts), ranges, duration_s, avoid, px)
    head = _head(next(parts), ranges, duration_s, px)
    light, lighting = _light(next(parts), ranges, duration_s)
    rng = next(parts)
    return Scene(
        duration_s=duration_s,
        expressions=() if empty else expressions,
        head=head,
        noise=_drawn(rng, ranges.noise),
        light=light,
        seed=seed,
        fps=fps,
        width=width,
        height=height,
        blinks=blinks,
        gaze=gaze,
        speech=speech,
        lighting=lighting,
        jpeg_quality=None if ranges.jpeg is None else round(_drawn(rng, ranges.jpeg)),
        timing=_timing(rng, ranges.faults),
        identity=drawn if identity is None else identity,
        eye_px=eye_px,
    )


def _drawn(rng: np.random.Generator, between: Range) -> float:
    return float(rng.uniform(*between))


def _count(rng: np.random.Generator, per_minute: Range, duration_s: float) -> int:
    """So many in ``duration_s``; a fraction counts as a chance."""
    return int(_drawn(rng, per_minute) * duration_s / 60 + rng.random())


def _expressions(
    rng: np.random.Generator, ranges: _Ranges, duration_s: float, fps: float, px: float
) -> tuple[Expression, ...]:
    lengths: list[float] = []
    room = duration_s - 2 * _MARGIN_S + _APART_S
    for _ in range(_count(rng, _PER_MINUTE, duration_s)):
        shortest = max(_MICRO_S[0], _MICRO_FRAMES / fps)
        micro = rng.random() < _MICRO_SHARE
        length = _drawn(rng, (shortest, _MICRO_S[1]) if micro else _MACRO_S)
        if sum(lengths) + length + _APART_S * (len(lengths) + 1) < room:
            lengths.append(length)
    free = max(0.0, room - sum(lengths) - _APART_S * len(lengths))
    starts = np.sort(rng.uniform(0, free, len(lengths))) + _MARGIN_S
    script = []
    for k, length in enumerate(lengths):
        onset = float(starts[k]) + sum(lengths[:k]) + _APART_S * k
        script.append(_expression(rng, ranges, onset, length, px))
    return tuple(script)


def _expression(
    rng: np.random.Generator, ranges: _Ranges, onset: float, length: float, px: float
) -> Expression:
    chances = np.array([weight for _, weight in COMBINATIONS])
    aus = COMBINATIONS[rng.choice(len(COMBINATIONS), p=chances / chances.sum())][0]
    micro = length < _MACRO_S[0]
    hold = 0.0
    if rng.random() < (0.2 if micro else 0.4):
        hold = _drawn(rng, (0, 0.25 if micro else 0.4)) * length
    rise = _drawn(rng, (0.3, 0.55)) * (length - hold)
    if micro:
        peak = _drawn(rng, ranges.micro_px)
    else:
        most = _STRONGEST * _EYE_PX * max(_full(au) for au in aus)
        peak = _drawn(rng, (_MACRO_PX[0], max(min(_MACRO_PX[1], most), _MACRO_PX[0] + 0.5)))
    leaning = rng.random()
    balance = 0.0
    if leaning > 0.6:
        balance = _drawn(rng, (-0.5, 0.5)) if leaning < 0.9 else _drawn(rng, (0.5, 1.0))
        balance = -balance if rng.random() < 0.5 else balance
    weights = tuple(float(w) for w in rng.uniform(0.6, 1.0, len(aus))) if len(aus) > 1 else ()
    return Expression(
        onset_s=onset,
        apex_s=onset + rise,
        offset_s=onset + length,
        aus=aus,
        amplitude_px=peak * px,
        balance=balance,
        weights=weights,
        hold_s=hold,
    )


def _full(au: int) -> float:
    """Movement at full strength, in eye distances."""
    both = sum(au_displacements()[au].values(), np.zeros((68, 2)))
    return float(np.hypot(both[:, 0], both[:, 1]).max())


def _placed(
    rng: np.random.Generator,
    lengths: Sequence[float],
    duration_s: float,
    avoid: Sequence[Span],
    apart_s: float,
) -> list[tuple[float, float]]:
    """Start and length of each that finds room apart from the others and ``avoid``."""
    n = len(avoid)
    taken = np.zeros((n + len(lengths), 2))
    taken[:n] = np.array(avoid).reshape(-1, 2) + np.array([-_ASIDE_S, _ASIDE_S])
    found = []
    for length in lengths:
        for _ in range(_TRIES):
            start = _drawn(rng, (0.1, max(0.2, duration_s - length - 0.1)))
            if start + length > duration_s:
                break
            if not ((taken[:n, 0] < start + length) & (start < taken[:n, 1])).any():
                taken[n] = start - apart_s, start + length + apart_s
                n += 1
                found.append((start, length))
                break
    return sorted(found)


def _blinks(
    rng: np.random.Generator, duration_s: float, avoid: Sequence[Span], px: float
) -> tuple[Blink, ...]:
    n = _count(rng, (8, 20), duration_s)
    placed = _placed(rng, rng.uniform(0.10, 0.35, n).tolist(), duration_s, avoid, 0.15)
    return tuple(
        Blink(
            start_s=start,
            duration_s=length,
            depth=1.0 if rng.random() < 0.8 else _drawn(rng, (0.4, 0.9)),
            closing=_drawn(rng, (0.25, 0.42)),
            brow_px=px * _drawn(rng, (0.1, 0.7)),
        )
        for start, length in placed
    )


def _gaze(
    rng: np.random.Generator, ranges: _Ranges, duration_s: float, px: float
) -> tuple[Gaze, ...]:
    n = _count(rng, ranges.gaze, duration_s)
    placed = _placed(rng, rng.uniform(0.2, 2.0, n).tolist(), duration_s, (), 0.15)
    shifts = []
    for start, length in placed:
        reach, angle = _drawn(rng, (0.8, 4.0)), _drawn(rng, (0, 2 * np.pi))
        dx, dy = reach * np.cos(angle), 0.5 * reach * np.sin(angle)
        shifts.append(Gaze(start, length, px * float(dx), px * float(dy)))
    return tuple(shifts)


def _speech(
    rng: np.random.Generator,
    ranges: _Ranges,
    duration_s: float,
    avoid: Sequence[Span],
    px: float,
) -> tuple[Speech, ...]:
    n = _count(rng, ranges.speech, duration_s)
    placed = _placed(rng, rng.uniform(1.0, 4.0, n).tolist(), duration_s, avoid, 0.3)
    return tuple(
        Speech(start, length, px * _drawn(rng, ranges.speech_px), int(rng.integers(2**31)))
        for start, length in placed
    )


def _head(rng: np.random.Generator, ranges: _Ranges, duration_s: float, px: float) -> HeadMotion:
    n = _count(rng, ranges.gestures, duration_s)
    axes: tuple[Axis, ...] = get_args(Axis)
    placed = _placed(rng, rng.uniform(0.7, 2.0, n).tolist(), duration_s, (), 0.5)
    episodes = tuple(
        HeadEpisode(
            start,
            length,
            _drawn(rng, (2, 6)),
            axes[rng.choice(3, p=[0.45, 0.45, 0.1])],
            _drawn(rng, (1.0, 2.5)),
        )
        for start, length in placed
    )
    return HeadMotion(
        shift_px=px * _drawn(rng, ranges.shift_px),
        roll_deg=_drawn(rng, ranges.turn_deg),
        scale=_drawn(rng, ranges.scale),
        period_s=_drawn(rng, (4, 10)),
        yaw_deg=_drawn(rng, ranges.turn_deg),
        pitch_deg=_drawn(rng, ranges.turn_deg),
        mode="drift" if rng.random() < 0.7 else "periodic",
        jitter_px=px * _drawn(rng, ranges.jitter_px),
        episodes=episodes,
    )


def _light(rng: np.random.Generator, ranges: _Ranges, duration_s: float) -> tuple[float, Lighting]:
    n = _count(rng, ranges.exposures, duration_s)
    times = np.sort(rng.uniform(0, duration_s, n)).tolist()
    banded = ranges.colliding and rng.random() < 0.5
    return _drawn(rng, ranges.drift), Lighting(
        flicker=_drawn(rng, ranges.flicker),
        # the mains' frequency is never quite what it should be
        flicker_hz=float(rng.choice([100.0, 120.0]) + rng.normal(0, 0.05)),
        readout_s=_drawn(rng, (0.005, 0.03)) if banded else 0.0,
        exposures=tuple((at, _drawn(rng, _EXPOSURES)) for at in times),
        local=_drawn(rng, ranges.local),
        local_period_s=_drawn(rng, (4, 15)),
    )


def _timing(rng: np.random.Generator, faults: float) -> Timing:
    dropped, duplicated, jitter = faults * rng.random(3)
    return Timing(float(dropped), float(duplicated), 0.1 * float(jitter))
