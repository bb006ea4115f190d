"""The synthetic camera: deterministic, with exact truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.synthesis import (
    Expression,
    FieldMaker,
    HeadMotion,
    Scene,
    SyntheticFace,
    au_displacements,
    demo_scene,
    load_portrait,
    profile,
)


@pytest.fixture(scope="module")
def fields() -> FieldMaker:
    _, landmarks = load_portrait()
    return FieldMaker(landmarks, (800, 640))


def _at(field: np.ndarray, fields: FieldMaker, point: int) -> np.ndarray:
    x, y = np.round(fields._points[point]).astype(int)
    return field[y, x]


def test_profile_crosses_two_per_cent_at_onset_and_offset() -> None:
    values = profile([0.5, 0.8, 1.4], 0.5, 0.8, 1.4)
    assert values == pytest.approx([0.02, 1.0, 0.02], abs=5e-4)
    rise = profile(np.linspace(0.5, 0.8, 50), 0.5, 0.8, 1.4)
    assert (np.diff(rise) > 0).all()


def test_fields_move_the_face_as_anatomy_says(fields: FieldMaker) -> None:
    inner, outer, corner_r, corner_l, lip = 21, 18, 48, 54, 57
    assert _at(fields.au(1), fields, inner)[1] < -0.4  # inner brow up
    assert _at(fields.au(2), fields, outer)[1] < -0.4  # outer brow up
    assert _at(fields.au(4), fields, inner)[1] > 0.3  # brow down
    for point, outward in ((corner_r, -1), (corner_l, 1)):
        smile = _at(fields.au(12), fields, point)
        assert smile[1] < -0.2
        assert smile[0] * outward > 0.2
        assert _at(fields.au(15), fields, point)[1] > 0.4  # corners down
    assert _at(fields.au(17), fields, lip)[1] < -0.1  # lower lip up


def test_every_au_has_a_field_of_unit_peak_that_ends_outside_the_face(fields: FieldMaker) -> None:
    for au in au_displacements():
        field = fields.au(au)
        assert np.isfinite(field).all()
        assert 0.7 < np.hypot(*np.moveaxis(field, 2, 0)).max() < 1.6
        assert not field[:, :20].any()


def test_one_sided_expressions_move_one_side(fields: FieldMaker) -> None:
    left = fields.au(12, "left")
    assert np.hypot(*_at(left, fields, 54)) > 5 * np.hypot(*_at(left, fields, 48))


def test_frames_depend_on_scene_and_index_alone() -> None:
    scene = demo_scene(4.0, seed=3)
    a, b = SyntheticFace(scene), SyntheticFace(scene)
    later = a.frame(70)
    assert np.array_equal(b.frame(10), a.frame(10))
    assert np.array_equal(b.frame(70), later)
    assert not np.array_equal(SyntheticFace(demo_scene(4.0, seed=4)).frame(70), later)


def test_truth_is_the_script_in_frames() -> None:
    scene = Scene(
        5.0,
        (Expression(1.0, 1.2, 1.4, (4,), 2.0), Expression(2.0, 2.6, 3.5, (12,), 5.0)),
        fps=50.0,
    )
    truth = SyntheticFace(scene).truth()
    assert [(t.onset, t.apex, t.offset, t.kind) for t in truth] == [
        (50, 60, 70, "micro"),
        (100, 130, 175, "macro"),
    ]


def test_the_face_moves_by_the_amplitude_and_only_during_the_expression() -> None:
    scene = Scene(3.0, (Expression(1.0, 1.3, 1.6, (4,), 3.0),), head=HeadMotion(), noise=0)
    face = SyntheticFace(scene)
    moved = face.displacement(1.3)
    assert moved is not None
    points = np.round(face.landmarks).astype(int)
    reached = np.hypot(*moved[points[:, 1], points[:, 0]].T).max()
    assert reached == pytest.approx(3.0, rel=1e-3)
    assert face.displacement(0.5) is None
    assert np.array_equal(face.frame(0), face.frame(10))
    assert not np.array_equal(face.frame(0), face.frame(39))


def test_an_au_without_figures_is_refused(fields: FieldMaker) -> None:
    with pytest.raises(ValueError, match="AU 99"):
        fields.au(99)


def test_pixels_move_where_the_field_says() -> None:
    # a pattern moved by the field and back again is the pattern
    scene = Scene(3.0, (Expression(1.0, 1.3, 1.6, (1, 12), 3.0),), noise=0)
    face = SyntheticFace(scene)
    moved = face.displacement(1.3)
    assert moved is not None
    xs, ys = np.meshgrid(np.arange(640, dtype=np.float32), np.arange(480, dtype=np.float32))
    back = cv2.remap(face.frame(39), xs + moved[..., 0], ys + moved[..., 1], cv2.INTER_CUBIC)
    inside = np.s_[130:330, 220:420]
    still = face.frame(0)[inside].astype(float)
    error = np.abs(back[inside] - still).mean()
    unmoved = np.abs(face.frame(39)[inside] - still).mean()
    assert unmoved > 1.0
    assert error < 0.2 * unmoved


def test_a_blink_closes_the_eyes_and_leaves_brows_and_mouth_alone() -> None:
    face = SyntheticFace(Scene(3.0, blinks_s=(1.0,), noise=0))
    moved = face.displacement(1.0)
    assert moved is not None
    at = moved[tuple(np.round(face.landmarks[:, ::-1]).astype(int).T)]
    gap = face.landmarks[41] - face.landmarks[37]
    assert at[37] @ gap > 0.6 * gap @ gap
    assert np.hypot(*at[17:27].T).max() < 0.6
    assert np.hypot(*at[48:68].T).max() < 0.1
    assert face.displacement(0.8) is None


def test_overlapping_expressions_add_up() -> None:
    first = Expression(1.0, 1.3, 1.6, (1,), 2.0)
    second = Expression(1.1, 1.4, 1.8, (12,), 3.0)
    both, a, b = (
        SyntheticFace(Scene(2.0, script)).displacement(1.35)
        for script in ((first, second), (first,), (second,))
    )
    assert a is not None
    assert b is not None
    assert both == pytest.approx(a + b, abs=1e-5)


def test_an_hour_long_script_is_made_at_once() -> None:
    scene = demo_scene(3600.0)
    face = SyntheticFace(scene)
    truth = face.truth()
    assert face.n_frames == 108_000
    assert len(truth) == 6 * 180
    assert truth[-1].offset < face.n_frames
    late, early = face.displacement(1.7 + 20 * 100), face.displacement(1.7)
    assert late == pytest.approx(early, abs=1e-4)


def test_times_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="onset < apex < offset"):
        Expression(1.0, 1.0, 1.5, (1,), 2.0)
