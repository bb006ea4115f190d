"""The page in a real headless Chromium. The camera is scripted, its pictures are synthetic."""

from __future__ import annotations

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.dashboard.page import Dashboard
from stages.items import Reading
from tests.pipeline.dashboard.feed import TOKEN, Feed, port_of, served, settings

pytestmark = pytest.mark.alone

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

WAIT_S = 90.0
ROWS = "[...document.querySelectorAll('#list li')].filter(l => !l.hidden).map(l => l.dataset.phase)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Look:
    """A page and what it says to the console."""

    def __init__(self, chromium: Any, **context: Any) -> None:
        self.context = chromium.new_context(
            **{"viewport": {"width": 1440, "height": 900}} | context
        )
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def until(self, script: str, holds: Callable[[Any], bool] = bool) -> Any:
        """What ``script`` gives once that ``holds``; the page's policy forbids its own waiting."""
        end = time.monotonic() + WAIT_S
        while not holds(found := self.page.evaluate(script)):
            assert time.monotonic() < end, f"{script} stays {found!r}; {self.errors}"
            self.page.wait_for_timeout(20)
        return found

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@pytest.fixture
def look(chromium: Any) -> Iterator[Callable[..., Look]]:
    """Opens pages."""
    opened: list[Look] = []

    def open_one(feed: Feed | None = None, path: str = "/", **context: Any) -> Look:
        made = Look(chromium, **context)
        opened.append(made)
        if feed is not None:
            made.page.goto(feed.dashboard.address + path)
            made.until("document.getElementById('link').className", lambda c: "live" in c)
        return made

    yield open_one
    for one in opened:
        one.context.close()


def pixels(one: Look, selector: str) -> Any:
    """(h, w, 4) of a canvas."""
    script = f"document.querySelector('{selector}').toDataURL('image/png').split(',')[1]"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(one.page.evaluate(script)))))


def test_it_shows_the_face_and_moving_curves(look: Callable[..., Look]) -> None:
    with served() as feed, feed.running():
        page = look(feed)
        page.until("document.getElementById('no-picture').hidden")
        page.until("document.getElementById('about-picture').textContent", lambda t: "frame" in t)
        page.until("document.querySelector('#plot canvas') !== null")
        page.page.uncheck("#show-flow")
        page.page.uncheck("#show-regions")
        face = pixels(page, "#picture")[200:330, 260:360, :3].reshape(-1, 3).astype(float)
        red, green, blue = face.mean(axis=0)
        assert red > green > blue and red - blue > 20  # skin, of the synthetic camera
        assert face.std(axis=0).min() > 10
        page.page.check("#show-flow")
        page.page.check("#show-regions")
        drawn = pixels(page, "#picture")[120:340, 230:410, :3].astype(int)
        assert (drawn[..., 1] - drawn[..., 0] > 60).sum() > 200  # arrows are green, skin is not

        before = float(page.until("document.getElementById('plot').dataset.until"))
        first = pixels(page, "#plot canvas")
        page.until(
            "document.getElementById('plot').dataset.until", lambda t: float(t or 0) > before + 1
        )
        assert (pixels(page, "#plot canvas") != first).any(axis=2).mean() > 0.002
        assert "8 standard deviations" in page.text("#theta")
        page.until("document.getElementById('age').textContent", lambda t: t == "25")
        page.until("document.getElementById('drops').textContent", lambda t: "3 late" in t)
        assert page.text("#phase") == "watching"
        assert page.errors == []


def test_an_event_is_there_within_a_second(look: Callable[..., Look]) -> None:
    with served() as feed, feed.running():
        page = look(feed)
        delays = []
        for number in range(8):
            event = feed.event()
            ids = "[...document.querySelectorAll('#list li')].map(l => l.dataset.id)"
            page.until(ids, lambda found, event=event: event.id in found)
            row = page.page.evaluate("({...document.querySelector('#list li').dataset})")
            assert row["id"] == event.id and row["phase"] == "final"  # newest first
            delays.append(float(row["shown"]) - float(row["published"]))
            assert len(page.page.query_selector_all("#list li")) == number + 1
        assert np.median(delays) < 1000, delays
        assert page.errors == []


def test_an_announcement_becomes_its_final(look: Callable[..., Look]) -> None:
    with served() as feed:
        page = look(feed)
        for phase, shown in (("apex", "announced"), ("final", "micro"), ("update", "micro")):
            feed.rise()
            feed.event(phase, ident="one", kind="micro" if phase != "apex" else "unknown")
            assert page.until(ROWS, lambda rows, phase=phase: rows == [phase])
            assert shown in page.text("#list")
        assert "micro expression" in (page.page.text_content("#said") or "")


