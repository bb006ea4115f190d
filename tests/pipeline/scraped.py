"""What Prometheus' own parsers read from a real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_families,
)
from prometheus_client.parser import text_string_to_metric_families

OPEN = "application/openmetrics-text; version=1.0.0"


def fetch(url: str, **headers: str) -> str:
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return str(answer.read().decode())


class Scrape:
    """One scrape, by both parsers, which must agree.

    Attributes:
        values: by name and labels.
        types: of each family.
        texts: the HELP of each family.
    """

    def __init__(self, url: str) -> None:
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.types: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.text = fetch(url)
        for family in text_string_to_metric_families(self.text):
            self.types[family.name] = family.type
            self.texts[family.name] = family.documentation
            for sample in family.samples:
                self.values[sample.name, frozenset(sample.labels.items())] = sample.value
        opened = list(open_families(fetch(url, Accept=OPEN)))
        assert {one.name for one in opened} == set(self.types)

    def value(self, name: str, **labels: str) -> float:
        return self.values[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """Over all samples of ``name`` that bear ``labels``."""
        return sum(value for _, value in self.samples(name, **labels))

    def samples(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        for (found, all_labels), value in self.values.items():
            if found == name and frozenset(labels.items()) <= all_labels:
                yield dict(all_labels), value

    def counters(self) -> dict[Any, float]:
        """Whatever must never go back."""
        growing = {f for f, kind in self.types.items() if kind in ("counter", "histogram")}
        ends = ("_total", "_bucket", "_count", "_sum")
        return {
            key: value
            for key, value in self.values.items()
            if any(key[0] == f + end for f in growing for end in ("", *ends))
            and not key[0].startswith(("python_", "process_"))
        }
