"""An event, its vetoes and a retraction in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.facs import ACTION_UNITS
from models.prototypes import AU_REGIONS
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.explain_account import Account, Run
from pipeline.explain_profile import thetas
from stages.items import AUInterval, Interval
from stages.peaks import Veto

_REASONS = {
    "blink": "a blink explains most of the movement",
    "too weak": "once it was over, the movement was too weak against this face's noise",
    "not explained by action units": "too much of the movement is no known action unit "
    "(head motion, light, a hand)",
    "speech": "movements of the mouth follow one another as in speech",
    "part of a stronger movement": "it was part of a stronger movement, which takes its place",
    "left to the next window": "the window ended before the movement did; the next window sees "
    "it whole",
    "eyes shut": "the eyes were shut throughout",
    "lost": "the face was lost before the movement was over",
    "camera lost": "the camera was lost before the movement was over",
    "gap": "frames are missing before the movement was over",
}
_ACTED = {
    "blink": "blink",
    "too weak": "height",
    "not explained by action units": "explained",
    "speech": "speech",
    "eyes shut": "shut",
}


def why_retracted(interval: Interval) -> str:
    """The reason of a retraction in plain words."""
    reason = interval.reason
    if reason.startswith("merged into "):
        other = reason.removeprefix("merged into ")
        return f"it overlaps {other} and became part of it (eqs 25-26)"
    return _REASONS.get(reason, reason or "no reason was given")


# ---------------------------------------------------------------- vetoes


@dataclass(frozen=True)
class VetoWords:
    """One veto: what it asks, what it saw, when it acts, whether it did, and why."""

    name: str
    asks: str
    seen: str
    acts: str
    acted: bool
    why: str

    @property
    def outcome(self) -> str:
        """Whether it acted, and why."""
        return f"{'✗ held it back' if self.acted else '✓ did not act'}: {self.why}"


def _explained(veto: Veto, interval: Interval, acted: bool) -> VetoWords:
    return VetoWords(
        "other movement",
        "Is it the face, or the head, the light, a hand?",
        f"the AUs explain {veto.value:.0%} of the movement",
        f"at {veto.limit:.0%} or less",
        acted,
        "too much is something else" if acted else "enough of it is action units",
    )


def _height(veto: Veto, interval: Interval, acted: bool) -> VetoWords:
    return VetoWords(
        "height",
        "Does it stand out from what this face does all the time?",
        f"{veto.value:.1f} standard deviations of this face's noise",
        f"at {veto.limit:.1f} or less",
        acted,
        "not clear of the noise" if acted else "clear of the noise",
    )


def _blink(veto: Veto, interval: Interval, acted: bool) -> VetoWords:
    seen = f"the lids close {veto.value:.1f} times as much as the strongest AU moves"
    if veto.value < 0.05:
        seen = "no movement of the lids"
    why = "the lids move more than any AU" if acted else "an AU is stronger than the lids"
    return VetoWords("blink", "Is it a blink?", seen, f"from {veto.limit:.1f} times", acted, why)


def _shut(veto: Veto, interval: Interval, acted: bool) -> VetoWords:
    if acted:
        why = "there was nothing to see"
    elif veto.value > 0:
        why = "these frames were bridged, the others were enough"
    else:
        why = "the eyes were open throughout"
    seen = f"eyes shut, or about to, in {veto.value:.0%} of the frames"
    return VetoWords("eyes shut", "Were the eyes open?", seen, f"at {veto.limit:.0%}", acted, why)


def _speech(veto: Veto, interval: Interval, acted: bool) -> VetoWords:
    soon = 0 <= veto.value < veto.limit
    seen = "the mouth had not moved before"
    if veto.value >= 0:
        seen = f"the mouth had moved {veto.value:.1f} s before"
    if acted:
        why = "this movement goes on from that one" if soon else "another followed at once"
    elif interval.aus and AU_REGIONS[interval.aus[0].au] != "mouth":
        why = "its strongest AU is not of the mouth"
    elif soon:
        why = "that movement was small beside this one, and no one was speaking"
    else:
        why = "it stands alone"
    acts = f"on the mouth, under {veto.limit:.1f} s, or if more follows"
    return VetoWords("speech", "Is someone speaking?", seen, acts, acted, why)


_VETOES = {
    "explained": _explained,
    "height": _height,
    "blink": _blink,
    "shut": _shut,
    "speech": _speech,
}


def veto_words(veto: Veto, interval: Interval) -> VetoWords:
    """A veto in plain words; one that is not known here under its own name."""
    acted = _ACTED.get(interval.reason) == veto.name
    say = _VETOES.get(veto.name)
    if say is not None:
        return say(veto, interval, acted)
    seen, limit = f"{veto.value:.2g}", f"at {veto.limit:.2g}"
    return VetoWords(veto.name, "", seen, limit, acted, "see value and limit")


def veto_title(account: Account) -> str:
    """Over the list of vetoes."""
    if account.final:
        return "What could have held it back (vetoes)"
    return "What held it back, and what would not have (vetoes)"


VETO_HEAD = ("veto", "what it asks", "what it saw", "when it acts", "did it act?")


def veto_rows(account: Account, config: Config) -> list[tuple[str, ...]]:
    """Every veto: name, question, what it saw, when it acts, outcome."""
    interval = account.interval
    outcome = "" if account.final else f"✗ withdrawn: {why_retracted(interval)}"
    if config.method == "paper":
        none = "The paper's rules have no veto: every peak above θ is an event (eq. 24)."
        return [("none", none, "", "", outcome)]
    if not account.vetoes:
        before = "None recorded." if account.final else "Withdrawn before any veto was asked."
        return [("none", before, "", "", outcome)]
    said = [veto_words(veto, interval) for veto in account.vetoes]
    return [(v.name, v.asks, v.seen, v.acts, v.outcome) for v in said]


# ---------------------------------------------------------------- AUs and events


def au_name(au: int) -> str:
    """FACS's name of an action unit."""
    return ACTION_UNITS[au].name if au in ACTION_UNITS else ""


