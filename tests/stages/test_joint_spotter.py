"""What joint explanation finds in scripted movements (synthetic; ``scripted``)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.joint import BLINK, JointModel
from models.prototypes import load_default
from stages.joint import JointParams, JointSpotter, Memory
from stages.noise import Noise, NoiseParams
from stages.peaks import Announcement, Expression, Final, Update
from tests.stages.scripted import (
    STRANGE,
    Move,
    announced,
    aus,
    columns,
    finals,
    memory,
    model,
    retractions,
    spot,
    spotter,
)

BROWS = Move(1, 1.5, 1.7, 1.9)
MICRO = (BROWS, Move(4, 1.5, 1.65, 1.8), Move(12, 1.5, 1.68, 1.88), Move(1, 1.51, 1.66, 1.85, 2.0))
FRAME_S = 1 / 30


def _only(updates: list[Update]) -> Expression:
    """The expression of one announcement that became final."""
    assert [type(u) for u in updates] == [Announcement, Final]
    first, last = updates
    assert isinstance(last, Final)
    assert first.number == last.number == 0
    return last.expression


# ---------------------------------------------------------------- what is found


@pytest.mark.parametrize("fps", [30, 200])
@pytest.mark.parametrize("move", MICRO)
def test_a_movement_is_announced_and_then_final_with_borders_within_a_frame(
    move: Move, fps: float
) -> None:
    for seed in range(3):
        updates = spot(columns([move], fps=fps, seed=seed))
        found = _only(updates)
        assert aus(finals(updates)[0]) == {move.au: "both"}
        onset, offset = move.borders()
        assert abs(found.onset / fps - onset) <= FRAME_S
        assert abs(found.apex / fps - move.apex) <= FRAME_S
        assert abs(found.offset / fps - offset) <= FRAME_S
        assert found.kind == "micro"


@pytest.mark.parametrize("fps", [30, 200])
def test_a_slow_movement_is_macro(fps: float) -> None:
    slow = Move(4, 1.0, 1.5, 2.2)
    found = _only(spot(columns([slow], fps=fps)))
    onset, offset = slow.borders()
    assert found.kind == "macro"
    assert abs(found.onset / fps - onset) <= FRAME_S
    assert abs(found.apex / fps - slow.apex) <= FRAME_S
    shared = min(found.offset / fps, offset) - max(found.onset / fps, onset)
    assert shared > 0.85 * (offset - onset)


def test_shorter_than_micro_s_is_micro() -> None:
    made = columns([BROWS])
    length = (lambda e: e.offset - e.onset)(_only(spot(made))) / 30
    assert _only(spot(made, micro_s=length + 0.01)).kind == "micro"
    assert _only(spot(made, micro_s=length)).kind == "macro"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_movement_of_one_side_is_said_to_be_one(side: str) -> None:
    updates = spot(columns([Move(12, 1.5, 1.7, 1.9, sides=(side,))]))
    assert aus(finals(updates)[0]) == {12: side}
    assert {p.side for p in announced(updates)[0].aus} == {side}


def test_aus_that_move_together_are_one_expression_the_strongest_first() -> None:
    both = [Move(12, 1.5, 1.7, 1.9, 4.0), Move(4, 1.5, 1.7, 1.9, 2.5)]
    updates = spot(columns(both))
    spans = _only(updates).aus
    assert [model().aus[span.au] for span in spans] == [12, 4]
    assert spans[0].value == pytest.approx(4.0, rel=0.15)  # px of the crop
    assert spans[1].value == pytest.approx(2.5, rel=0.15)


def test_expressions_one_after_another_are_numbered_and_do_not_touch() -> None:
    brows = [Move(1, 0.5 + k, 0.7 + k, 0.9 + k) for k in range(5)]
    updates = spot(columns(brows, seconds=6.0))
    found = [f.expression for f in finals(updates)]
    assert [f.number for f in finals(updates)] == list(range(5))
    assert [e.apex for e in found] == pytest.approx([21 + 30 * k for k in range(5)], abs=1)
    assert all(a.offset < b.onset for a, b in pairwise(found))


def test_the_announcement_comes_with_the_fall_and_the_final_with_the_end() -> None:
    it, (times, parts) = spotter(), columns([BROWS])
    said: dict[type, int] = {}
    for i, column in enumerate(parts):
        said |= {type(update): i for update in it.push(float(times[i]), column, False)}
    assert 51 < said[Announcement] <= 51 + 6  # of 0.2 s after the apex at frame 51
    assert said[Final] <= (BROWS.borders()[1] + 0.35) * 30


def _announced_at(moves: list[Move], **params: float) -> list[int]:
    it, (times, parts) = spotter(**params), columns(moves)
    return [
        i
        for i, column in enumerate(parts)
        for update in it.push(float(times[i]), column, False)
        if isinstance(update, Announcement)
    ]


def test_a_fall_is_foretold_before_it_is_proven() -> None:
    slow = [Move(4, 1.0, 1.5, 2.5, 2.0)]
    (foretold,), (proven,) = (_announced_at(slow, foretell=share) for share in (0.2, 1.0))
    assert 45 < foretold < proven


def test_what_is_foretold_and_rises_again_is_withdrawn_or_told_once() -> None:
    dip = [Move(4, 1.0, 1.3, 3.0, 6.0), Move(4, 1.4, 1.9, 3.0, 6.0)]
    updates = spot(columns(dip), foretell=0.1)
    assert len(finals(updates)) == 1
    assert len(announced(updates)) == 1 + len(retractions(updates))


def test_every_au_of_the_shipped_model_is_found_and_named_and_its_blink_is_not() -> None:
    shipped = load_default().joint
    assert shipped is not None
    for au in shipped.aus:
        for halves in (("left", "right"), ("left",), ("right",)):
            updates = _with_shipped(shipped, au, halves)
            if au == BLINK:
                assert not updates
                continue
            (span,) = _only(updates).aus
            assert (shipped.aus[span.au], span.side) == (au, "both" if halves[1:] else halves[0])
            assert span.value == pytest.approx(4.0, rel=0.2)


def _with_shipped(shipped: JointModel, au: int, halves: tuple[str, ...]) -> list[Update]:
    """4 px of one AU in a seventh of the training faces' noise."""
    made = columns([Move(1, 1.2, 1.4, 1.65, 4.0)], seconds=3.0, noise=0.0)
    profile = made[1].sum(axis=1) @ Move(1, 0, 1, 2).response()
    profile *= 4.0 / profile.max()
    response = np.sum([shipped.responses[shipped.index(au, h)] for h in halves], axis=0)  # type: ignore[arg-type]
    white = np.random.default_rng(0).normal(0, 0.15, (len(profile), shipped.size))
    seen = profile[:, None] * response + white @ np.linalg.cholesky(shipped.noise).T
    seen -= seen[0]
    it = JointSpotter(shipped, Memory(Noise(shipped, NoiseParams())), JointParams())
    updates: list[Update] = []
    for time, row in zip(made[0], seen, strict=True):
        updates += it.push(float(time), np.stack([row, 0 * row]), False)
    return updates + it.close()


