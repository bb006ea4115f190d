"""What every reader gives: annotations, and where the frames of their videos lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from models.datasets.aus import AUCode
from models.errors import UserError
from models.files import within

Kind = Literal["micro", "macro"]
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".wmv"})


@dataclass(frozen=True)
class Annotation:
    """One annotated expression; frames are numbered as the data set numbers them.

    None for onset, apex or offset: not annotated.
    """

    subject: str
    video: str
    onset: int | None
    apex: int | None
    offset: int | None
    aus: tuple[AUCode, ...]
    kind: Kind | None
    emotion: str
    row: int  # of the sheet or file, from 1, as a spreadsheet shows it
    au_text: str = ""  # the annotator's own words
    expression: str = ""  # the expression's own name, where it has one: 006_1_2, anger1_1
    objective: int | None = None  # objective class, I to VII as 1 to 7, where the table has one

    @property
    def au_numbers(self) -> frozenset[int]:
        """Every AU named, also the uncertain ones."""
        return frozenset(code.number for code in self.aus)

    @property
    def sure_aus(self) -> frozenset[int]:
        """The AUs that the annotators were certain of."""
        return frozenset(code.number for code in self.aus if code.certain)


@dataclass(frozen=True)
class FrameSource:
    """The frames of one video: a folder of numbered images, or a video file.

    A video file has neither ``images`` nor ``numbers``; its first frame is ``first``.
    """

    video: str
    path: Path  # the folder or the file
    fps: float | None  # None: as the video file says
    first: int  # number of the first frame
    images: tuple[Path, ...] = ()  # in the order of their numbers
    numbers: tuple[int, ...] = ()

    @property
    def is_file(self) -> bool:
        """Whether it is a video file."""
        return not self.images

    def index(self, number: int) -> int:
        """Position (from 0) of the frame that the annotations call ``number``.

        Raises:
            UserError: there is no such frame.
        """
        if self.is_file and number >= self.first:
            return number - self.first
        if number not in self._positions:
            raise UserError(f"{self.path}: has no frame {number}")
        return self._positions[number]

    def number(self, index: int) -> int:
        """What the annotations call the frame at position ``index`` (from 0).

        Raises:
            UserError: there is no such frame.
        """
        if self.is_file and index >= 0:
            return self.first + index
        if not 0 <= index < len(self.numbers):
            raise UserError(f"{self.path}: has no image at position {index}")
        return self.numbers[index]

    def image(self, number: int) -> Path:
        """The image of frame ``number``.

        Raises:
            UserError: there is no such image, or this is a video file.
        """
        if self.is_file:
            raise UserError(f"{self.path}: a video file; images are needed here")
        return self.images[self.index(number)]

    def between(self, onset: int, offset: int) -> tuple[Path, ...]:
        """The images from frame ``onset`` to ``offset``, both included; gaps stay gaps."""
        pairs = zip(self.numbers, self.images, strict=True)
        return tuple(path for number, path in pairs if onset <= number <= offset)

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {number: i for i, number in enumerate(self.numbers)}


@dataclass(frozen=True)
class Clip:
    """One long video with its truth; ``truth`` is empty for a video without expressions."""

    subject: str
    video: str
    source: FrameSource
    fps: float | None  # frames a second; None: as the video file says
    truth: tuple[Annotation, ...]


@dataclass(frozen=True)
class Pair:
    """Onset and apex image of one expression, with the AUs that it surely carries."""

    annotation: Annotation
    aus: frozenset[int]
    onset: Path
    apex: Path


@dataclass(frozen=True, eq=False)
class Dataset:
    """Annotations of a data set, and its frames as far as they are at hand."""

    name: str
    fps: float | None  # frames a second; None: each video's own
    annotations: tuple[Annotation, ...]
    reports: tuple[str, ...] = ()  # corrections made or not made, remarks beside the table
    root: Path | None = None  # None: labels only
    first: int = 1  # number of a video file's first frame
    rates: Mapping[str, float] = field(default_factory=dict)  # frames a second, by video
    find: Callable[[], dict[str, Path]] | None = None  # where each video lies
    subject_of: Callable[[str], str] = lambda video: video

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Annotated subjects, sorted."""
        return tuple(sorted({a.subject for a in self.annotations}))

    @cached_property
    def videos(self) -> tuple[str, ...]:
        """Annotated videos, in the order of the annotations."""
        return tuple(dict.fromkeys(a.video for a in self.annotations))

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """Where each video at hand lies, also those without annotations.

        Raises:
            UserError: labels only, no frames found, or one video in several places.
        """
        if self.find is None:
            raise UserError(f"{self.name}: labels only, no frames are at hand; name the root")
        return self.find()

    def truth(self, video: str) -> tuple[Annotation, ...]:
        """The annotations of ``video``, in the order of the file."""
        return self._by_video.get(video, ())

    def frames(self, what: Annotation | str) -> FrameSource:
        """The frames of an annotation's video, or of a video by name.

        Raises:
            UserError: they are not at hand, or their numbers are ambiguous.
        """
        video = what if isinstance(what, str) else what.video
        path = self.paths.get(video)
        if path is None:
            raise UserError(f"{self.root}: the frames of video {video} are missing")
        return source(video, path, self.rates.get(video, self.fps), self.first)

    def clips(self) -> Iterator[Clip]:
        """Every video at hand with its truth, sorted by name.

        Videos without any annotation are among them: what is spotted there is false.

        Raises:
            UserError: an annotated video is missing, before the first clip is given.
        """
        missing = [video for video in self.videos if video not in self.paths]
        if missing:
            raise UserError(
                f"{self.root}: {len(missing)} annotated videos are missing, the first is "
                f"{missing[0]}"
            )
        for video in sorted(self.paths):
            frames, truth = self.frames(video), self.truth(video)
            subject = truth[0].subject if truth else self.subject_of(video)
            yield Clip(subject, video, frames, frames.fps, truth)

    def pairs(self) -> tuple[list[Pair], list[str]]:
        """Onset and apex images of all expressions that have both, and why others have not.

        Raises:
            UserError: no expression has both, or no frames are at hand at all.
        """
        _ = self.paths  # where nothing is found, once and not for every annotation
        made: list[Pair] = []
        left_out: list[str] = []
        for annotation in self.annotations:
            try:
                made.append(self._pair(annotation))
            except UserError as error:
                left_out.append(f"row {annotation.row} ({annotation.video}): {error}")
        if not made:
            first = left_out[0] if left_out else "no annotations"
            raise UserError(f"{self.name}: no expression with onset and apex image; {first}")
        return made, left_out

    def _pair(self, annotation: Annotation) -> Pair:
        if annotation.onset is None or annotation.apex is None:
            which = "onset" if annotation.onset is None else "apex"
            raise UserError(f"{which} not annotated")
        if annotation.apex <= annotation.onset:
            raise UserError(f"apex {annotation.apex} is not after onset {annotation.onset}")
        frames = self._listed(annotation.video)
        onset, apex = frames.image(annotation.onset), frames.image(annotation.apex)
        return Pair(annotation, annotation.sure_aus, onset, apex)

    def _listed(self, video: str) -> FrameSource:
        if video not in self._sources:
            self._sources[video] = self.frames(video)
        return self._sources[video]

    @cached_property
    def _sources(self) -> dict[str, FrameSource]:
        return {}

    @cached_property
    def _by_video(self) -> Mapping[str, tuple[Annotation, ...]]:
        grouped: dict[str, list[Annotation]] = {}
        for annotation in self.annotations:
            grouped.setdefault(annotation.video, []).append(annotation)
        return {video: tuple(items) for video, items in grouped.items()}


