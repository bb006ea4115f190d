"""Matching and the windows' flow (synthetic crops)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pytest

from models.errors import PrototypeError
from models.joint import JointModel
from models.prototypes import Prototype, PrototypeSet
from stages.flow import WindowFlow
from stages.items import Curves, Face, FaceState, Stamp, Stride, WindowEnd
from stages.match import Matcher
from stages.motion import Method, MotionStage
from stages.pooling import EYE_LENGTH, LENGTH, pool
from tests.stages.test_farneback import _texture

EYE, MOUTH = _texture((240, 280), 1), _texture((160, 260), 2)
FPS = 10


def _field(shape: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.standard_normal((*shape, 2)).astype(np.float32), (0, 0), 10)


def _joint() -> JointModel:
    rng = np.random.default_rng(9)
    rows = ((1, "left"), (1, "right"), (45, "left"), (45, "right"))
    basis = rng.normal(0, 0.05, (6, LENGTH)).astype(np.float32)
    spread = {1: np.eye(6), 45: np.eye(6)}
    return JointModel(rows, EYE_LENGTH, basis, rng.random((4, 6)), np.eye(6), spread)


SET = PrototypeSet(
    "test",
    "0",
    "random fields",
    (
        Prototype(1, "eye", _field((240, 280), 1), 1.0, 1),
        Prototype(12, "mouth", _field((160, 260), 2), 1.0, 1),
        Prototype(4, "eye", _field((240, 280), 3), 1.0, 1),
    ),
    _joint(),
)


@pytest.fixture(params=["paper", "mespot"])
def method(request: pytest.FixtureRequest) -> Method:
    """Windows and strides are the same whatever is matched."""
    return request.param


def _stamp(i: int) -> Stamp:
    return Stamp("cam", i, i / FPS, 0, 0)


def _face(i: int, number: int = 0, openness: float = 0.3, whole: np.ndarray | None = None) -> Face:
    shift = 3 * np.sin(i / 4)
    matrix = np.float32([[1, 0, shift], [0, 1, 0]])
    eye = cv2.warpAffine(EYE, matrix, (280, 240), borderMode=cv2.BORDER_REFLECT)
    mouth = cv2.warpAffine(MOUTH, matrix, (260, 160), borderMode=cv2.BORDER_REFLECT)
    points = np.zeros((468, 2), np.float32)
    return Face(_stamp(i), number, eye, mouth, points, 100.0, openness, (0.0, 0.0, 0.0), whole)


def _run(stage: MotionStage, frames: Iterable[int]) -> list[Any]:
    return [item for i in frames for item in stage.process(_face(i))]


def _columns(items: list[Any], reference: int) -> dict[int, np.ndarray]:
    return {
        item.stamp.frame: column.values
        for item in items
        if isinstance(item, Curves)
        for column in item.columns
        if column.reference == reference
    }


def _ends(items: list[Any]) -> list[tuple[int, int, str]]:
    return [(i.reference, i.stamp.frame, i.reason) for i in items if isinstance(i, WindowEnd)]


def test_a_new_frames_curves_carry_its_crops_and_redone_ones_none() -> None:
    stage = MotionStage(SET, window_s=4.0)
    whole = np.full((224, 224), 7, np.uint8)
    items = [item for i in range(12) for item in stage.process(_face(i, whole=whole))]
    redone = list(stage.process(Stride(0, 0, 5, closed=False)))
    fresh = [i for i in items if isinstance(i, Curves)]
    assert len(fresh) == 12
    assert all(i.whole is whole and i.eye is not None and i.mouth is not None for i in fresh)
    again = [i for i in redone if isinstance(i, Curves)]
    assert again
    assert all(i.whole is None and i.eye is None for i in again)
    plain = next(i for i in stage.process(_face(12)) if isinstance(i, Curves))
    assert plain.whole is None


def test_index_is_the_sum_of_the_hadamard_product() -> None:  # eqs 21-22
    field, flow = _field((240, 280), 4), _field((240, 280), 5)
    want = sum(
        float(field[y, x, c]) * float(flow[y, x, c])
        for y in range(240)
        for x in range(280)
        for c in range(2)
    )
    assert Matcher([field], (240, 280))(flow)[0] == pytest.approx(want, rel=1e-3, abs=1e-2)


def test_half_size_flow_gives_the_same_index() -> None:
    field, flow = _field((240, 280), 4), _field((240, 280), 5)
    small = cv2.resize(flow, (140, 120), interpolation=cv2.INTER_AREA)
    full = Matcher([field], (240, 280))(flow)[0]
    assert Matcher([field], (120, 140))(small)[0] == pytest.approx(full, rel=0.02)


def test_columns_are_in_the_sets_order_and_zero_at_the_reference(method: Method) -> None:
    items = _run(MotionStage(SET, window_s=4.0, method=method), range(3))
    columns = _columns(items, 0)
    assert not columns[0].any()
    assert columns[2].shape == (3,)
    mouth = PrototypeSet("m", "0", "", (SET.prototypes[1],), SET.joint)
    only_mouth = MotionStage(mouth, window_s=4.0, method=method)
    assert _columns(_run(only_mouth, range(3)), 0)[2] == pytest.approx(columns[2][1:2])


def test_without_a_find_the_next_window_runs_beside_from_half_on(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    items = _run(stage, range(42))
    assert _ends(items) == [(0, 40, "full")]
    assert sorted(_columns(items, 20)) == list(range(20, 42))
    # promoted without any redoing, and its own half is already reached
    made = list(stage.process(Stride(0, 0, 20, True)))
    assert sorted(_columns(made, 40)) == [40, 41]
    assert not _columns(made, 20)


def test_after_a_find_only_the_frames_since_are_redone(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    _run(stage, range(18))
    made = list(stage.process(Stride(0, 0, 15, False)))
    assert sorted(_columns(made, 15)) == [15, 16, 17]
    assert all(item.eye is None for item in made)
    later = _run(stage, range(18, 25))
    assert sorted(_columns(later, 15)) == list(range(18, 25))
    assert not _columns(later, 20)  # no second standby at the half


def test_a_window_gives_the_same_columns_however_it_was_reached(method: Method) -> None:
    beside, redone = (MotionStage(SET, window_s=4.0, method=method) for _ in range(2))
    a = _columns(_run(beside, range(36)), 20)
    _run(redone, range(36))
    redone.process(Stride(0, 0, 10, False))
    b = _columns(list(redone.process(Stride(0, 0, 20, False))), 20)
    assert sorted(a) == sorted(b)
    assert all(np.array_equal(a[i], b[i]) for i in a)


def test_a_stride_beyond_the_last_frame_begins_with_the_next_one(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    _run(stage, range(12))
    assert not list(stage.process(Stride(0, 0, 12, True)))
    items = _run(stage, [14, 15])
    assert sorted(_columns(items, 14)) == [14, 15]


def test_a_stride_for_a_window_that_is_gone_is_ignored(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    _run(stage, range(5))
    assert not list(stage.process(Stride(0, 99, 3, True)))
    assert not list(stage.process(Stride(7, 0, 3, True)))


def test_a_gap_and_time_running_back_end_the_window(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, max_gap_s=0.5, method=method)
    items = _run(stage, [0, 1, 2, 9, 10, 4])
    assert _ends(items) == [(0, 9, "gap"), (9, 4, "gap")]
    assert sorted(_columns(items, 9)) == [9, 10]


def test_a_lost_face_ends_its_windows_only(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    for i in range(3):
        for number in (0, 1):
            stage.process(_face(i, number))
    ends = list(stage.process(FaceState(_stamp(3), 0, False)))
    assert [(e.face, e.reason) for e in ends if isinstance(e, WindowEnd)] == [(0, "lost")]
    assert _columns(list(stage.process(_face(3, 1))), 0)
    assert _columns(list(stage.process(_face(3, 0))), 3)


def test_the_end_of_the_source_ends_window_after_window(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    _run(stage, range(12))
    assert _ends(list(stage.flush())) == [(0, 11, "end")]
    made = list(stage.process(Stride(0, 0, 7, True)))
    assert sorted(_columns(made, 7)) == list(range(7, 12))
    assert _ends(made) == [(7, 11, "end")]
    assert not list(stage.process(Stride(0, 7, 12, True)))


def test_a_spotter_that_never_answers_cannot_make_it_hold_frames_without_bound(
    method: Method,
) -> None:
    stage = MotionStage(SET, window_s=1.0, method=method)
    items = _run(stage, range(80))
    assert (0, 31, "gap") not in _ends(items)  # the first window had ended already
    assert max(len(s.held) for s in stage._faces.values()) <= 31


def test_reset_is_as_new(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    first = _columns(_run(stage, range(5)), 0)
    stage.reset()
    again = _columns(_run(stage, range(5)), 0)
    assert all(np.array_equal(first[i], again[i]) for i in first)


def test_the_columns_of_joint_explanation_are_the_projections_of_the_pooled_flow() -> None:
    assert SET.joint is not None
    items = _run(MotionStage(SET, window_s=4.0), range(3))
    columns = [column for item in items for column in item.columns]
    assert columns[0].parts is not None
    assert columns[0].parts.shape == (2, 6)
    assert not columns[0].parts.any()
    eye, mouth = WindowFlow((280, 240), "fast"), WindowFlow((260, 160), "fast")
    first, *others = [_face(i) for i in range(3)]
    eye.set_reference(first.eye)
    mouth.set_reference(first.mouth)
    for face, column in zip(others, columns[1:], strict=True):
        flow = pool(eye.flow(face.eye), mouth.flow(face.mouth))
        assert column.parts == pytest.approx(SET.joint.project(flow), abs=1e-5)
        assert column.parts is not None
        assert column.parts.dtype == np.float32


def test_the_papers_columns_carry_no_projections() -> None:
    items = _run(MotionStage(SET, window_s=4.0, method="paper"), range(2))
    assert all(column.parts is None for item in items for column in item.columns)


def test_matching_on_the_coarse_grid_gives_nearly_the_full_index() -> None:
    full = _columns(_run(MotionStage(SET, window_s=4.0, method="paper"), range(12)), 0)
    coarse = _columns(_run(MotionStage(SET, window_s=4.0, method="mespot"), range(12)), 0)
    a, b = (np.array([found[i] for i in sorted(found)]) for found in (full, coarse))
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_joint_explanation_needs_a_set_with_a_joint_model() -> None:
    without = PrototypeSet("old", "0", "", SET.prototypes)
    with pytest.raises(PrototypeError, match="old: no joint model") as caught:
        MotionStage(without)
    assert "\n" not in str(caught.value)
    MotionStage(without, method="paper")


def _blinking(stage: MotionStage, openness: list[float]) -> list[Any]:
    return [item for i, o in enumerate(openness) for item in stage.process(_face(i, 0, o))]


def test_no_window_begins_in_a_blink() -> None:
    openness = [0.3] * 20 + [0.1] * 2 + [0.3] * 8  # shut where half a window is reached
    shut = _blinking(MotionStage(SET, window_s=4.0), openness)
    assert sorted(_columns(shut, 22)) == list(range(22, 30))
    assert not _columns(shut, 20)
    assert [i.stamp.frame for i in shut if isinstance(i, Curves) and i.shut] == [20, 21]
    paper = _blinking(MotionStage(SET, window_s=4.0, method="paper"), openness)
    assert sorted(_columns(paper, 20)) == list(range(20, 30))
    assert not any(item.shut for item in paper)


def test_eyes_that_stay_shut_do_not_keep_a_window_from_beginning() -> None:
    # 0.6 s of patience at 10 fps
    items = _blinking(MotionStage(SET, window_s=4.0), [0.3] * 20 + [0.1] * 12)
    assert sorted(_columns(items, 26)) == list(range(26, 32))


def test_a_stride_into_a_blink_takes_the_window_that_already_runs_from_its_end() -> None:
    stage = MotionStage(SET, window_s=4.0)
    _blinking(stage, [0.3] * 20 + [0.1] * 2 + [0.3] * 8)
    assert not list(stage.process(Stride(0, 0, 21, False)))  # the standby at 22 is the one


def test_the_newest_flow_of_a_face_is_that_of_its_window(method: Method) -> None:
    stage = MotionStage(SET, window_s=4.0, method=method)
    assert stage.flow_of(0) is None
    _run(stage, range(1))
    assert stage.flow_of(0) is None  # the reference itself
    _run(stage, range(1, 3))
    found = stage.flow_of(0)
    assert found is not None
    assert [one.shape for one in found] == [(120, 140, 2), (80, 130, 2)]
    assert np.abs(found[0]).max() > 0 and stage.flow_of(1) is None
