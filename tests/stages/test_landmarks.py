"""How MediaPipe's lists are read."""

from __future__ import annotations

import numpy as np
from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList

from stages.landmarks import _points, _read


def test_landmarks_are_read_from_their_bytes_or_one_by_one() -> None:
    rng = np.random.default_rng(0)
    points = [NormalizedLandmark(x=x, y=y, z=z) for x, y, z in rng.normal(0.5, 0.3, (478, 3))]
    points[3] = NormalizedLandmark(x=0.0, y=0.0, z=0.0)
    plain = NormalizedLandmarkList(landmark=points)
    wanted = np.array([(p.x * np.float32(640), p.y * np.float32(480)) for p in points], "f4")
    assert _read(plain.SerializeToString()) is not None
    assert np.array_equal(_points(plain, (480, 640, 3)), wanted[:468])
    for other in (
        NormalizedLandmark(x=0.1, y=0.2, z=0.3, visibility=0.5),  # five bytes more
        NormalizedLandmark(x=0.1, y=0.2, visibility=0.3),  # as long, but another field
    ):
        points[7] = other
        mixed = NormalizedLandmarkList(landmark=points)
        wanted[7] = other.x * np.float32(640), other.y * np.float32(480)
        assert _read(mixed.SerializeToString()) is None
        assert np.array_equal(_points(mixed, (480, 640)), wanted[:468])
