"""Vetoes and retractions in plain words: every one has them, and they say what was the case."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from pipeline.config import load
from pipeline.explain_account import Account
from pipeline.explain_words import veto_words, why_retracted
from stages.items import Interval, WindowReason
from stages.peaks import Veto
from tests.pipeline.explained import Movement, Take, overheard


@functools.cache
def _brows() -> Account:
    run = overheard(Take([Movement(2.0, {1: 3.0, 2: 3.0})]), load(None, source="synthetic:"))
    return run.events[0]


def _interval(au: int = 4, reason: str = "") -> Interval:
    account = _brows()
    one = msgspec.structs.replace(account.interval.aus[0], au=au)
    return msgspec.structs.replace(account.interval, aus=[one], reason=reason)


@pytest.mark.parametrize(
    ("veto", "reason", "seen", "why"),
    [
        (Veto("explained", 0.8, 0.45), "", "explain 80%", "enough of it is action units"),
        (Veto("explained", 0.3, 0.45), "not explained by action units", "30%", "something else"),
        (Veto("height", 12.3, 6.0), "", "12.3 standard deviations", "clear of the noise"),
        (Veto("height", 5.0, 6.0), "too weak", "5.0 standard", "not clear of the noise"),
        (Veto("blink", 0.4, 1.0), "", "0.4 times", "an AU is stronger"),
        (Veto("blink", 0.0, 1.0), "", "no movement of the lids", "an AU is stronger"),
        (Veto("blink", 1.0, 1.0), "blink", "1.0 times", "the lids move more"),
        (Veto("shut", 0.0, 1.0), "", "0% of the frames", "open throughout"),
        (Veto("shut", 0.4, 1.0), "", "40% of the frames", "bridged"),
        (Veto("speech", -1.0, 0.6), "", "had not moved before", "not of the mouth"),
        (Veto("speech", 0.1, 0.6), "speech", "0.1 s before", "goes on from that one"),
        (Veto("speech", -1.0, 0.6), "speech", "had not moved before", "another followed"),
    ],
)
def test_each_veto_says_what_it_saw_and_why(veto: Veto, reason: str, seen: str, why: str) -> None:
    words = veto_words(veto, _interval(reason=reason))
    assert seen in words.seen
    assert why in words.why
    assert words.asks.endswith("?")
    assert words.acted == bool(reason)
    assert words.outcome.startswith("✗" if reason else "✓")


@pytest.mark.parametrize(
    ("pause", "why"), [(0.2, "was small beside this one"), (2.0, "stands alone")]
)
def test_the_speech_veto_on_the_mouth_says_why_it_let_go(pause: float, why: str) -> None:
    assert why in veto_words(Veto("speech", pause, 0.6), _interval(au=12)).why


def test_every_veto_that_the_rules_give_has_words() -> None:
    account = _brows()
    assert len(account.vetoes) == 5
    for veto in account.vetoes:
        assert veto_words(veto, account.interval).asks


def test_every_reason_that_the_stages_give_has_words() -> None:
    code = Path(__file__).parents[2] / "stages" / "joint.py"
    given = set(re.findall(r'(?:Retraction|_refused)\([^()]*"([a-z ]+)"\)', code.read_text()))
    given |= set(re.findall(r'return "([a-z ]+)"', code.read_text())) - {"left", "right", "both"}
    given |= set(get_args(WindowReason)) - {"full", "end"} | {"speech"}
    assert {"blink", "too weak", "part of a stronger movement"} <= given
    for reason in given:
        words = why_retracted(_interval(reason=reason))
        assert words != reason and len(words) > 10, reason
    assert "eqs 25-26" in why_retracted(_interval(reason="merged into s/0/0-4"))
