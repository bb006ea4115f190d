"""Why an event was raised or withdrawn, for the page: words, bars and curves."""

from __future__ import annotations

from typing import Any

from pipeline.config import Config
from pipeline.dashboard.camera import Record
from pipeline.schema import AUMessage, EventMessage, Moment
from stages.items import AUInterval, Interval, Stamp

_EARLY = "Announced with its apex at {apex:.2f} s; it is not over yet."


def account_of(record: Record, config: Config) -> dict[str, Any]:
    """All that the page shows of one event; plain types.

    Args:
        record: the event.
        config: of the run that saw it.
    """
    from pipeline import explain_words as words
    from pipeline.explain_account import Account, Window
    from stages.peaks import Veto

    message = record.message
    interval = _interval(message)
    account = Account(
        interval,
        list(message.emotions),
        Window(message.face, interval.reference),
        0,
        (),
        tuple(Veto(v.name, v.value, v.limit) for v in message.vetoes),
    )
    is_open = message.phase == "apex"
    aus: list[dict[str, Any]] = [
        {"au": row[0], "name": row[1], "strength": row[2], "side": row[3]}
        for row in words.au_rows(account, config)
    ]
    for row, strength in zip(aus, _shares(message, config), strict=True):
        row["share"] = strength
    story = words.story(account, config)
    return {
        "id": message.id,
        "phase": message.phase,
        "headline": f"Announced: {words.names(account)}" if is_open else words.headline(account),
        "story": _EARLY.format(apex=message.apex.pts) if is_open else story,
        "aus": aus,
        "vetoes": [] if is_open else words.veto_rows(account, config),
        "limits": [{"name": v.name, "value": v.value, "limit": v.limit} for v in message.vetoes],
        "height": message.height,
        "explained": message.explained,
        "emotions": [_emotion(reading) for reading in message.emotions],
        "moments": {
            name: moment.pts
            for name in ("onset", "apex", "offset")
            if (moment := getattr(message, name)) is not None
        },
        "delays": message.delays,
        "prototypes": message.prototypes,
        "method": config.method,
        "crops": sorted(record.crops),
        "rises": record.rises,
    }


def _shares(message: EventMessage, config: Config) -> list[float]:
    """Each AU's strength beside the strongest, in the order of ``au_rows``."""
    levels = {a.au: a.index for a in message.aus}
    if config.method == "paper":
        from pipeline.build import prototypes
        from pipeline.explain_profile import thetas

        theta = thetas(prototypes(config), config)
        levels = {au: index / theta[au] for au, index in levels.items()}
        found = sorted(levels.values(), reverse=True)
    else:
        found = list(levels.values())
    top = max([*found, 1e-9])
    return [round(max(value, 0.0) / top, 3) for value in found]


def _emotion(reading: Any) -> dict[str, Any]:
    best = sorted(reading.scores.items(), key=lambda item: -item[1])
    return {
        "source": reading.source,
        "label": reading.label,
        "rule": reading.rule,
        "scores": [[name, round(score, 3)] for name, score in best[:5]],
        "training": reading.training,
    }


def _stamp(moment: Moment, stream: str) -> Stamp:
    return Stamp(stream, moment.frame, moment.pts, 0, moment.utc_ns)


def _optional(moment: Moment | None, stream: str) -> Stamp | None:
    return None if moment is None else _stamp(moment, stream)


def _au(message: AUMessage, stream: str) -> AUInterval:
    return AUInterval(
        message.au,
        message.side,
        message.index,
        _optional(message.onset, stream),
        _stamp(message.apex, stream),
        _optional(message.offset, stream),
    )


def _interval(message: EventMessage) -> Interval:
    """The interval that ``message`` tells of, as far as it does."""
    stream, apex = message.stream, message.apex
    decided = Stamp(stream, apex.frame, apex.pts + message.delays.decision_s, 0, 0)
    return Interval(
        id=message.id,
        face=message.face,
        phase="final" if message.phase == "update" else message.phase,
        kind=message.kind,
        onset=_optional(message.onset, stream),
        apex=_stamp(apex, stream),
        offset=_optional(message.offset, stream),
        aus=[_au(one, stream) for one in message.aus],
        decided=decided,
        reference=apex.frame,
        reason=message.reason,
        height=message.height,
        explained=message.explained,
        vetoes=list(message.vetoes),
    )
