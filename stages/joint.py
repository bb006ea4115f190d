"""Spotting by joint explanation, one frame at a time.

Every AU (both sides, left, right) has a detection curve: the matched filter of its
prototype in this face's own noise (``stages.noise``), of unit variance. As in eq. 24 a
point is a peak when its curve has risen by more than theta since the lowest point of the
``search_s`` before it, and has fallen by more than theta since. The strongest curve at that
moment names the time; the movement from the point before the rise to the peak is then
explained jointly by the few AUs that need to be in it, and the curve of *that* mixture, which
takes the place of the union of overlapping intervals (eqs 25-26), carries the borders.

An expression is vetoed when its AUs leave too much of the movement unexplained (head
motion, light, a hand), when the blink explains most of it, and when it is one of a train of
movements of the mouth (speech). While the eyes are shut, and a moment before and after, the
curves hold their last value.

Borders lie where the movement's profile is at 2 % of its height. That is below the noise;
the time between a quarter and three quarters of the height is measured instead and drawn
out, as a minimum-jerk movement (Flash & Hogan 1985) goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.joint import BLINK, JointModel
from stages.candidates import Candidates
from stages.explanation import Explainer, Mixture
from stages.expressed import au_spans, expressed
from stages.frames import Frames
from stages.joint_params import JointParams
from stages.learner import Learner
from stages.memory import Memory
from stages.mixture import nonnegative
from stages.movement import Movement
from stages.noise import Filters
from stages.peaks import Announcement, AUPeak, Expression, Final, Retraction, Update, Veto
from stages.speech import MOUTH, Held, Speech

__all__ = ["Array", "JointParams", "JointSpotter", "Memory"]

Array = npt.NDArray[np.float64]

_TICK = 1e-6
_RIDGE = 0.02
_STRONGER = 1.3  # a movement so many times as strong takes the place of the one followed
_HOPELESS = 0.6  # a movement explained to less than this share of what is asked is dropped
_TOGETHER_S = 0.12  # curves that peak within belong to one movement


@dataclass
class _Foretold:
    """A rise that was announced before its fall was proven."""

    curve: int
    number: int


class JointSpotter:
    """Expressions of one window, column by column.

    Every ``Announcement`` is closed by exactly one ``Final`` or ``Retraction`` with its
    number. AUs are numbered by their place in ``model.aus``.

    Args:
        model: the joint model.
        memory: what is known of the face; changed as frames come.
        params: the rules' parameters.
    """

    def __init__(self, model: JointModel, memory: Memory, params: JointParams) -> None:
        self._model = model
        self._memory = memory
        self._params = params
        curves, _ = model.detectors()
        self._explainer = Explainer(model, params.gain, params.mismatch)
        self._frames = Frames(
            model.size, params.smooth_s, params.shut_before_s, params.shut_after_s
        )
        self._candidates = Candidates(
            self._frames,
            len(curves),
            theta=params.theta,
            search_s=params.search_s,
            hold_s=params.hold_s,
            fall=params.fall,
        )
        of_mouth = np.array([MOUTH.issuperset(aus) for aus in curves])
        self._speech = Speech(memory, params, self._frames, self._candidates, of_mouth)
        self._learner = Learner(memory.noise, self._frames)
        self._n = 0  # judged
        self._after = 1  # nothing begins before this frame
        self._movement: Movement | None = None
        self._foretold: _Foretold | None = None
        self._hopeless: tuple[int, int, Filters] | None = None  # a rise not worth announcing
        self._numbers = 0
        self._closed = False

    @property
    def judged(self) -> tuple[Array, Array]:
        """Source times (n,) and low-passed projections (n, K) of the frames judged so far."""
        return self._frames.times[: self._n].copy(), self._frames.x[: self._n].copy()

    @property
    def rises(self) -> tuple[float, Array] | None:
        """Source time of the frame judged last, and how far each curve has risen, in theta (V,).

        Above its lowest point of the ``search_s`` before; the curves are the model's detectors.
        """
        if self._n < 2:
            return None
        newest = self._n - 1
        return float(self._frames.times[newest]), self._candidates.rises(newest, self._after)

    def warm_up(self) -> None:
        """Compile what explains a movement and what learns the noise."""
        filters, movement = self._memory.noise.filters, self._model.responses[0]
        nonnegative(filters.gram, filters.rows @ movement, _RIDGE, 60)
        self._explainer.explain(filters, movement)
        self._memory.noise.warm_up()

    # ------------------------------------------------------------ frames

    def push(self, time: float, parts: npt.ArrayLike, shut: bool) -> list[Update]:
        """Take the next column.

        Args:
            time: source time, s.
            parts: (2, K) projections of the eye and of the mouth region.
            shut: the eyes are seen shut.

        Raises:
            ValueError: wrong shape, not finite, or not after the last one; the column
                is then not taken.
        """
        if self._closed:
            raise ValueError("this window was closed; make a new JointSpotter")
        self._frames.push(time, parts, shut)
        if self._frames.count == 1:
            self._memory.begin(time)
        return self._advance(closing=False)

    def close(self, complete: bool = True) -> list[Update]:
        """The window ends here.

        Args:
            complete: nothing follows; otherwise a movement that is not over is left to
                the next window, which sees it whole.
        """
        if self._closed:
            raise ValueError("this window was closed; make a new JointSpotter")
        updates = self._advance(closing=True)
        self._closed = True
        updates += self._withdraw("not over when the window ends")
        movement, self._movement = self._movement, None
        if movement is not None:
            if complete:
                updates += self._finish(movement, self._n - 1)
            elif movement.number >= 0:
                updates.append(Retraction(movement.number, None, "left to the next window"))
        return updates + self._speech.release()

    def abandon(self) -> list[Update]:
        """The window is broken off: what is over is final, what is open is withdrawn."""
        if self._closed:
            raise ValueError("this window was closed; make a new JointSpotter")
        self._closed = True
        movement, self._movement = self._movement, None
        updates = self._speech.release() + self._withdraw("")
        if movement is not None and movement.number >= 0:
            updates.append(Retraction(movement.number, None))
        return updates

    def _advance(self, closing: bool) -> list[Update]:
        ready = self._frames.advance(closing)
        updates: list[Update] = []
        while self._n < ready:
            self._n += 1
            updates += self._judge(self._n - 1)
        return updates

    # ------------------------------------------------------------ rules

    def _judge(self, i: int) -> list[Update]:
        self._learner.learn(i, self._undecided(i))
        done = self._follow(i)
        updates = self._speech.hear(i)
        if done > 1:
            updates += self._search(i)
        updates += self._foretell(i, done)
        movement = self._movement
        if movement is not None and self._is_over(movement, i):
            self._movement = None
            updates += self._finish(movement, i)
        return updates

    def _undecided(self, i: int) -> int:
        """The first frame of what may still turn out to be an expression."""
        begun = i if self._movement is None else self._movement.base
        return min(begun, self._speech.waiting_since(i))

    def _follow(self, i: int) -> float:
        """The largest share of the fall that proves a movement that any curve has done."""
        params, memory, movement = self._params, self._memory, self._movement
        assert memory.first is not None
        looking = self._frames.times[i] - memory.first >= params.calibrate_s
        over = 0.0 if movement is None else _STRONGER * movement.height
        return self._candidates.follow(i, memory.noise.filters, self._after, looking, over)

    def _search(self, i: int) -> list[Update]:
        """The strongest curve that has risen and fallen is a movement."""
        found = self._candidates
        fallen = found.fallen(i, 1.0)
        if self._movement is not None:
            fallen &= found.height > _STRONGER * self._movement.height
        if not fallen.any():
            return []
        return self._begin(self._chosen(fallen))

    def _chosen(self, fallen: npt.NDArray[np.bool_]) -> int:
        """The strongest of those that have fallen, or one that peaks with it and is stronger."""
        found = self._candidates
        first = int(np.where(fallen, found.height, 0.0).argmax())
        apart = np.abs(self._frames.times[found.peak] - self._frames.times[found.peak[first]])
        near = found.risen & (apart <= _TOGETHER_S)
        return int(np.where(near, found.height, 0.0).argmax())

    def _foretell(self, i: int, done: float) -> list[Update]:
        """Announce a peak whose fall is under way, or withdraw one that did not come."""
        foretold, found = self._foretold, self._candidates
        if foretold is not None:
            gone = not found.risen[foretold.curve]
            return self._withdraw("not a movement of its own") if gone else []
        share = self._params.foretell
        if done <= share or self._movement is not None or self._frames.held[i]:
            return []
        falling = found.fallen(i, share)
        if not falling.any():
            return []
        curve = self._chosen(falling)
        base, peak = int(found.base[curve]), int(found.peak[curve])
        noise = self._memory.noise.filters
        if self._hopeless == (base, peak, noise):
            return []
        mixture = self._explainer.explain(noise, self._frames.x[peak] - self._frames.x[base])
        if mixture is None or self._refusal(mixture):
            self._hopeless = base, peak, noise
            return []
        self._foretold = _Foretold(curve, self._numbers)
        return [self._announcement(peak, mixture)]

    def _taken(self, peak: int) -> int:
        """The number of what was foretold at about this peak, or -1."""
        foretold, found = self._foretold, self._candidates
        if foretold is None:
            return -1
        times = self._frames.times
        if abs(times[found.peak[foretold.curve]] - times[peak]) > _TOGETHER_S:
            return -1
        self._foretold = None
        return foretold.number

    def _withdraw(self, reason: str) -> list[Update]:
        foretold, self._foretold = self._foretold, None
        return [] if foretold is None else [Retraction(foretold.number, None, reason)]

    def _begin(self, curve: int) -> list[Update]:
        found, params = self._candidates, self._params
        base, peak = int(found.base[curve]), int(found.peak[curve])
        noise = self._memory.noise.filters
        movement = self._frames.x[peak] - self._frames.x[base]
        weights = nonnegative(noise.gram, noise.rows @ movement, _RIDGE, 60)
        mixture = np.asarray(weights @ noise.rows)
        begun = Movement(base, peak, float(found.height[curve]), noise, mixture)
        begun.number = self._taken(peak)
        explained = self._explainer.explain(noise, movement)
        if explained is None or explained.explained < _HOPELESS * params.least_explained(
            explained.height
        ):
            return self._refused(begun, "not explained by action units")
        refusal, old = self._refusal(explained), self._movement
        if old is not None and refusal:
            return self._refused(begun, refusal)
        updates = [] if old is None else self._refused(old, "part of a stronger movement")
        self._movement = begun
        if refusal or begun.number >= 0:
            return updates
        begun.number = self._numbers
        return [*updates, self._announcement(peak, explained)]

    def _announcement(self, apex: int, mixture: Mixture) -> Announcement:
        number = self._numbers
        self._numbers += 1
        spans = au_spans(self._model, mixture, apex, apex, apex)
        peaks = tuple(AUPeak(span.au, apex, span.value, span.side) for span in spans)
        return Announcement(number, peaks[0].au, apex, peaks)

    def _is_over(self, movement: Movement, i: int) -> bool:
        params = self._params
        movement.follow(self._frames.x, i)
        if movement.now <= params.border * movement.highest:
            return True
        times = self._frames.times
        since = times[i] - times[movement.low] + _TICK
        rising = movement.now > movement.lowest + 0.1 * movement.highest
        return bool((since >= params.stall_s and rising) or since >= 2 * params.stall_s)

    def _finish(self, movement: Movement, i: int) -> list[Update]:
        """The movement is over at frame ``i``: an expression, or nothing."""
        movement.follow(self._frames.x, i)
        base, end = movement.base, movement.low
        straight = np.linspace(0.0, 1.0, end - base + 1)[:, None]
        path = self._frames.x[base : end + 1] - self._frames.x[base]
        path = path - straight * path[-1]
        apex = int((path @ movement.curve).argmax())
        about = path[max(apex - 1, 0) : apex + 2].mean(axis=0)
        mixture = self._explainer.explain(movement.filters, about)
        if mixture is None:
            return self._refused(movement, "too weak")
        # before this movement is remembered: the pause is the one to the movement before it
        times = self._frames.times[base : end + 1]
        plain = expressed(self._model, mixture, times, path, base, self._params.micro_s)
        expression = self._vetoed(plain, mixture)
        refusal = self._refusal(mixture, self._shut_share(expression))
        mouth = mixture.strongest(self._model) in MOUTH
        if mouth and not refusal and self._speech.goes_on(expression, movement.height):
            refusal = "speech"
        if mouth:
            self._speech.remember(expression.offset, movement.height, refusal == "speech")
        if refusal:
            return self._refused(movement, refusal, expression.vetoes)
        return self._accepted(movement, expression, mixture, end, mouth)

    def _refusal(self, mixture: Mixture, shut: float = 0.0) -> str:
        if mixture.strongest(self._model) == BLINK:
            return "blink"
        if shut >= 1:
            return "eyes shut"
        if mixture.height <= self._params.least:
            return "too weak"
        if mixture.explained <= self._params.least_explained(mixture.height):
            return "not explained by action units"
        return ""

    # ------------------------------------------------------------ results

    def _refused(
        self, movement: Movement, reason: str, vetoes: tuple[Veto, ...] = ()
    ) -> list[Update]:
        found = self._candidates
        times = self._frames.times
        found.risen &= np.abs(times[found.peak] - times[movement.peak]) > _TOGETHER_S
        if movement.number < 0:
            return []
        return [Retraction(movement.number, None, reason, vetoes)]

    def _accepted(
        self,
        movement: Movement,
        expression: Expression,
        mixture: Mixture,
        end: int,
        mouth: bool,
    ) -> list[Update]:
        updates: list[Update] = []
        if movement.number < 0:
            movement.number = self._numbers
            updates.append(self._announcement(expression.apex, mixture))
        self._after = end
        self._candidates.risen &= self._candidates.base >= end
        self._learner.exclude(expression.onset - 2, end + 2)
        updates += self._speech.release()
        if mouth and self._params.wait_s > 0:
            self._speech.hold(Held(expression, movement.number, end, movement.height))
            return updates
        return [*updates, Final(movement.number, expression)]

    def _shut_share(self, expression: Expression) -> float:
        """Share of the frames in which the eyes were shut and the curves were held."""
        held = self._frames.held[expression.onset : expression.offset + 1]
        return float(held.sum()) / len(held)

    def _vetoed(self, expression: Expression, mixture: Mixture) -> Expression:
        """``expression`` with what each veto saw."""
        params, memory = self._params, self._memory
        halves = (self._model.index(BLINK, "left"), self._model.index(BLINK, "right"))
        blink = float(max(mixture.weights[h] for h in halves) / mixture.weights.max())
        pause = float(self._frames.times[expression.onset] - memory.last.until)
        vetoes = (
            Veto("explained", mixture.explained, params.least_explained(mixture.height)),
            Veto("height", mixture.height, params.least),
            Veto("blink", blink, 1.0),
            Veto("shut", self._shut_share(expression), 1.0),
            Veto("speech", max(pause, 0.0) if np.isfinite(pause) else -1.0, params.speech_s),
        )
        return replace(
            expression, height=mixture.height, explained=mixture.explained, vetoes=vetoes
        )
