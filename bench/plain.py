"""The plain pipeline that ours is measured against.

What a straightforward reading of the paper gives: FaceMesh on every frame, both
crops by the same boxes, OpenCV's Farnebäck (0.5, 3, 15, 3, 5, 1.2) against the
window's first frame, full-size prototype matching; one frame after the other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

import cv2
import numpy as np

from models.prototypes import PrototypeSet
from stages.items import Floats, Frame, Grey
from stages.landmarks import FaceMeshLandmarker
from stages.region import crop_regions


class PlainPipeline:
    """Frame by frame; ``times_ms`` collects the time of each step.

    Args:
        prototypes: the set to match.
        window_s: a new reference is taken every so many seconds.
    """

    def __init__(self, prototypes: PrototypeSet, window_s: float = 7.0) -> None:
        self._landmarker = FaceMeshLandmarker(max_faces=1)
        self._prototypes = prototypes.prototypes
        self._window_s = window_s
        self._reference: tuple[float, Grey, Grey] | None = None
        self.times_ms: dict[str, list[float]] = defaultdict(list)

    def process(self, frame: Frame) -> list[float] | None:
        """Matching indices of one frame; None without a face."""
        begin = time.perf_counter()
        faces = self._landmarker.detect(frame.image, frame.stamp.pts)
        if not faces:
            return None
        eye, mouth = crop_regions(frame.image, faces[0])
        landmarked = self._lap("face", begin)
        if self._reference is None or frame.stamp.pts - self._reference[0] >= self._window_s:
            self._reference = (frame.stamp.pts, eye, mouth)
        flows = {"eye": _flow(self._reference[1], eye), "mouth": _flow(self._reference[2], mouth)}
        flowed = self._lap("flow", landmarked)
        values = [float(np.sum(flows[p.region] * p.field)) for p in self._prototypes]
        self._lap("matching", flowed)
        self.times_ms["frame"].append((time.perf_counter() - begin) * 1e3)
        return values

    def _lap(self, name: str, since: float) -> float:
        now = time.perf_counter()
        self.times_ms[name].append((now - since) * 1e3)
        return now

    def run(self, frames: Iterable[Frame]) -> int:
        """Process all; the number of frames."""
        count = 0
        for frame in frames:
            self.process(frame)
            count += 1
        return count


def _flow(reference: Grey, image: Grey) -> Floats:
    found = cv2.calcOpticalFlowFarneback(reference, image, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(found, np.float32)
