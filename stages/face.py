"""Frames in, faces out: landmarks, stable ids, crops, eye openness and pose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import cv2
import numpy as np

from stages import tracking
from stages.alignment import Alignment
from stages.identity import Identify, Identities, Nearest
from stages.items import Face, FaceState, Floats, Frame, Stamp
from stages.landmarks import (
    LEFT_INNER_EYE,
    LEFT_LIDS,
    LEFT_OUTER_EYE,
    RIGHT_INNER_EYE,
    RIGHT_LIDS,
    RIGHT_OUTER_EYE,
    Landmarker,
)
from stages.region import Similarity, crop_all, crop_face, similarity
from stages.tracks import Track

# generic head in mm, x right, y down, z away from the camera; MediaPipe indices
_HEAD_INDICES = (4, 152, RIGHT_OUTER_EYE, LEFT_OUTER_EYE, 61, 291)
_HEAD = np.array(
    [
        (0.0, 0.0, 0.0),
        (0.0, 63.6, 12.5),
        (-43.3, -32.7, 26.0),
        (43.3, -32.7, 26.0),
        (-28.9, 28.9, 24.1),
        (28.9, 28.9, 24.1),
    ]
)


class FaceStage:
    """Frames in; ``Face`` for every face seen, ``FaceState`` when one comes or goes.

    Args:
        landmarker: finds the landmarks.
        max_faces: most faces followed.
        lost_after_s: a face unseen for longer (source time) is lost.
        method: ``mespot`` fits the crops to landmarks that AUs do not move,
            ``paper`` uses the two outer eye corners of each frame alone.
        min_eye_distance: faces with fewer px between the outer eye corners are ignored.
        whole: crop the whole face as well; recognisers may want it, spotting does not.
        landmarks_s: source time between two looks of the landmarker, if the picture tells how
            the faces move in between (``stages.tracking``); 0: every frame. ``paper``
            looks at every frame.
        identify: which face is which; default: one face is the nearest, several are told
            apart by their looks as well (``stages.identity``).
    """

    def __init__(
        self,
        landmarker: Landmarker,
        max_faces: int = 1,
        lost_after_s: float = 0.25,
        method: Literal["mespot", "paper"] = "mespot",
        min_eye_distance: float = 20.0,
        whole: bool = False,
        landmarks_s: float = 0.0,
        identify: Identify | None = None,
    ) -> None:
        self._landmarker = landmarker
        self._max_faces = max_faces
        self._lost_after_s = lost_after_s
        self._method = method
        self._min_eye_distance = min_eye_distance
        self._whole = whole
        self._landmarks_s = 0.0 if method == "paper" else landmarks_s
        self._looked = -np.inf  # source time of the last look
        self._identify = identify or (Nearest() if max_faces == 1 else Identities())

    def warm_up(self) -> None:
        """Compile and touch the kernels, so that the first frame is not late."""
        crop_face(np.zeros((480, 640), np.uint8), Similarity((320.0, 200.0), 100.0, 0.0, 0.5))
        if self._landmarks_s:
            tracking.warm_up()

    def process(self, item: Frame) -> Iterable[Face | FaceState]:
        """Faces of one frame, in order of their ids."""
        carried = self._carried(item)
        return self._look(item) if carried is None else carried

    def _carried(self, item: Frame) -> list[Face] | None:
        """Every face where the picture says that it is now; None: it takes a look."""
        if not 0 < item.stamp.pts - self._looked < self._landmarks_s:
            return None
        visible = [track for track in self._identify.tracks if track.visible]
        if not visible or any(track.seen.pts < self._looked for track in visible):
            return None
        faces: list[Face] = []
        frames: list[tuple[Track, Similarity]] = []
        for track in sorted(visible, key=lambda track: track.number):
            look = track.look
            move = look.move(item) if look is not None else None
            if look is None or move is None or move.lids:
                return None
            frame = move.frame(look.frame)
            frames.append((track, frame))
            yaw, pitch, roll = look.pose
            pose = (yaw, pitch, roll + float(np.degrees(np.angle(move.turn))))
            points = move.points(look.landmarks)
            faces.append(self._face(item, track, points, frame, look.openness, pose))
        for track, frame in frames:
            track.place(frame, item.stamp.pts)
            track.seen = item.stamp
        return faces

    def _look(self, item: Frame) -> list[Face | FaceState]:
        """Faces where the landmarker sees them."""
        out: list[Face | FaceState] = list(self._lost(item.stamp))
        found = self._landmarker.detect(item.image, item.stamp.pts)
        eyes = [(points, similarity(points)) for points in found]
        eyes = [(p, s) for p, s in eyes if s.d >= self._min_eye_distance][: self._max_faces]
        pairs = self._identify(item.image, [s for _, s in eyes], item.stamp)
        for index in sorted(pairs, key=lambda i: pairs[i].number):
            out += self._seen(item, eyes[index][0], eyes[index][1], pairs[index])
        self._looked = item.stamp.pts
        return out

    def flush(self) -> Iterable[Face | FaceState]:
        """Nothing is held back."""
        return []

    def interrupt(self) -> Iterable[FaceState]:
        """The camera was lost: so is every face. One that is soon there again keeps its id."""
        visible = [track for track in self._identify.tracks if track.visible]
        for track in visible:
            track.visible = track.mixed = False
            track.alignment, track.look = Alignment(), None
        self._looked = -np.inf
        return [FaceState(track.seen, track.number, False, camera=True) for track in visible]

    def reset(self) -> None:
        """Forget every face."""
        self._identify.reset()
        self._looked = -np.inf

    def _lost(self, stamp: Stamp) -> Iterator[FaceState]:
        for track in self._identify.tracks:
            if not track.visible:
                continue
            if track.mixed or stamp.pts - track.seen.pts > self._lost_after_s:
                track.visible = track.mixed = False
                track.alignment, track.look = Alignment(), None
                yield FaceState(stamp, track.number, False)

    def _seen(
        self, item: Frame, points: Floats, eye: Similarity, track: Track
    ) -> Iterator[Face | FaceState]:
        track.place(eye, item.stamp.pts)
        track.seen = item.stamp
        if not track.visible:
            track.visible = True
            yield FaceState(item.stamp, track.number, True)
        frame = eye
        if self._method == "mespot":
            frame = track.alignment(points, item.stamp.pts)
        openness = eye_openness(points)
        pose = head_pose(points, item.image.shape[1], item.image.shape[0])
        track.look = (
            tracking.Look(item, points, frame, openness, pose) if self._landmarks_s else None
        )
        yield self._face(item, track, points, frame, openness, pose)

    def _face(
        self,
        item: Frame,
        track: Track,
        points: Floats,
        frame: Similarity,
        openness: float,
        pose: tuple[float, float, float],
    ) -> Face:
        whole = None
        if self._whole:
            eye, mouth, whole = crop_all(item.image, frame)
        else:
            eye, mouth = crop_face(item.image, frame)
        return Face(item.stamp, track.number, eye, mouth, points, frame.d, openness, pose, whole)


def eye_openness(landmarks: Floats) -> float:
    """Lid gap over eye width, mean of both eyes, from (468, 2) landmarks."""
    ratios = []
    for lids, outer, inner in (
        (RIGHT_LIDS, RIGHT_OUTER_EYE, RIGHT_INNER_EYE),
        (LEFT_LIDS, LEFT_OUTER_EYE, LEFT_INNER_EYE),
    ):
        gap = np.mean([np.hypot(*(landmarks[u] - landmarks[v])) for u, v in lids])
        ratios.append(gap / max(float(np.hypot(*(landmarks[outer] - landmarks[inner]))), 1e-6))
    return float(np.mean(ratios))


def head_pose(landmarks: Floats, width: int, height: int) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees by PnP on a generic head, focal length = image width.

    Zeros when the points admit no pose.
    """
    points = landmarks[list(_HEAD_INDICES)].astype(np.float64)
    camera = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float64)
    try:
        found, rotation, _ = cv2.solvePnP(_HEAD, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:
        return 0.0, 0.0, 0.0
    if not found:
        return 0.0, 0.0, 0.0
    matrix = cv2.Rodrigues(rotation)[0]
    yaw = np.degrees(np.arctan2(matrix[0, 2], matrix[2, 2]))
    pitch = np.degrees(np.arcsin(np.clip(-matrix[1, 2], -1, 1)))
    roll = np.degrees(np.arctan2(matrix[1, 0], matrix[1, 1]))
    return float(yaw), float(pitch), float(roll)
