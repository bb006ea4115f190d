"""What moves within a face: expressions, blinks, lids, speech."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Points
from models.synthesis.fields import Field, FieldMaker
from models.synthesis.motion import Floats, Talk, closed, looking, old_blink, span
from models.synthesis.script import Blink, Expression, Gaze, Scene, Speech, profile

_BLINK_S = 0.23
_KEPT = 24  # joint fields kept at a time
# speech: AUs and their share of the amplitude
_JAW, _LIPS, _SPREAD, _PRESS = ((26,), 0.75), ((10, 16), 0.3), ((20,), 0.25), ((24,), 0.2)
_BROW_AU = 4


class Muscles:
    """Displacement within a face at any time, its head at rest.

    Args:
        scene: what happens.
        landmarks: (68, 2) iBUG points of the face at rest, px.
    """

    def __init__(self, scene: Scene, landmarks: Points) -> None:
        self.scene = scene
        self.landmarks = landmarks
        self.fields = FieldMaker(landmarks, (scene.width, scene.height))
        self._spans = np.array(
            [span(e.onset_s, e.apex_s, e.offset_s, e.hold_s) for e in scene.expressions]
        ).reshape(-1, 2)
        self._movements: OrderedDict[object, Field] = OrderedDict()
        self._old_blinks = np.array(scene.blinks_s, np.float64)
        some = scene.blinks_s or scene.blinks
        self._blink = self.fields.blink() if some else None
        brows = any(b.brow_px for b in scene.blinks)
        self._brows = self.fields.au(_BROW_AU) if brows else None
        self._lids = self.fields.lids() if any(g.dy for g in scene.gaze) else None
        self._talks = [Talk(s) for s in scene.speech]
        self._blink_spans = _spans(scene.blinks)
        self._gaze_spans = _spans(scene.gaze)
        self._talk_spans = _spans(scene.speech)
        for e in scene.expressions[:_KEPT]:
            self._movement(e)
        if scene.speech:
            for aus, _ in (_JAW, _LIPS, _SPREAD, _PRESS):
                self._part(aus)

    @staticmethod
    def _during(spans: Floats, t: float) -> npt.NDArray[np.intp]:
        return np.flatnonzero((spans[:, 0] < t) & (t < spans[:, 1]))

    def _kept(self, key: object, make: Callable[[], Field]) -> Field:
        if key in self._movements:
            self._movements.move_to_end(key)
        else:
            self._movements[key] = make()
            while len(self._movements) > _KEPT:
                self._movements.popitem(last=False)
        return self._movements[key]

    def _movement(self, e: Expression) -> Field:
        """Joint field of an expression; the landmark that moves most moves 1 px."""

        def make() -> Field:
            if e.weights or abs(e.leaning) not in (0.0, 1.0):
                weights = e.weights or (1.0,) * len(e.aus)
                total = self.fields.blend(e.aus, weights, e.leaning)
            else:
                side = {0.0: "both", -1.0: "left", 1.0: "right"}[e.leaning]
                fields = [self.fields.au(au, side) for au in e.aus]  # type: ignore[arg-type]
                total = np.sum(fields, axis=0, dtype=np.float32)
            return self._normal(total)

        return self._kept((e.aus, e.leaning, e.weights), make)

    def _normal(self, total: Field) -> Field:
        at = np.clip(np.round(self.landmarks).astype(int), 0, np.array(total.shape[1::-1]) - 1)
        reached = total[at[:, 1], at[:, 0]]
        return np.asarray(total / np.hypot(reached[:, 0], reached[:, 1]).max(), np.float32)

    def _part(self, aus: tuple[int, ...]) -> Field:
        """Joint field of a part of the speaking mouth, peak 1 px."""
        return self._kept(aus, lambda: self._normal(self.fields.blend(aus, (1.0,) * len(aus), 0.0)))

    def displacement(self, t: float) -> Field | None:
        """Displacement of every point at ``t`` seconds, (h, w, 2) px; None at rest."""
        total: Field | None = None
        for k in self._during(self._spans, t):
            e = self.scene.expressions[k]
            weight = e.amplitude_px * float(profile(t, e.onset_s, e.apex_s, e.offset_s, e.hold_s))
            total = _added(total, self._movement(e), weight)
        for middle in self._old_blinks[np.abs(self._old_blinks - t) < _BLINK_S]:
            assert self._blink is not None
            total = _added(total, self._blink, old_blink(t, middle, _BLINK_S))
        return self._spoken(self._looked(self._blinked(total, t), t), t)

    def shut(self, t: float) -> tuple[float, float]:
        """How far ``Scene.blinks`` close the eyes (0 to 1) and lower the brows (px)."""
        at = self._during(self._blink_spans, t)
        now = [(closed(b, t), b.brow_px) for b in (self.scene.blinks[k] for k in at)]
        return (
            max((depth for depth, _ in now), default=0.0),
            max((depth * px for depth, px in now), default=0.0),
        )

    def _blinked(self, total: Field | None, t: float) -> Field | None:
        lids, brows = self.shut(t)
        if lids:
            assert self._blink is not None
            total = _added(total, self._blink, lids)
        if brows:
            assert self._brows is not None
            total = _added(total, self._brows, brows)
        return total

    def _looked(self, total: Field | None, t: float) -> Field | None:
        down = self.gaze(t)[1]
        if down and self._lids is not None:
            total = _added(total, self._lids, down)
        return total

    def _spoken(self, total: Field | None, t: float) -> Field | None:
        for k in self._during(self._talk_spans, t):
            talk = self._talks[k]
            shares = talk.at(t)
            if shares is None:
                continue
            for (aus, most), share in zip((_JAW, _LIPS, _SPREAD, _PRESS), shares, strict=True):
                total = _added(total, self._part(aus), talk.speech.amplitude_px * most * share)
        return total

    def gaze(self, t: float) -> tuple[float, float]:
        """How far the irises stand off at ``t`` seconds, px."""
        dx = dy = 0.0
        for k in self._during(self._gaze_spans, t):
            g = self.scene.gaze[k]
            share = looking(g, t)
            dx, dy = dx + share * g.dx, dy + share * g.dy
        return dx, dy


def _spans(parts: Sequence[Blink | Gaze | Speech]) -> Floats:
    return np.array([(p.start_s, p.start_s + p.duration_s) for p in parts]).reshape(-1, 2)


def _added(total: Field | None, field: Field, weight: float) -> Field | None:
    """``total`` plus the weighted field, in place."""
    if weight == 0:
        return total
    scaled = np.asarray(field * np.float32(weight), np.float32)
    return scaled if total is None else np.add(total, scaled, out=total)
