"""``python -m bench recognition`` on tiny models made here (random weights)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bench.recognition
from bench.__main__ import app
from bench.recognition import key_frames, measure
from models.errors import UserError
from pipeline.cli import run
from stages.items import Evidence

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.models.test_recogniser import card, save

FACE = {"source": "magnified", "region": "face", "size": [5, 4], "channels": ["grey"]}


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    flow = {"source": "flow_onset_apex", "region": "face", "size": [8, 6], "channels": ["u", "v"]}
    inputs = {"flow": flow | {"flow": "tvl1", "at": [56, 56]}}
    dynamic = save(tmp_path / "a.onnx", card(name="gcn", inputs=inputs), {"flow": ["n", 2, 6, 8]})
    inputs = {"grey": FACE | {"scale": 0.004}}
    fixed = save(tmp_path / "b.onnx", card(name="map", inputs=inputs), {"grey": [1, 1, 4, 5]})
    return [dynamic, fixed]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events of noise instead of rendered faces."""
    rng = np.random.default_rng(0)
    shapes = [(240, 280), (160, 260)] * 3 + [(224, 224)] * 3
    made = [Evidence(*(rng.integers(0, 255, s, np.uint8) for s in shapes)) for _ in range(2)]
    monkeypatch.setattr(bench.recognition, "key_frames", lambda: made)


def test_every_model_is_timed_on_every_number_of_threads(models: list[Path], few: None) -> None:
    latency, throughput = measure(models, 3, [1, 2], [1, 4])
    on = ["CPU, 1 thread", "CPU, 2 threads"]
    assert [row[:2] for row in latency.rows if "CPU" in str(row[1])] == [
        [name, device] for device in on for name in ("gcn@3", "map@3", "all together")
    ]
    for row in latency.rows:
        cells = [str(cell) for cell in row[2:5] if cell]
        p50, p95 = zip(*(map(float, cell.split(" / ")) for cell in cells), strict=True)
        assert all(0 <= a <= b for a, b in zip(p50, p95, strict=True))
        assert row[-1] == 3
    prepared, network, total = (float(str(c).split(" / ")[1]) for c in latency.rows[0][2:5])
    assert total >= max(prepared, network)
    assert any("random weights" in note for note in latency.notes)
    assert throughput.columns == ["model", "on", "1", "4"]
    assert [row[0] for row in throughput.rows[:2]] == ["gcn@3", "map@3 (fixed batch)"]
    assert all(float(rate) > 0 for row in throughput.rows for rate in row[2:])


def test_where_there_is_no_gpu_a_note_says_so(models: list[Path], few: None) -> None:
    latency, _ = measure(models[:1], 1, [1], [1])
    measured = any(row[1] == "CUDA" for row in latency.rows)
    assert measured != any("not measured on a GPU" in note for note in latency.notes)


def test_the_command_prints_json(
    models: list[Path], few: None, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(models[0]), "--model", str(models[1]), "--events", "1"]
    arguments += ["--threads", "1", "--batches", "1,2", "--json"]
    assert run(["recognition", *arguments], app, "bench") == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert len(tables[0]["rows"]) >= 3


@pytest.mark.parametrize(
    ("option", "value"), [("threads", "0"), ("threads", "two"), ("batches", "1,,2")]
)
def test_a_wrong_number_is_one_line(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recognition", f"--{option}", value], app, "bench") == 2
    assert f"--{option} {value}" in capsys.readouterr().err


def test_without_a_recogniser_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.recognition, "recognisers", lambda config: [])
    with pytest.raises(UserError, match="give --model"):
        measure(None, 1, [1], [1])


def test_the_key_frames_are_those_of_the_script() -> None:
    events = key_frames()
    assert len(events) == 6
    for crops in events:
        assert crops.onset_eye.shape == (240, 280)
        assert crops.apex_face is not None and crops.onset_face is not None
        assert crops.apex_face.shape == (224, 224)
        assert np.abs(crops.apex_face.astype(int) - crops.onset_face).mean() > 0.5
