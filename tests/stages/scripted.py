"""A small joint model and scripted movements: columns whose truth is known to the frame.

Everything is synthetic. A movement goes from rest to its apex and back along minimum-jerk
flanks; a column is the sum of what every movement projects, and white noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models.joint import BLINK, JointModel
from stages.joint import JointParams, JointSpotter, Memory
from stages.noise import Noise, NoiseParams
from stages.peaks import Announcement, Final, Retraction, Update

SIZE = 16
ROWS = tuple((au, half) for au in (1, 4, 12, BLINK) for half in ("left", "right"))
STRANGE = -1  # movement that no action unit makes
# what the tests lean on; the defaults may be tuned
PARAMS = {
    "theta": 8.0,
    "least": 6.0,
    "explained": 0.45,
    "fall": 0.35,
    "search_s": 1.0,
    "speech_s": 0.6,
    "wait_s": 0.22,
    "smooth_s": 0.066,
    "gain": 0.12,
}
_PER_PX = 8.0  # standard deviations
_AT_2 = 0.1355  # a minimum-jerk flank is at 2 % of its height at this share of its time


@lru_cache
def model() -> JointModel:
    """Eight overlapping prototypes in sixteen projections; the noise is white."""
    rng = np.random.default_rng(5)
    turned = np.linalg.qr(rng.normal(0, 1, (SIZE, SIZE)))[0]
    rows = turned[: len(ROWS)] + 0.25 * turned[rng.permutation(len(ROWS))]
    responses = _PER_PX * rows / np.linalg.norm(rows, axis=1, keepdims=True)
    spread = {au: 0.02 * np.eye(SIZE) for au, _ in ROWS}
    basis = np.zeros((SIZE, 4), np.float32)
    return JointModel(ROWS, 2, basis, responses, np.eye(SIZE), spread)


def strange() -> np.ndarray:
    """(K,) 1 px of movement that has nothing to do with any prototype."""
    rest = np.linalg.svd(model().responses)[2][len(ROWS) :]
    return np.asarray(_PER_PX * rest[0])


@dataclass(frozen=True)
class Move:
    """``px`` of some AUs' sides; times in seconds."""

    au: int
    start: float
    apex: float
    end: float
    px: float = 3.0
    sides: Sequence[str] = ("left", "right")

    def at(self, times: np.ndarray) -> np.ndarray:
        """(n, K) projections."""
        up = _step((times - self.start) / (self.apex - self.start))
        down = _step((times - self.apex) / (self.end - self.apex))
        profile = self.px * (up - down)
        return profile[:, None] * self.response()

    def response(self) -> np.ndarray:
        """(K,) of 1 px."""
        if self.au == STRANGE:
            return strange()
        rows = [model().responses[model().index(self.au, side)] for side in self.sides]  # type: ignore[arg-type]
        return np.sum(rows, axis=0)

    def borders(self) -> tuple[float, float]:
        """Source times at which the movement is at 2 % of its height."""
        onset = self.start + _AT_2 * (self.apex - self.start)
        return onset, self.end - _AT_2 * (self.end - self.apex)


def _step(share: np.ndarray) -> np.ndarray:
    s = np.clip(share, 0.0, 1.0)
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


def columns(
    moves: Iterable[Move],
    seconds: float = 4.0,
    fps: float = 30.0,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) and parts (n, 2, K), less the first frame's, as in a window."""
    times = np.arange(round(seconds * fps)) / fps
    seen = np.random.default_rng(seed).normal(0, noise, (len(times), SIZE))
    for move in moves:
        seen += move.at(times)
    seen -= seen[0]
    return times, np.stack([0.25 * seen, 0.75 * seen], axis=1)


def memory(params: NoiseParams | None = None) -> Memory:
    """What is known of a face not seen before."""
    return Memory(Noise(model(), params or NoiseParams()))


def spotter(known: Memory | None = None, **params: float) -> JointSpotter:
    """A window's spotter with ``PARAMS``."""
    return JointSpotter(model(), known or memory(), JointParams(**(PARAMS | params)))


def spot(
    made: tuple[np.ndarray, np.ndarray],
    shut: Iterable[int] = (),
    known: Memory | None = None,
    complete: bool = True,
    **params: float,
) -> list[Update]:
    """Every update of one window."""
    shut, it = set(shut), spotter(known, **params)
    updates: list[Update] = []
    for i, (time, parts) in enumerate(zip(*made, strict=True)):
        updates += it.push(float(time), parts, i in shut)
    return updates + it.close(complete)


def announced(updates: Iterable[Update]) -> list[Announcement]:
    """The announcements among them."""
    return [u for u in updates if isinstance(u, Announcement)]


def finals(updates: Iterable[Update]) -> list[Final]:
    """The finals among them."""
    return [u for u in updates if isinstance(u, Final)]


def retractions(updates: Iterable[Update]) -> list[Retraction]:
    """The retractions among them."""
    return [u for u in updates if isinstance(u, Retraction)]


def aus(final: Final) -> dict[int, str]:
    """Side of each AU of an expression."""
    return {model().aus[span.au]: span.side for span in final.expression.aus}
