"""Random scenes hold what the table of their level says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from models.synthesis import Scene, SyntheticFace, au_displacements, random_scene
from models.synthesis.chance import COMBINATIONS, Level

LEVELS: tuple[Level, ...] = ("easy", "medium", "hard")


@pytest.fixture(scope="module")
def scenes() -> dict[Level, list[Scene]]:
    return {level: [random_scene(seed, level) for seed in range(30)] for level in LEVELS}


@pytest.mark.parametrize("level", LEVELS)
def test_a_seed_is_a_scene(level: Level) -> None:
    assert random_scene(3, level) == random_scene(3, level)
    assert random_scene(3, level) != random_scene(4, level)


def test_expressions_are_apart_and_within_the_clip(scenes: dict[Level, list[Scene]]) -> None:
    for scene in (s for level in LEVELS for s in scenes[level]):
        script = scene.expressions
        assert 4 <= len(script) <= 9
        assert script[0].onset_s >= 1.0 - 1e-9
        assert script[-1].offset_s <= scene.duration_s - 1.0 + 1e-9
        for before, after in pairwise(script):
            assert after.onset_s - before.offset_s >= 0.7 - 1e-9


def test_a_crowded_minute_still_fits() -> None:
    for seed in range(40):
        for duration in (1.0, 2.0, 3.0, 7.0):
            scene = random_scene(seed, "hard", duration)
            assert all(e.offset_s <= duration - 1.0 + 1e-9 for e in scene.expressions)


def test_micro_and_macro_expressions_have_their_sizes(scenes: dict[Level, list[Scene]]) -> None:
    micro_px = {"easy": (1.5, 3.0), "medium": (1.0, 2.5), "hard": (0.7, 2.0)}
    for level in LEVELS:
        pairs = [
            (e, t, s.eye_px)
            for s in scenes[level]
            for e, t in zip(s.expressions, _truth(s), strict=True)
        ]
        share = np.mean([t.kind == "micro" for _, t, _ in pairs])
        assert 0.55 < share < 0.75
        for e, t, eye_px in pairs:
            low, high = micro_px[level] if t.kind == "micro" else (3.0, 8.0)
            px = e.amplitude_px * 126 / eye_px
            assert low - 1e-9 <= px <= high + 1e-9
            assert t.offset - t.onset >= 5
            length = e.offset_s - e.onset_s
            assert (0.165 < length < 0.5) if t.kind == "micro" else (0.5 < length <= 2.0)
            assert e.aus in [aus for aus, _ in COMBINATIONS]
        assert any(0 < abs(e.leaning) < 1 for e, _, _ in pairs)
        assert any(e.hold_s for e, _, _ in pairs)


def _truth(scene: Scene) -> list:
    from models.synthesis.script import truth

    return truth(scene)


def test_combinations_have_figures() -> None:
    assert {au for aus, _ in COMBINATIONS for au in aus} <= set(au_displacements())


def test_blinks_and_speech_collide_in_hard_only(scenes: dict[Level, list[Scene]]) -> None:
    def collisions(scene: Scene, parts: tuple) -> int:
        return sum(
            p.start_s < e.offset_s and e.onset_s < p.start_s + p.duration_s
            for p in parts
            for e in scene.expressions
        )

    for level in LEVELS:
        blinks = sum(collisions(s, s.blinks) for s in scenes[level])
        speech = sum(collisions(s, s.speech) for s in scenes[level])
        assert (blinks > 0) == (level == "hard")
        assert (speech > 0) == (level == "hard")
        per_minute = [len(s.blinks) for s in scenes[level]]
        assert min(per_minute) >= 7
        assert max(per_minute) <= 21


def test_disturbances_grow_with_the_level(scenes: dict[Level, list[Scene]]) -> None:
    for value in (
        lambda s: s.head.shift_px,
        lambda s: s.head.yaw_deg,
        lambda s: s.head.pitch_deg,
        lambda s: s.head.roll_deg,
        lambda s: s.noise,
        lambda s: s.light,
        lambda s: s.lighting.flicker,
        lambda s: s.lighting.local,
        lambda s: len(s.gaze),
        lambda s: len(s.speech),
        lambda s: len(s.lighting.exposures),
    ):
        easy, medium, hard = (np.mean([value(s) for s in scenes[level]]) for level in LEVELS)
        assert easy < medium < hard
    assert max(s.head.shift_px for s in scenes["easy"]) <= 1.0
    assert max(s.head.yaw_deg for s in scenes["easy"]) <= 0.3
    assert not any(s.head.episodes for s in scenes["medium"])
    assert {e.axis for s in scenes["hard"] for e in s.head.episodes} >= {"yaw", "pitch"}


def test_an_empty_scene_lacks_the_expressions_alone() -> None:
    full, empty = (random_scene(8, "hard", empty=empty) for empty in (False, True))
    assert full.expressions
    assert empty == replace(full, expressions=())


def test_other_frame_rates_keep_five_frames_to_a_micro_expression() -> None:
    for fps in (25.0, 60.0, 200.0):
        for seed in range(10):
            scene = random_scene(seed, "medium", fps=fps)
            assert scene.n_frames == 60 * fps
            for t in _truth(scene):
                assert t.offset - t.onset >= 5


def test_sizes_grow_with_the_frame() -> None:
    small, large = (
        random_scene(8, "hard", width=w, height=h) for w, h in ((640, 480), (1280, 960))
    )
    assert large.eye_px == pytest.approx(2 * small.eye_px)
    assert large.head.shift_px == pytest.approx(2 * small.head.shift_px)
    for a, b in zip(small.expressions, large.expressions, strict=True):
        assert b.amplitude_px == pytest.approx(2 * a.amplitude_px)


def test_an_identity_can_be_named() -> None:
    assert random_scene(8, identity=0) == replace(random_scene(8), identity=0)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="easy, medium, hard"):
        random_scene(1, "brutal")  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LEVELS)
def test_frames_come_in_any_order(level: Level) -> None:
    scene = random_scene(6, level, 6.0)
    a, b = SyntheticFace(scene), SyntheticFace(scene)
    order = [100, 3, 57, 140, 3]
    forth = {i: a.frame(i) for i in order}
    for i in sorted(forth):
        assert np.array_equal(b.frame(i), forth[i])


def test_many_expressions_are_drawn_the_same_when_fields_are_made_anew() -> None:
    scene = random_scene(1, "easy", 600.0)
    assert len(scene.expressions) > 50  # more than are kept
    shown = SyntheticFace(scene)
    first, last = scene.expressions[0], scene.expressions[-1]
    i = round(first.apex_s * scene.fps)
    early = shown.frame(i)
    for e in scene.expressions:
        shown.displacement(e.apex_s)
    assert np.array_equal(shown.frame(i), early)
    late = shown.points(last.apex_s) - SyntheticFace(replace(scene, expressions=())).points(
        last.apex_s
    )
    assert np.hypot(*late.T).max() == pytest.approx(last.amplitude_px, rel=0.1)
