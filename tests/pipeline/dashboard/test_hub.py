"""What the page's server keeps, and that no browser holds it up. The camera is scripted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from pipeline.dashboard.account import account_of
from pipeline.dashboard.camera import KEPT_S
from pipeline.dashboard.hub import Hub
from pipeline.dashboard.outbox import Outbox, Payload
from pipeline.schema import Delays, EventMessage
from stages.items import Veto
from tests.pipeline.dashboard.feed import Feed, settings


class Heard:
    """A dashboard without a server."""

    def __init__(self, images: bool = True) -> None:
        self.hub = Hub(images)
        self.on_report = self.hub.report
        self.on_message = self.hub.message


@pytest.fixture
def feed() -> Feed:
    made = Feed(Heard(), settings())  # type: ignore[arg-type]
    made.begin()
    return made


def taken(hub: Hub, watch: str, act: Any) -> list[Payload]:
    """What a browser that takes nothing until the end gets of ``act``."""

    async def run() -> list[Payload]:
        client = Outbox(asyncio.get_running_loop())
        hub.join(client)
        hub.watch(client, watch)
        await asyncio.to_thread(act)
        return await client.take()

    return asyncio.run(run())


def test_a_slow_browser_gets_the_newest_pictures_and_the_rest_is_bounded(feed: Feed) -> None:
    def long_run() -> None:
        for _ in range(3000):
            feed.rise()
            feed.picture()
        feed.event(ident="last")

    hub = feed.dashboard.hub  # type: ignore[attr-defined]
    found = taken(hub, "synthetic", long_run)
    assert len(found) < 700
    pictures = [one for one in found if isinstance(one, bytes)]
    assert len(pictures) == 1 and b'"frame":3000,' in pictures[0][:200]
    kinds = [json.loads(one)["t"] for one in found if isinstance(one, str)]
    assert kinds[0] == "hello"  # curves displace nothing that counts
    assert kinds.count("flow") == 1 and "event" in kinds


def test_only_the_camera_that_is_looked_at_sends_pictures(feed: Feed) -> None:
    hub = feed.dashboard.hub  # type: ignore[attr-defined]
    other = Feed(feed.dashboard, settings(), "door")
    other.begin()

    def both() -> None:
        for one in (feed, other):
            one.rise()
            one.picture()
            one.event()

    texts = [json.loads(one) for one in taken(hub, "door", both) if isinstance(one, str)]
    assert {t["s"] for t in texts if t["t"] in ("rises", "flow")} == {"door"}
    assert {t["s"] for t in texts if t["t"] == "event"} == {"door", "synthetic"}


def test_curves_around_an_event_are_kept_when_time_goes_on(feed: Feed) -> None:
    for _ in range(90):
        feed.rise(height=1.0)
    event = feed.event()  # its apex is at 2.5 s
    for _ in range(3000):
        feed.rise()
    camera, record = feed.dashboard.hub.record("synthetic", event.id)  # type: ignore[attr-defined]
    times = [rise.pts for rise in record.rises]
    assert times[0] == pytest.approx(0.8, abs=0.04) and times[-1] == pytest.approx(4.2, abs=0.04)
    assert camera.rises[0].pts >= feed.pts - KEPT_S - 0.1
    assert times == sorted(set(times))


def test_states_make_the_camera_s_state(feed: Feed) -> None:
    hub = feed.dashboard.hub  # type: ignore[attr-defined]
    camera = hub._cameras["synthetic"]
    assert (camera.phase, camera.faces) == ("watching", {0})
    feed.state("face_lost", face=0)
    feed.state("camera_lost", detail="no frame")
    feed.state("overloaded", detail="face: 12 dropped")
    health = camera.health()
    assert (health["phase"], health["detail"], health["faces"]) == ("camera lost", "no frame", [])
    assert health["overloaded"] == "face: 12 dropped"
    feed.state("camera_back", detail="4 s away")
    feed.state("recovered")
    feed.report("motion", "death", text="ValueError: x")
    health = camera.health()
    assert (health["phase"], health["overloaded"]) == ("watching", "")
    motion = next(node for node in health["nodes"] if node["name"] == "motion")
    assert motion["state"] == "restarting"
    assert health["lines"][-1][1] == "motion: died: ValueError: x"


def test_latencies_and_drops_by_stage(feed: Feed) -> None:
    feed.report("face", latencies_ms=[float(n) for n in range(101)], work_ms=[3.0])
    feed.report("capture", received=10, dropped={"capture: newer frame won": 4})
    health = feed.dashboard.hub._cameras["synthetic"].health()  # type: ignore[attr-defined]
    face = next(node for node in health["nodes"] if node["name"] == "face")
    assert face["age"] == [50.0, 95.0] and face["work"] == [3.0, 3.0]
    assert health["dropped"] == {"capture: newer frame won": 4} and health["frames"] == 10


def _account(feed: Feed, event: EventMessage) -> dict[str, Any]:
    camera, record = feed.dashboard.hub.record("synthetic", event.id)  # type: ignore[attr-defined]
    found = account_of(record, camera.config)
    return json.loads(msgspec.json.encode(found))  # type: ignore[no-any-return]


def test_why_an_announcement_was_withdrawn(feed: Feed) -> None:
    event = feed.event(
        "retracted", reason="too weak", vetoes=[Veto("height", 4.0, 6.0), Veto("blink", 0.1, 1.0)]
    )
    account = _account(feed, event)
    assert account["headline"] == "Withdrawn announcement: AU 12"
    assert "too weak against this face's noise" in account["story"]
    assert [row[4][0] for row in account["vetoes"]] == ["✗", "✓"]
    assert account["limits"][0] == {"name": "height", "value": 4.0, "limit": 6.0}


def test_an_open_announcement_is_not_called_withdrawn(feed: Feed) -> None:
    account = _account(feed, feed.event("apex"))
    assert account["headline"] == "Announced: AU 12"
    assert "not over yet" in account["story"] and account["vetoes"] == []


def test_an_update_keeps_the_crops_of_its_final(feed: Feed) -> None:
    feed.crops("one")
    feed.event(ident="one")
    event = feed.event("update", ident="one", delays=Delays(0.3, 900.0))
    account = _account(feed, event)
    assert len(account["crops"]) == 6
    assert account["delays"]["processing_ms"] == 12.5  # the event was there that early


def test_crops_that_come_late_are_taken(feed: Feed) -> None:
    event = feed.event()
    feed.crops(event.id)
    assert len(_account(feed, event)["crops"]) == 6


@pytest.mark.parametrize("graph", ["another", "the same"])
def test_a_camera_begun_again_starts_anew(feed: Feed, graph: str) -> None:
    hub = feed.dashboard.hub  # type: ignore[attr-defined]
    for _ in range(90):
        feed.rise(height=1.0)
    feed.state("overloaded", detail="face: 12 dropped")
    feed.crops("synthetic/0/0-1")  # of an event that never comes
    old = feed.event()  # curves are still awaited
    spot = feed._graph.config.spot.model_copy(update={"search_s": 0.7})

    def again() -> None:
        if graph == "another":
            feed.again(spot=spot)
        else:  # told by the message alone
            feed._graph.config = feed._graph.config.model_copy(update={"spot": spot})
            feed.pts = 0.0
            feed.begin()
        assert hub.record("synthetic", old.id) is None
        for _ in range(60):
            feed.rise(height=2.0)
        feed.event(ident=old.id)
        feed.event(ident="synthetic/0/0-1")

    found = [json.loads(one) for one in taken(hub, "synthetic", again) if isinstance(one, str)]
    assert found[0]["cameras"][0]["life"] == 0
    about = [one["camera"] for one in found if one["t"] == "camera"][-1]
    assert (about["life"], about["search_s"]) == (1, 0.7)
    assert {one["life"] for one in found if one["t"] == "event"} == {1}
    camera, record = hub.record("synthetic", old.id)
    times = [rise.pts for rise in record.rises]
    assert times == sorted(set(times)) and {r.values[0] for r in record.rises} == {2.0}
    assert max(rise.pts for rise in camera.rises) < 2.1
    assert hub.record("synthetic", "synthetic/0/0-1")[1].crops == {}
    assert camera.health()["overloaded"] == ""
