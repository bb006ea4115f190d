"""What nodes put on the tap for the page. Faces are synthetic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from models.synthesis import SyntheticFace, demo_scene
from pipeline.build import build, prototypes
from pipeline.config import Config, load
from pipeline.dashboard.sights import CELL, FaceSight, Pace, sight
from pipeline.stage_nodes import StageNode
from stages.items import Curves, Evidence, Frame, Interval, Stamp

FPS = 30.0
SETTINGS = {"enabled": True, "fps": 60.0, "width": 320}


class Tap(list[tuple[str, list[Any]]]):
    """Keeps what is put on it, decoded."""

    def __call__(self, parts: Sequence[bytes]) -> None:
        topic, *bodies = parts
        decoded = [b if b[:2] == b"\xff\xd8" else msgspec.msgpack.decode(b) for b in bodies]
        self.append((topic.decode(), decoded))

    def of(self, topic: str) -> list[list[Any]]:
        """The bodies under a topic."""
        return [bodies for name, bodies in self if name == topic]


def settings(**more: Any) -> Config:
    return load(source="synthetic:", dashboard=SETTINGS | more, fps="max")


def test_pace_keeps_the_rate_and_forgives_a_pause() -> None:
    now = 100.0
    pace = Pace(10, clock=lambda: now)
    gone = 0
    for step in range(300):  # 10 s at 30/s
        now = 100.0 + step / 30
        gone += pace.due()
    assert 99 <= gone <= 101
    now += 5
    assert [pace.due() for _ in range(3)] == [True, False, False]
    several = Pace(10, burst=3, clock=lambda: now)
    assert [several.due() for _ in range(4)] == [True, True, True, False]


def test_nothing_is_made_that_nobody_may_see() -> None:
    assert sight("face", load(), None, Tap()) is None  # type: ignore[arg-type]
    hidden = settings(images=False)
    assert sight("face", hidden, None, Tap()) is None  # type: ignore[arg-type]
    assert sight("motion", hidden, None, Tap()) is None  # type: ignore[arg-type]
    assert sight("publish", settings(), None, Tap()) is None  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["mespot", "paper"])
def seen(request: pytest.FixtureRequest) -> tuple[Tap, Config, list[Any]]:
    """What 4 s of the synthetic camera put on the tap, and the intervals that came of it."""
    config = load(source="synthetic:", dashboard=SETTINGS, fps="max", method=request.param)
    tap, intervals = Tap(), []
    stages = {name: build(name, config) for name in ("face", "motion", "spot")}
    sights = {name: sight(name, config, stage, tap) for name, stage in stages.items()}

    def take(names: list[str], item: Any) -> None:
        if not names:
            intervals.append(item)
            return
        name, *rest = names
        outputs = list(stages[name].process(item))
        shown = sights[name]
        assert shown is not None
        shown(item, outputs)
        for output in outputs:
            if not (name == "motion" and not isinstance(output, Curves)):
                take(rest, output)

    face = SyntheticFace(demo_scene(4.0, 7))
    for number in range(int(4 * FPS)):
        stamp = Stamp("cam", number, number / FPS, 1, 2)
        take(["face", "motion", "spot"], Frame(stamp, face.frame(number)))
    return tap, config, intervals


def test_a_picture_and_its_regions(seen: tuple[Tap, Config, list[Any]]) -> None:
    header, jpeg = seen[0].of("picture.cam")[0]
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3) == (header["height"], header["width"], 3)
    (face,) = header["faces"]
    eye, mouth = np.array(face["regions"])
    assert eye.shape == mouth.shape == (4, 2)
    assert eye[:, 0].min() > 0 and mouth[:, 1].max() < 240 and eye[0, 1] < mouth[0, 1]
    wide = np.linalg.norm(eye[1] - eye[0]) / np.linalg.norm(eye[3] - eye[0])
    assert wide == pytest.approx(280 / 240, abs=0.02)


def test_flow_is_a_mean_for_each_cell(seen: tuple[Tap, Config, list[Any]]) -> None:
    flows = [bodies[0] for bodies in seen[0].of("flow.cam")]
    assert flows
    for region, (width, height) in (("eye", (280, 240)), ("mouth", (260, 160))):
        cells = flows[-1][region]
        assert (cells["columns"], cells["rows"]) == (width // CELL, height // CELL)
        assert len(cells["values"]) == 2 * cells["columns"] * cells["rows"]
    # brows go up at 1.77 s: upwards is less y
    highest = min(np.array(f["eye"]["values"]).reshape(12, 14, 2)[:6, :, 1].min() for f in flows)
    assert highest * flows[0]["unit"] < -0.5


def test_curves_rise_beyond_theta_where_the_event_is(seen: tuple[Tap, Config, list[Any]]) -> None:
    tap, config, intervals = seen
    rises = [bodies[0] for bodies in tap.of("rises.cam")]
    assert all(a["pts"] < b["pts"] for a, b in itertools.pairwise(rises))
    final = next(i for i in intervals if isinstance(i, Interval) and i.phase == "final")
    lanes = rises[0]["aus"]
    for one in final.aus if config.method == "mespot" else final.aus[:1]:
        own = [(r["pts"], r["values"][lanes.index(one.au)]) for r in rises]
        near = [v for pts, v in own if abs(pts - one.apex.pts) < 0.1]
        assert max(near) > 1.0  # eq. 24, or its half that is known by then
    assert config.method == "paper" or len(lanes) > len(prototypes(config).aus)


def test_crops_of_final_events(seen: tuple[Tap, Config, list[Any]]) -> None:
    tap, _, intervals = seen
    finals = [i for i in intervals if isinstance(i, Interval) and i.phase == "final"]
    crops = [bodies[0] for bodies in tap.of("crops.cam")]
    assert [c["id"] for c in crops] == [i.id for i in finals] and finals
    assert isinstance(finals[0].evidence, Evidence)
    eye = cv2.imdecode(np.frombuffer(crops[0]["crops"]["apex_eye"], np.uint8), cv2.IMREAD_GRAYSCALE)
    off = eye.astype(float) - finals[0].evidence.apex_eye
    assert eye.shape == (240, 280) and np.abs(off).mean() < 3


def test_many_frames_at_once_are_told_together() -> None:
    class Stage:
        height = 0.0

        def rises(self, stream: str, face: int) -> tuple[float, Any]:
            self.height += 1
            return self.height, np.full(8, 100.0 if self.height == 70 else 1.0)

    tap, stage = Tap(), Stage()
    shown = sight("spot", load(dashboard=SETTINGS, method="paper"), stage, tap)  # type: ignore[arg-type]
    assert shown is not None
    crop = np.zeros((240, 280), np.uint8)
    for number in range(2000):
        shown(Curves(Stamp("cam", number, number / 30, 0, 0), 0, [], eye=crop), [])
    told = [bodies[0] for bodies in tap.of("rises.cam")]
    assert 60 <= len(told) < 1000
    assert max(max(one["values"]) for one in told) == 100.0  # no peak is lost


def test_a_small_picture_is_not_enlarged() -> None:
    tap = Tap()
    image = np.zeros((100, 160), np.uint8)
    FaceSight(60, 640, tap)(Frame(Stamp("cam", 0, 0.0, 0, 0), image), [])
    assert tap[0][1][0]["width"] == 160 and tap[0][1][0]["faces"] == []


def test_a_sight_that_fails_does_not_end_the_node() -> None:
    def fails(item: Any, outputs: Any) -> None:
        raise ValueError("no such picture")

    notes: list[str] = []
    node = StageNode.__new__(StageNode)
    node._sight = fails
    node.reporter = SimpleNamespace(once=notes.append)  # type: ignore[assignment]
    node._show(None, [])  # type: ignore[arg-type]
    assert notes == ["nothing to see: ValueError: no such picture"]