def test_a_click_says_why(look: Callable[..., Look]) -> None:
    with served() as feed:
        for _ in range(60):
            feed.rise(height=0.2)
        event = feed.event()
        feed.crops(event.id)
        for _ in range(20):
            feed.rise(height=0.2)
        page = look(feed)
        page.until(ROWS, lambda rows: rows == ["final"])
        page.page.click("#list button")
        page.until("document.querySelectorAll('#explain img').length", lambda n: n == 6)
        page.until("[...document.querySelectorAll('#explain img')].every(i => i.naturalWidth > 0)")
        said = page.text("#explain")
        assert "Micro-expression: AU 12 (happiness)" in said
        assert "14 standard deviations" in said and "explain 83%" in said
        assert "lip corner puller" in said and "2.5 px" in said
        assert "at 36% or less" in said and "✓ did not act" in said
        assert pixels(page, "#explain .plot canvas")[..., 3].any()
        assert page.errors == []


def test_it_works_by_keyboard(look: Callable[..., Look]) -> None:
    with served() as feed:
        for _ in range(3):
            feed.rise()
            feed.event()
        page = look(feed)
        page.until(ROWS, lambda rows: len(rows) == 3)
        keys = page.page.keyboard
        keys.press("ArrowDown")  # from anywhere
        assert page.page.evaluate("document.activeElement.closest('li')?.dataset.id") is not None
        page.page.reload()
        page.until(ROWS, lambda rows: len(rows) == 3)
        keys.press("Tab")
        assert page.page.evaluate("document.activeElement.className") == "skip"
        outline = page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"  # where the focus is can be seen
        keys.press("Enter")
        keys.press("Tab")
        focused = "document.activeElement.closest('li')?.dataset.id"
        assert page.page.evaluate(focused) == "synthetic/0/0-2"
        keys.press("ArrowDown")
        assert page.page.evaluate(focused) == "synthetic/0/0-1"
        keys.press("End")
        assert page.page.evaluate(focused) == "synthetic/0/0-0"
        keys.press("ArrowUp")
        keys.press("Enter")
        page.until("document.getElementById('explain').open")
        page.until("document.querySelector('.story') !== null")
        keys.press("Escape")
        page.until("!document.getElementById('explain').open")
        assert page.page.evaluate(focused) == "synthetic/0/0-1"
        keys.press("p")
        assert page.page.get_attribute("#pause", "aria-pressed") == "true"
        assert page.errors == []


def test_it_is_light_or_dark(look: Callable[..., Look]) -> None:
    shade = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0)"
    )
    with served() as feed:
        light, dark = look(feed, color_scheme="light"), look(feed, color_scheme="dark")
        assert light.page.evaluate(shade) > 600 and dark.page.evaluate(shade) < 150
        for _ in range(2):
            light.page.click("#theme")
        assert light.text("#theme") == "Theme: dark" and light.page.evaluate(shade) < 150
        light.page.reload()  # it is kept
        assert light.page.evaluate(shade) < 150


@pytest.mark.parametrize("width", [360, 800, 1440])
def test_nothing_sticks_out(look: Callable[..., Look], width: int) -> None:
    with served() as feed, feed.running():
        page = look(feed, viewport={"width": width, "height": 800})
        feed.event(reason="left to the next window", phase="retracted")
        page.until("document.querySelector('#plot canvas') !== null")
        page.until("document.getElementById('drops').textContent")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        page.page.click("#list button")
        page.until("document.querySelector('.story') !== null")
        box = page.page.evaluate("document.getElementById('explain').getBoundingClientRect().right")
        assert box <= width


def test_it_survives_a_restart_of_the_server(look: Callable[..., Look]) -> None:
    with served() as feed:
        feed.rise()
        feed.event()
        page = look(feed)
        page.until(ROWS, lambda rows: rows == ["final"])
        assert page.errors == []
        port = port_of(feed)
        feed.dashboard.close()
        page.until("document.getElementById('link').textContent", lambda t: "reconnecting" in t)
        page.page.wait_for_timeout(1500)  # in vain, some times
        config = settings(port=port)
        dashboard = Dashboard(config.dashboard)
        try:
            again = Feed(dashboard, config)
            again.begin()
            page.until("document.getElementById('link').className", lambda c: "live" in c)
            with again.running():
                page.until("document.getElementById('no-picture').hidden")
                page.until("Number(document.getElementById('plot').dataset.until) < 60")
                again.event()
                page.until(
                    ROWS, lambda rows: rows == ["final", "final"]
                )  # the same id, another run
            page.page.click("#list li:last-child button")
            page.until(
                "document.getElementById('explain-body').textContent", lambda t: "ended" in t
            )
        finally:
            dashboard.close()


