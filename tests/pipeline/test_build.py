"""From the configuration to the rules and stages that it asks for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import pipeline.config
from models.errors import ModelError, PrototypeError
from models.prototypes import load_default
from pipeline.build import STAGES, build, prototypes, recognisers, rules, scorer
from pipeline.config import load
from stages.face import FaceStage
from stages.joint import JointParams
from stages.rules import JointRules, PaperRules
from stages.spot import SpotStage


def _params(**options: Any) -> Any:
    """Parameters of the rules that a configuration makes."""
    return rules(load(source="synthetic:", **options))._params  # type: ignore[attr-defined]


def test_the_method_chooses_the_rules() -> None:
    assert isinstance(rules(load(source="synthetic:")), JointRules)
    assert isinstance(rules(load(source="synthetic:", method="mespot")), JointRules)
    assert isinstance(rules(load(source="synthetic:", method="paper")), PaperRules)


def test_joint_rules_take_the_options_of_spot() -> None:
    given = {"search_s": 0.8, "micro_s": 0.6, "explained": 0.5, "calibrate_s": 3.0}
    made = _params(spot=given)
    assert {key: getattr(made, key) for key in given} == given


def test_the_papers_rules_take_the_options_of_spot() -> None:
    given = {"search_s": 0.8, "micro_s": 0.6, "overlap": 0.4, "smooth_s": 0.05, "border": 0.2}
    made = _params(method="paper", spot=given)
    assert {key: getattr(made, key) for key in given} == given


def test_without_options_joint_rules_are_those_that_were_tuned() -> None:
    made, tuned = _params(), JointParams()
    for name in ("theta", "search_s", "explained", "micro_s", "calibrate_s"):
        assert getattr(made, name) == getattr(tuned, name)


def test_one_number_scales_every_threshold_of_either_method() -> None:
    twice = {"threshold_scale": 2.0}
    assert _params(spot=twice).theta == pytest.approx(2 * _params().theta)
    plain, scaled = (
        rules(load(source="synthetic:", method="paper", spot=spot))._thetas  # type: ignore[attr-defined]
        for spot in ({}, twice)
    )
    assert scaled == pytest.approx(2 * plain)
    assert plain == pytest.approx(load_default().thetas)


def _old_set(folder: Path) -> Path:
    path = folder / "old.npz"
    replace(load_default(), joint=None).save(path)
    return path


def test_a_set_without_a_joint_model_serves_the_papers_method_alone(tmp_path: Path) -> None:
    path = _old_set(tmp_path)
    paper = load(source="synthetic:", method="paper", motion={"prototypes": path})
    assert prototypes(paper).joint is None
    build("motion", paper)
    build("spot", paper)
    with pytest.raises(PrototypeError, match="set method to paper"):
        build("motion", load(source="synthetic:", motion={"prototypes": path}))


def test_every_stage_is_built() -> None:
    made = {name: build(name, load(source="synthetic:")) for name in STAGES}
    assert isinstance(made["face"], FaceStage)
    assert isinstance(made["spot"], SpotStage)
    with pytest.raises(ValueError, match="no stage called nose"):
        build("nose", load(source="synthetic:"))


def test_every_blas_is_held_to_one_thread() -> None:
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        build("spot", load(source="synthetic:"))
        found = [row for row in threadpoolctl.threadpool_info() if row["user_api"] == "blas"]
        assert found
        assert {row["num_threads"] for row in found} == {1}


def test_the_ids_of_a_rebuilt_stage_differ() -> None:
    config = load(source="synthetic:")
    epochs = [build("spot", config, epoch)._epoch for epoch in range(3)]  # type: ignore[attr-defined]
    assert len(set(epochs)) == 3
    assert np.diff(epochs).min() > 100  # room for stages lost upstream


# ---------------------------------------------------------------- recognisers


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the shipped recognisers."""
    monkeypatch.setattr(pipeline.config, "SHIPPED", tmp_path)
    return tmp_path


