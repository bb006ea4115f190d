"""``mespot report``: what the page holds, that it is whole or not written (synthetic)."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.report
from models.errors import UserError
from pipeline import pages
from pipeline.build import prototypes
from pipeline.cli import run
from pipeline.cli_report import ReportProgress
from pipeline.config import Config, load
from pipeline.report import report
from pipeline.report_lanes import TOGETHER, Lanes, around, lane_aus, rises, standing_out
from pipeline.report_picture import Scale
from pipeline.report_run import Seen, look, opened
from pipeline.report_tables import clock, protocol_rows, rate
from tests.pipeline.explained import Movement, Take, overheard

SECONDS = 6.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    """The report of six scripted seconds: a micro-, a macro-expression, a blink."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    out.write_text("an older report")
    config = load(source="synthetic:", duration=SECONDS, model=[])
    return out, report(config, out, lambda seen: True)


@pytest.fixture(scope="module")
def page(made: tuple[Path, Seen]) -> str:
    return made[0].read_text(encoding="utf-8")


def _data(page: str) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def _articles(page: str) -> list[str]:
    return re.findall(r"<article .*?</article>", page, re.S)


# ---------------------------------------------------------------- the page


def test_the_page_names_no_other_address(page: str) -> None:
    assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", page))
    for kind, address in re.findall(r'(src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "#")), (kind, address)
    assert "@import" not in page
    assert "url(" not in page


def test_every_event_is_told_with_its_crops_and_why(page: str, made: tuple[Path, Seen]) -> None:
    cards = _articles(page)
    assert len(cards) == len(made[1].events) == 2
    for number, card in enumerate(cards):
        assert card.startswith(f'<article id="e{number}"')
        assert f'href="#e{number}" class="no">{number}</a>' in card
        captions = re.findall(r"<figcaption><b>(\w+)</b>", card)
        assert captions == ["onset", "apex", "offset"]
        assert card.count("data:image/jpeg;base64,") == 3
        assert card.count("data:image/webp;base64,") == 2
        assert "What could have held it back" in card
        assert "coding-guide" in card
    assert "Micro-expression: AU 1 + AU 2 (surprise)" in cards[0]
    assert "Macro-expression: AU 6 + AU 12 (happiness)" in cards[1]
    assert pipeline.report_event.PLACE not in page


def test_the_crops_are_pictures_of_a_sensible_size(page: str) -> None:
    import cv2

    for data in re.findall(r"data:image/jpeg;base64,([^\"]*)", page):
        raw = base64.b64decode(data)
        picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.std() > 10
        assert len(raw) < 20_000
    assert len(page) < 300_000 * 2 + 400_000


def test_tables_and_protocol(page: str) -> None:
    text = re.sub(r"<[^>]*>", " ", page)
    text = re.sub(r"\s+", " ", text)
    assert "SYNTHETIC" in text
    assert "micro 1 10.0" in text  # one in six seconds
    assert "AU 12 lip corner puller 1 0 1" in text
    assert "coding-guide surprise 1 1 0" in text
    assert "recognisers none: the coding guide alone" in text
    assert "synthetic video only ( docs/spotting.md" in text
    assert "mespot (joint explanation)" in text
    assert "duration = 6.0, model = []" in text
    assert "Partial" not in text


def test_the_timeline_shows_events_blinks_and_the_face(page: str) -> None:
    overview = re.search(r'<svg class="overview".*?</svg>', page, re.S)
    assert overview is not None
    picture = overview[0]
    assert picture.count('<rect class="micro"') == 1
    assert picture.count('<rect class="macro"') == 1
    assert picture.count('class="seen"') == 1
    assert picture.count('class="blinks"') == 1
    assert re.findall(r'href="#e(\d)"', picture) == ["0", "1"]
    width = re.search(r'<rect class="seen" x="70.0" y="4.0" width="([\d.]+)"', picture)
    assert width is not None
    assert float(width[1]) == pytest.approx(920, abs=1)


def test_the_curves_stand_out_where_the_events_are(page: str) -> None:
    data = _data(page)
    lanes = [name for name, _ in data["aus"]]
    packed = base64.b64decode(data["curves"]["0"])
    values = np.frombuffer(packed, "<u2").reshape(len(lanes), -1)
    theta = data["parts"]

    def top(lane: str, since: float, until: float) -> float:
        part = values[lanes.index(lane), round(since / data["step"]) : round(until / data["step"])]
        return float(part[part != 65535].max(initial=0)) / theta

    assert top("AU 1", 1.6, 2.0) > 1
    assert top("AU 1", 2.3, 4.5) < 0.5
    assert top("AU 12", 4.8, 5.7) > 1
    assert top("AU 12", 0.0, 4.5) < 0.5
    assert data["end"] == pytest.approx(SECONDS - 1 / 30, abs=1e-3)
    assert [event[2] for event in data["events"]] == ["micro", "macro"]


def test_nothing_of_a_picture_is_kept_in_memory(made: tuple[Path, Seen]) -> None:
    for told in made[1].events:
        assert told.interval.evidence is None
        assert told.place[1] > 50_000


def test_what_stood_there_is_replaced_whole(made: tuple[Path, Seen], page: str) -> None:
    out, _ = made
    assert "an older report" not in page
    assert page.endswith("</html>\n")
    assert list(out.parent.iterdir()) == [out]
    mask = os.umask(0)
    os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~mask


# ---------------------------------------------------------------- ends and mistakes


def test_ctrl_c_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "part.html"
    told = ReportProgress.__call__

    def interrupted(self: ReportProgress, seen: Seen) -> bool:
        if seen.frames == 75:  # the first expression is over
            signal.raise_signal(signal.SIGINT)
        return told(self, seen)

    monkeypatch.setattr(ReportProgress, "__call__", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert run(["report", "synthetic:", "--no-models", "-o", str(out)]) == 0
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr()
    assert "1 events in 2.5 s; partial: stopped by its user after 75 of 600 frames" in said.out
    text = out.read_text()
    assert "<b>Partial.</b> stopped by its user after 75 of 600 frames" in text
    assert len(_articles(text)) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen("x", 30.0, (640, 480), 600, Lanes(1, 0.1))
    for screen, shown in ((_Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", screen)
        with ReportProgress(quiet=False) as progress:
            for seen.frames in (1, 100, 150):
                assert progress(seen)
                progress._bar.refresh()
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
        assert ("0 events" in said and "25 %" in said) == shown
        assert bool(re.search(r"0:00:\d\d|-:--:--", said)) == shown
        assert bool(said) == shown


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), ReportProgress(quiet=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_a_failure_leaves_the_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report.html"
    out.write_text("an older report")

    def broken(*_: object) -> Iterator[bytes]:
        yield b"<!DOCTYPE html>"
        raise MemoryError

    monkeypatch.setattr(pipeline.report, "pieces", broken)
    monkeypatch.setattr(pipeline.report, "look", lambda *_: None)
    with pytest.raises(MemoryError):
        report(load(source="synthetic:", model=[]), out, lambda seen: True)
    assert out.read_text() == "an older report"
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        pages.replace(tmp_path / "x.html", [b"x"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["0"], 2, "a report needs a recording, not a camera"),
        (["rtsp://10.0.0.1/live"], 2, "a report needs a recording, not a camera"),
        (["nowhere.mp4"], 4, "nowhere.mp4: no such file"),
        (["synthetic:", "-o", "report.png"], 2, "an .html file is needed"),
        (["synthetic:", "-o", "nowhere/report.html"], 2, "there is no folder"),
        (["synthetic:", "--no-models", "--model", "x.onnx"], 2, "give one or the other"),
        (["synthetic:", "--faces", "0"], 2, "faces"),
        (["."], 2, "give --fps N"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import cv2

    monkeypatch.chdir(tmp_path)
    cv2.imwrite("1.png", np.zeros((48, 64), np.uint8))
    assert run(["report", *arguments]) == code
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert said.startswith("mespot: ")
    assert words in said
    assert not (tmp_path / "report.html").exists()


def test_a_recording_without_a_face_and_with_a_gap(tmp_path: Path) -> None:
    import cv2

    folder = tmp_path / "blank"
    folder.mkdir()
    for i in range(12):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((120, 160), 90, np.uint8))
    (folder / "5.png").write_bytes(b"no picture")
    out = tmp_path / "report.html"
    seen = report(load(source=str(folder), fps=10, model=[]), out, lambda _: True)
    text = out.read_text()
    assert (seen.frames, seen.missing, seen.events) == (11, 1, [])
    assert "no face was seen" in text
    assert "No expression was spotted" in text
    assert "11 frames, 1 missing" in text
    assert "left out" in text  # the source's own warning
    assert str(tmp_path) not in re.sub(r'<p class="notice.*?</p>', "", text)


# ---------------------------------------------------------------- figures


def test_shipped_recognisers_are_said_to_be_trained_on_synthetic_faces() -> None:
    seen = Seen("x", 30.0, (640, 480), None, Lanes(1, 0.1))
    rows = dict(protocol_rows(seen, load(source="synthetic:")))
    named = [how for what, how in rows.items() if what.startswith("recogniser ")]
    assert len(named) == 2
    assert all("synthetic" in how for how in named)
    assert all(word in rows["libraries"] for word in ("numpy 1", "mediapipe 0", "Python 3"))


def test_the_file_is_named_by_its_digest_not_its_folder(tmp_path: Path) -> None:
    import hashlib

    file = tmp_path / "secret-folder" / "a.mp4"
    file.parent.mkdir()
    file.write_bytes(b"x" * 1000)
    seen = Seen("x", None, (None, None), None, Lanes(1, 0.1))
    rows = protocol_rows(seen, load(source=str(file), model=[]))
    text = str(rows)
    assert hashlib.sha256(b"x" * 1000).hexdigest() in text
    assert "a.mp4" in text
    assert "secret-folder" not in text


@pytest.mark.parametrize("method", ["mespot", "paper"])
def test_what_stands_out_is_what_moves(method: str) -> None:
    config = load(None, source="synthetic:", method=method)
    run = overheard(Take([Movement(2.0, {1: 3.0, 2: 3.0})]), config)
    known = prototypes(config)
    times, values = rises(run.events[0].window, known, config)
    aus = lane_aus(known, config)
    apex = np.abs(times - 2.0) < 0.1
    rest = np.abs(times - 2.0) > 0.5
    assert values.shape == (len(times), len(aus))
    for au in (1, 2):
        assert values[apex, aus.index(au)].max() > 1
        assert values[rest, aus.index(au)].max() < 0.6
    assert (TOGETHER in aus) == (method == "mespot")
    assert around(config) == ((1.0, 2.0) if method == "mespot" else (1.0, 1.0))


def test_standing_out_by_its_definition() -> None:
    draw = np.random.default_rng(1)
    times = np.cumsum(draw.uniform(0.01, 0.1, 80))
    curves = draw.normal(size=(80, 3))
    found = standing_out(times, curves, 0.5, 0.8)
    for i in range(80):
        before = curves[(times >= times[i] - 0.5) & (times <= times[i])].min(axis=0)
        after = curves[(times >= times[i]) & (times <= times[i] + 0.8)].min(axis=0)
        np.testing.assert_allclose(found[i], curves[i] - np.maximum(before, after))
    part = standing_out(times, curves, 0.5, 0.8, of=slice(20, 33))
    np.testing.assert_array_equal(part, found[20:33])


def test_lanes_take_no_more_room_than_they_are_given() -> None:
    lanes = Lanes(2, step_s=0.1, most=64)
    draw = np.random.default_rng(0)
    times = np.arange(1000) * 0.1
    values = draw.uniform(0, 5, (1000, 2))
    values[777] = 9
    for k in range(0, 1000, 50):
        lanes.add(0, times[k : k + 50], values[k : k + 50])
    lanes.add(0, times[770:780], np.zeros((10, 2)))  # seen again: the larger stay
    held = lanes.of(0)
    assert lanes.step_s == pytest.approx(1.6)
    assert len(held) <= 64
    for row, time in enumerate(np.arange(len(held)) * lanes.step_s):
        inside = (times >= time - 1e-9) & (times < time + lanes.step_s - 1e-9)
        np.testing.assert_allclose(held[row], values[inside].max(axis=0), rtol=1e-6)
    assert lanes.highest() == 9


def test_lanes_bridge_a_frame_but_no_gap() -> None:
    lanes = Lanes(1, step_s=0.05)
    for time in (0.0, 0.05, 0.15, 1.0):
        lanes.add(3, np.array([time]), np.array([[1.0]]))
    held = lanes.of(3)[:, 0]
    assert not np.isnan(held[:4]).any()
    assert np.isnan(held[4:20]).all()
    assert lanes.faces() == [3]


def test_clocks_rates_and_ticks() -> None:
    assert [clock(s) for s in (0, 61.25, 3725.0)] == ["0:00.0", "1:01.2", "1:02:05.0"]
    assert rate(3, 90.0) == "2.00"
    assert rate(3, 0.0) == "–"
    for end in (0.0, 0.4, 20.0, 3000.0, 90_000.0):
        ticks = Scale(end).ticks()
        assert 1 <= len(ticks) <= 13
        assert all(70 <= Scale(end)(time) <= 990 for time in ticks)


def test_two_faces_are_kept_apart() -> None:
    """Spans, blinks and events of each, from items made by hand."""
    from pipeline.report_run import Collector
    from stages.items import Blink, FaceState, Stamp

    config: Config = load(source="synthetic:", model=[])

    def at(time: float) -> Stamp:
        return Stamp("x", round(time * 30), time, 0, 0)

    from pipeline.explain_record import OverheardSpot

    seen = Seen("x", 30.0, (640, 480), None, Lanes(17, 0.1))
    with tempfile.TemporaryFile() as spool:
        collector = Collector(config, OverheardSpot(config), seen, spool, lambda _: "")
        collector.take([FaceState(at(0.0), 0, True), FaceState(at(1.0), 1, True)])
        collector.take([Blink(1, 45, at(2.0), at(2.1), at(2.2), 0.9)])
        collector.take([FaceState(at(3.0), 0, False)])
        seen.until_s = 5.0
        collector.finish()
    assert dict(seen.faces) == {0: [(0.0, 3.0)], 1: [(1.0, 5.0)]}
    assert seen.seen_s() == 7.0
    assert seen.seen_s(1) == 4.0
    assert [blink.face for blink in seen.blinks] == [1]


def test_the_source_is_closed_and_looked_at_once() -> None:
    config = load(source="synthetic:", duration=0.2, model=[])
    heard: list[int] = []
    with opened(config) as source, tempfile.TemporaryFile() as spool:
        seen = look(source, config, spool, lambda _: "", lambda s: not heard.append(s.frames))
    assert heard == [1, 2, 3, 4, 5, 6]
    assert seen.partial == ""


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    import shutil

    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here to look at the page with")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


def _opened(browser: Any, out: Path, **how: Any) -> tuple[Any, list[str]]:
    page = browser.new_context(viewport={"width": 1100, "height": 900}, **how).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    page.goto(f"file://{out}")
    return page, said


def test_the_page_in_chromium(browser: Any, made: tuple[Path, Seen]) -> None:
    page, said = _opened(browser, made[0])
    assert page.locator("article").count() == 2
    canvas = page.locator("canvas")
    canvas.focus()
    whole = float(canvas.get_attribute("data-to"))
    assert whole == pytest.approx(SECONDS, abs=0.1)
    page.keyboard.press("+")
    near = float(canvas.get_attribute("data-to")) - float(canvas.get_attribute("data-from"))
    assert near == pytest.approx(whole / 2, abs=0.01)
    page.keyboard.press("ArrowRight")
    assert float(canvas.get_attribute("data-from")) > whole / 4
    page.keyboard.press("0")
    assert float(canvas.get_attribute("data-from")) == 0
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert "event 1: macro, AU 6 + AU 12" in page.locator("#readout").inner_text()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "e1"
    page.locator("#e1 summary").click()
    assert page.locator("#e1 .figure").first.is_visible()
    widths = page.evaluate("[...document.images].map((i) => i.complete && i.naturalWidth)")
    assert all(widths)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []


def test_the_curves_are_drawn_light_and_dark(browser: Any, made: tuple[Path, Seen]) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page, said = _opened(browser, made[0], color_scheme=scheme)
        page.wait_for_function("document.querySelector('canvas').width > 300")
        page.wait_for_timeout(300)
        colours[scheme] = page.evaluate(
            """() => {
                const c = document.querySelector('canvas'), p = c.getContext('2d');
                const all = p.getImageData(0, 0, c.width, c.height).data, seen = new Set();
                for (let i = 0; i < all.length; i += 4) if (all[i + 3] === 255)
                    seen.add([all[i], all[i + 1], all[i + 2]].join());
                return [[...seen], getComputedStyle(document.body).backgroundColor];
            }"""
        )
        assert said == []
    assert "15,118,110" in colours["light"][0]  # above theta
    assert "45,212,191" in colours["dark"][0]
    assert colours["light"][1] != colours["dark"][1]


def test_without_scripts_and_in_print_there_are_pictures(
    browser: Any, made: tuple[Path, Seen]
) -> None:
    page, _ = _opened(browser, made[0], java_script_enabled=False)
    assert page.locator(".still svg").is_visible()
    assert not page.locator("#chart").is_visible()
    page, _ = _opened(browser, made[0])
    assert not page.locator(".still").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".still svg").is_visible()
    assert not page.locator("#chart").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#e0 .figure").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