# ---------------------------------------------------------------- what is not


def _rises(moves: list[Move]) -> float:
    """The largest value of any detection curve, standard deviations."""
    detect = Noise(model(), NoiseParams()).filters.detect
    return float((columns(moves)[1].sum(axis=1) @ detect.T).max())


def test_noise_alone_is_no_expression() -> None:
    assert spot(columns([], seconds=60.0, noise=1.0)) == []


def test_what_does_not_rise_by_theta_is_nothing() -> None:
    weak = columns([Move(1, 1.5, 1.7, 1.9, 0.7)])
    assert spot(weak, theta=8.0) == []
    assert len(finals(spot(weak, theta=4.0, least=3.0))) == 1


def test_a_fall_alone_is_nothing() -> None:
    whole = [Move(1, 0.5, 1.0, 1.4, 5.0)]
    times, parts = columns(whole)
    begun = parts[25:] - parts[26]  # the window begins when the brows are up already
    detect = Noise(model(), NoiseParams()).filters.detect
    assert 5 < (begun.sum(axis=1) @ detect.T).max() < 7.5 < _rises(whole)
    assert spot((times[25:], begun), theta=8.0, least=2.0) == []
    assert spot((times[25:], begun), theta=3.0, least=2.0)


def test_a_movement_lower_than_least_is_nothing() -> None:
    made = columns([BROWS])
    assert 20 < _only(spot(made)).height < 30
    assert not finals(spot(made, least=30.0))


def test_a_movement_that_never_falls_is_nothing() -> None:
    assert spot(columns([Move(1, 1.5, 1.7, 99.0)])) == []


@pytest.mark.parametrize("sides", [("left", "right"), ("left",)])
def test_a_blink_is_no_expression_though_curves_rise(sides: tuple[str, ...]) -> None:
    blink = Move(BLINK, 1.5, 1.6, 1.75, 8.0, sides)
    assert _rises([blink]) > 10
    assert not finals(spot(columns([blink]), theta=8.0))


def test_an_expression_during_a_weaker_blink_is_kept_without_the_blink() -> None:
    updates = spot(columns([Move(4, 1.5, 1.7, 2.0, 4.0), Move(BLINK, 1.6, 1.7, 1.85, 2.0)]))
    assert aus(finals(updates)[0]) == {4: "both"}
    vetoes = {veto.name: veto for veto in _only(updates).vetoes}
    assert 0.2 < vetoes["blink"].value < vetoes["blink"].limit


def test_what_moves_while_the_eyes_are_shut_is_nothing() -> None:
    made = columns([Move(1, 1.5, 1.6, 1.7, 8.0)])
    assert finals(spot(made))
    assert spot(made, shut=range(45, 52)) == []
    assert spot(made, shut=range(46, 50)) == []  # held a moment before and after