def _model(path: Path, region: str = "eye", **keys: Any) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.models.test_recogniser import FLOW, card, save

    return save(path, card(inputs={"flow": FLOW | {"region": region}}, **keys), DYNAMIC)


DYNAMIC = {"flow": ["n", 2, 6, 8]}


def test_shipped_recognisers_are_the_default_and_can_be_left_out(shipped: Path) -> None:
    paths = [_model(shipped / f"{name}.onnx", name=name) for name in ("b", "a")]
    assert recognisers(load()) == paths[::-1]
    assert recognisers(load(model=[])) == []
    assert recognisers(load(model=paths[0])) == [paths[0]]
    made = scorer(load())
    assert made is not None
    assert made.models == ["a@3", "b@3"]
    assert scorer(load(model=[])) is None


def test_without_any_recogniser_there_is_the_coding_guide(shipped: Path) -> None:
    assert recognisers(load()) == []
    assert build("classify", load()).scorer is None  # type: ignore[attr-defined]


def test_shipped_recognisers_need_onnx_runtime_but_do_not_demand_it(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _model(shipped / "a.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert recognisers(load()) == []
    assert recognisers(load(model=path)) == [path]  # asked for: missing is a mistake


@pytest.mark.parametrize("demand", [{"require_gpu": True}, {"classify": {"tensorrt": True}}])
def test_a_gpu_that_is_demanded_demands_the_shipped_recognisers(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, demand: dict[str, Any]
) -> None:
    path = _model(shipped / "a.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert recognisers(load(**demand)) == [path]
    with pytest.raises(ModelError, match="install the cpu or gpu extra"):
        scorer(load(**demand))


def test_two_recognisers_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [_model(tmp_path / f"{name}.onnx", name=name[0]) for name in ("a1", "b", "a2")]
    with pytest.raises(ModelError) as caught:
        scorer(load(model=paths))
    text = str(caught.value)
    assert text.startswith(f"model: {paths[0]} and {paths[2]} are both called a;")
    assert "\n" not in text
    assert scorer(load(model=paths[:2])) is not None


@pytest.mark.parametrize("region", ["eye", "face"])
def test_the_whole_face_is_cropped_for_those_that_look_at_it(shipped: Path, region: str) -> None:
    paths = [_model(shipped / "a.onnx"), _model(shipped / "b.onnx", region)]
    for config, wanted in ((load(), region == "face"), (load(model=paths[0]), False)):
        assert build("face", config)._whole is wanted  # type: ignore[attr-defined]


def test_the_options_of_classify_reach_the_session(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import models.recogniser

    seen: list[Any] = []
    inner = models.recogniser.OnnxSession

    def spy(path: Path, compute: Any) -> Any:
        seen.append(compute)
        return inner(path, compute)

    monkeypatch.setattr(models.recogniser, "OnnxSession", spy)
    _model(shipped / "a.onnx")
    made = scorer(load(classify={"threads": 3, "batch": 5}))
    assert (seen[0].threads, seen[0].require_gpu, seen[0].tensorrt) == (3, False, False)
    assert made is not None
    assert made._batch == 5


def test_a_magnifier_of_the_users_is_used(shipped: Path, tmp_path: Path) -> None:
    from stages.magnify import FlowWarpMagnifier, OnnxMagnifier
    from tests.stages.test_magnify import network

    _model(shipped / "a.onnx")
    made = scorer(load())
    assert made is not None
    assert isinstance(made._magnifier, FlowWarpMagnifier)
    path = network(tmp_path / "magnifier.net", [1, 3, "h", "w"], {})
    made = scorer(load(classify={"magnifier": path}))
    assert made is not None
    assert isinstance(made._magnifier, OnnxMagnifier)
    with pytest.raises(ModelError, match=r"none\.onnx: no such model file"):
        scorer(load(classify={"magnifier": tmp_path / "none.onnx"}))
