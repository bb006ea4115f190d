"""The items that flow from stage to stage (DESIGN, "What flows").

Every struct is frozen, typed and encodable as msgpack; arrays inside it travel
as separate wire parts (``pipeline.wire``). Times called ``pts`` are source
time in seconds; ``mono_ns`` and ``utc_ns`` are the two clocks read at capture.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When and where a frame was captured."""

    stream: str
    frame: int  # index in the source, from 0; dropped frames leave gaps
    pts: float  # source time, seconds
    mono_ns: int  # monotonic clock at capture, ns
    utc_ns: int  # UTC at capture, ns since the epoch


class Frame(msgspec.Struct, frozen=True, tag=True):
    """One image: uint8, (h, w) grey or (h, w, 3) BGR."""

    stamp: Stamp
    image: npt.NDArray[np.uint8]


class Face(msgspec.Struct, frozen=True, tag=True):
    """One face of one frame, cropped and normalised."""

    stamp: Stamp
    face: int  # stable id within the stream, from 0
    eye: Grey  # (240, 280)
    mouth: Grey  # (160, 260)
    landmarks: Floats  # (468, 2) x, y in source pixels
    scale: float  # outer-eye-corner distance d, source pixels
    eye_openness: float  # lid gap / eye width, mean of both eyes
    pose: tuple[float, float, float]  # yaw, pitch, roll in degrees
    whole: Grey | None = None  # (224, 224), where a recogniser wants it


class FaceState(msgspec.Struct, frozen=True, tag=True):
    """A face appeared (visible) or was lost; ``camera``: since the camera was."""

    stamp: Stamp
    face: int
    visible: bool
    camera: bool = False


class Column(msgspec.Struct, frozen=True):
    """One column of W (eq. 23) against the window whose reference is ``reference``."""

    reference: int  # frame index of the window's reference; names the window
    values: Floats  # (V,) matching indices, in the prototype set's order
    parts: Floats | None = None  # (2, K) projections of the joint model (``models.joint``)


class Curves(msgspec.Struct, frozen=True, tag=True):
    """The columns computed for one frame of one face.

    ``eye`` and ``mouth`` are present when the frame is new, absent when columns
    are redone against a later reference. ``shut``: the eyes are seen shut.
    ``whole``: as in ``Face``.
    """

    stamp: Stamp
    face: int
    columns: list[Column]
    shut: bool = False
    eye: Grey | None = None
    mouth: Grey | None = None
    whole: Grey | None = None


WindowReason = Literal["full", "lost", "gap", "camera lost", "end"]


class WindowEnd(msgspec.Struct, frozen=True, tag=True):
    """No further column will come for a window."""

    stamp: Stamp  # the frame that showed it
    face: int
    reference: int
    reason: WindowReason


class Stride(msgspec.Struct, frozen=True, tag=True):
    """Feedback from spotting to motion (eqs 19-20).

    ``closed`` False: prepare a window at ``next`` beside the current one.
    ``closed`` True: the window ``reference`` is done, the one at ``next`` is current.
    ``next`` is a frame index; the first frame held at or after it is taken.
    """

    face: int
    reference: int
    next: int
    closed: bool


Phase = Literal["apex", "final", "retracted", "update"]
Kind = Literal["micro", "macro", "unknown"]
Side = Literal["both", "left", "right"]


class Blink(msgspec.Struct, frozen=True, tag=True):
    """The lids closed and opened again (AU 45), or stayed shut (AU 43): no expression."""

    face: int
    au: int
    onset: Stamp  # the last frame before
    apex: Stamp  # the eyes are shut furthest
    offset: Stamp  # the first frame after
    depth: float  # how far: 1 - opening / its running median


class AUInterval(msgspec.Struct, frozen=True):
    """The interval of one action unit inside an expression."""

    au: int
    side: Side
    index: float  # at the AU's apex: matching index, or px of the crop (joint explanation)
    onset: Stamp | None
    apex: Stamp
    offset: Stamp | None


class Veto(msgspec.Struct, frozen=True):
    """What could have kept an expression from being one: what was seen, and the limit."""

    name: str
    value: float
    limit: float


class Evidence(msgspec.Struct, frozen=True):
    """Crops at the three key frames, uint8: eye (240, 280), mouth (160, 260), face (224, 224).

    The whole face is there where a recogniser wants it.
    """

    onset_eye: Grey
    onset_mouth: Grey
    apex_eye: Grey
    apex_mouth: Grey
    offset_eye: Grey
    offset_mouth: Grey
    onset_face: Grey | None = None
    apex_face: Grey | None = None
    offset_face: Grey | None = None


class Interval(msgspec.Struct, frozen=True, tag=True):
    """A spotted expression in one of its phases.

    ``apex``: announced, ``onset``/``offset`` unknown. ``final``: all known.
    ``retracted``: an earlier ``apex`` with this id is withdrawn, ``reason`` says why.
    """

    id: str
    face: int
    phase: Phase
    kind: Kind
    onset: Stamp | None
    apex: Stamp
    offset: Stamp | None
    aus: list[AUInterval]
    decided: Stamp  # the frame that decided it
    reference: int  # frame index of the window's reference
    reason: str = ""
    evidence: Evidence | None = None
    height: float = 0.0  # in standard deviations of the face's noise; 0 without joint explanation
    explained: float = 0.0  # share of the movement that the AUs explain
    vetoes: list[Veto] = []


class Reading(msgspec.Struct, frozen=True):
    """One emotion reading of an event."""

    source: str  # "coding-guide" or the recogniser's name
    label: str
    category: str = ""  # positive, negative, surprise or others
    rule: str = ""  # the coding rule that fired
    scores: dict[str, float] = {}
    device: str = ""  # where a recogniser ran: "CUDAExecutionProvider", ...
    training: str = ""  # what it was trained on, in its own words
    aus: dict[str, float] = {}  # probability by AU number, of a recogniser that detects AUs


class Event(msgspec.Struct, frozen=True, tag=True):
    """An interval with its readings, ready to be published."""

    interval: Interval
    readings: list[Reading]
    prototypes: str  # prototype set name and version
    models: list[str]  # recogniser names and versions


Item = Frame | Face | FaceState | Blink | Curves | WindowEnd | Stride | Interval | Event