def source(video: str, path: Path, fps: float | None, first: int) -> FrameSource:
    """The frames at ``path``; an image's number is the last number in its name.

    Raises:
        UserError: no images, one without a number, or two with the same.
    """
    if path.is_file():
        return FrameSource(video, path, fps, first)
    try:
        found = [p for p in path.iterdir() if p.suffix.lower() in IMAGES and p.name[0] != "."]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    outside = [image for image in found if image.is_symlink() and not within(image, path)]
    if outside:
        raise UserError(f"{outside[0]}: a link out of its folder; put the image itself there")
    numbered = sorted((_number(image), image) for image in found)
    if not numbered:
        raise UserError(f"{path}: holds no images")
    numbers = tuple(number for number, _ in numbered)
    for i in range(1, len(numbers)):
        if numbers[i] == numbers[i - 1]:
            raise UserError(f"{path}: two images are number {numbers[i]}")
    return FrameSource(video, path, fps, numbers[0], tuple(p for _, p in numbered), numbers)


def _number(image: Path) -> int:
    """``img46.jpg`` is 46, ``006_05562.jpg`` 5562, ``006_1_0001.jpg`` 1."""
    numbers: list[str] = re.findall(r"[0-9]{1,9}", image.stem)
    if not numbers:
        raise UserError(f"{image}: an image without a number in its name")
    return int(numbers[-1])
