"""Synthetic crops of an event: smooth random textures that move by known amounts."""

from __future__ import annotations

import cv2
import numpy as np

from stages.items import AUInterval, Evidence, Floats, Grey, Interval, Phase, Stamp


def stamp(frame: int) -> Stamp:
    return Stamp("cam", frame, frame / 30, frame, frame)


def texture(shape: tuple[int, int], seed: int, shift: float = 0.0) -> Grey:
    """A smooth random texture, moved ``shift`` px to the right."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 4)
    field = 128 + 60 * field / np.abs(field).max()
    move = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(field, move, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def evidence(eye_shift: float = 2.0, mouth_shift: float = -1.5, whole: bool = True) -> Evidence:
    """At the apex the textures are moved; the offset is 1 px from the onset."""
    eye, mouth, face = (240, 280), (160, 260), (224, 224)
    return Evidence(
        onset_eye=texture(eye, 1),
        onset_mouth=texture(mouth, 2),
        apex_eye=texture(eye, 1, eye_shift),
        apex_mouth=texture(mouth, 2, mouth_shift),
        offset_eye=texture(eye, 1, 1.0),
        offset_mouth=texture(mouth, 2, 1.0),
        onset_face=texture(face, 3) if whole else None,
        apex_face=texture(face, 3, eye_shift) if whole else None,
        offset_face=texture(face, 3, 1.0) if whole else None,
    )


def interval(*aus: int, phase: Phase = "final", crops: Evidence | None = None) -> Interval:
    return Interval(
        id="cam/0/0-0",
        face=0,
        phase=phase,
        kind="micro",
        onset=stamp(10),
        apex=stamp(14),
        offset=stamp(19),
        aus=[AUInterval(au, "both", 5.0, stamp(10), stamp(14), stamp(19)) for au in aus],
        decided=stamp(40),
        reference=0,
        evidence=crops,
    )


def opencv_flow(reference: Grey, image: Grey) -> Floats:
    """The reference implementation of the stages' own flow."""
    start = np.zeros((*reference.shape, 2), np.float32)
    made = cv2.calcOpticalFlowFarneback(reference, image, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(made, np.float32)
