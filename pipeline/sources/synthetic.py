"""The built-in synthetic camera (``models.synthesis``)."""

from __future__ import annotations

from collections.abc import Iterator

from models.errors import UserError
from pipeline.sources.base import stamped
from pipeline.sources.pace import Recorded
from stages.items import Frame

_DEFAULT_S = 20.0
_LONGEST_S = 24 * 3600.0


def _options(text: str) -> dict[str, float]:
    options = {"seed": 7.0, "duration": _DEFAULT_S}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            if key not in options:
                raise ValueError
            options[key] = float(int(value)) if key == "seed" else float(value)
            if not (options["seed"] >= 0 and 0 < options["duration"] <= _LONGEST_S):
                raise ValueError
        except ValueError:
            raise UserError(
                f"synthetic:{text}: {part!r} is not seed=N or duration=SECONDS"
            ) from None
    return options


class SyntheticSource(Recorded):
    """The scripted face: recorded input, synthetic.

    Args:
        text: what follows ``synthetic:``, such as ``seed=3,duration=60``.
        pace: frames a second; None: its own 30; inf: as fast as it goes.
        stream: name in the stamps.
        duration_s: length; default: the text's, else 20 s.

    Raises:
        UserError: ``text`` is not understood.
    """

    def __init__(
        self, text: str, pace: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        from models.synthesis import SyntheticFace, demo_scene

        super().__init__(stream or "synthetic", pace, duration_s)
        options = _options(text)
        seconds = duration_s if duration_s is not None else options["duration"]
        self._face = SyntheticFace(demo_scene(seconds, int(options["seed"])))
        self.fps = self._face.fps
        self.n_frames = self._face.n_frames
        self.width = self._face.scene.width
        self.height = self._face.scene.height

    def _recorded(self) -> Iterator[Frame]:
        for index in range(self._face.n_frames):
            yield stamped(self.stream, index, index / self._face.fps, self._face.frame(index))
