"""The two sets of rules behind one interface."""

from __future__ import annotations

import numpy as np
import pytest

from models.joint import BLINK
from stages import candidates, frames, mixture, noise
from stages.items import Column
from stages.joint import JointParams, Memory
from stages.noise import NoiseParams
from stages.peaks import Final, SpotParams, StreamingSpotter, Update
from stages.rules import JointRules, PaperRules, Rules, WindowSpotter
from tests.stages.scripted import PARAMS, SIZE, Move, columns, model, spot

JOINT = JointRules(model(), JointParams(**PARAMS), NoiseParams())
PAPER = PaperRules((4, 12, 17), (1.0, 2.0, 3.0), SpotParams())


def _parts(values: object = 0.0, shape: tuple[int, ...] = (2, SIZE)) -> Column:
    return Column(0, np.zeros(2, np.float32), np.full(shape, values, np.float32))


def _values(values: object = 0.0, count: int = 3) -> Column:
    return Column(0, np.full(count, values, np.float32))


@pytest.mark.parametrize(
    ("rules", "column", "fault"),
    [
        (PAPER, _values(), ""),
        (PAPER, _values(count=2), r"shape (2,), not (3,)"),
        (PAPER, _values(np.nan), "not finite"),
        (PAPER, _values(np.inf), "not finite"),
        (JOINT, _parts(), ""),
        (JOINT, _values(), "no projections"),
        (JOINT, _parts(shape=(2, SIZE - 1)), f"shape (2, {SIZE - 1}), not (2, {SIZE})"),
        (JOINT, _parts(shape=(SIZE,)), f"shape ({SIZE},), not (2, {SIZE})"),
        (JOINT, _parts(np.nan), "not finite"),
        (JOINT, _parts(-np.inf), "not finite"),
    ],
)
def test_a_column_is_checked_for_what_the_rules_read(
    rules: Rules, column: Column, fault: str
) -> None:
    said = rules.check(column)
    assert fault in said
    assert bool(said) == bool(fault)


def test_what_the_rules_do_not_read_does_not_matter() -> None:
    strange = Column(0, np.full(99, np.nan, np.float32), np.zeros((2, SIZE), np.float32))
    assert JOINT.check(strange) == ""
    assert PAPER.check(Column(0, np.zeros(3, np.float32), np.full((7, 1), np.nan))) == ""


def test_a_refused_column_would_be_refused_by_the_spotter_too() -> None:
    for column in (_parts(shape=(2, SIZE - 1)), _parts(np.nan)):
        with pytest.raises(ValueError):
            JOINT.spotter(JOINT.memory()).push(0.0, column, False)
    for column in (_values(count=2), _values(np.nan)):
        with pytest.raises(ValueError):
            PAPER.spotter(PAPER.memory()).push(0.0, column, False)


def test_aus_and_thetas_must_agree() -> None:
    with pytest.raises(ValueError, match="thetas"):
        PaperRules((1, 2), (1.0,), SpotParams())
    with pytest.raises(ValueError, match="theta"):
        PaperRules((1,), (0.0,), SpotParams())


def test_numbers_of_updates_are_places_in_aus() -> None:
    assert PAPER.aus == (4, 12, 17)
    assert JOINT.aus == model().aus
    assert BLINK in JOINT.aus


def test_the_papers_windows_share_nothing_and_a_faces_joint_windows_its_noise() -> None:
    assert PAPER.memory() is None
    first, second = JOINT.memory(), JOINT.memory()
    assert isinstance(first, Memory)
    assert first.noise is not second.noise


def _drive(it: WindowSpotter, made: list[tuple[float, Column]]) -> list[Update]:
    updates: list[Update] = []
    for time, column in made:
        updates += it.push(time, column, False)
    return updates + it.close(True)


def test_joint_rules_say_what_the_joint_spotter_says() -> None:
    times, parts = columns([Move(12, 1.5, 1.7, 1.9)])
    nothing = np.zeros(0, np.float32)
    made = [(float(t), Column(0, nothing, p)) for t, p in zip(times, parts, strict=True)]
    updates = _drive(JOINT.spotter(JOINT.memory()), made)
    assert len(updates) == 2
    assert updates == spot((times, parts))


def test_the_papers_rules_say_what_its_spotter_says_and_ignore_shut_eyes() -> None:
    curve = np.array([10 * np.exp(-(((i - 40) / 4) ** 2)) for i in range(120)])
    values = np.outer(curve, [1.0, 0.5, 0.0]).astype(np.float32)
    plain, it = StreamingSpotter((1.0, 2.0, 3.0), SpotParams()), PAPER.spotter(None)
    expected: list[Update] = []
    updates: list[Update] = []
    for i, row in enumerate(values):
        expected += plain.push(i / 30, row)
        updates += it.push(i / 30, Column(0, row), 38 < i < 42)
    updates += it.close(True)
    assert len(updates) >= 2
    assert updates == expected + plain.close()


@pytest.mark.parametrize("rules", [PAPER, JOINT])
def test_breaking_off_at_once_withdraws_nothing(rules: Rules) -> None:
    assert rules.spotter(rules.memory()).abandon() == []


def test_after_warming_up_nothing_is_compiled() -> None:
    def compiled() -> int:
        kernels = (candidates._follow, candidates._project, frames._advance, frames._fold)
        more = (noise._follow, mixture.needed, mixture.nonnegative)
        return sum(len(kernel.signatures) for kernel in (*kernels, *more))

    JointRules(model(), JointParams(), NoiseParams()).warm_up()
    before = compiled()
    spotted = spot(columns([Move(1, 1.5, 1.7, 1.9), Move(12, 2.4, 2.6, 2.9)]), {20}, wait_s=0.5)
    assert any(isinstance(update, Final) for update in spotted)
    assert compiled() == before
