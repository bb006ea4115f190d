"""The built-in synthetic camera (``models.synthesis``)."""

from __future__ import annotations

from collections.abc import Iterator

from models.errors import UserError
from pipeline.sources.base import stamped
from pipeline.sources.pace import paced
from stages.items import Frame

_DEFAULT_S = 20.0


def _options(text: str) -> dict[str, float]:
    options = {"seed": 7.0, "duration": _DEFAULT_S}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            if key not in options:
                raise ValueError
            options[key] = float(value)
        except ValueError:
            raise UserError(
                f"synthetic:{text}: {part!r} is not seed=N or duration=SECONDS"
            ) from None
    return options


class SyntheticSource:
    """The scripted face: recorded input of ``duration_s`` seconds, synthetic.

    Args:
        text: what follows ``synthetic:``, such as ``seed=3,duration=60``.
        fps: pace; None: its own 30; inf: as fast as it goes.
    """

    live = False
    fps: float | None
    n_frames: int | None

    def __init__(
        self, text: str, fps: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        from models.synthesis import SyntheticFace, demo_scene

        options = _options(text)
        seconds = duration_s if duration_s is not None else options["duration"]
        self._face = SyntheticFace(demo_scene(seconds, int(options["seed"])))
        self._pace = fps
        self._stopped = False
        self.stream = stream or "synthetic"
        self.warning = ""
        self.fps = self._face.fps
        self.n_frames = self._face.n_frames

    def frames(self) -> Iterator[Frame]:
        """Rendered frames in order."""
        frames = self._rendered()
        return frames if self._pace == float("inf") else paced(frames, self._pace)

    def _rendered(self) -> Iterator[Frame]:
        for index in range(self._face.n_frames):
            if self._stopped:
                return
            yield stamped(self.stream, index, index / self._face.fps, self._face.frame(index))

    def interrupt(self) -> None:
        """End with the next frame."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""