def test_a_camera_begun_again_leaves_old_events_as_they_were(look: Callable[..., Look]) -> None:
    with served() as feed:
        page = look(feed)
        for _ in range(60):
            feed.rise()
        feed.event()
        page.until(ROWS, lambda rows: rows == ["final"])
        feed.again(spot=settings().spot.model_copy(update={"search_s": 0.7}))
        page.until("document.getElementById('search').textContent", lambda t: t == "0.7")
        feed.rise()
        page.until("Number(document.getElementById('plot').dataset.until) < 1")
        feed.event("apex")  # the same id
        page.until(ROWS, lambda rows: rows == ["apex", "final"])
        page.page.click("#list li:last-child button")
        page.until("document.getElementById('explain-body').textContent", lambda t: "ended" in t)
        assert not page.errors


def test_two_cameras_are_told_apart(look: Callable[..., Look]) -> None:
    with served() as feed:
        other = Feed(feed.dashboard, settings(), "door")
        other.begin()
        other.state("camera_lost", detail="no frame for 5 s")
        page = look(feed)
        feed.event()
        page.until("document.querySelectorAll('#camera option').length", lambda n: n == 2)
        page.page.select_option("#camera", "door")
        page.until(ROWS, lambda rows: rows == [])
        page.until(
            "document.getElementById('banner').textContent", lambda t: "no frame for 5 s" in t
        )
        other.event()
        page.until(ROWS, lambda rows: len(rows) == 1)
        page.page.select_option("#camera", "synthetic")
        page.until("document.getElementById('banner').hidden")
        assert page.page.evaluate(ROWS) == ["final"]
        assert page.errors == []


def test_what_messages_say_is_text(look: Callable[..., Look]) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with served() as feed:
        page = look(feed)
        feed.event(emotions=[Reading(evil, evil, "", evil)], prototypes=evil)
        feed.state("overloaded", detail=evil)
        page.until(ROWS, lambda rows: len(rows) == 1)
        assert evil in page.text("#list")
        page.until("document.getElementById('banner').textContent", lambda t: evil in t)
        page.page.click("#list button")
        page.until("document.querySelector('.story') !== null")
        assert evil in page.text("#explain")
        assert page.page.query_selector("img") is None
        assert page.errors == []


def test_the_token_in_a_browser(look: Callable[..., Look]) -> None:
    with served(token=TOKEN) as feed:
        stranger = look()
        stranger.page.goto(feed.dashboard.address)
        assert "asks for its token" in stranger.text("body")
        page = look(feed, f"/?token={TOKEN}")
        assert TOKEN not in page.page.url
        feed.event()
        page.until(ROWS, lambda rows: len(rows) == 1)
        assert TOKEN not in page.page.evaluate("document.cookie")  # no script reads it
        assert page.errors == []


def test_another_site_gets_no_socket(look: Callable[..., Look]) -> None:
    script = """address => new Promise(done => {
        const socket = new WebSocket(address);
        socket.onmessage = () => done('told');
        socket.onerror = () => done('refused');
    })"""
    with served() as feed:
        foreign = look()
        foreign.page.goto("about:blank")
        address = f"ws://127.0.0.1:{port_of(feed)}/live"
        assert foreign.page.evaluate(script, address) == "refused"
        own = look(feed)
        assert own.page.evaluate(script, address) == "told"


def test_without_images_the_page_says_so(look: Callable[..., Look]) -> None:
    with served(images=False) as feed, feed.running():
        page = look(feed)
        page.until("document.querySelector('#plot canvas') !== null")
        assert "Pictures are off" in page.text("#no-picture")
        assert not pixels(page, "#picture")[..., 3].any()  # blank
        assert page.errors == []


def test_the_curves_are_of_a_face_that_is_there(look: Callable[..., Look]) -> None:
    chosen = "document.getElementById('face').value"
    with served() as feed:
        page = look(feed)
        for _ in range(30):
            feed.rise(face=0)
        page.until("document.getElementById('plot').dataset.until", lambda t: float(t or 0) > 0.9)
        for _ in range(30):
            feed.rise(face=0)
            feed.rise(face=1)
        page.until("!document.getElementById('faces').hidden")
        assert page.page.evaluate(chosen) == "0"
        page.page.select_option("#face", "1")
        page.until("document.getElementById('plot').dataset.until", lambda t: float(t or 0) > 2.9)
        for _ in range(120):
            feed.rise(face=1)
        page.until("document.getElementById('faces').hidden")  # one alone is left
        for _ in range(120):
            feed.rise(face=7)
        page.until(chosen, lambda face: face == "7")
        page.until("document.getElementById('plot').dataset.until", lambda t: float(t or 0) > 10.9)
        assert page.errors == []


def test_motion_is_reduced_where_it_is_asked_for(look: Callable[..., Look]) -> None:
    shown = "getComputedStyle(document.querySelector('.fresh button')).animationName"
    with served() as feed:
        for wish, name in (("reduce", "none"), ("no-preference", "come")):
            page = look(feed, reduced_motion=wish)
            feed.event()
            page.until("document.querySelector('.fresh button') !== null")
            assert page.page.evaluate(shown) == name
