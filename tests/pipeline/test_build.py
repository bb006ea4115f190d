"""From the configuration to the rules and stages that it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from models.errors import PrototypeError
from models.prototypes import load_default
from pipeline.build import STAGES, build, prototypes, rules
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