def _side(au: AUInterval, config: Config) -> str:
    if config.method == "paper":
        return "not told"
    return {"both": "both", "left": "face's left", "right": "face's right"}[au.side]


def au_title(account: Account) -> str:
    """Over the list of AUs."""
    return "Action units" if account.final else "Action units, as announced"


AU_HEAD = ("AU", "name", "strength", "side")


def au_rows(account: Account, config: Config) -> list[tuple[str, ...]]:
    """AU, name, strength and side of each AU, the strongest first."""
    aus = account.interval.aus
    if config.method == "mespot":
        strength = {a.au: f"{a.index:.1f} px" for a in aus}
    else:
        level = thetas(prototypes(config), config)
        aus = sorted(aus, key=lambda a: -a.index / level[a.au])
        strength = {a.au: f"{a.index / level[a.au]:.1f} × θ" for a in aus}
    return [(f"AU {a.au}", au_name(a.au), strength[a.au], _side(a, config)) for a in aus]


def names(account: Account) -> str:
    """Its AUs."""
    return " + ".join(f"AU {a.au}" for a in account.interval.aus)


def headline(account: Account) -> str:
    """Kind, AUs and reading; or that it was withdrawn."""
    interval = account.interval
    if not account.final:
        return f"Withdrawn announcement: {names(account)}"
    label = account.readings[0].label if account.readings else ""
    reading = f" ({label})" if label else ""
    return f"{interval.kind.capitalize()}-expression: {names(account)}{reading}"


def story(account: Account, config: Config) -> str:
    """The event in two sentences."""
    interval = account.interval
    if interval.onset is None or interval.offset is None:
        return (
            f"Announced with its apex at {interval.apex.pts:.2f} s, withdrawn at "
            f"{interval.decided.pts:.2f} s: {why_retracted(interval)}."
        )
    lasted = interval.offset.pts - interval.onset.pts
    first = (
        f"{interval.onset.pts:.2f} s to {interval.offset.pts:.2f} s ({lasted:.2f} s), apex at "
        f"{interval.apex.pts:.2f} s; decided at {interval.decided.pts:.2f} s."
    )
    if config.method == "mespot":
        return (
            f"{first} It stands {interval.height:.0f} standard deviations above this face's own "
            f"noise; its AUs explain {interval.explained:.0%} of the movement."
        )
    best = au_rows(account, config)[0]
    return f"{first} {best[0]} stands out most: {best[2].replace('×', 'times')}."


def origin(account: Account, config: Config) -> str:
    """Source, id, method and prototypes."""
    known = prototypes(config)
    method = {"mespot": "mespot (joint explanation)", "paper": "paper (eqs 24-26)"}[config.method]
    return (
        f"source {_short(config.source)}   event {account.interval.id}   method {method}   "
        f"prototypes {known.name}@{known.version}"
    )


def _short(source: str) -> str:
    return source if source.startswith("synthetic:") else Path(source).name


ALL_HEAD = ("no.", "apex", "what", "outcome", "id")


def all_rows(run: Run) -> list[tuple[str, ...]]:
    """Every event and every retracted announcement in order of time."""
    rows = [(f"{i}", one, headline(one), "stands") for i, one in enumerate(run.events)] + [
        (f"r{i}", one, f"announced: {names(one)}", f"withdrawn: {why_retracted(one.interval)}")
        for i, one in enumerate(run.retracted)
    ]
    rows.sort(key=lambda row: row[1].interval.apex.pts)
    return [
        (number, f"{one.interval.apex.pts:.2f} s", what, outcome, one.interval.id)
        for number, one, what, outcome in rows
    ]
