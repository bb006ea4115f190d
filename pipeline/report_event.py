"""One event's card in a report: crops, readings, and why it was raised."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.prototypes import SIZES
from pipeline.config import Config
from pipeline.explain_account import Account, Key
from pipeline.explain_page import told
from pipeline.explain_words import headline, story
from pipeline.pages import DPI
from stages.items import Grey, Reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = "\0"  # no text of ours or of a user's holds it
_WIDTH = 200  # px of a crop's picture
_JPEG, _WEBP = 82, 78  # quality
_GAP = 4  # px between eyes and mouth


def card(account: Account, config: Config) -> str:
    """The inside of an event's card; ``PLACE`` stands for its number."""
    interval = account.interval
    crops = "".join(_crop(key) for key in account.keys)
    said = "".join(f"<li>{_reading(reading)}</li>" for reading in account.readings)
    why = "\n".join(told(account, config, draw=figure, heading="h4"))
    return (
        f'<header><h3><a href="#e{PLACE}" class="no">{PLACE}</a> {html.escape(headline(account))}'
        f"</h3><p>{html.escape(story(account, config))}</p>"
        f'<p class="id">{html.escape(interval.id)}</p></header>\n'
        f'<div class="crops">{crops}</div>\n'
        f'<ul class="readings">{said}</ul>\n'
        f"<details><summary>Why: movement, prototypes, curves, vetoes</summary>\n{why}\n</details>"
    )


def figure(drawn: Figure, words: str) -> str:
    """A figure as an HTML element of a quarter of a PNG's size."""
    out = io.BytesIO()
    drawn.savefig(out, format="webp", dpi=DPI, pil_kwargs={"quality": _WEBP})
    data = _address("webp", out.getvalue())
    return f'<img class="figure" decoding="async" alt="{html.escape(words)}" src="{data}">'


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _crop(key: Key) -> str:
    where = f"{key.stamp.pts:.2f} s, frame {key.stamp.frame}"
    caption = f"<figcaption><b>{key.name}</b> {where}</figcaption>"
    if key.eye is None or key.mouth is None:
        return f'<figure class="gone">{caption}<p>crop no longer held</p></figure>'
    picture = _face(key.eye, key.mouth)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])[1]
    data = _address("jpeg", jpeg.tobytes())
    words = f"eyes and mouth at the {key.name}"
    return f'<figure><img decoding="async" alt="{words}" src="{data}">{caption}</figure>'


def _face(eye: Grey, mouth: Grey) -> Grey:
    """The eyes above the mouth, at one scale."""
    share = _WIDTH / SIZES["eye"][0]
    parts = [
        cv2.resize(crop, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        for crop in (eye, mouth)
    ]
    height = sum(len(part) for part in parts) + _GAP
    made = np.full((height, _WIDTH), 128, np.uint8)
    made[: len(parts[0]), : parts[0].shape[1]] = parts[0]
    left = (_WIDTH - parts[1].shape[1]) // 2
    made[-len(parts[1]) :, left : left + parts[1].shape[1]] = parts[1]
    return made


def _reading(reading: Reading) -> str:
    label = html.escape(reading.label or "no scores")
    source = html.escape(reading.source)
    if reading.label in reading.scores:
        label += f" {reading.scores[reading.label]:.2f}"
    note = reading.training if reading.scores else reading.rule
    return f"<b>{label}</b> {source}" + (f" <small>{html.escape(note)}</small>" if note else "")
