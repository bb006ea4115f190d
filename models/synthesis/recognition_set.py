"""Synthetic recognition sets, planned: who shows what, and how.

``plan_set`` draws everything from a seed and renders nothing. ``recognition_set_files`` lays a
plan down in the official formats of CASME II and SAMM; which emotion carries which AUs is in
``recognition_set_labels``, how the faces come to differ in ``recognition_set_faces``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from models.errors import UserError
from models.synthesis.portrait import portrait_names
from models.synthesis.recognition_set_faces import Look, draw_looks
from models.synthesis.recognition_set_labels import AUSet, Kind, allotted, class_of
from models.synthesis.script import Blink, Expression, Gaze, HeadMotion, Scene, Side

FPS = 200.0
VERSION = 1  # of the generator: another number, other pictures for the same seed

_LEAD = 20  # frames before the onset and after the offset
_AMPLITUDE_PX = (0.8, 3.0)
# onset to apex and apex to offset, frames: the middle four fifths of CASME II's and SAMM's tables
# are 18-53 and 20-60; even numbers, so that no enriched apex lies halfway between two frames
_RISE, _FALL = (14, 44), (18, 52)
_ONE_SIDED = 0.4  # of the sets that may be
_GAZE, _BLINK = 0.2, 0.05  # share of the samples with one
_EYE_PX: dict[Kind, tuple[float, float]] = {"casme2": (150.0, 170.0), "samm": (175.0, 200.0)}
_SIZE = (640, 480)
_BEFORE = (0.6, 0.7, 0.8, 0.9)
_AFTER = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Subject:
    """One identity; ``name`` as the workbook has it (``01``, ``006``)."""

    name: str
    look: Look
    eye_px: float  # outer eye corners


@dataclass(frozen=True)
class Sample:
    """One expression; frames are numbered as its images are.

    ``first`` is the number of the scene's frame 0; ``au_text`` is the annotation (``4+R10``).
    """

    kind: Kind
    subject: Subject
    clip: str
    label: str
    aus: tuple[int, ...]
    au_text: str
    onset: int
    apex: int
    offset: int
    first: int
    scene: Scene
    jpeg_quality: int

    @property
    def objective_class(self) -> str:
        """I to VII, by the AUs."""
        return class_of(self.aus)


@dataclass(frozen=True)
class SetPlan:
    """A whole set before it is rendered."""

    kind: Kind
    seed: int
    subjects: tuple[Subject, ...]
    samples: tuple[Sample, ...]


def plan_set(
    kind: Kind,
    subjects: int = 12,
    samples: int = 16,
    seed: int = 0,
    portraits: Sequence[str] = ("astronaut", "biden", "obama"),
    size: tuple[int, int] = _SIZE,
) -> SetPlan:
    """Draw a set: the same arguments, the same set.

    Args:
        kind: whose format and labels.
        subjects: identities.
        samples: expressions of each.
        seed: 0 or more.
        portraits: shipped ones, taken in turn.
        size: (width, height) of the frames, px; faces grow with the height.

    Raises:
        UserError: a number is out of range, or a portrait is not shipped.
    """
    _check(kind, subjects, samples, seed, portraits)
    rng = np.random.default_rng([seed, 300])
    scale = size[1] / _SIZE[1]
    looks = draw_looks(tuple(portraits), subjects, seed)
    people = tuple(
        Subject(_subject_name(kind, k), look, scale * float(rng.uniform(*_EYE_PX[kind])))
        for k, look in enumerate(looks)
    )
    labels = allotted(kind, subjects * samples)
    order = rng.permutation(len(labels))
    drawn = tuple(
        _sample(people[k // samples], k % samples, labels[order[k]], (kind, seed, k), size)
        for k in range(len(labels))
    )
    return SetPlan(kind, seed, people, drawn)


def _check(kind: str, subjects: int, samples: int, seed: int, portraits: Sequence[str]) -> None:
    unknown = [name for name in portraits if name not in portrait_names()]
    for wrong, text in (
        (kind not in get_args(Kind), f"{kind!r}: one of {', '.join(get_args(Kind))}"),
        (not 1 <= subjects <= 99, f"{subjects} subjects: 1 to 99"),
        (not 1 <= samples <= 396, f"{samples} samples a subject: 1 to 396"),
        (seed < 0, f"seed {seed}: 0 or more"),
        (not portraits, "no portrait is named"),
        (
            bool(unknown),
            f"portrait {', '.join(unknown)}: not shipped; there is {', '.join(portrait_names())}",
        ),
    ):
        if wrong:
            raise UserError(text)


def _subject_name(kind: Kind, k: int) -> str:
    return f"{k + 1:02}" if kind == "casme2" else f"{k + 6:03}"


def _clip(kind: Kind, subject: str, k: int) -> str:
    if kind == "casme2":
        return f"EP{k // 4 + 1:02}_{k % 4 + 1:02}f"
    return f"{subject}_{k // 4 + 1}_{k % 4 + 1}"


def _sample(
    subject: Subject,
    k: int,
    labelled: tuple[str, AUSet],
    key: tuple[Kind, int, int],
    size: tuple[int, int],
) -> Sample:
    (label, au_set), (kind, *numbers) = labelled, key
    rng = np.random.default_rng([*numbers, 301])
    rise, fall = (2 * int(rng.integers(low // 2, high // 2 + 1)) for low, high in (_RISE, _FALL))
    number = int(rng.integers(30, 210) if kind == "casme2" else rng.integers(1000, 9000))
    sides = _sides(rng, au_set)
    px = size[1] / _SIZE[1]
    onset_s = _LEAD / FPS
    times = (onset_s, onset_s + rise / FPS, onset_s + (rise + fall) / FPS)
    scene = Scene(
        duration_s=times[2] + (_LEAD + 1) / FPS,
        expressions=_expressions(rng, sides, times, px),
        head=_head(rng, px),
        noise=float(rng.uniform(1.0, 2.5)),
        light=float(rng.uniform(0, 0.01)),
        seed=int(rng.integers(2**31)),
        fps=FPS,
        width=size[0],
        height=size[1],
        gaze=_gaze(rng, times, px),
        blinks=_blinks(rng, times, px),
        eye_px=subject.eye_px * float(rng.uniform(0.98, 1.02)),
    )
    return Sample(
        kind=kind,
        subject=subject,
        clip=_clip(kind, subject.name, k),
        label=label,
        aus=au_set.aus,
        au_text="+".join({"left": "L", "right": "R", "both": ""}[s] + str(a) for a, s in sides),
        onset=number,
        apex=number + rise,
        offset=number + rise + fall,
        first=number - _LEAD,
        scene=scene,
        jpeg_quality=int(rng.integers(90, 98)),
    )


def _sides(rng: np.random.Generator, au_set: AUSet) -> list[tuple[int, Side]]:
    one: Side = "both"
    if au_set.sided and rng.random() < _ONE_SIDED:
        one = "left" if rng.random() < 0.5 else "right"
    return [(au, one if au in au_set.sided else "both") for au in au_set.aus]


def _expressions(
    rng: np.random.Generator,
    sides: Sequence[tuple[int, Side]],
    times: tuple[float, float, float],
    px: float,
) -> tuple[Expression, ...]:
    """One movement of all AUs on the same side."""
    amplitude = px * float(rng.uniform(*_AMPLITUDE_PX))
    leaning = float(rng.uniform(-0.25, 0.25))
    balance: dict[Side, float] = {"left": -1.0, "right": 1.0, "both": leaning}
    groups: dict[Side, list[int]] = {}
    for au, side in sides:
        groups.setdefault(side, []).append(au)
    return tuple(
        Expression(
            *times,
            tuple(aus),
            amplitude,
            balance=balance[side],
            weights=tuple(float(w) for w in rng.uniform(0.7, 1.0, len(aus))),
        )
        for side, aus in groups.items()
    )


def _head(rng: np.random.Generator, px: float) -> HeadMotion:
    return HeadMotion(
        shift_px=px * float(rng.uniform(0.3, 2.0)),
        roll_deg=float(rng.uniform(0.05, 0.3)),
        scale=float(rng.uniform(0, 0.002)),
        period_s=float(rng.uniform(4, 8)),
        yaw_deg=float(rng.uniform(0.1, 0.5)),
        pitch_deg=float(rng.uniform(0.1, 0.5)),
        mode="drift",
        jitter_px=px * float(rng.uniform(0.02, 0.08)),
    )


def _gaze(
    rng: np.random.Generator, times: tuple[float, float, float], px: float
) -> tuple[Gaze, ...]:
    if rng.random() >= _GAZE:
        return ()
    start = float(rng.uniform(times[0] - 0.05, times[1]))
    return (Gaze(start, 1.0, px * float(rng.normal(0, 2)), px * float(rng.normal(0, 1))),)


def _blinks(
    rng: np.random.Generator, times: tuple[float, float, float], px: float
) -> tuple[Blink, ...]:
    if rng.random() >= _BLINK:
        return ()
    length = float(rng.uniform(0.12, 0.25))
    start = float(rng.uniform(times[0] - 0.05, times[1]))
    return (Blink(start, length, brow_px=px * float(rng.uniform(0.1, 0.6))),)


def key_frames(onset: int, apex: int, offset: int) -> tuple[int, ...]:
    """Onset, apex, offset and the nine enriched apexes of Zhou et al., ascending.

    Args:
        onset: frame number; so are the others.
        apex: after it.
        offset: after that.
    """
    enriched = [onset + (apex - onset) * share for share in _BEFORE]
    enriched += [apex + (offset - apex) * share for share in _AFTER]
    return tuple(sorted({onset, apex, offset, *(round(at) for at in enriched)}))
