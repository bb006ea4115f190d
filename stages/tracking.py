"""How a face has moved since a key frame, from the picture alone.

Between two looks of the landmarker the eye-corner frame is carried by the skin itself: the
patches around the landmarks that action units hardly move (``stages.alignment``) are laid over
the new frame by the similarity that leaves least difference (inverse compositional
Lucas-Kanade; Baker and Matthews, IJCV 2004), with gain and offset of the light left free. It
always starts from the key frame, so that errors do not add up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from stages.alignment import STABLE
from stages.items import Floats, Frame
from stages.region import Similarity

Image = npt.NDArray[np.uint8]

_PX_PER_D = 60  # what the picture is shrunk to, about
_REACH = 0.13  # d; radius of a patch
_MARGIN = 0.1  # d; seen beyond the outermost patches
_INWARD = 0.9  # patches at the contour are pulled in, off the background
_LID_MARGIN = 0.06  # d; kept free of patches around the openings of the eyes
_ROUNDS = 6
_SETTLED = 0.01  # px of the shrunk picture, at a distance of d
_EXPLAINED = 0.8  # least share of the patches' contrast that must be found again
_FARTHEST = 0.1  # d; larger movements are the landmarker's
_LEAST_PIXELS = 200
_STEADY_S = 0.04  # time constant of the average over looks
_DISAGREE = 0.05  # d
_LIDS_MOVE = 1.0  # grey values by which the eyes' openings change more than the patches do

_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)


@dataclass(frozen=True)
class Move:
    """A similarity of the picture: z -> turn z + shift, px as complex numbers.

    ``lids``: the eyes' openings look different after it: lids or irises have moved.
    """

    turn: complex
    shift: complex
    lids: bool = False

    def frame(self, frame: Similarity) -> Similarity:
        """The eye-corner frame after the movement."""
        origin = self.turn * complex(*frame.origin) + self.shift
        return replace(
            frame,
            origin=(origin.real, origin.imag),
            d=frame.d * abs(self.turn),
            roll=frame.roll + float(np.angle(self.turn)),
        )

    def points(self, points: Floats) -> Floats:
        """(n, 2) points after the movement."""
        z = self.turn * (points[:, 0] + 1j * points[:, 1].astype(np.float64)) + self.shift
        return np.asarray(np.stack([z.real, z.imag], axis=1), np.float32)


@njit(cache=True, nogil=True)
def _difference(
    image: Floats, at: Floats, values: Floats, turn: complex, to: complex, out: Floats
) -> bool:
    """``image`` at the moved places less ``values``, into ``out``; False: beyond the image."""
    rows, columns = image.shape
    flat = image.ravel()
    a, b = np.float32(turn.real), np.float32(turn.imag)
    x0, y0 = np.float32(to.real), np.float32(to.imag)
    for k in range(at.shape[1]):
        x = a * at[0, k] - b * at[1, k] + x0
        y = b * at[0, k] + a * at[1, k] + y0
        if not (0 <= x < columns - 1 and 0 <= y < rows - 1):
            return False
        j, i = int(x), int(y)
        fx, fy = x - np.float32(j), y - np.float32(i)
        n = i * columns + j
        upper = flat[n] + fx * (flat[n + 1] - flat[n])
        lower = flat[n + columns] + fx * (flat[n + columns + 1] - flat[n + columns])
        out[k] = upper + fy * (lower - upper) - values[k]
    return True


@dataclass(frozen=True, eq=False)
class _Region:
    """Pixels of the shrunk key frame: places (2, n) from its middle and grey values (n,)."""

    at: Floats
    values: Floats

    @classmethod
    def of(cls, index: npt.NDArray[np.intp], small: Floats) -> _Region:
        """Those at ``index`` of the flattened picture."""
        rows, columns = np.divmod(index, small.shape[1])
        middle = _middle(small)
        at = np.stack([columns - middle.real, rows - middle.imag])
        return cls(at.astype(np.float32), small.ravel()[index])


def _middle(small: Floats) -> complex:
    return complex((small.shape[1] - 1) / 2, (small.shape[0] - 1) / 2)


class Tracker:
    """The movements of one face since a key frame.

    Args:
        image: (h, w) grey or (h, w, 3) BGR uint8, the key frame.
        landmarks: (468, 2) px, its landmarks.
        d: its outer-eye-corner distance, px.
    """

    def __init__(self, image: Image, landmarks: Floats, d: float) -> None:
        self._shrink = max(1, round(d / _PX_PER_D))
        self._d = d / self._shrink
        self._box = self._around(image, landmarks, d)
        self._turn, self._shift = 1 + 0j, 0j
        self._usable = min(self._box[2] - self._box[0], self._box[3] - self._box[1]) >= d / 2
        if not self._usable:
            return
        small = self._small(image)
        points = (landmarks - np.array(self._box[:2]) + 0.5) / self._shrink - 0.5
        eyes, patches = self._masks(small, points)
        self._eyes = _Region.of(eyes, small)
        self._patches = _Region.of(patches, small)
        self._usable = len(patches) >= _LEAST_PIXELS
        self._prepare(small, patches)

    def _around(self, image: Image, landmarks: Floats, d: float) -> tuple[int, int, int, int]:
        """The part of the picture that is looked at: left, top, right, bottom."""
        reach = (_REACH + _MARGIN) * d
        stable, limit = landmarks[STABLE], np.array(image.shape[1::-1])
        low = np.clip(stable.min(axis=0) - reach, 0, limit - 1).astype(int)
        size = np.clip(stable.max(axis=0) + reach - low, 0, limit - low).astype(int)
        high = low + size // self._shrink * self._shrink
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def _small(self, image: Image) -> Floats:
        left, top, right, bottom = self._box
        patch = image[top:bottom, left:right]
        grey = patch if patch.ndim == 2 else cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY)
        if self._shrink > 1:
            size = (grey.shape[1] // self._shrink, grey.shape[0] // self._shrink)
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0), np.float32)

    def _masks(
        self, small: Floats, points: Floats
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Flat indices of the eyes' openings and of the stable patches."""
        eyes = np.zeros(small.shape, np.uint8)
        cv2.fillPoly(eyes, [points[list(eye)].round().astype(np.int32) for eye in _EYES], 1)
        mask = np.zeros(small.shape, np.uint8)
        middle = points[STABLE].mean(axis=0)
        for x, y in (middle + _INWARD * (points[STABLE] - middle)).round().astype(int).tolist():
            cv2.circle(mask, (x, y), round(_REACH * self._d), 1, -1)
        wide = 2 * round(_LID_MARGIN * self._d) + 1
        mask[cv2.dilate(eyes, np.ones((wide, wide), np.uint8)) > 0] = 0
        for each in (eyes, mask):
            each[[0, -1]] = 0
            each[:, [0, -1]] = 0
        return np.flatnonzero(eyes), np.flatnonzero(mask)

    def _prepare(self, small: Floats, index: npt.NDArray[np.intp]) -> None:
        """How the patches change with each freedom: shift, growth, turn, light."""
        gx = cv2.Sobel(small, cv2.CV_32F, 1, 0, scale=1 / 8).ravel()[index]
        gy = cv2.Sobel(small, cv2.CV_32F, 0, 1, scale=1 / 8).ravel()[index]
        x, y = self._patches.at / np.float32(self._d)
        level = self._patches.values - self._patches.values.mean()
        rows = [gx, gy, gx * x + gy * y, gy * x - gx * y, np.ones_like(x), level]
        self._steepest = np.stack(rows)
        self._inverse = np.linalg.pinv(self._steepest @ self._steepest.T)
        self._contrast = max(float(level @ level), 1e-6)

    def __call__(self, image: Image) -> Move | None:
        """The movement from the key frame to ``image``; None when it is not clear."""
        if not self._usable:
            return None
        small = self._small(image)
        turn, shift, middle = self._turn, self._shift, _middle(small)
        left = np.empty_like(self._patches.values)
        for _ in range(_ROUNDS):
            where = (turn, middle + shift)
            if not _difference(small, self._patches.at, self._patches.values, *where, left):
                return None
            found = self._steepest @ left
            step = self._inverse @ found
            by = 1 + complex(step[2], step[3]) / self._d
            turn, shift = turn / by, shift - turn / by * complex(step[0], step[1])
            if np.abs(step[:4]).max() < _SETTLED:
                break
        else:
            return None
        unexplained = float(left @ left - found @ step)
        if unexplained > (1 - _EXPLAINED) * self._contrast or abs(shift) > _FARTHEST * self._d:
            return None
        self._turn, self._shift = turn, shift
        noise = float(np.sqrt(max(unexplained, 0.0) / len(left)))
        return self._in_source(middle, self._lids(small, noise))

    def _lids(self, small: Floats, noise: float) -> bool:
        """Whether the eyes' openings have changed by more than noise."""
        change = np.empty_like(self._eyes.values)
        where = (self._turn, _middle(small) + self._shift)
        if not len(change) or not _difference(
            small, self._eyes.at, self._eyes.values, *where, change
        ):
            return True
        return float(np.abs(change - change.mean()).mean()) > noise + _LIDS_MOVE

    def _in_source(self, middle: complex, lids: bool) -> Move:
        about = self._shrink * (middle + 0.5 + 0.5j) - 0.5 - 0.5j + complex(*self._box[:2])
        shift = about - self._turn * about + self._shrink * self._shift
        return Move(self._turn, shift, lids)


