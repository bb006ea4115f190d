"""The items that flow from stage to stage (DESIGN, "What flows").

Every struct is frozen, typed and encodable as msgpack; arrays inside it travel
as separate wire parts (``pipeline.wire``). Times called ``pts`` are source
time in seconds; ``mono_ns`` and ``utc_ns`` are the two clocks read at capture.

The bounds in the annotations hold for what is decoded; the code itself keeps them anyway.
They are far beyond all that a camera gives: they keep nan, inf and sizes without measure out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

EYE_SHAPE, MOUTH_SHAPE, FACE_SHAPE = (240, 280), (160, 260), (224, 224)  # h, w of the crops
LANDMARKS_SHAPE = (468, 2)
MOST_SIDE = 16_384  # px of an image; libraries below abort beyond 32 766
MOST_PIXELS = 2**25  # of an image; 8K has 33 million

Seconds = Annotated[float, msgspec.Meta(ge=-1e10, le=1e10)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
FrameIndex = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
FaceNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
AUNumber = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Name = Annotated[str, msgspec.Meta(max_length=1000)]
Text = Annotated[str, msgspec.Meta(max_length=10_000)]
Probabilities = Annotated[dict[Name, float], msgspec.Meta(max_length=1000)]
_FEW = msgspec.Meta(max_length=256)


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When and where a frame was captured."""

    stream: Name
    frame: FrameIndex  # index in the source, from 0; dropped frames leave gaps
    pts: Seconds  # source time
    mono_ns: Nanoseconds  # monotonic clock at capture, ns
    utc_ns: Nanoseconds  # UTC at capture, ns since the epoch


class Frame(msgspec.Struct, frozen=True, tag=True):
    """One image: uint8, (h, w) grey or (h, w, 3) BGR."""

    stamp: Stamp
    image: npt.NDArray[np.uint8]


class Face(msgspec.Struct, frozen=True, tag=True):
    """One face of one frame, cropped and normalised."""

    stamp: Stamp
    face: FaceNumber  # stable id within the stream, from 0
    eye: Grey  # EYE_SHAPE
    mouth: Grey  # MOUTH_SHAPE
    landmarks: Floats  # LANDMARKS_SHAPE: x, y in source pixels
    scale: Annotated[
        float, msgspec.Meta(gt=0, le=1e6)
    ]  # outer-eye-corner distance d, source pixels
    eye_openness: Annotated[
        float, msgspec.Meta(ge=-1e6, le=1e6)
    ]  # lid gap / eye width, mean of both eyes
    pose: tuple[float, float, float]  # yaw, pitch, roll in degrees
    whole: Grey | None = None  # FACE_SHAPE, where a recogniser wants it


class FaceState(msgspec.Struct, frozen=True, tag=True):
    """A face appeared (visible) or was lost; ``camera``: since the camera was."""

    stamp: Stamp
    face: FaceNumber
    visible: bool
    camera: bool = False


class Column(msgspec.Struct, frozen=True):
    """One column of W (eq. 23) against the window whose reference is ``reference``."""

    reference: FrameIndex  # frame index of the window's reference; names the window
    values: Floats  # (V,) matching indices, in the prototype set's order
    parts: Floats | None = None  # (2, K) projections of the joint model (``models.joint``)


class Curves(msgspec.Struct, frozen=True, tag=True):
    """The columns computed for one frame of one face.

    ``eye`` and ``mouth`` are present when the frame is new, absent when columns
    are redone against a later reference. ``shut``: the eyes are seen shut.
    ``whole``: as in ``Face``.
    """

    stamp: Stamp
    face: FaceNumber
    columns: Annotated[list[Column], _FEW]
    shut: bool = False
    eye: Grey | None = None
    mouth: Grey | None = None
    whole: Grey | None = None


WindowReason = Literal["full", "lost", "gap", "camera lost", "end"]


class WindowEnd(msgspec.Struct, frozen=True, tag=True):
    """No further column will come for a window."""

    stamp: Stamp  # the frame that showed it
    face: FaceNumber
    reference: FrameIndex
    reason: WindowReason


class Stride(msgspec.Struct, frozen=True, tag=True):
    """Feedback from spotting to motion (eqs 19-20).

    ``closed`` False: prepare a window at ``next`` beside the current one.
    ``closed`` True: the window ``reference`` is done, the one at ``next`` is current.
    ``next`` is a frame index; the first frame held at or after it is taken.
    """

    face: FaceNumber
    reference: FrameIndex
    next: FrameIndex
    closed: bool


Phase = Literal["apex", "final", "retracted", "update"]
Kind = Literal["micro", "macro", "unknown"]
Side = Literal["both", "left", "right"]


class Blink(msgspec.Struct, frozen=True, tag=True):
    """The lids closed and opened again (AU 45), or stayed shut (AU 43): no expression."""

    face: FaceNumber
    au: AUNumber
    onset: Stamp  # the last frame before
    apex: Stamp  # the eyes are shut furthest
    offset: Stamp  # the first frame after
    depth: float  # how far: 1 - opening / its running median


class AUInterval(msgspec.Struct, frozen=True):
    """The interval of one action unit inside an expression."""

    au: AUNumber
    side: Side
    index: float  # at the AU's apex: matching index, or px of the crop (joint explanation)
    onset: Stamp | None
    apex: Stamp
    offset: Stamp | None


class Veto(msgspec.Struct, frozen=True):
    """What could have kept an expression from being one: what was seen, and the limit."""

    name: Name
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

    id: Name
    face: FaceNumber
    phase: Phase
    kind: Kind
    onset: Stamp | None
    apex: Stamp
    offset: Stamp | None
    aus: Annotated[list[AUInterval], _FEW]
    decided: Stamp  # the frame that decided it
    reference: FrameIndex  # frame index of the window's reference
    reason: Text = ""
    evidence: Evidence | None = None
    height: float = 0.0  # in standard deviations of the face's noise; 0 without joint explanation
    explained: float = 0.0  # share of the movement that the AUs explain
    vetoes: Annotated[list[Veto], _FEW] = []


class Reading(msgspec.Struct, frozen=True):
    """One emotion reading of an event."""

    source: Name  # "coding-guide" or the recogniser's name
    label: Name
    category: Name = ""  # positive, negative, surprise or others
    rule: Text = ""  # the coding rule that fired
    scores: Probabilities = {}
    device: Name = ""  # where a recogniser ran: "CUDAExecutionProvider", ...
    training: Text = ""  # what it was trained on, in its own words
    aus: Probabilities = {}  # probability by AU number, of a recogniser that detects AUs


class Event(msgspec.Struct, frozen=True, tag=True):
    """An interval with its readings, ready to be published."""

    interval: Interval
    readings: Annotated[list[Reading], _FEW]
    prototypes: Name  # prototype set name and version
    models: Annotated[list[Name], _FEW]  # recogniser names and versions


Item = Frame | Face | FaceState | Blink | Curves | WindowEnd | Stride | Interval | Event
