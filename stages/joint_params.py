"""What the rules of joint explanation go by."""

from __future__ import annotations

from dataclasses import dataclass

_LARGE = (12.0, 20.0)  # heights between which ``explained`` gives way to ``explained_large``


@dataclass(frozen=True)
class JointParams:
    """Parameters of the rules; times in seconds, levels in standard deviations.

    Attributes:
        theta: a curve must rise and fall by more than this.
        search_s: m of eq. 24: the rise is measured from the lowest point within.
        hold_s: a movement that has not fallen so long after its peak is given up.
        fall: and by more than this share of the rise.
        foretell: it is announced from this share of that fall on, if AUs explain it.
        smooth_s: half width of the Hann low-pass.
        shut_before_s: the curves hold so long before the lids are seen shut.
        shut_after_s: and so long after.
        border: the movement is over when this share of its height is left.
        stall_s: or when it has not fallen further for so long.
        least: an expression's own height, prototype errors included, is at least this.
        explained: share of the movement that its AUs must explain, where it is weak.
        explained_large: and where it is far above the noise: a large movement of a real face
            is less like its prototype, and head motion explained as AUs comes to less still.
        gain: a further AU must explain this share more.
        mismatch: how many times the training faces' spread prototypes may be wrong.
        speech_s: movements of the mouth that follow so soon on another are speech.
        wait_s: a movement of the mouth is held back so long to see whether it goes on.
        train: a movement counts for speech from this share of the other's height.
        micro_s: a shorter expression is micro.
        calibrate_s: for so long after a face is first seen nothing is spotted.

    Raises:
        ValueError: a value out of range.
    """

    theta: float = 8.0
    search_s: float = 1.0
    hold_s: float = 2.0
    fall: float = 0.25
    foretell: float = 0.35
    smooth_s: float = 0.066
    shut_before_s: float = 0.033
    shut_after_s: float = 0.067
    border: float = 0.15
    stall_s: float = 0.17
    least: float = 6.0
    explained: float = 0.42
    explained_large: float = 0.25
    gain: float = 0.12
    mismatch: float = 2.0
    speech_s: float = 0.6
    wait_s: float = 0.22
    train: float = 0.3
    micro_s: float = 0.5
    calibrate_s: float = 0.0

    def least_explained(self, height: float) -> float:
        """Share of a movement of this height that its AUs must explain."""
        low, high = _LARGE
        large = min(max((height - low) / (high - low), 0.0), 1.0)
        return self.explained - large * max(self.explained - self.explained_large, 0.0)

    def __post_init__(self) -> None:
        above = (self.theta, self.search_s, self.hold_s, self.stall_s, self.micro_s)
        if not all(value > 0 for value in above):
            raise ValueError(f"theta and the times of the rules must be above 0: {self}")
        shares = (self.fall, self.border, self.gain, self.train)
        if not 0 < self.foretell <= 1:
            raise ValueError(f"foretell lies in 0..1, above 0: {self}")
        if not all(0 <= v < 1 for v in (*shares, self.explained, self.explained_large)):
            raise ValueError(f"shares lie in 0..1: {self}")
        if min(self.smooth_s, self.speech_s, self.wait_s, self.mismatch, self.calibrate_s) < 0:
            raise ValueError(f"times must be 0 s or more: {self}")
