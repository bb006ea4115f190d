"""Faces of mespot's own generator, laid down as the data sets are released: synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from models.synthesis import Expression, HeadMotion, Scene, SyntheticFace, load_portrait
from models.synthesis.script import Side
from tests.models.datasets import trees

FPS = 200.0
# subject, clip, onset, apex, offset, AUs: both sides, one side, combined, uncertain, no apex
CASME2_ROWS: tuple[tuple[str, str, int, object, int, str, str], ...] = (
    ("01", "EP01_01", 20, 60, 90, "4", "others"),
    ("01", "EP01_02", 20, 61, 90, "12", "happiness"),
    ("02", "EP02_01f", 9, 49, 80, "4+7", "others"),
    ("02", "EP02_03", 20, 60, 90, "L12", "happiness"),
    ("02", "EP02_04", 20, 60, 90, "17", "others"),
    ("03", "EP03_01", 20, "/", 90, "4", "others"),
    ("03", "EP03_02", 20, 60, 90, "12", "happiness"),
)
_SIDES: dict[str, Side] = {"L": "left", "R": "right"}


def jpeg(path: Path, face: SyntheticFace, i: int) -> None:
    """Frame ``i`` of a face as a JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", face.frame(i), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    path.write_bytes(data.tobytes())


def pair(
    folder: Path, onset: int, apex: int, text: str, identity: int, name: str = "img{}.jpg"
) -> None:
    """Onset and apex image of one expression (``4+7``, ``L12``) on one face."""
    side = _SIDES.get(text[0], "both")
    aus = tuple(int(word) for word in text.lstrip("LR").split("+"))
    expression = Expression(0.1, 0.3, 0.5, aus, 3.0, side)
    scene = Scene(0.6, (expression,), noise=1.0, seed=identity, fps=FPS, identity=identity)
    face = SyntheticFace(scene, load_portrait("astronaut"))
    jpeg(folder / name.format(onset), face, 10)
    jpeg(folder / name.format(apex), face, 60)


def casme2(root: Path) -> Path:
    """CASME II with seven annotations on three made faces, one of them without an apex."""
    trees.casme2(root, CASME2_ROWS)
    for number, (subject, name, onset, apex, _, text, _) in enumerate(CASME2_ROWS):
        if isinstance(apex, int):
            folder = root / "CASME2_RAW_selected" / f"sub{subject}" / name
            pair(folder, onset, apex, text, 10 * int(subject) + number % 2)
    return root


def samm(root: Path) -> Path:
    """SAMM with one annotation on a made face."""
    trees.samm(root, [("006", "006_1_2", 5562, 5602, 5632, 71, "AU4", "Anger")])
    pair(root / "006" / "006_1_2", 5562, 5602, "4", 6, "006_{:05}.jpg")
    return root


def long_video(
    folder: Path,
    expressions: Sequence[Expression],
    seconds: float = 3.0,
    fps: float = 30.0,
    name: str = "img{:03}.jpg",
    identity: int = 4,
) -> None:
    """Numbered images, from 1, of one face at rest but for ``expressions``."""
    head = HeadMotion(shift_px=0.5, roll_deg=0.1, period_s=5.0)
    scene = Scene(
        seconds, tuple(expressions), head=head, noise=1.0, seed=identity, fps=fps, identity=identity
    )
    face = SyntheticFace(scene, load_portrait("astronaut"))
    for i in range(face.n_frames):
        jpeg(folder / name.format(i + 1), face, i)


BROWS = Expression(1.2, 1.4, 1.6, (4,), 4.0)  # micro: frames 36 to 48 from 0, apex 42
