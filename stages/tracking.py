"""How a face has moved since a key frame, from the picture alone.

Between two looks of the landmarker the eye-corner frame is carried by the skin itself: patches
at the sides of the face, along the nose and at the corners of the eyes are laid over the new
frame by the similarity that leaves least difference (inverse compositional
Lucas-Kanade; Baker and Matthews, IJCV 2004), with gain and offset of the light left free. It
always starts from the key frame, so that errors do not add up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from stages.items import Floats, Frame, Grey
from stages.region import Similarity

Image = npt.NDArray[np.uint8]

_PX_PER_D = 60  # what the picture is shrunk to, about
_REACH = 0.13  # d; radius of a patch
_MARGIN = 0.1  # d; seen beyond the outermost patches
_INWARD = 0.9  # patches at the contour are pulled in, off the background
_KEPT_FREE = 0.06  # d; around brows and the openings of the eyes
_ROUNDS = 6
_SETTLED = 0.01  # px of the shrunk picture, at a distance of d
_EXPLAINED = 0.8  # least share of the patches' contrast that must be found again
_LEAST_GAIN = 0.5  # of the light since the key frame
_FARTHEST = 0.1  # d; larger movements are the landmarker's
_LEAST_PIXELS = 200
_LEAST_CONTRAST = 1e-3  # sum of squared grey values
_LIDS_MOVE = 2.0  # grey values by which the eyes' openings change more than the patches do

# as stages.alignment.STABLE without the forehead, whose skin goes with the brows
_STABLE = (*(127, 356, 234, 454, 93, 323), *(168, 6, 197, 195, 5, 4), *(33, 133, 362, 263))
_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
_BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
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


@njit(cache=True, nogil=True)
def _discs(mask: Grey, middles: Floats, radius: float) -> None:
    """Set ``mask`` in discs about the middles (n, 2)."""
    rows, columns = mask.shape
    for k in range(middles.shape[0]):
        x, y = middles[k, 0], middles[k, 1]
        for i in range(max(0, int(y - radius)), min(rows, int(y + radius) + 2)):
            for j in range(max(0, int(x - radius)), min(columns, int(x + radius) + 2)):
                if (i - y) ** 2 + (j - x) ** 2 <= radius * radius:
                    mask[i, j] = 1


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
        stable, limit = landmarks[list(_STABLE)], np.array(image.shape[1::-1])
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
        moving = eyes.copy()
        cv2.fillPoly(moving, [points[list(brow)].round().astype(np.int32) for brow in _BROWS], 1)
        mask = np.zeros(small.shape, np.uint8)
        stable = points[list(_STABLE)]
        middle = stable.mean(axis=0)
        _discs(mask, middle + _INWARD * (stable - middle), _REACH * self._d)
        wide = 2 * round(_KEPT_FREE * self._d) + 1
        mask[cv2.dilate(moving, np.ones((wide, wide), np.uint8)) > 0] = 0
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
        normal = (self._steepest @ self._steepest.T).astype(np.float64)
        # patches without contrast have no answer of their own: that is, no movement
        self._inverse = np.linalg.inv(normal + _LEAST_CONTRAST * np.eye(len(rows)))
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
        unexplained, gain = float(left @ left - found @ step), 1 + float(step[5])
        seen = gain * gain * self._contrast
        if gain < _LEAST_GAIN or unexplained > (1 - _EXPLAINED) * seen:
            return None
        if abs(shift) > _FARTHEST * self._d:
            return None
        self._turn, self._shift = turn, shift
        noise = float(np.sqrt(max(unexplained, 0.0) / len(left)))
        return self._in_source(middle, self._lids(small, gain, noise))

    def _lids(self, small: Floats, gain: float, noise: float) -> bool:
        """Whether the eyes' openings have changed by more than light and noise."""
        change = np.empty_like(self._eyes.values)
        where = (self._turn, _middle(small) + self._shift)
        if not len(change) or not _difference(
            small, self._eyes.at, self._eyes.values, *where, change
        ):
            return True
        change -= np.float32(gain - 1) * self._eyes.values
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
        self.landmarks = landmarks
        self.frame = frame
        self.openness = openness
        self.pose = pose
        self._key: Frame | None = item  # until it is known that there are frames in between
        self._tracker: Tracker | None = None

    def move(self, item: Frame) -> Move | None:
        """The movement from the key frame to ``item``; None when it is not clear."""
        if self._tracker is None:
            assert self._key is not None
            self._tracker = Tracker(self._key.image, self.landmarks, self.frame.d)
            self._key = None
        return self._tracker(item.image)


def warm_up() -> None:
    """Compile and touch the kernels, so that the first frames are not late."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (240, 320), np.uint8)
    landmarks = np.full((468, 2), 120, np.float32)
    landmarks[list(_STABLE)] = rng.uniform(60, 180, (len(_STABLE), 2))
    Tracker(image, landmarks, 60.0)(image)
