"""The synthetic face's parts: each does what it says, and only that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.errors import UserError
from models.synthesis import (
    Blink,
    Expression,
    Gaze,
    HeadEpisode,
    HeadMotion,
    Lighting,
    NeutralVideo,
    Scene,
    Speech,
    SyntheticFace,
    Timing,
    VideoFace,
    delivered,
    load_portrait,
    portrait,
    portrait_names,
    profile,
    varied,
)

QUIET = Scene(4.0, noise=0)


def face(**parts: object) -> SyntheticFace:
    return SyntheticFace(replace(QUIET, **parts))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rest() -> SyntheticFace:
    return SyntheticFace(QUIET)


def moved(of: SyntheticFace, t: float) -> np.ndarray:
    """How far the landmarks stand off, (68, 2)."""
    return of.points(t) - of.landmarks


def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (a, b)]
    return dis.calc(grey[0], grey[1], None)


def at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    return cv2.remap(field, points[None].astype(np.float32), None, cv2.INTER_LINEAR)[0]


# --- what was there before


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            0,
            [
                [106, 150, 117, 99, 84, 49],
                [43, 166, 141, 196, 190, 64],
                [84, 195, 205, 169, 194, 101],
                [204, 170, 194, 159, 157, 162],
                [0, 150, 192, 170, 170, 203],
                [7, 168, 138, 130, 115, 216],
            ],
        ),
        (
            66,
            [
                [121, 139, 111, 104, 124, 34],
                [53, 162, 209, 207, 131, 19],
                [82, 203, 209, 178, 202, 100],
                [207, 171, 197, 131, 163, 102],
                [6, 139, 194, 173, 182, 214],
                [7, 161, 123, 154, 117, 221],
            ],
        ),
        (
            149,
            [
                [130, 163, 106, 105, 111, 48],
                [49, 182, 164, 205, 204, 37],
                [73, 206, 212, 146, 206, 104],
                [215, 185, 197, 136, 170, 131],
                [0, 179, 190, 170, 169, 212],
                [2, 204, 138, 139, 122, 224],
            ],
        ),
    ],
)
def test_scenes_of_the_first_kind_look_as_ever(frame: int, expected: list[list[int]]) -> None:
    # the shipped prototypes were made from such frames
    scene = Scene(
        3.0,
        (
            Expression(1.0, 1.3, 1.6, (4, 12), 3.0, "left"),
            Expression(1.2, 1.4, 1.7, (20,), 2.0, "right"),
        ),
        blinks_s=(1.3,),
        noise=1,
        light=0.03,
        fps=50,
        seed=5,
        head=HeadMotion(3, 1, 0.02, 4),
    )
    green = SyntheticFace(scene).frame(frame)[150:390:40, 210:430:40, 1].astype(int)
    assert np.abs(green - expected).max() <= 1


def test_parts_that_are_off_change_nothing(rest: SyntheticFace) -> None:
    off = face(
        blinks=(Blink(3.0),),
        gaze=(Gaze(3.0, 0.5, 2.0, 1.0),),
        speech=(Speech(3.0, 0.5, 2.0),),
        lighting=Lighting(exposures=((3.0, 1.2),)),
        head=HeadMotion(episodes=(HeadEpisode(3.0, 0.5, 5.0),), mode="drift"),
    )
    assert np.array_equal(off.frame(30), rest.frame(30))
    for t in (0.5, 2.9):
        assert not moved(off, t).any()


# --- expressions


@pytest.mark.parametrize(
    ("aus", "px", "balance"),
    [((1, 2), 2.0, 0.0), ((4,), 2.0, 0.5), ((15, 17), 3.0, -0.3), ((12,), 2.5, 1.0), ((7,), 2, 0)],
)
def test_optical_flow_sees_the_amplitude(aus: tuple[int, ...], px: float, balance: float) -> None:
    weights = tuple(0.6 + 0.4 * k for k in range(len(aus)))
    shown = face(
        expressions=(Expression(0.5, 1.0, 1.5, aus, px, balance=balance, weights=weights),),
        identity=5,
        eye_px=126.0,
    )
    true = moved(shown, 1.0)
    peak = int(np.argmax(np.hypot(*true.T)))
    assert np.hypot(*true[peak]) == pytest.approx(px, rel=0.06)
    seen = at(flow(shown.frame(0), shown.frame(30)), shown.landmarks)
    assert np.hypot(*(seen - true).T)[17:].max() < 0.2 * px
    assert np.hypot(*seen[peak]) == pytest.approx(px, rel=0.2)


def test_balance_goes_from_one_side_to_the_other() -> None:
    left, right = 54, 48  # corners of the mouth
    seen = []
    for balance in (-1.0, -0.5, 0.0, 0.5, 1.0):
        shown = face(expressions=(Expression(0.5, 1.0, 1.5, (12,), 3.0, balance=balance),))
        sizes = np.hypot(*moved(shown, 1.0).T)
        assert sizes.max() == pytest.approx(3.0, rel=0.05)
        seen.append(sizes[right] / (sizes[left] + sizes[right]))
    assert (np.diff(seen) > 0.1).all()
    assert seen[0] < 0.1
    assert seen[2] == pytest.approx(0.5, abs=0.1)


def test_side_is_the_end_of_the_balance() -> None:
    by_side = face(expressions=(Expression(0.5, 1.0, 1.5, (12,), 3.0, "left"),))
    by_balance = face(expressions=(Expression(0.5, 1.0, 1.5, (12,), 3.0, balance=-1.0),))
    assert np.array_equal(by_side.frame(30), by_balance.frame(30))


def test_weights_say_how_much_each_unit_takes_part() -> None:
    brow, corner = 21, 54

    def ratio(weights: tuple[float, float]) -> float:
        e = Expression(0.5, 1.0, 1.5, (1, 12), 3.0, weights=weights)
        sizes = np.hypot(*moved(face(expressions=(e,)), 1.0).T)
        return float(sizes[brow] / sizes[corner])

    assert ratio((1.0, 0.5)) == pytest.approx(2 * ratio((1.0, 1.0)), rel=0.1)
    assert ratio((0.5, 1.0)) == pytest.approx(0.5 * ratio((1.0, 1.0)), rel=0.1)


def test_a_held_apex_stays_and_the_borders_do_not_move() -> None:
    values = profile([0.5, 0.8, 0.9, 1.1, 1.4], 0.5, 0.8, 1.4, 0.3)
    assert values == pytest.approx([0.02, 1, 1, 1, 0.02], abs=5e-4)
    e = Expression(0.5, 0.8, 1.4, (12,), 3.0, hold_s=0.3)
    held = face(expressions=(e,))
    sizes = [np.hypot(*moved(held, t).T).max() for t in (0.5, 0.8, 1.1, 1.4)]
    assert sizes == pytest.approx([0.06, 3.0, 3.0, 0.06], rel=0.05)
    assert [(t.onset, t.apex, t.offset) for t in held.truth()] == [(15, 24, 42)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"hold_s": 0.6},
        {"hold_s": -0.1},
        {"balance": 1.5},
        {"weights": (1.0, 1.0)},
        {"weights": (0.0,)},
    ],
)
def test_expressions_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"needed|balance"):
        Expression(1.0, 1.2, 1.6, (12,), 2.0, **wrong)  # type: ignore[arg-type]


# --- eyes


def test_a_blink_closes_faster_than_it_opens() -> None:
    blinking = face(blinks=(Blink(1.0, 0.3, closing=0.3),), fps=200.0)
    gap = blinking.landmarks[41] - blinking.landmarks[37]
    times = np.arange(0.95, 1.36, 0.005)
    shut = np.array([moved(blinking, t)[37] @ gap / (gap @ gap) for t in times])
    assert times[shut.argmax()] == pytest.approx(1.09, abs=0.006)
    assert shut.max() > 0.6
    assert not shut[times <= 1.0].any()
    assert not shut[times >= 1.3].any()


def test_an_incomplete_blink_goes_half_way() -> None:
    whole, half = (moved(face(blinks=(Blink(1.0, depth=d),)), 1.07)[37, 1] for d in (1.0, 0.5))
    assert half == pytest.approx(0.5 * whole, rel=0.01)


def test_a_blink_lowers_the_brows_a_little_where_asked() -> None:
    without, with_ = (moved(face(blinks=(Blink(1.0, brow_px=px),)), 1.07) for px in (0.0, 0.6))
    difference = with_ - without
    assert difference[17:27, 1].max() > 0.3
    assert np.hypot(*difference.T).max() == pytest.approx(0.6, rel=0.1)
    assert np.abs(difference[48:68]).max() < 0.1


def test_a_closed_lid_hides_the_eye(rest: SyntheticFace) -> None:
    shut = face(blinks=(Blink(0.5, 1.0, closing=0.5),)).frame(30)
    x, y = np.round(rest.landmarks[37:42].mean(axis=0)).astype(int)
    eye = np.s_[y - 3 : y + 6, x - 8 : x + 9]
    assert rest.frame(30)[eye].max() > shut[eye].max() + 20  # no more highlight, no white
    changed = np.abs(shut.astype(int) - rest.frame(30)).max(axis=2)
    assert changed[int(rest.landmarks[48:68, 1].min()) :].mean() < 0.5


def test_a_gaze_shift_moves_the_iris_and_only_the_eyes(rest: SyntheticFace) -> None:
    looking = face(gaze=(Gaze(0.5, 2.0, 3.0, 0.0),))
    assert looking.gaze(1.0) == pytest.approx((3.0, 0.0))
    changed = np.abs(looking.frame(30).astype(int) - rest.frame(30)).max(axis=2) > 2
    ys, xs = np.nonzero(changed)
    eyes = rest.landmarks[36:48]
    assert len(xs) > 100
    assert xs.min() > eyes[:, 0].min() - 3
    assert xs.max() < eyes[:, 0].max() + 3
    assert ys.min() > eyes[:, 1].min() - 4
    assert ys.max() < eyes[:, 1].max() + 4
    for lids in (eyes[:6], eyes[6:]):
        middle = lids.mean(axis=0)[None]
        step = at(flow(rest.frame(30), looking.frame(30)), middle)[0]
        assert step == pytest.approx((3.0, 0.0), abs=0.6)
        # no colours that the eye did not have
        low, high = lids.min(axis=0).astype(int) - 2, lids.max(axis=0).astype(int) + 2
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        before, after = rest.frame(30)[window], looking.frame(30)[window]
        assert before.min() - 10 < after.min()
        assert after.max() < before.max() + 10
        assert after.mean() == pytest.approx(before.mean(), abs=8)


def test_lids_follow_a_vertical_gaze_a_little() -> None:
    for dy in (-2.0, 2.0):
        shift = moved(face(gaze=(Gaze(0.5, 2.0, 0.0, dy),)), 1.0)
        assert shift[37, 1] == pytest.approx(0.5 * dy, rel=0.25)
        assert np.abs(shift[17:27]).max() < 0.15
        assert np.abs(shift[48:68]).max() < 0.05


def test_a_saccade_takes_40_ms_there_and_back() -> None:
    looking = face(gaze=(Gaze(1.0, 0.5, 4.0, 0.0),))
    reached = [looking.gaze(t)[0] for t in (1.0, 1.02, 1.04, 1.46, 1.48, 1.5)]
    assert reached == pytest.approx([0, 2, 4, 4, 2, 0])


# --- mouth


def test_speech_moves_jaw_and_lips_at_syllable_rate() -> None:
    talking = face(speech=(Speech(0.5, 3.0, 4.0, seed=2),))
    times = np.arange(0.5, 3.5, 0.01)
    path = np.array([moved(talking, t) for t in times])
    chin = path[:, 8, 1]
    assert 0.5 * 4.0 < np.hypot(*np.moveaxis(path, 2, 0)).max() < 1.35 * 4.0
    assert np.abs(path[:, 17:27]).max() < 0.25  # brows
    assert np.abs(path[:, 36:48]).max() < 0.25  # eyes
    peaks = (chin[1:-1] > chin[:-2]) & (chin[1:-1] > chin[2:]) & (chin[1:-1] > 0.5)
    assert 2 * 3 - 1 <= peaks.sum() <= 6 * 3 + 1
    assert chin.min() > -0.2 * 4.0  # pressed lips lift it a little
    assert not moved(talking, 0.5).any()
    assert not moved(talking, 3.51).any()
    other = face(speech=(Speech(0.5, 3.0, 4.0, seed=3),))
    assert not np.allclose(moved(other, 1.5), moved(talking, 1.5))


# --- head


def still_head(axis: str, degrees: float, **more: object) -> SyntheticFace:
    """The head turned by ``degrees`` at frame 0: the middle of a very slow swing."""
    episode = HeadEpisode(-5.0, 20.0, degrees, axis, 0.05)  # type: ignore[arg-type]
    return face(head=HeadMotion(episodes=(episode,)), **more)


def test_yaw_moves_what_stands_out_more_than_what_lies_back(rest: SyntheticFace) -> None:
    shift = moved(still_head("yaw", 5.0), 0.0)
    tip, cheek, jaw = shift[30, 0], shift[[1, 15], 0].mean(), shift[[3, 13], 0].mean()
    d = 126.0
    assert tip == pytest.approx(1.05 * d * np.sin(np.radians(5)), rel=0.2)
    assert abs(cheek) < 0.4 * tip
    assert abs(jaw) < 0.4 * tip
    assert np.abs(shift[:, 1]).max() < 0.2
    back = moved(still_head("yaw", -5.0), 0.0)
    assert back[30, 0] == pytest.approx(-tip, rel=0.05)


def test_pitch_moves_the_face_down() -> None:
    shift = moved(still_head("pitch", 5.0), 0.0)
    assert shift[30, 1] > 8
    assert np.abs(shift[:, 0]).max() < 0.2


def test_pixels_follow_the_turned_head(rest: SyntheticFace) -> None:
    for axis in ("yaw", "pitch", "roll"):
        turned = still_head(axis, 4.0)
        seen = at(flow(rest.frame(0), turned.frame(0)), rest.landmarks)
        error = np.hypot(*(seen - moved(turned, 0.0)).T)[17:]
        assert np.median(error) < 0.15
        assert np.sort(error)[-5] < 0.6


def test_turning_leaves_the_background_alone(rest: SyntheticFace) -> None:
    turned = still_head("yaw", 6.0).frame(0)
    still = np.abs(turned.astype(int) - rest.frame(0)).max(axis=2)
    assert still[:, :20].max() <= 2
    assert still[:, -20:].max() <= 2


def test_the_average_depth_can_be_replaced() -> None:
    episode = HeadEpisode(-5.0, 20.0, 5.0, "yaw", 0.05)
    scene = replace(QUIET, head=HeadMotion(episodes=(episode,)))
    flat = SyntheticFace(scene, depth=np.zeros(68))
    assert np.abs(moved(flat, 0.0)).max() < 1.0


def test_a_shake_begins_and_ends_at_rest() -> None:
    shaking = face(head=HeadMotion(episodes=(HeadEpisode(1.0, 1.5, 4.0, "yaw", 2.0),)))
    angles = np.degrees([shaking.pose(t).yaw for t in np.arange(0.9, 2.6, 0.01)])
    assert angles[:10] == pytest.approx(np.zeros(10))
    assert angles[-8:] == pytest.approx(np.zeros(8))
    assert angles.max() == pytest.approx(4.0, rel=0.05)
    assert angles.min() == pytest.approx(-4.0, rel=0.05)
    steps = np.diff(angles)
    assert np.abs(steps).max() < 4.0 * 2 * np.pi * 2.0 * 0.01 * 1.3


@pytest.mark.parametrize("mode", ["periodic", "drift"])
def test_slow_motion_stays_within_its_amplitude(mode: str) -> None:
    head = HeadMotion(3.0, 2.0, 0.01, 5.0, yaw_deg=4.0, pitch_deg=1.0, mode=mode)  # type: ignore[arg-type]
    moving = face(head=head)
    poses = [moving.pose(t) for t in np.arange(0, 120, 0.05)]
    for values, most in (
        ([p.x for p in poses], 3.0),
        ([p.y for p in poses], 3.0),
        (np.degrees([p.roll for p in poses]), 2.0),
        (np.degrees([p.yaw for p in poses]), 4.0),
        (np.degrees([p.pitch for p in poses]), 1.0),
        ([p.scale - 1 for p in poses], 0.01),
    ):
        assert 0.5 * most < np.abs(values).max() <= most + 1e-9
        assert np.abs(np.diff(values)).max() < 0.25 * most


def test_jitter_has_its_sd_and_is_small_from_frame_to_frame() -> None:
    jittery = face(head=HeadMotion(jitter_px=0.2))
    path = np.array([(jittery.pose(t).x, jittery.pose(t).y) for t in np.arange(0, 120, 1 / 30)])
    assert path.std(axis=0) == pytest.approx([0.2, 0.2], rel=0.2)
    assert np.abs(np.diff(path, axis=0)).max() < 0.7


# --- light and sensor


def brightness(of: SyntheticFace, base: SyntheticFace, frames: range) -> np.ndarray:
    still = base.frame(0)[100:400, 200:440].astype(float)
    usable = (still > 30) & (still < 200)
    return np.array(
        [(of.frame(i)[100:400, 200:440][usable] / still[usable]).mean() for i in frames]
    )


def test_flicker_is_aliased_by_the_frame_rate(rest: SyntheticFace) -> None:
    flickering = face(lighting=Lighting(flicker=0.05, flicker_hz=100.0))
    gains = brightness(flickering, rest, range(30))
    spectrum = np.abs(np.fft.rfft(gains - gains.mean()))
    assert spectrum.argmax() == 10  # 100 Hz seen at 30 frames a second
    steady = face(lighting=Lighting(flicker=0.05, flicker_hz=120.0))
    assert np.ptp(brightness(steady, rest, range(8))) < 1e-3


def test_flicker_makes_bands_where_rows_are_read_one_by_one(rest: SyntheticFace) -> None:
    banded = face(lighting=Lighting(flicker=0.05, flicker_hz=100.0, readout_s=0.02))
    ratio = banded.frame(0) / np.maximum(rest.frame(0), 1.0)
    rows = np.median(ratio[:, 200:440], axis=(1, 2))
    assert rows.max() == pytest.approx(1.05, abs=0.02)
    assert rows.min() == pytest.approx(0.95, abs=0.02)
    assert (np.diff(np.sign(rows - 1)) != 0).sum() >= 3  # two periods in 20 ms


def test_exposure_steps_are_smooth(rest: SyntheticFace) -> None:
    stepping = face(lighting=Lighting(exposures=((0.5, 1.2), (2.0, 0.9))))
    gains = brightness(stepping, rest, range(0, 90, 3))
    assert gains[0] == pytest.approx(1.0, abs=0.01)
    assert gains[12] == pytest.approx(1.2, abs=0.02)
    assert gains[-1] == pytest.approx(0.9, abs=0.02)
    assert np.abs(np.diff(gains)).max() < 0.2


def test_a_moving_shadow_is_local(rest: SyntheticFace) -> None:
    shaded = face(lighting=Lighting(local=0.2, local_period_s=4.0))
    sides = []
    for i in (0, 30, 60):
        ratio = shaded.frame(i) / np.maximum(rest.frame(i), 1.0)
        assert 0.75 < np.median(ratio) < 1.25
        sides.append([np.median(ratio[:, :200]), np.median(ratio[:, -200:])])
    assert np.ptp(sides) > 0.2


def test_light_moves_no_point() -> None:
    lit = face(lighting=Lighting(flicker=0.05, local=0.2), light=0.1)
    assert not moved(lit, 1.0).any()


def test_noise_has_its_level(rest: SyntheticFace) -> None:
    noisy = face(noise=4.0)
    difference = noisy.frame(3)[100:300, 200:440].astype(float) - rest.frame(3)[100:300, 200:440]
    assert difference.std() == pytest.approx(4.0, rel=0.1)


def test_jpeg_costs_detail_and_moves_nothing(rest: SyntheticFace) -> None:
    lossy = face(jpeg_quality=40)
    error = np.abs(lossy.frame(0).astype(int) - rest.frame(0)).mean()
    better = np.abs(face(jpeg_quality=95).frame(0).astype(int) - rest.frame(0)).mean()
    assert 0 < better < error < 8
    assert not moved(lossy, 1.0).any()


# --- arrival


def test_everything_arrives_in_order_by_default(rest: SyntheticFace) -> None:
    assert [(a.index, a.shows) for a in rest.schedule()] == [(i, i) for i in range(120)]
    assert [a.pts for a in rest.schedule()] == pytest.approx(np.arange(120) / 30)


def test_frames_are_lost_and_doubled_as_often_as_asked() -> None:
    scene = Scene(60.0, noise=0, timing=Timing(0.1, 0.05, 0.002))
    arrived = SyntheticFace(scene).schedule()
    nominal = [a.index for a in arrived]
    assert nominal[0] == 0
    assert len(nominal) == pytest.approx(0.9 * 1800, rel=0.03)
    assert (np.diff(nominal) > 0).all()
    assert (np.diff([a.pts for a in arrived]) > 0).all()
    doubled = [k for k, a in enumerate(arrived) if a.shows != a.index]
    assert len(doubled) == pytest.approx(0.05 * len(arrived), rel=0.3)
    assert all(arrived[k].shows == arrived[k - 1].shows for k in doubled)
    late = np.array([a.pts - a.index / 30 for a in arrived])
    assert late.std() == pytest.approx(0.002, rel=0.2)
    assert arrived == SyntheticFace(scene).schedule()


def test_truth_counts_the_frames_that_arrived() -> None:
    scene = Scene(10.0, (Expression(7.0, 7.3, 7.6, (12,), 3.0),), timing=Timing(dropped=0.2))
    shown = SyntheticFace(scene)
    arrived = shown.schedule()
    nominal = shown.truth()[0]
    there = delivered(shown.truth(), arrived)[0]
    assert there.onset < nominal.onset
    for position, frame in ((there.onset, nominal.onset), (there.offset, nominal.offset)):
        assert arrived[position].index >= frame
        assert arrived[position - 1].index < frame


# --- faces


def test_identities_look_different_and_keep_their_landmarks() -> None:
    image, points = load_portrait()
    assert varied((image, points), 0)[0] is image
    seen = []
    for identity in (1, 2, 3, -3):
        other, there = varied((image, points), identity)
        again, _ = varied((image, points), identity)
        assert np.array_equal(other, again)
        assert other.shape == image.shape
        assert np.abs(other.astype(int) - image).mean() > 3
        seen.append(there)
        d = np.hypot(*(points[45] - points[36]))
        shape = there - there[27:31].mean(axis=0)
        for straight in (points, np.array([-1, 1]) * points[list(portrait.MIRRORED)]):
            change = np.hypot(*(shape - (straight - straight[27:31].mean(axis=0))).T).max() / d
            if change < 0.12:
                break
        assert 0.01 < change < 0.12
    assert all(np.abs(a - b).max() > 1 for k, a in enumerate(seen) for b in seen[:k])


def test_landmarks_move_as_the_pixels_of_an_identity_do() -> None:
    base = portrait.load_portrait()
    points = base[1]
    rng = np.random.default_rng([2, 0, 11])
    image, there = portrait._reshaped(*base, rng)
    seen = at(flow(base[0], image), points)
    error = np.hypot(*(seen - (there - points)).T)[17:]
    assert np.median(error) < 0.25


def test_the_mirror_table_is_its_own_inverse() -> None:
    table = np.array(portrait.MIRRORED)
    assert sorted(table) == list(range(68))
    assert (table[table] == np.arange(68)).all()


def test_left_stays_left_in_the_mirror() -> None:
    for identity in range(1, 6):
        shown = face(
            identity=identity, expressions=(Expression(0.5, 1, 1.5, (12,), 3.0, balance=-1.0),)
        )
        assert shown.landmarks[54, 0] > shown.landmarks[48, 0]
        sizes = np.hypot(*moved(shown, 1.0).T)
        assert sizes[54] > 5 * sizes[48]


@pytest.mark.parametrize("eye_px", [80.0, 126.0, 180.0])
def test_the_face_has_the_size_asked_for(eye_px: float) -> None:
    shown = face(eye_px=eye_px)
    corners = shown.landmarks[45] - shown.landmarks[36]
    assert np.hypot(*corners) == pytest.approx(eye_px, rel=0.003)
    image, points = load_portrait()
    scale = eye_px / np.hypot(*(points[45] - points[36]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    there = np.round(shown.landmarks[30]).astype(int)
    here = np.round((points[30] + 0.5) * scale - 0.5).astype(int)
    r = 20
    a = shown.frame(0)[there[1] - r : there[1] + r, there[0] - r : there[0] + r]
    b = small[here[1] - r : here[1] + r, here[0] - r : here[0] + r]
    assert np.abs(a.astype(int) - b).mean() < 6


def test_portraits_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "astronaut" in portrait_names()
    image, points = load_portrait("astronaut")
    folder = tmp_path / "portraits"
    folder.mkdir()
    cv2.imwrite(str(folder / "other.jpg"), image[:, :700])
    entry = {"landmarks": (points + 1).tolist(), "licence": "CC0", "source": "made here"}
    (folder / "other.json").write_text(json.dumps(entry))
    monkeypatch.setattr(portrait, "DATA", tmp_path)
    found, there = load_portrait("other")
    assert found.shape == (640, 700, 3)
    assert there == pytest.approx(points + 1)
    with pytest.raises(UserError, match=r"'nobody'.*other"):
        load_portrait("nobody")


# --- over a video


def video(n: int = 60) -> tuple[NeutralVideo, SyntheticFace]:
    moving = SyntheticFace(Scene(n / 30, noise=0, head=HeadMotion(6.0, 3.0, 0.02, 2.0)))
    points = np.array([moving.points(i / 30) for i in range(n)])
    return NeutralVideo(moving.frame, points), moving


def test_expressions_ride_on_a_neutral_video() -> None:
    neutral, moving = video()
    script = (Expression(0.8, 1.0, 1.2, (12,), 4.0),)
    scene = Scene(2.0, script, noise=0, head=HeadMotion(9.0))
    over = VideoFace(scene, neutral)
    assert np.array_equal(over.frame(5), moving.frame(5))
    assert over.truth() == SyntheticFace(scene).truth()
    assert len(over.schedule()) == 60
    same = SyntheticFace(replace(moving.scene, expressions=script))
    seen = at(flow(moving.frame(30), over.frame(30)), neutral.landmarks[30])
    expected = same.points(1.0) - moving.points(1.0)
    assert np.hypot(*expected.T).max() == pytest.approx(4.0, rel=0.08)
    assert np.hypot(*(seen - expected).T)[17:].max() < 0.8
    assert np.array_equal(over.frame(30), over.frame(30))


def test_a_video_that_does_not_fit_is_refused() -> None:
    neutral, _ = video(30)
    with pytest.raises(ValueError, match="at least 60 frames"):
        VideoFace(Scene(2.0), neutral)
    with pytest.raises(ValueError, match=r"\(480, 640, 3\)"):
        VideoFace(Scene(1.0, width=320), neutral)
    with pytest.raises(ValueError, match="68"):
        VideoFace(Scene(1.0), NeutralVideo(neutral.image, np.zeros((30, 5, 2))))