class Look:
    """What the landmarker saw of one face, and where the face has gone since.

    Args:
        item: the key frame.
        landmarks: (468, 2) px.
        frame: the eye-corner frame.
        openness: of the eyes.
        pose: yaw, pitch, roll in degrees.
    """

    def __init__(
        self,
        item: Frame,
        landmarks: Floats,
        frame: Similarity,
        openness: float,
        pose: tuple[float, float, float],
    ) -> None:
        self.pts = item.stamp.pts
        self.landmarks = landmarks
        self.frame = frame
        self.openness = openness
        self.pose = pose
        self._key: Frame | None = item  # until it is known that there are frames in between
        self._tracker: Tracker | None = None
        self._last: tuple[int, Move | None] = (item.stamp.frame, None)

    @property
    def carried(self) -> bool:
        """Whether frames were asked for since."""
        return self._tracker is not None

    def move(self, item: Frame) -> Move | None:
        """``Tracker``'s answer for ``item``, worked out once."""
        if self._tracker is None:
            assert self._key is not None
            self._tracker = Tracker(self._key.image, self.landmarks, self.frame.d)
            self._key = None
        if self._last[0] != item.stamp.frame:
            self._last = (item.stamp.frame, self._tracker(item.image))
        return self._last[1]


def steadied(look: Look, item: Frame, frame: Similarity, within_s: float) -> Similarity:
    """``frame``, as the landmarks of ``item`` give it, averaged with what it moved here from.

    Looks are fewer than frames, and their jitter would no longer average out in the curves;
    the picture tells the movement from look to look better than the landmarks do. As they
    are where frames are as many as looks, where the picture does not tell, and where both
    disagree.

    Args:
        look: the one before.
        item: the frame.
        frame: its eye-corner frame.
        within_s: an older look is not asked, source time.
    """
    since = item.stamp.pts - look.pts
    move = look.move(item) if look.carried and 0 < since < within_s else None
    if move is None:
        return frame
    told = move.frame(look.frame)
    off = complex(*frame.origin) - complex(*told.origin)
    if abs(off) > _DISAGREE * frame.d or abs(frame.d - told.d) > _DISAGREE * frame.d:
        return frame
    weight = 1 - float(np.exp(-since / _STEADY_S))
    origin = complex(*told.origin) + weight * off
    return replace(
        frame,
        origin=(origin.real, origin.imag),
        d=told.d + weight * (frame.d - told.d),
        roll=told.roll + weight * (frame.roll - told.roll),
    )
