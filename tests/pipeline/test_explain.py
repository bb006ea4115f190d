"""What ``mespot explain`` keeps and draws, on windows made by hand (synthetic)."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.errors import UserError
from pipeline.build import build, prototypes
from pipeline.config import Config, load
from pipeline.explain import chosen, explain
from pipeline.explain_account import Run
from pipeline.explain_figure import picture
from pipeline.explain_page import web_page
from pipeline.explain_profile import lowest_before, mixture
from pipeline.explain_record import OverheardSpot
from pipeline.explain_views import likeness, views
from pipeline.explain_words import (
    all_rows,
    au_rows,
    headline,
    story,
    veto_rows,
    why_retracted,
)
from stages.items import Interval
from tests.pipeline.explained import Movement, Take, overheard, said

BROWS = Take([Movement(2.0, {1: 3.0, 2: 3.0})])
TALK = Take([Movement(2.0 + 0.35 * k, {12: 3.0 + k % 2, 26: 2.0}, 0.17) for k in range(4)])
LOST = Take([Movement(2.0, {12: 4.0}, 0.4)], lost_s=2.35)
METHODS = ("mespot", "paper")


def config(method: str) -> Config:
    return load(None, source="synthetic:", method=method)


@pytest.fixture(scope="module", params=METHODS)
def brows(request: pytest.FixtureRequest) -> tuple[Run, Config]:
    settings = config(request.param)
    return overheard(BROWS, settings), settings


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("take", [BROWS, TALK, LOST], ids=["brows", "talk", "lost"])
def test_the_recorder_changes_nothing_in_the_events(method: str, take: Take) -> None:
    settings = config(method)
    plain = said(build("spot", settings), take, settings)
    assert len(plain) >= 2
    heard = said(OverheardSpot(settings), take, settings)
    assert msgspec.msgpack.encode(_bare(heard)) == msgspec.msgpack.encode(_bare(plain))


def _bare(intervals: list[Interval]) -> list[Interval]:
    return [msgspec.structs.replace(i, evidence=None) for i in intervals]


def test_an_event_is_told_with_its_crops_and_aus(brows: tuple[Run, Config]) -> None:
    run, settings = brows
    (account,) = run.events
    assert run.retracted == []
    assert [key.name for key in account.keys] == ["onset", "apex", "offset"]
    assert all(key.eye is not None and key.mouth is not None for key in account.keys)
    assert {row[0] for row in au_rows(account, settings)} == {"AU 1", "AU 2"}
    assert headline(account) == "Micro-expression: AU 1 + AU 2 (surprise)"
    assert "apex at 2.00 s" in story(account, settings)


def test_the_flow_is_that_between_onset_and_apex(brows: tuple[Run, Config]) -> None:
    run, settings = brows
    account = run.events[0]
    shift = np.argmax(  # the texture moved up by so many rows
        [np.array_equal(np.roll(account.keys[0].eye, -k, 0), account.keys[1].eye) for k in range(5)]
    )
    assert shift > 0
    middle = views(account, settings).flow["eye"][60:180, 60:220]
    assert np.median(middle[..., 1]) == pytest.approx(-shift, abs=0.3)
    assert abs(np.median(middle[..., 0])) < 0.2


def test_prototypes_are_shown_for_the_regions_of_the_aus(brows: tuple[Run, Config]) -> None:
    run, settings = brows
    seen = views(run.events[0], settings)
    assert set(seen.best) == {"eye"}
    if settings.method == "paper":
        known = prototypes(settings)
        fields = [p.field for p in known.prototypes if p.au in (1, 2)]
        assert any(seen.best["eye"].field is field for field in fields)
    else:  # the recovered field of the joint model is like the set's own
        au = run.events[0].interval.aus[0].au
        known = prototypes(settings)
        own = known.prototypes[known.aus.index(au)].field
        assert likeness(seen.best["eye"].field, own) > 0.8


def test_likeness_is_a_cosine() -> None:
    field = np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32)
    assert likeness(field, 3 * field) == pytest.approx(1)
    assert likeness(field, -field) == pytest.approx(-1)
    assert likeness(field, 0 * field) == 0


def test_the_event_s_curve_begins_at_0_and_peaks_at_the_apex() -> None:
    settings = config("mespot")
    (account,) = overheard(BROWS, settings).events
    model = prototypes(settings).joint
    assert model is not None
    found = mixture(account, model)
    assert found is not None
    times, curve = found
    assert curve[np.searchsorted(times, account.keys[0].stamp.pts - 1e-9)] == 0
    assert times[curve.argmax()] == pytest.approx(account.interval.apex.pts)
    assert curve.max() == pytest.approx(account.interval.height, rel=0.15)


def test_the_lowest_frame_is_sought_within_the_search_and_before_the_apex() -> None:
    times = np.arange(10.0)
    curve = np.array([-9.0, 5, 1, 1, 4, 8, -5, 0, 0, 0])
    assert lowest_before(times, curve, 5.0, 4.0) == 3
    assert lowest_before(times, curve, 5.0, 5.0) == 0
    assert lowest_before(times, curve, 5.0, 0.5) == 5


# ---------------------------------------------------------------- withdrawn announcements


def test_a_withdrawn_announcement_is_told_with_reason_crops_and_vetoes() -> None:
    run = overheard(TALK, config("mespot"))
    assert run.events == []
    for account in run.retracted:
        assert why_retracted(account.interval) == (
            "movements of the mouth follow one another as in speech"
        )
        assert [key.name for key in account.keys] == ["before", "apex", "when withdrawn"]
        assert account.keys[0].stamp.frame < account.keys[1].stamp.frame
        assert account.keys[1].stamp == account.interval.apex
        rows = {row[0]: row[-1] for row in veto_rows(account, config("mespot"))}
        assert rows["speech"].startswith("✗ held it back")
        assert all(v.startswith("✓ did not act") for k, v in rows.items() if k != "speech")
    second = {v.name: v for v in run.retracted[1].vetoes}
    assert 0 <= second["speech"].value < second["speech"].limit


@pytest.mark.parametrize("method", METHODS)
def test_a_face_lost_is_told(method: str) -> None:
    settings = config(method)
    run = overheard(LOST, settings)
    (account,) = run.retracted
    assert "the face was lost" in story(account, settings)
    assert account.keys[0].stamp.pts < account.interval.apex.pts
    assert "the face was lost" in veto_rows(account, settings)[0][-1]


def test_an_event_after_speech_has_its_pause_in_the_speech_veto() -> None:
    take = Take([Movement(2.0, {12: 3.0}), Movement(3.5, {12: 3.0})])
    first, second = overheard(take, config("mespot")).events
    (before,) = (v.value for v in first.vetoes if v.name == "speech")
    (pause,) = (v.value for v in second.vetoes if v.name == "speech")
    assert before == -1
    assert pause == pytest.approx(3.3 - 2.2, abs=0.1)


def test_everything_announced_is_listed_in_order_of_time() -> None:
    take = Take([*TALK.movements, Movement(5.0, {4: 4.0})], seconds=7.0)
    run = overheard(take, config("mespot"))
    rows = all_rows(run)
    assert [row[0] for row in rows] == ["r0", "r1", "r2", "r3", "0"]
    assert rows[-1][3] == "stands"
    assert len({row[4] for row in rows}) == 5


# ---------------------------------------------------------------- which one


def test_an_event_is_chosen_by_number_and_by_id() -> None:
    settings = config("mespot")
    run = overheard(Take([*BROWS.movements, Movement(4.0, {4: 6.0})]), settings)
    weak, strong = run.events
    assert chosen(run, settings, None) is strong
    assert chosen(run, settings, "0") is weak
    assert chosen(run, settings, strong.interval.id) is strong


def test_a_withdrawn_one_is_chosen_by_r_and_by_id_but_not_by_itself() -> None:
    settings = config("mespot")
    run = overheard(LOST, settings)
    assert chosen(run, settings, "r0") is run.retracted[0]
    assert chosen(run, settings, run.retracted[0].interval.id) is run.retracted[0]
    with pytest.raises(UserError, match=r"no event was spotted.*withdrawn: 1.*--event r0"):
        chosen(run, settings, None)


@pytest.mark.parametrize("which", ["7", "r0", "made/0/0-9", "-1"])
def test_a_wrong_event_is_named_with_what_there_is(which: str, brows: tuple[Run, Config]) -> None:
    run, settings = brows
    with pytest.raises(UserError, match=f"--event {which}: no such event.*events 0 to 0"):
        chosen(run, settings, which)


# ---------------------------------------------------------------- files


def test_a_picture_is_one_png(brows: tuple[Run, Config], tmp_path: Path) -> None:
    import cv2

    run, settings = brows
    out = tmp_path / "event.png"
    explain(run.events[0], run, settings, out)
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] == 1500
    assert len(np.unique(drawn)) > 100
    longer = picture(run.events[0], run, settings, everything=True)
    assert longer.get_figheight() * 100 > drawn.shape[0]  # the list comes below


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_well_formed_and_stands_by_itself(brows: tuple[Run, Config]) -> None:
    run, settings = brows
    text = web_page(run.events[0], run, settings, everything=True)
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    assert len(reader.images) == 2
    assert all(source.startswith("data:image/png;base64,") for source in reader.images)
    assert not re.search(r"https?:|//|<link|<script|url\(", re.sub(r'src="[^"]*"', "", text))
    assert "Micro-expression: AU 1 + AU 2" in text
    assert "stands" in text


def test_a_page_shows_words_of_others_as_words(brows: tuple[Run, Config]) -> None:
    run, settings = brows
    odd = msgspec.structs.replace(run.events[0].interval, id="<script>x</script>")
    text = web_page(replace(run.events[0], interval=odd), run, settings)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_withdrawn_announcement_is_drawn(tmp_path: Path) -> None:
    settings = config("mespot")
    run = overheard(LOST, settings)
    explain(run.retracted[0], run, settings, tmp_path / "lost.html")
    text = (tmp_path / "lost.html").read_text()
    assert "Withdrawn announcement: AU 12" in text
    assert "the face was lost" in text


def test_crops_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    settings = config("mespot")
    run = overheard(BROWS, settings)
    gone = tuple(replace(key, eye=None, mouth=None) for key in run.events[0].keys)
    account = replace(run.events[0], keys=gone)
    assert views(account, settings).flow == {}
    explain(account, run, settings, tmp_path / "gone.png")
    assert (tmp_path / "gone.png").stat().st_size > 10_000
