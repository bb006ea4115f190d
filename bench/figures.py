"""One measured number: its key, spread and aim."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Op = Literal[">=", "<=", "=="]

_SIGNS: dict[Op, str] = {">=": "≥", "<=": "≤", "==": "="}


@dataclass(frozen=True)
class Aim:
    """What the number must be: ``op`` and the bound."""

    op: Op
    value: float

    def reached(self, value: float) -> bool:
        """Whether ``value`` is there; a value that is no number never is."""
        if math.isnan(value):
            return False
        if self.op == "==":
            return value == self.value
        return value >= self.value if self.op == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{_SIGNS[self.op]} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """A number that a later run can be compared with.

    Attributes:
        key: dotted and stable: ``flow.fast.x_opencv``.
        value: the median of repeated runs, or what the key says.
        unit: such as ``ms``; "" for ratios and shares.
        spread: ``min``, ``max``, ``n``; of many items also ``p50``, ``p95``, ``p99``.
        larger_is_better: which way a regression lies.
        portable: a ratio within one run or an accuracy, to be compared between machines.
        aim: what it must be, where that is laid down.
        tolerance: share by which it may be worse before it counts as a regression; None: the
            comparison's own.
    """

    key: str
    value: float
    unit: str = ""
    spread: dict[str, float] = field(default_factory=dict)
    larger_is_better: bool = False
    portable: bool = False
    aim: Aim | None = None
    tolerance: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        return None if self.aim is None else self.aim.reached(self.value)

    def as_json(self) -> dict[str, Any]:
        """Plain types; numbers that are none (nan, inf) become null."""
        return {
            "key": self.key,
            "value": _plain(self.value),
            "unit": self.unit,
            "spread": {name: _plain(value) for name, value in self.spread.items()},
            "larger_is_better": self.larger_is_better,
            "portable": self.portable,
            "tolerance": self.tolerance,
            "aim": None if self.aim is None else {"op": self.aim.op, "value": self.aim.value},
            "reached": self.reached,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Figure:
        """The inverse of ``as_json``.

        Raises:
            KeyError, TypeError, ValueError: ``row`` is no figure.
        """
        aim, value = row["aim"], row["value"]
        if aim is not None and aim["op"] not in _SIGNS:
            raise ValueError(f"aim {aim['op']!r}")
        return cls(
            key=str(row["key"]),
            value=math.nan if value is None else float(value),
            unit=str(row["unit"]),
            spread={
                str(name): math.nan if number is None else float(number)
                for name, number in row["spread"].items()
            },
            larger_is_better=bool(row["larger_is_better"]),
            portable=bool(row["portable"]),
            aim=None if aim is None else Aim(aim["op"], float(aim["value"])),
            tolerance=None if row["tolerance"] is None else float(row["tolerance"]),
        )


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def of_runs(key: str, values: Iterable[float], unit: str = "", **more: Any) -> Figure:
    """The median of repeated runs, with least and most."""
    runs = [float(value) for value in values]
    spread = {"min": min(runs), "max": max(runs), "n": len(runs)}
    return Figure(key, statistics.median(runs), unit, spread, **more)


def of_items(
    key: str, values: Iterable[float], unit: str, at: float = 50, **more: Any
) -> Figure | None:
    """The percentile ``at`` over many items, with the others beside it; None of none."""
    items = np.array(list(values), np.float64)
    if not len(items):
        return None
    p50, p95, p99, value = (float(v) for v in np.percentile(items, [50, 95, 99, at]))
    spread = {"min": float(items.min()), "max": float(items.max()), "n": float(len(items))}
    spread |= {"p50": p50, "p95": p95, "p99": p99}
    return Figure(key, value, unit, spread, **more)


def ratios(upper: Iterable[float], lower: Iterable[float]) -> list[float]:
    """Run by run: neighbours in time, so that a drifting machine cancels."""
    return [a / b for a, b in zip(upper, lower, strict=True)]
