"""A synthetic face camera with exact truth.

A portrait is warped by action-unit displacement fields (measured on 3D-scanned
expressions, ICT-FaceKit; ``data/README.md``), blinks, gaze, speech and head motion, lit, and
seen through a noisy sensor. Every frame depends only on the scene and its index.
"""

from models.synthesis.arrays import DATA
from models.synthesis.chance import random_scene
from models.synthesis.face import SyntheticFace
from models.synthesis.fields import FieldMaker, au_displacements
from models.synthesis.portrait import load_portrait, portrait_names, varied
from models.synthesis.script import (
    Blink,
    Delivered,
    Expression,
    Gaze,
    HeadEpisode,
    HeadMotion,
    Lighting,
    Scene,
    Speech,
    Timing,
    TrueExpression,
    delivered,
    demo_scene,
    profile,
    step,
    truth_rows,
)
from models.synthesis.video import NeutralVideo, VideoFace

__all__ = [
    "DATA",
    "Blink",
    "Delivered",
    "Expression",
    "FieldMaker",
    "Gaze",
    "HeadEpisode",
    "HeadMotion",
    "Lighting",
    "NeutralVideo",
    "Scene",
    "Speech",
    "SyntheticFace",
    "Timing",
    "TrueExpression",
    "VideoFace",
    "au_displacements",
    "delivered",
    "demo_scene",
    "load_portrait",
    "portrait_names",
    "profile",
    "random_scene",
    "step",
    "truth_rows",
    "varied",
]
