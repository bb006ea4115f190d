"""Synthetic recognition sets: planned by the tables, read back by the readers of the real ones."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.au_graph import objective_class
from models.datasets import Dataset, converted, load
from models.errors import UserError
from models.synthesis import SyntheticFace, au_displacements
from models.synthesis.recognition_set import Kind, SetPlan, key_frames, plan_set
from models.synthesis.recognition_set_faces import draw_looks, face_of
from models.synthesis.recognition_set_files import RECORD, clip_folder, write_labels, write_sample
from models.synthesis.recognition_set_labels import EMOTIONS, allotted

KINDS: tuple[Kind, ...] = ("casme2", "samm")
SIZE = (320, 240)


def _tiny(kind: Kind, seed: int = 5) -> SetPlan:
    return plan_set(kind, subjects=2, samples=3, seed=seed, size=SIZE)


def _written(plan: SetPlan, root: Path) -> Path:
    for sample in plan.samples:
        assert write_sample(sample, root) == 12
    write_labels(plan, root)
    return root


@pytest.fixture(scope="module", params=KINDS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SetPlan, Path, Dataset]:
    plan = _tiny(request.param)
    root = _written(plan, tmp_path_factory.mktemp(request.param))
    return plan, root, load(request.param, root)


# --- the tables


@pytest.mark.parametrize("kind", KINDS)
def test_the_emotion_follows_from_aus_that_can_be_drawn(kind: Kind) -> None:
    sets = [(frozenset(s.aus), e.label) for e in EMOTIONS[kind] for s in e.sets]
    assert len({aus for aus, _ in sets}) == len(sets)
    for aus, _ in sets:
        assert aus <= au_displacements().keys()
        assert objective_class(aus, "table") == objective_class(aus, "extended")
    for emotion in EMOTIONS[kind]:
        assert all(set(s.sided) <= set(s.aus) for s in emotion.sets)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_are_of_the_real_labels(kind: Kind, data: Path) -> None:
    real = converted.read(data / "labels" / f"{kind}.csv", kind).annotations
    rows = Counter(a.emotion for a in real)
    found = {(a.emotion, a.au_numbers) for a in real}
    assert dict(rows) == {e.label: e.rows for e in EMOTIONS[kind]}
    for emotion in EMOTIONS[kind]:
        for one in emotion.sets:
            assert (emotion.label, frozenset(one.aus)) in found


def test_shares_are_met_not_drawn() -> None:
    labels = Counter(label for label, _ in allotted("casme2", 240))
    total = sum(math.sqrt(e.rows) for e in EMOTIONS["casme2"])
    assert sum(labels.values()) == 240
    for emotion in EMOTIONS["casme2"]:
        assert abs(labels[emotion.label] - 240 * math.sqrt(emotion.rows) / total) < 1


# --- plans


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_of_the_default_size_has_every_class(kind: Kind) -> None:
    plan = plan_set(kind)
    assert len(plan.subjects) == 12
    assert len(plan.samples) == 192
    classes = Counter(s.objective_class for s in plan.samples)
    assert all(classes[name] >= 10 for name in ("I", "II", "III", "IV", "V"))
    of = {frozenset(one.aus): e.label for e in EMOTIONS[kind] for one in e.sets}
    assert all(of[frozenset(s.aus)] == s.label for s in plan.samples)
    assert {s.label for s in plan.samples} == {e.label for e in EMOTIONS[kind]}
    clips = {(s.subject.name, s.clip) for s in plan.samples}
    assert len(clips) == len(plan.samples)


@pytest.mark.parametrize("kind", KINDS)
def test_expressions_are_micro(kind: Kind) -> None:
    for sample in plan_set(kind, seed=2).samples:
        assert sample.first > 0
        assert sample.onset < sample.apex < sample.offset
        assert sample.offset - sample.onset < 100  # 0.5 s at 200 frames a second
        scene = sample.scene
        for e in scene.expressions:
            assert 0.8 <= e.amplitude_px <= 3.0
            for moment, number in (
                (e.onset_s, sample.onset),
                (e.apex_s, sample.apex),
                (e.offset_s, sample.offset),
            ):
                assert round(moment * scene.fps) == number - sample.first
        assert {au for e in scene.expressions for au in e.aus} == set(sample.aus)
        assert sample.offset < sample.first + scene.n_frames


def test_sides_are_annotated_as_they_move() -> None:
    texts = set()
    for sample in plan_set("casme2", seed=1).samples:
        moving = {au: e.leaning for e in sample.scene.expressions for au in e.aus}
        for code in sample.au_text.split("+"):
            side = {"L": -1.0, "R": 1.0}.get(code[0])
            leaning = moving[int(code.lstrip("LR"))]
            assert leaning == side if side else abs(leaning) < 0.5
            texts.add(code[0] if side else "")
    assert texts == {"", "L", "R"}


def test_plans_come_from_the_seed_alone() -> None:
    assert _tiny("samm") == _tiny("samm")
    assert _tiny("samm") != _tiny("samm", seed=6)


def test_key_frames_are_the_enriched_apexes_however_rounded() -> None:
    assert key_frames(100, 110, 130) == (100, 106, 107, 108, 109, 110, 112, 114, 116, 118, 120, 130)
    for sample in plan_set("samm").samples:
        onset, apex, offset = sample.onset, sample.apex, sample.offset
        exact = [onset + (apex - onset) * k / 10 for k in (6, 7, 8, 9)]
        exact += [apex + (offset - apex) * k / 10 for k in (1, 2, 3, 4, 5)]
        expected = {onset, apex, offset}
        for at in exact:
            assert math.floor(at + 0.5) == math.ceil(at - 0.5)
            expected.add(math.floor(at + 0.5))
        assert set(key_frames(onset, apex, offset)) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "smic"}, "smic"),
        ({"subjects": 0}, "0 subjects"),
        ({"samples": 0}, "0 samples"),
        ({"seed": -1}, "seed -1"),
        ({"portraits": ()}, "no portrait"),
        ({"portraits": ("mona",)}, "mona"),
    ],
)
def test_bad_plans_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_set(**{"kind": "samm", **arguments})  # type: ignore[arg-type]


# --- identities


def _geometry(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Landmarks from the middle of the nose, in eye distances, the eyes level."""
    axis = points[45] - points[36]
    d = float(np.hypot(*axis))
    cos, sin = axis / d
    return (points - points[27:36].mean(axis=0)) @ np.array([[cos, -sin], [sin, cos]]) / d


