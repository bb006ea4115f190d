"""The built-in synthetic camera (``models.synthesis``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from models.errors import UserError
from pipeline.sources.base import stamped
from pipeline.sources.pace import Recorded
from stages.items import Frame

if TYPE_CHECKING:
    from models.synthesis import Scene

_DEFAULT_S = 20.0
_LONGEST_S = 24 * 3600.0
_SEED = 7


def _scene(text: str, duration_s: float | None) -> Scene:
    """The scene that ``text`` asks for: the scripted one, or a random one of a level."""
    from models.synthesis import demo_scene, random_scene
    from models.synthesis.chance import Level

    seed, seconds, level = _SEED, _DEFAULT_S, ""
    levels: dict[str, Level] = {name: name for name in get_args(Level)}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            if key == "seed":
                seed = int(value)
            elif key == "duration":
                seconds = float(value)
            elif key == "level" and value in levels:
                level = value
            else:
                raise ValueError
            if not (seed >= 0 and 0 < seconds <= _LONGEST_S):
                raise ValueError
        except ValueError:
            raise UserError(
                f"synthetic:{text}: {part!r} is not seed=N, duration=SECONDS or "
                f"level={'|'.join(levels)}"
            ) from None
    seconds = seconds if duration_s is None else duration_s
    return random_scene(seed, levels[level], seconds) if level else demo_scene(seconds, seed)


class SyntheticSource(Recorded):
    """The scripted face: recorded input, synthetic.

    Args:
        text: what follows ``synthetic:``, such as ``seed=3,duration=60,level=hard``; with a
            level a random scene (``models.synthesis.chance``), else the scripted one.
        pace: frames a second; None: its own 30; inf: as fast as it goes.
        stream: name in the stamps.
        duration_s: length; default: the text's, else 20 s.

    Raises:
        UserError: ``text`` is not understood.
    """

    def __init__(
        self, text: str, pace: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        from models.synthesis import SyntheticFace

        super().__init__(stream or "synthetic", pace, duration_s)
        self._face = SyntheticFace(_scene(text, duration_s))
        self._arriving = self._face.schedule()
        self.fps = self._face.fps
        self.n_frames = len(self._arriving)
        self.width = self._face.scene.width
        self.height = self._face.scene.height

    def _recorded(self) -> Iterator[Frame]:
        for arrived in self._arriving:  # frames count as taken: lost ones leave gaps
            if arrived.index <= self._after:
                continue
            picture = self._face.frame(arrived.shows)
            yield stamped(self.stream, arrived.index, arrived.pts, picture)
