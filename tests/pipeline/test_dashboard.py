"""The Grafana dashboard and the alerts know the metrics that a real scrape has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load
from pipeline.graph import Graph
from pipeline.metrics import machine
from pipeline.metrics.watcher import MetricsWatcher
from tests.pipeline.scraped import Scrape
from tests.pipeline.test_metrics import _Nvml

EXAMPLES = Path(__file__).parents[2] / "examples"
_OF_PROMETHEUS = {"up"}
_TARGET_LABELS = {"instance", "job", "le"}


def _dashboard() -> dict[str, Any]:
    return json.loads((EXAMPLES / "grafana" / "mespot.json").read_text())  # type: ignore[no-any-return]


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((EXAMPLES / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> Iterator[tuple[str, str]]:
    for panel in _dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for variable in _dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for rule in _rules():
        yield f"alert {rule['alert']}", rule["expr"]


@pytest.fixture(scope="module")
def seen() -> Iterator[Scrape]:
    """A short run of the synthetic camera."""
    given = pytest.MonkeyPatch()
    given.setattr(machine, "_nvml", lambda: _Nvml(False))
    config = load(
        model=[], duration=4, fps="max", events="tcp://127.0.0.1:*", metrics={"port": 0},
        log={"enabled": False},
    )  # fmt: skip
    watcher = MetricsWatcher(config)
    Graph(config, watcher.on_report).run()
    yield Scrape(watcher.url)
    watcher.close()
    given.undo()


def _names(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|\"[^\"]*\"", " ", expression)
    return set(re.findall(r"\b(?:mespot|process|python)_\w+", bare))


def test_every_metric_that_is_asked_for_is_there(seen: Scrape) -> None:
    asked: set[str] = set()
    known = set(seen.types)
    for name, kind in seen.types.items():
        if kind == "counter":
            known.add(f"{name}_total")
        if kind == "histogram":
            known |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    for where, expression in _expressions():
        names = _names(expression)
        assert names or _OF_PROMETHEUS & set(re.findall(r"\w+", expression)), where
        assert names <= known, f"{where}: {names - known}"
        asked |= names
    ours = {name for name in seen.types if name.startswith("mespot_")}
    shown = {name for name in ours if any(one.startswith(name) for one in asked)}
    assert ours - shown <= {
        "mespot_build_info",
        "mespot_items",
        "mespot_states",
        "mespot_node_idle",
    }


def test_labels_are_those_that_metrics_have(seen: Scrape) -> None:
    known = {label for _, labels in seen.values for label, _ in labels} | _TARGET_LABELS
    known |= {"reason", "socket", "au", "category", "recogniser", "version", "device"}
    for where, expression in _expressions():
        used = set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            used |= {label.strip() for label in group.split(",")}
        assert used <= known, f"{where}: {used - known}"
        assert expression.count("(") == expression.count(")"), where
        assert expression.count("{") == expression.count("}"), where


def test_a_counter_is_asked_for_its_rate_and_a_histogram_for_its_buckets(seen: Scrape) -> None:
    for where, expression in _expressions():
        for name in _names(expression):
            if name.endswith(("_total", "_bucket", "_sum")) and "label_values" not in expression:
                assert re.search(rf"(rate|increase)\({name}", expression), f"{where}: {name}"


def test_grafana_finds_what_it_needs() -> None:
    board = _dashboard()
    assert board["uid"] == "mespot" and board["title"]
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["camera"]["multi"] and variables["camera"]["includeAll"]
    for panel in board["panels"]:
        assert {"id", "type", "title", "gridPos"} <= panel.keys()
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert refs and len(refs) == len(set(refs))


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        places = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                  for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert not places & taken, panel["title"]
        taken |= places


def test_alerts_and_provisioning_read_well() -> None:
    for rule in _rules():
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            by = re.findall(r"by \(([^)]*)\)", rule["expr"])
            assert label in ("instance", "camera", "node") or label in " ".join(by)
    scrape = yaml.safe_load((EXAMPLES / "prometheus" / "prometheus.yml").read_text())
    (job,) = scrape["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{load().metrics.port}"]
    for name in ("datasources", "dashboards"):
        path = EXAMPLES / "grafana" / "provisioning" / f"{name}.yaml"
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1