def test_a_movement_beside_shut_eyes_is_found() -> None:
    found = _only(spot(columns([Move(BLINK, 0.8, 0.9, 1.0, 8.0), BROWS]), shut=range(24, 31)))
    assert abs(found.apex - 51) <= 1


def test_what_action_units_do_not_explain_is_nothing() -> None:
    def moves(px: float) -> list[Move]:
        return [Move(1, 1.5, 1.7, 1.9, 2.0), Move(STRANGE, 1.5, 1.7, 1.9, px)]

    assert _rises(moves(8.0)) > 15
    assert spot(columns(moves(8.0))) == []
    shares = [_only(spot(columns(moves(px)))).explained for px in (0.0, 1.5, 2.5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.95
    vetoes = {veto.name: veto for veto in _only(spot(columns(moves(2.5)))).vetoes}
    assert vetoes["explained"].value == shares[2] > vetoes["explained"].limit


def test_the_share_asked_of_a_weak_movement_is_explained() -> None:
    made = columns([Move(1, 1.5, 1.7, 1.9, 1.2), Move(STRANGE, 1.5, 1.7, 1.9, 1.2)])
    share = _only(spot(made, explained=0.2)).explained
    assert 0.3 < share < 0.8
    assert finals(spot(made, explained=share - 0.01))
    assert not finals(spot(made, explained=share + 0.01))


def _train(au: int) -> list[Move]:
    return [Move(au, 1 + 0.28 * k, 1.12 + 0.28 * k, 1.26 + 0.28 * k) for k in range(5)]


def test_a_train_of_mouth_movements_is_speech() -> None:
    updates = spot(columns(_train(12)))
    assert announced(updates)
    assert not finals(updates)
    assert {r.reason for r in retractions(updates)} == {"speech"}


def test_a_train_of_brow_movements_is_not_speech() -> None:
    assert len(finals(spot(columns(_train(1))))) == 5


def test_speech_reaches_over_the_end_of_a_window() -> None:
    times, parts = columns(_train(12)[:3])
    known = memory()
    assert not finals(spot((times[:53], parts[:53]), known=known))
    one = columns([Move(12, 0.3, 0.42, 0.56)])
    assert len(finals(spot(one))) == 1  # of another face
    assert not finals(spot((one[0] + times[52] + 0.03, one[1]), known=known))


def test_an_expression_of_the_mouth_waits_and_one_of_the_brows_does_not() -> None:
    def final_at(au: int, **params: float) -> int:
        it, (times, parts) = spotter(**params), columns([Move(au, 1.5, 1.7, 1.9)])
        for i, column in enumerate(parts):
            if finals(it.push(float(times[i]), column, False)):
                return i
        raise AssertionError("no final")

    assert final_at(12, wait_s=0.0) == final_at(1, wait_s=0.3)
    assert final_at(12, wait_s=0.3) == final_at(12, wait_s=0.1) + 6


def test_nothing_is_spotted_while_the_face_is_being_learned() -> None:
    made = columns([Move(1, 0.5, 0.7, 0.9), Move(1, 2.5, 2.7, 2.9)])
    assert len(finals(spot(made))) == 2
    found = _only(spot(made, calibrate_s=2.0))
    assert abs(found.apex - 81) <= 1


def test_a_stronger_movement_takes_the_place_of_the_one_followed() -> None:
    updates = spot(columns([Move(4, 0.5, 0.7, 1.3, 5.0), Move(12, 0.85, 1.0, 1.65, 8.0)]))
    assert [r.reason for r in retractions(updates)] == ["part of a stronger movement"]
    (kept,) = finals(updates)
    assert kept.number == 1
    assert next(iter(aus(kept))) == 12


def test_an_announcement_that_turns_out_to_be_a_blink_is_withdrawn() -> None:
    updates = spot(columns([Move(4, 1.4, 1.88, 2.58, 1.8), Move(BLINK, 1.8, 2.22, 2.46, 5.6)]))
    assert announced(updates)
    assert "blink" in {r.reason for r in retractions(updates)}
    assert not finals(updates)


def test_a_curve_is_above_theta_where_it_has_risen_and_begins_anew_after_the_find() -> None:
    it, seen = spotter(theta=8.0), []
    for time, parts in zip(*columns([Move(1, 1.5, 1.7, 1.9)]), strict=True):
        it.push(float(time), parts, False)
        if it.rises is not None:
            seen.append(it.rises)
    names = model().detectors()[0]
    own = [row for row, aus_of in enumerate(names) if tuple(aus_of) == (1,)]
    high = [at for at, rises in seen if rises[own].max() > 1]
    assert 1.5 < min(high) < 1.7 < max(high) < 2.2
    assert max(rises[own].max() for _, rises in seen) > 2
    assert all((rises >= 0).all() for _, rises in seen)
    assert max(rises.max() for at, rises in seen if at > 2.5) < 0.5
