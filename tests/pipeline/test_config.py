from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import pipeline.config
from pipeline.config import Config, ConfigError, load


def test_options_beat_environment_beats_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mespot.toml"
    file.write_text('fps = 10\nfaces = 2\nevents = "tcp://127.0.0.1:1"\n[spot]\nsearch_s = 2.0\n')
    monkeypatch.setenv("MESPOT_FPS", "20")
    monkeypatch.setenv("MESPOT_EVENTS", "tcp://127.0.0.1:2")
    monkeypatch.setenv("MESPOT_SPOT__OVERLAP", "0.5")
    config = load(file, events="tcp://127.0.0.1:3")
    assert (config.faces, config.fps, config.events) == (2, 20.0, "tcp://127.0.0.1:3")
    assert (config.spot.search_s, config.spot.overlap, config.spot.micro_s) == (2.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("fps = 0", "fps"),
        ('fps = "fast"', "fps"),
        ("fasces = 1", "fasces"),
        ("faces = 0", "faces"),
        ('events = "udp://1"', "events"),
        ('events = "tcp://127.0.0.1"', "events"),
        ('events = "tcp://127.0.0.1:99999"', "events"),
        ('transport = "pigeon"', "transport"),
        ("[spot]\nsearch_s = -1", "spot.search_s"),
        ("[spot]\nserach_s = 1", "spot.serach_s"),
        ('[motion]\nflow = "quick"', "motion.flow"),
        ("spot = 3", "spot"),
        ("[graph]\nqueue = 0", "graph.queue"),
        ("model = 3", "model"),
        ("model = ['a.onnx', 3]", "model"),
        ("[classify]\ndeadline_s = 0", "classify.deadline_s"),
        ("[classify]\nthreads = 0", "classify.threads"),
        ("[classify]\ntensort = true", "classify.tensort"),
    ],
)
def test_every_error_names_its_key_on_one_line(tmp_path: Path, toml: str, key: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load(file)
    text = str(caught.value)
    assert f"{key}:" in text
    assert str(file) in text
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"fps = = 3", b"\xff\xfe", b"[spot"])
def test_malformed_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(file)


def test_missing_file_is_said() -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(Path("/nowhere/mespot.toml"))


def test_environment_error_names_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESPOT_FACES", "many")
    with pytest.raises(ConfigError, match="faces"):
        load()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.onnx", [Path("a.onnx")]),
        ('["a.onnx", "b.onnx"]', [Path("a.onnx"), Path("b.onnx")]),
        ("[]", []),
    ],
)
def test_one_model_or_many_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wanted: list[Path]
) -> None:
    file = tmp_path / "mespot.toml"
    file.write_text(f"model = {text if text[0] == '[' else repr(text)}")
    assert load(file).models == wanted
    monkeypatch.setenv("MESPOT_MODEL", text)
    assert load().models == wanted
    assert load(model=[Path("c.onnx")]).models == [Path("c.onnx")]


def test_a_gpu_is_required_for_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.config, "SHIPPED", tmp_path)
    with pytest.raises(ConfigError, match="require_gpu: asks for a recogniser"):
        load(require_gpu=True)
    (tmp_path / "a.onnx").touch()
    assert load(require_gpu=True).models == [tmp_path / "a.onnx"]
    with pytest.raises(ConfigError, match="require_gpu: asks for a recogniser"):
        load(require_gpu=True, model=[])


def test_every_key_is_documented_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \|(.*?)\|", page, re.M))
    for name, field in Config.model_fields.items():
        default = field.default
        keys = {name: default}
        if isinstance(default, BaseModel):
            keys = {f"{name}.{k}": v.default for k, v in type(default).model_fields.items()}
        for key, value in keys.items():
            assert key in rows, f"{key} is not documented"
            shown = rows[key].strip(" `").replace(" ", "")
            if isinstance(value, bool):
                assert shown == str(value).lower()
            elif isinstance(value, int | float):
                assert float(shown) == value
            elif isinstance(value, str) and value:
                assert shown == value