def _skin(image: npt.NDArray[np.uint8], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean CIELAB colour inside the landmarks."""
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    return np.asarray(lab[mask > 0].mean(axis=0), np.float64)


def test_subjects_of_one_portrait_differ_in_geometry_and_skin() -> None:
    faces = [face_of(look) for look in draw_looks(("astronaut",), 6, 3)]
    assert all(image.dtype == np.uint8 for image, _ in faces)
    shapes = [_geometry(points) for _, points in faces]
    skins = [_skin(image, points) for image, points in faces]
    apart = [np.hypot(*(a - b).T).max() for a, b in itertools.combinations(shapes, 2)]
    assert min(apart) > 0.03  # 5 px at an eye distance of 160 px
    colours = [np.linalg.norm(a - b) for a, b in itertools.combinations(skins, 2)]
    assert np.median(colours) > 8  # a difference of 2 can be seen
    assert min(colours) > 2


# --- files, read by the readers of the licensed sets


def test_the_reader_finds_labels_and_frames(made: tuple[SetPlan, Path, Dataset]) -> None:
    plan, _, dataset = made
    assert len(dataset.annotations) == len(plan.samples) == 6
    assert len(dataset.subjects) == 2
    for sample, annotation in zip(plan.samples, dataset.annotations, strict=True):
        moments = (annotation.onset, annotation.apex, annotation.offset)
        assert moments == (sample.onset, sample.apex, sample.offset)
        assert annotation.emotion == sample.label
        assert annotation.au_text == sample.au_text
        assert annotation.sure_aus == set(sample.aus)
        assert annotation.kind == "micro"
        frames = dataset.frames(annotation)
        assert frames.numbers == key_frames(sample.onset, sample.apex, sample.offset)
        for path in frames.images:
            assert cv2.imread(str(path)).shape == (SIZE[1], SIZE[0], 3)
    pairs, left_out = dataset.pairs()
    assert len(pairs) == 6
    assert not left_out


def test_samm_is_grey_and_says_its_objective_class(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    plan = plan_set("samm", subjects=1, samples=12, size=SIZE)
    write_sample(plan.samples[0], tmp_path)
    write_labels(plan, tmp_path)
    image = next((tmp_path / clip_folder(plan.samples[0])).iterdir())
    assert cv2.imread(str(image), cv2.IMREAD_UNCHANGED).ndim == 2
    sheet = openpyxl.load_workbook(tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx")["MICRO_ONLY"]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[13][:2] == ("Subject", "Filename")
    numbers = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7}
    for row, sample in zip(rows[14:], plan.samples, strict=True):
        assert row[10] == numbers[sample.objective_class]
        assert row[6] == row[5] - row[3] + 1


def test_the_apex_shows_the_expression(made: tuple[SetPlan, Path, Dataset]) -> None:
    """The flow from onset to apex is what the truth says of the landmarks."""
    plan, _, dataset = made
    alike = []
    for sample, annotation in zip(plan.samples, dataset.annotations, strict=True):
        frames = dataset.frames(annotation)
        grey = [
            cv2.imread(str(frames.image(n)), cv2.IMREAD_GRAYSCALE)
            for n in (sample.onset, sample.apex)
        ]
        start = np.zeros((*grey[0].shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(*grey, start, 0.5, 3, 15, 3, 5, 1.2, 0)
        face = SyntheticFace(sample.scene, face_of(sample.subject.look))
        first, last = (
            face.points((n - sample.first) / sample.scene.fps) for n in (sample.onset, sample.apex)
        )
        moved = last - first
        at = np.round(first).astype(int)
        seen = flow[at[:, 1], at[:, 0]]
        alike.append((moved * seen).sum() / np.linalg.norm(moved) / np.linalg.norm(seen))
    assert np.median(alike) > 0.6
    assert min(alike) > 0.2


def test_the_same_plan_makes_the_same_files(
    made: tuple[SetPlan, Path, Dataset], tmp_path: Path
) -> None:
    plan, root, _ = made
    sample = plan.samples[4]
    write_sample(sample, tmp_path)
    folder = clip_folder(sample)
    names = sorted(path.name for path in (tmp_path / folder).iterdir())
    assert names == sorted(path.name for path in (root / folder).iterdir())
    for name in names:
        assert (tmp_path / folder / name).read_bytes() == (root / folder / name).read_bytes()


def test_all_frames_hold_the_key_frames(tmp_path: Path) -> None:
    sample = _tiny("casme2").samples[0]
    count = write_sample(sample, tmp_path / "all", "all")
    write_sample(sample, tmp_path / "key")
    folder = clip_folder(sample)
    every = {path.name for path in (tmp_path / "all" / folder).iterdir()}
    assert len(every) == count == sample.scene.n_frames
    for path in (tmp_path / "key" / folder).iterdir():
        assert (tmp_path / "all" / folder / path.name).read_bytes() == path.read_bytes()


def test_a_record_says_that_it_is_synthetic(made: tuple[SetPlan, Path, Dataset]) -> None:
    plan, root, dataset = made
    said = json.loads((root / RECORD).read_text())
    assert said["synthetic"] is True
    assert (said["as"], said["seed"], said["samples"]) == (plan.kind, 5, 6)
    assert tuple(said["subjects"]) == dataset.subjects
    portraits = [subject["portrait"] for subject in said["subjects"].values()]
    assert portraits == ["astronaut", "biden"]
