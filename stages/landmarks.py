"""Face landmarks by MediaPipe, behind one protocol."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import UserError
from models.synthesis import load_portrait
from stages.items import Floats
from stages.postponed import postponed

POINTS = 468
RIGHT_OUTER_EYE, LEFT_OUTER_EYE = 33, 263  # subject's right is image left
RIGHT_INNER_EYE, LEFT_INNER_EYE = 133, 362
# (upper, lower) lid pairs, subject's right and left
RIGHT_LIDS = ((160, 144), (159, 145), (158, 153))
LEFT_LIDS = ((385, 380), (386, 374), (387, 373))
NOSE_BASE = 2

# MediaPipe's points that stand closest to the 68 of iBUG
IBUG_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)


class Landmarker(Protocol):
    """Finds faces in single images."""

    def detect(self, image: npt.NDArray[np.uint8], pts: float) -> list[Floats]:
        """Landmarks of each face, (468, 2) float32 x, y in source pixels.

        Args:
            image: (h, w) grey or (h, w, 3) BGR, uint8.
            pts: source time in seconds, increasing.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@contextlib.contextmanager
def _quiet_native_log() -> Iterator[None]:
    """Send the C++ libraries' start-up chatter on descriptor 2 to nowhere."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _rgb(image: npt.NDArray[np.uint8]) -> Any:
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


# a NormalizedLandmark as its list is written: tag and length, then x, y, z, each behind its tag
_WRITTEN = np.dtype(
    {
        "names": ["head", "x_tag", "x", "y_tag", "y", "z_tag", "z"],
        "formats": ["S2", "S1", "<f4", "S1", "<f4", "S1", "<f4"],
    }
)
_TAGS = {"head": b"\x0a\x0f", "x_tag": b"\x0d", "y_tag": b"\x15", "z_tag": b"\x1d"}


def _read(written: bytes) -> npt.NDArray[np.float32] | None:
    """x, y of each landmark of a serialised list; None when it is written otherwise."""
    if len(written) % _WRITTEN.itemsize:
        return None
    rows = np.frombuffer(written, _WRITTEN)
    if not all((rows[name] == tag).all() for name, tag in _TAGS.items()):
        return None
    return np.asarray(np.stack([rows["x"], rows["y"]], axis=1), np.float32)


def _points(found: Any, shape: tuple[int, ...]) -> Floats:
    """(468, 2) px from a NormalizedLandmarkList."""
    points = _read(found.SerializeToString())  # a tenth of the time of 468 objects
    return _scaled([(p.x, p.y) for p in found.landmark] if points is None else points, shape)


def _scaled(points: Any, shape: tuple[int, ...]) -> Floats:
    height, width = shape[:2]
    return np.asarray(points, np.float32)[:POINTS] * np.array([width, height], np.float32)


def import_mediapipe() -> Any:
    """MediaPipe, without what its import spends most time on and nothing here uses."""
    with postponed("matplotlib", "matplotlib.pyplot", "sounddevice"):
        import mediapipe
    return mediapipe


class FaceMeshLandmarker:
    """FaceMesh as bundled with MediaPipe 0.10.21, tracking from frame to frame.

    Args:
        max_faces: most faces returned.
        min_confidence: least confidence of detection and tracking.
    """

    def __init__(self, max_faces: int = 1, min_confidence: float = 0.5) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _quiet_native_log():
            self._mesh = import_mediapipe().solutions.face_mesh.FaceMesh(
                max_num_faces=max_faces,
                refine_landmarks=False,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            # loads the models and lets them say once what they say on a first face;
            # an empty image afterwards ends the tracking of it
            face = _rgb(load_portrait()[0])
            for image in (face, face, np.zeros_like(face), np.zeros_like(face)):
                self._mesh.process(image)

    def detect(self, image: npt.NDArray[np.uint8], pts: float) -> list[Floats]:
        """See ``Landmarker.detect``."""
        del pts
        result = self._mesh.process(_rgb(image))
        return [_points(face, image.shape) for face in result.multi_face_landmarks or ()]

    def close(self) -> None:
        """Free the model."""
        self._mesh.close()


class TaskLandmarker:
    """MediaPipe FaceLandmarker from a ``.task`` file of the user's.

    Args:
        path: the file.
        max_faces: most faces returned.

    Raises:
        UserError: the file is missing or not a FaceLandmarker task.
    """

    def __init__(self, path: Path, max_faces: int = 1) -> None:
        if not path.is_file():
            raise UserError(f"face.task: {path}: no such file; give a FaceLandmarker .task file")
        import_mediapipe()
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=path.read_bytes()),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=max_faces,
        )
        try:
            with _quiet_native_log():
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            text = str(error).splitlines()[0]
            raise UserError(f"face.task: {path}: not a FaceLandmarker task file: {text}") from None
        self._last_ms = -1

    def detect(self, image: npt.NDArray[np.uint8], pts: float) -> list[Floats]:
        """See ``Landmarker.detect``."""
        import mediapipe

        # the task demands strictly increasing whole milliseconds
        self._last_ms = max(self._last_ms + 1, round(pts * 1000))
        data = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=_rgb(image))
        result = self._landmarker.detect_for_video(data, self._last_ms)
        return [_scaled([(p.x, p.y) for p in face], image.shape) for face in result.face_landmarks]

    def close(self) -> None:
        """Free the model."""
        self._landmarker.close()
