"""Our Farnebäck against OpenCV's (textures are synthetic; real crops with MESPOT_DATA)."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.farneback import Farneback, FarnebackParams, farneback, layers


def _texture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rough = sum(
        cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), s) * s for s in (1.5, 4.0, 12.0)
    )
    return np.clip(128 + 60 * rough / np.std(rough), 0, 255).astype(np.uint8)


def _warped(image: np.ndarray, seed: int = 1, px: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    h, w = image.shape
    field = [cv2.GaussianBlur(rng.standard_normal((h, w)), (0, 0), 25) for _ in range(2)]
    xs, ys = np.meshgrid(np.arange(w), np.arange(h))
    dx, dy = (px * f / np.abs(f).max() for f in field)
    maps = (xs + dx).astype(np.float32), (ys + dy).astype(np.float32)
    return cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _assert_equal(a: np.ndarray, b: np.ndarray, params: FarnebackParams) -> None:
    flags = cv2.OPTFLOW_FARNEBACK_GAUSSIAN if params.gaussian else 0
    want = cv2.calcOpticalFlowFarneback(
        a,
        b,
        None,
        params.pyr_scale,
        params.levels,
        params.winsize,
        params.iterations,
        params.poly_n,
        params.poly_sigma,
        flags,
    )
    error = np.hypot(*np.moveaxis(farneback(a, b, params) - want, 2, 0))
    assert error.mean() <= 0.001
    assert np.percentile(error, 99.9) <= 0.02


MATRIX = list(itertools.product((0, 1, 2, 3), (1, 2, 3, 5), (False, True)))


@pytest.mark.parametrize(("levels", "iterations", "gaussian"), MATRIX)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_exact_equals_opencv(levels: int, iterations: int, gaussian: bool, kind: type) -> None:
    a = _texture((160, 260))
    b = _warped(a)
    params = FarnebackParams(levels=levels, iterations=iterations, gaussian=gaussian)
    _assert_equal(a.astype(kind), b.astype(kind), params)


@pytest.mark.parametrize(
    "params",
    [
        FarnebackParams(winsize=9, poly_n=7, poly_sigma=1.5),
        FarnebackParams(winsize=21, pyr_scale=0.6, levels=2),
    ],
)
def test_other_parameters_equal_opencv_too(params: FarnebackParams) -> None:
    a = _texture((240, 280), 5)
    _assert_equal(a, _warped(a, 6), params)


@pytest.mark.parametrize("name", ["single_face.mp4", "../dev_clips/dev_01.mp4"])
def test_exact_equals_opencv_on_real_face_crops(data: Path, name: str) -> None:
    from pipeline.sources import open_source
    from stages.face import FaceStage
    from stages.items import Face
    from stages.landmarks import FaceMeshLandmarker

    stage = FaceStage(FaceMeshLandmarker())
    faces = [
        face
        for frame in itertools.islice(
            open_source(str(data / "real_clips" / name), fps="max").frames(), 26
        )
        for face in stage.process(frame)
        if isinstance(face, Face)
    ]
    first, next_one, last = faces[0], faces[1], faces[-1]
    _assert_equal(first.eye, next_one.eye, FarnebackParams())
    _assert_equal(first.eye, last.eye, FarnebackParams())
    _assert_equal(first.mouth, next_one.mouth, FarnebackParams())
    for levels, iterations, gaussian in MATRIX:
        params = FarnebackParams(levels=levels, iterations=iterations, gaussian=gaussian)
        _assert_equal(first.mouth, last.mouth, params)


def test_the_references_expansion_is_reusable() -> None:
    a = _texture((160, 260))
    engine = Farneback((260, 160), FarnebackParams())
    engine.set_reference(a)
    for seed in (3, 4, 3):
        b = _warped(a, seed)
        assert np.array_equal(engine.flow(b), farneback(a, b))


def test_the_flow_does_not_depend_on_where_arrays_lie() -> None:
    a = _texture((224, 224))
    b = _warped(a)
    rng, between = np.random.default_rng(0), []
    flows = []
    for _ in range(60):
        between.append(np.zeros(rng.integers(1, 5000), np.uint8))
        flows.append(farneback(a, b).copy())
    assert all(np.array_equal(flow, flows[0]) for flow in flows)


def test_no_array_is_made_per_frame() -> None:
    a = _texture((160, 260))
    engine = Farneback((260, 160), FarnebackParams())
    engine.set_reference(a)
    first = engine.flow(a)
    assert engine.flow(_warped(a)) is first


def test_threads_do_not_disturb_each_other() -> None:
    a = _texture((96, 120))
    images = [_warped(a, seed) for seed in range(4)]
    want = [farneback(a, b).copy() for b in images]
    got: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        for _ in range(5):
            got[i] = farneback(a, images[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(got[i], want[i]) for i in range(4))


def test_layers_stop_at_opencvs_least_size() -> None:
    assert [layer[1:] for layer in layers((280, 240), FarnebackParams(levels=5))] == [
        (280, 240),
        (140, 120),
        (70, 60),
    ]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8), "grey image"),
        (np.zeros((40, 40)), np.zeros((40, 40)), "uint8 or float32"),
        (np.zeros((40, 40), np.uint8), np.zeros((40, 50), np.uint8), "shape"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "too small"),
    ],
)
def test_what_is_no_pair_of_grey_images_is_refused(
    a: np.ndarray, b: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        farneback(a, b)
