from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from models.errors import UserError
from pipeline.messages import End, Restarted
from pipeline.publish import EventFile, Messages
from pipeline.replay import Answer, Request
from pipeline.schema import (
    BeatMessage,
    BlinkMessage,
    EventMessage,
    StateMessage,
    topic,
    without_wall_clock,
)
from pipeline.wire import decode, encode
from stages.items import AUInterval, Blink, Event, FaceState, Interval, Phase, Reading, Stamp


def _stamp(frame: int) -> Stamp:
    return Stamp("cam", frame, frame / 30, 1_000_000 * frame, 7)


def _event(number: int, phase: Phase) -> Event:
    au = AUInterval(12, "both", 3.5, None, _stamp(10), None)
    interval = Interval(
        f"cam/0/0-{number}", 0, phase, "unknown", None, _stamp(10), None, [au], _stamp(13), 2
    )
    return Event(interval, [Reading("coding-guide", "happiness")], "p@1", [])


def _messages() -> Messages:
    return Messages("cam", [12], mono_ns=lambda: 20_000_000, utc_ns=lambda: 99)


def test_delays_are_decision_in_source_time_and_processing_in_wall_time() -> None:
    (message,) = _messages().of(_event(0, "apex"))
    assert isinstance(message, EventMessage)
    assert message.delays.decision_s == pytest.approx(3 / 30)
    assert message.delays.processing_ms == pytest.approx(20 - 13)
    assert topic(message) == b"event.cam.apex"
    assert message.published_utc_ns == 99


def test_a_blink_is_a_message_of_its_own_and_no_event() -> None:
    blink = Blink(3, 45, _stamp(9), _stamp(11), _stamp(14), 0.6)
    (message,) = _messages().of(decode(encode(blink)))
    assert isinstance(message, BlinkMessage)
    assert topic(message) == b"blink.cam"
    assert (message.au, message.face, message.depth) == (45, 3, 0.6)
    assert [m.frame for m in (message.onset, message.apex, message.offset)] == [9, 11, 14]


def test_sequence_numbers_are_gapless_over_events_only() -> None:
    messages = _messages()
    made = [
        m
        for item in (_event(0, "apex"), FaceState(_stamp(1), 0, True), _event(0, "final"))
        for m in messages.of(item)
    ]
    assert [m.seq for m in made if isinstance(m, EventMessage)] == [0, 1]
    assert [m.state for m in made if isinstance(m, StateMessage)] == ["face_found"]


@pytest.mark.parametrize("closing", [Restarted("cam", "spot"), End("cam")])
def test_what_is_open_is_retracted_once_when_the_graph_cannot_close_it(closing: object) -> None:
    messages = _messages()
    for item in (_event(0, "apex"), _event(1, "apex"), _event(0, "final")):
        list(messages.of(item))
    made = list(messages.of(closing))  # type: ignore[arg-type]
    events = [m for m in made if isinstance(m, EventMessage)]
    assert [(m.id, m.phase) for m in events] == [("cam/0/0-1", "retracted")]
    assert not [m for m in messages.of(closing) if isinstance(m, EventMessage)]  # type: ignore[arg-type]


def test_an_update_follows_its_final_and_is_no_second_event(tmp_path: Path) -> None:
    from models.labels import read

    def closed(phase: Phase) -> Event:
        event = _event(0, phase)
        known = msgspec.structs.replace(
            event.interval, kind="micro", onset=_stamp(8), offset=_stamp(14)
        )
        return msgspec.structs.replace(event, interval=known)

    messages = _messages()
    file = EventFile(tmp_path / "e.jsonl")
    for item in (_event(0, "apex"), closed("final"), closed("update")):
        for message in messages.of(item):
            assert isinstance(message, EventMessage)
            file.write(message)
    file.close()
    assert not [m for m in messages.of(End("cam")) if isinstance(m, EventMessage)]
    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [(e["phase"], e["seq"]) for e in lines] == [("apex", 0), ("final", 1), ("update", 2)]
    assert topic(message) == b"event.cam.update"
    assert len(read(tmp_path / "e.jsonl").predictions) == 1


def test_every_field_and_phase_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for kind in (EventMessage, Reading, BlinkMessage, StateMessage, BeatMessage, Request, Answer):
        for field in kind.__struct_fields__:
            assert f"`{field}`" in page, f"{kind.__name__}.{field} is not documented"
    for phase in get_args(Phase):
        assert f"| `{phase}` |" in page


def test_event_file_holds_one_json_object_a_line(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "e.jsonl")
    (message,) = _messages().of(_event(0, "apex"))
    assert isinstance(message, EventMessage)
    file.write(message)
    file.write(message)
    file.close()
    lines = (tmp_path / "e.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["cam/0/0-0"] * 2
    restarted = EventFile(tmp_path / "e.jsonl", append=True)
    restarted.write(message)
    restarted.close()
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 3


def test_after_a_kill_the_file_goes_on_without_its_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    messages = _messages()
    made = [m for phase in ("apex", "final") for m in messages.of(_event(0, phase))]  # type: ignore[arg-type]
    file = EventFile(path)
    assert file.last == -1
    file.write(made[0])  # type: ignore[arg-type]
    file.close()
    whole = path.read_bytes()
    for torn in (b'{"v":1,"seq":7', b'{"v":1,"seq":7}', b"\0" * 20, b""):
        path.write_bytes(whole + torn)
        file = EventFile(path, append=True)
        assert file.last == 0
        file.write(made[1])  # type: ignore[arg-type]
        file.close()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["phase"] for line in lines] == ["apex", "final"]


def test_no_expression_is_closed_twice_and_nothing_unannounced_is_withdrawn() -> None:
    messages = _messages()
    phases: list[Phase] = ["retracted", "update", "apex", "apex", "final", "final", "retracted"]
    phases += ["update", "update", "apex"]
    made = [m.phase for p in phases for m in messages.of(_event(0, p))]  # type: ignore[union-attr]
    assert made == ["apex", "final", "update"]
    assert messages.refused == 7


def test_unwritable_event_file_is_a_user_error() -> None:
    with pytest.raises(UserError, match="cannot write"):
        EventFile(Path("/nowhere/e.jsonl"))


def test_wall_clock_fields_are_left_out_at_every_depth() -> None:
    message = {"utc_ns": 1, "a": {"utc_ns": 2, "pts": 3}, "b": [{"processing_ms": 1, "c": 2}]}
    assert without_wall_clock(message) == {"a": {"pts": 3}, "b": [{"c": 2}]}


def test_curves_are_published_with_their_order_and_window() -> None:
    import numpy as np

    from pipeline.schema import CurvesMessage
    from stages.items import Column, Curves

    item = Curves(_stamp(4), 1, [Column(2, np.array([0.5, -1.0], np.float32))])
    (message,) = Messages("cam", [1, 12]).of(item)
    assert isinstance(message, CurvesMessage)
    assert topic(message) == b"curves.cam"
    assert (message.face, message.reference, message.at.frame) == (1, 2, 4)
    assert (message.aus, message.values) == ([1, 12], [0.5, -1.0])
