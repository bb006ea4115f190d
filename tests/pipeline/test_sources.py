"""Recorded sources, pacing and the live reader, on files and cameras made here (synthetic)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.errors import SourceError, UserError
from pipeline.messages import Camera
from pipeline.sources import open_source, redacted
from pipeline.sources.base import stamped
from pipeline.sources.clock import LiveClock
from pipeline.sources.images import natural_key
from pipeline.sources.lasting import Backoff, Lasting
from pipeline.sources.latest import Latest, Watch
from pipeline.sources.pace import paced
from pipeline.sources.timeline import Timeline
from pipeline.sources.video import SourceClock, VideoSource
from pipeline.sources.webcam import Webcam
from stages.items import Frame

Image = npt.NDArray[np.uint8]


def _flat(i: int, size: tuple[int, int] = (64, 48)) -> Image:
    """A plain frame whose level tells its number."""
    return np.full((size[1], size[0], 3), 16 + 2 * i, np.uint8)


def _film(
    path: Path,
    count: int = 30,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: Callable[[int], float] = lambda i: i / 30,
    make: Callable[[int], Image] | None = None,
    turned: int = 0,
    container: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=30, options=encoder or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if codec == "libx264":
            stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        for i in range(count):
            image = make(i) if make else _flat(i, size)
            frame = av.VideoFrame.from_ndarray(image, format="gray" if image.ndim == 2 else "bgr24")
            base = Fraction(1, 1000) if codec == "libx264" else Fraction(1, 30)
            frame.pts, frame.time_base = round(times(i) / float(base)), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def _frames(path: Path, **options: Any) -> tuple[list[Frame], Any]:
    source = open_source(str(path), **({"fps": "max"} | options))
    frames = list(source.frames())
    source.close()
    return frames, source


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    target = path.with_name(f"cut{path.suffix}")
    target.write_bytes(data[: int(len(data) * share)])
    return target


def _busy(i: int) -> Image:
    """Noise, so that every frame takes room in the file."""
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (48, 64, 3), np.uint8)


# --- videos


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("h264.mp4", "libx264", "yuv420p"),
        ("h264.mkv", "libx264", "yuv420p"),
        ("h264.ts", "libx264", "yuv420p"),
        ("mjpeg.avi", "mjpeg", "yuvj420p"),
        ("ffv1.mkv", "ffv1", "bgr0"),
    ],
)
def test_every_frame_of_a_video_arrives_in_order_with_its_time(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    frames, source = _frames(_film(tmp_path / name, codec=codec, pixels=pixels))
    assert [frame.stamp.frame for frame in frames] == list(range(30))
    assert [frame.stamp.pts for frame in frames] == pytest.approx(
        [i / 30 for i in range(30)], abs=1.1e-3
    )
    levels = [float(frame.image.mean()) for frame in frames]
    assert levels == sorted(levels)
    assert levels == pytest.approx([16 + 2 * i for i in range(30)], abs=5)
    assert (source.live, source.warning, source.width, source.height) == (False, "", 64, 48)
    assert source.fps == pytest.approx(30, rel=0.02)
    assert source.n_frames in (30, None)
    assert {frame.stamp.stream for frame in frames} == {name.partition(".")[0]}


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0.0, 0.033, 0.066, 0.266, 0.3, 0.9, 0.91, 1.0]
    film = _film(tmp_path / "vfr.mp4", len(times), times=times.__getitem__)
    frames, _ = _frames(film)
    assert [frame.stamp.pts for frame in frames] == pytest.approx(times, abs=1e-6)


def test_times_begin_with_the_first_frame(tmp_path: Path) -> None:
    film = _film(tmp_path / "late.mkv", 10, times=lambda i: 5 + i / 30)
    frames, _ = _frames(film)
    assert frames[0].stamp.pts == 0
    assert frames[9].stamp.pts == pytest.approx(9 / 30, abs=2e-3)


def test_grey_stays_grey(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    film = _film(tmp_path / "grey.mkv", 3, codec="ffv1", pixels="gray", make=lambda i: ramp)
    frames, _ = _frames(film)
    assert np.array_equal(frames[2].image, ramp)


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (2, 50), (321, 3)])
def test_odd_sizes_keep_every_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    film = _film(
        tmp_path / "odd.mkv", 2, codec="ffv1", pixels="bgr0", size=size, make=lambda i: image
    )
    frames, source = _frames(film)
    assert np.array_equal(frames[1].image, image)
    assert (source.width, source.height) == size


def test_channels_are_blue_green_red(tmp_path: Path) -> None:
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 255
    frames, _ = _frames(_film(tmp_path / "blue.mp4", 2, make=lambda i: blue))
    means = frames[1].image.mean(axis=(0, 1))
    assert means[0] > 200
    assert max(means[1:]) < 50


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_a_telephone_video_is_turned_upright(tmp_path: Path, turned: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255
    film = _film(tmp_path / "turned.mp4", 2, make=lambda i: image, turned=turned)
    frames, source = _frames(film)
    upright = np.rot90(image, turned // 90)  # counter-clockwise, as the display matrix has it
    assert frames[0].image.shape == upright.shape == (source.height, source.width, 3)
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 15


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("film.avi", "mjpeg", None),
        ("film.ts", "libx264", None),
        ("film.mkv", "libx264", None),
        ("film.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("film.mp4", "libx264", {"movflags": "faststart"}),
    ],
    ids=["avi", "ts", "mkv", "fragmented mp4", "mp4"],
)
def test_a_truncated_video_gives_everything_up_to_the_cut(
    tmp_path: Path, name: str, codec: str, options: dict[str, str] | None
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = _film(
        tmp_path / name,
        90,
        codec=codec,
        pixels=pixels,
        make=_busy,
        container=options,
        encoder={"bf": "0", "g": "10"},
    )
    complete, _ = _frames(whole)
    frames, source = _frames(_cut(whole, 0.6))
    assert 40 <= len(frames) <= 60
    for frame, original in zip(frames[:-1], complete, strict=False):
        assert frame.stamp.frame == original.stamp.frame
        assert frame.stamp.pts == original.stamp.pts
        assert np.array_equal(frame.image, original.image)
    if not name.endswith(".ts"):  # a transport stream has no account of its own length
        assert source.warning.startswith(f"{tmp_path / 'cut'}")
        assert "\n" not in source.warning


def test_damage_inside_a_video_leaves_a_gap_and_a_warning(tmp_path: Path) -> None:
    film = _film(tmp_path / "film.avi", 30, codec="mjpeg", pixels="yuvj420p", make=_busy)
    data = film.read_bytes()
    with av.open(str(film)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for picture in pictures[10:12]:
        data = data.replace(picture, bytes(len(picture)))
    film.write_bytes(data)
    frames, source = _frames(film)
    assert [f.stamp.frame for f in frames] == [*range(10), *range(12, 30)]
    assert [f.stamp.pts for f in frames] == pytest.approx([f.stamp.frame / 30 for f in frames])
    assert source.warning == f"{film}: 2 damaged frames left out"


def test_duration_is_source_time_and_no_cause_for_a_warning(tmp_path: Path) -> None:
    frames, source = _frames(_film(tmp_path / "film.mp4"), duration_s=0.5)
    assert len(frames) == source.n_frames == 15
    assert source.warning == ""


def test_frames_hidden_by_an_edit_list_are_neither_shown_nor_missed(tmp_path: Path) -> None:
    film = _film(tmp_path / "whole.mp4", encoder={"bf": "0", "g": "600"})
    target = tmp_path / "late.mp4"
    keep = {"avoid_negative_ts": "disabled"}
    with av.open(str(film)) as whole, av.open(str(target), "w", options=keep) as out:
        video = whole.streams.video[0]
        half_a_second = int(0.5 / video.time_base)
        stream = out.add_stream_from_template(video)
        for packet in whole.demux(video):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= half_a_second
                packet.dts -= half_a_second
                packet.stream = stream
                out.mux(packet)
    frames, source = _frames(target)
    assert len(frames) == source.n_frames == 15
    assert frames[0].image.mean() > 40
    assert source.warning == ""


def _without_index(folder: Path) -> Path:
    film = _film(folder / "whole.mp4")
    data = film.read_bytes()
    target = folder / "cut.mp4"
    target.write_bytes(data[: data.index(b"moov") - 4])
    return target


def _of_unknown_codec(folder: Path) -> Path:
    film = _film(folder / "film.mp4")
    film.write_bytes(film.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    return film


def _written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def _without_frames(folder: Path) -> Path:
    with av.open(str(folder / "film.avi"), "w") as out:
        stream = out.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        out.start_encoding()
    return folder / "film.avi"


def _sound(folder: Path) -> Path:
    with av.open(str(folder / "sound.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return folder / "sound.wav"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "none.mp4", "no such file"),
        (lambda folder: _written(folder, "empty.mp4", b""), "the file is empty"),
        (lambda folder: _written(folder, "text.mp4", b"words " * 99), "not a readable video"),
        (lambda folder: _written(folder, "notes.txt", b"words " * 99), "holds no video"),
        (_without_index, "not a readable video"),
        (_of_unknown_codec, "its video codec cannot be decoded here"),
        (_without_frames, "holds no video frame"),
        (_sound, "holds no video"),
        (lambda folder: folder / "none.mp4" / "below", "no such file"),
    ],
    ids=["missing", "empty", "text-mp4", "text", "no-moov", "codec", "no-frames", "sound", "below"],
)
def test_what_is_no_video_ends_with_one_clear_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[Path], Path],
    says: str,
) -> None:
    path = make(tmp_path)
    capfd.readouterr()
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    assert str(caught.value).startswith(f"{path}: {says}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5.0, 5.1, 5.3], [0.0, 0.1, 0.3]),
        ([None, None, 7.2, 7.3], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, None, None, 0.3], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.1, 0.1, 0.3], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.2, 0.1, 0.4], [0.0, 0.2, 0.3, 0.4]),
        ([9.0, 9.1, 0.0, 0.25, 0.5], [0.0, 0.1, 0.2, 0.45, 0.7]),
    ],
    ids=["kept", "missing first", "missing", "equal", "backward", "began anew"],
)
def test_stamps_that_are_missing_or_go_back_are_mended(
    stamps: list[float | None], expected: list[float]
) -> None:
    clock = SourceClock(10.0)
    assert [clock(stamp) for stamp in stamps] == pytest.approx(expected)


# --- image folders


def _pictures(folder: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), _flat(i)[..., 0])
    return folder


def test_images_come_in_natural_order_at_the_given_rate(tmp_path: Path) -> None:
    names = ["img1.png", "img2.png", "img10.png", "img11.PNG", "img100.png"]
    _pictures(tmp_path, names)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._img1.png").write_bytes(b"a file system's own")
    frames, source = _frames(tmp_path, fps=1000)
    assert [int(frame.image[0, 0]) for frame in frames] == [16, 18, 20, 22, 24]
    assert [frame.stamp.frame for frame in frames] == list(range(5))
    assert [frame.stamp.pts for frame in frames] == [i / 1000 for i in range(5)]
    assert frames[0].image.shape == (48, 64)
    assert (source.n_frames, source.fps, source.width, source.height) == (5, 1000, 64, 48)


def test_names_with_several_numbers_or_none_have_an_order() -> None:
    names = ["a.png", "s1_10.png", "s1_9.png", "s10_1.png", "s2_1.png", "7.png", "07.png"]
    ordered = [p.name for p in sorted(map(Path, names), key=natural_key)]
    assert ordered == [
        "07.png", "7.png", "a.png", "s1_9.png", "s1_10.png", "s2_1.png", "s10_1.png"
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_colour_images_are_bgr_of_8_bits(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((47, 63, 3), np.uint8)
    image[..., 2] = 200
    cv2.imwrite(str(tmp_path / f"1{suffix}"), image)
    frames, _ = _frames(tmp_path, fps=1000)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.mean(axis=(0, 1)) == pytest.approx([0, 0, 200], abs=4)


def test_an_image_of_16_bits_becomes_8(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((4, 4), 128 * 256, np.uint16))
    frames, _ = _frames(tmp_path, fps=1000)
    assert frames[0].image.dtype == np.uint8
    assert np.all(frames[0].image == 128)


@pytest.mark.parametrize("fps", ["source", "max"])
def test_an_image_folder_asks_for_its_rate(tmp_path: Path, fps: Any) -> None:
    with pytest.raises(UserError, match="give --fps N"):
        open_source(str(_pictures(tmp_path, ["1.png"])), fps=fps)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        open_source(str(tmp_path), fps=30)


def test_a_folder_that_begins_with_an_unreadable_image_is_an_error(tmp_path: Path) -> None:
    _written(tmp_path, "1.png", b"no image")
    with pytest.raises(SourceError, match=r"1\.png: not a readable image"):
        open_source(str(tmp_path), fps=30)


def test_an_unreadable_image_leaves_a_gap_and_a_warning(tmp_path: Path) -> None:
    _pictures(tmp_path, ["1.png", "2.png", "4.png"])
    _written(tmp_path, "3.png", b"")
    frames, source = _frames(tmp_path, fps=1000)
    assert [frame.stamp.frame for frame in frames] == [0, 1, 3]
    assert source.warning == f"{tmp_path / '3.png'}: not a readable image; left out"


# --- synthetic, addresses, mistakes


def test_the_synthetic_camera_is_a_recording_of_20_s() -> None:
    source = open_source("synthetic:", fps="max")
    first = next(source.frames())
    assert (source.live, source.fps, source.n_frames) == (False, 30, 600)
    assert first.image.shape == (source.height, source.width, 3)
    assert first.stamp.pts == 0


def test_synthetic_options_choose_seed_and_length() -> None:
    one, same, other = (
        list(open_source(f"synthetic:seed={seed},duration=0.1", fps="max").frames())
        for seed in (3, 3, 4)
    )
    assert [frame.stamp.pts for frame in one] == [0, 1 / 30, 2 / 30]
    assert np.array_equal(one[2].image, same[2].image)
    assert not np.array_equal(one[2].image, other[2].image)


@pytest.mark.parametrize(
    "options",
    ["sed=3", "seed", "seed=1.5", "seed=-1", "duration=0", "duration=nan", "duration=inf"],
)
def test_synthetic_options_that_make_no_sense_are_named(options: str) -> None:
    with pytest.raises(UserError, match=options):
        open_source(f"synthetic:{options}")


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_makes_no_sense_is_an_error(fps: float) -> None:
    with pytest.raises(UserError, match="--fps"):
        open_source("synthetic:", fps=fps)


@pytest.mark.parametrize("text", ["", "http://camera/stream", "bad\0name"])
def test_a_text_that_names_no_source_is_an_error(text: str) -> None:
    with pytest.raises(SourceError):
        open_source(text)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://u:p@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://u@cam/live", "rtsp://cam/live"),
        ("rtsps://u:p@s/s@cam/live", "rtsps://cam/live"),
        ("rtsp://cam/?user=u&password=p&channel=1", "rtsp://cam/?user=...&password=...&channel=1"),
        ("rtsp://cam/user=u_password=p_q_channel=1", "rtsp://cam/user=..."),
        ("lost rtsp://u:p@cam/a and went on", "lost rtsp://cam/a and went on"),
    ],
)
def test_credentials_are_never_shown(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_an_unknown_address_is_shown_without_its_password() -> None:
    with pytest.raises(SourceError, match=r"^http://camera/x: unknown kind"):
        open_source("http://zoe:s3cret@camera/x")


# --- pace


class Wall:
    """A clock that moves only when slept on (or by ``work``)."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _stills(times: list[float]) -> Iterator[Frame]:
    image = np.zeros((2, 2), np.uint8)
    return (stamped("s", i, t, image) for i, t in enumerate(times))


def _released(times: list[float], fps: float | None, work: list[float]) -> list[float]:
    """When each frame is released to a consumer that spends ``work`` seconds on each."""
    wall = Wall()
    out = []
    frames = paced(_stills(times), fps, lambda: wall.now, wall.sleep)
    for index, (frame, spent) in enumerate(zip(frames, work, strict=True)):
        assert frame.stamp.frame == index
        out.append(wall.now - 100.0)
        wall.now += spent
    return out


def test_replay_at_the_own_rate_follows_the_recordings_times() -> None:
    times = [0.0, 0.1, 0.5, 0.52]
    assert _released(times, None, [0.01] * 4) == pytest.approx(times)


def test_replay_at_n_fps_ignores_the_recordings_times_but_keeps_them() -> None:
    times = [0.0, 0.1, 0.5, 0.52]
    assert _released(times, 5.0, [0.0] * 4) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    wall = Wall()
    frames = list(paced(_stills(times), 5.0, lambda: wall.now, wall.sleep))
    assert [frame.stamp.pts for frame in frames] == times


def test_a_late_consumer_loses_nothing_and_the_schedule_does_not_drift() -> None:
    work = [0.0, 0.35, 0.0, 0.0, 0.0, 0.0]
    assert _released([0.0] * 6, 10.0, work) == pytest.approx([0.0, 0.1, 0.45, 0.45, 0.45, 0.5])


def test_small_delays_do_not_add_up() -> None:
    released = _released([0.0] * 1001, 100.0, [0.003] * 1001)
    assert released == pytest.approx([i / 100 for i in range(1001)])


def test_capture_clocks_are_read_at_release() -> None:
    frames = paced(_stills([0.0, 0.0]), 1.0, lambda: 0.0, lambda s: None)
    first = next(frames)
    held = stamped("s", 0, 0.0, first.image).stamp
    second = next(frames)
    assert second.stamp.mono_ns >= held.mono_ns >= first.stamp.mono_ns
    assert second.stamp.utc_ns >= held.utc_ns


def test_speed_changes_neither_frames_nor_times(tmp_path: Path) -> None:
    film = _film(tmp_path / "film.mp4", 10)
    (fast, _), (slow, _), (own, _) = (_frames(film, fps=fps) for fps in ("max", 200, "source"))
    for other in (slow, own):
        assert [(f.stamp.frame, f.stamp.pts) for f in other] == [
            (f.stamp.frame, f.stamp.pts) for f in fast
        ]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(fast, other, strict=True))


@pytest.mark.timeout(30)
def test_interrupt_cuts_a_long_wait_of_a_recording_short(tmp_path: Path) -> None:
    film = _film(tmp_path / "pause.mp4", 3, times=lambda i: 100.0 * i)
    source = VideoSource(film, None, None, None)
    timer = threading.Timer(0.2, source.interrupt)
    timer.start()
    assert len(list(source.frames())) <= 2
    timer.join()
    source.close()


# --- live


def test_only_the_newest_frame_is_kept_and_drops_are_gaps() -> None:
    taken = threading.Semaphore(0)
    read = threading.Semaphore(0)

    def camera() -> Generator[Frame, None, None]:
        for i, frame in enumerate(_stills([i / 30 for i in range(8)])):
            if i in (1, 6):
                read.release()
                taken.acquire()
            yield frame

    latest = Latest(camera())
    frames = iter(latest)
    read.acquire()
    got = [next(frames).stamp.frame]
    taken.release()
    read.acquire()  # frames 1 to 5 were read and nobody took them
    got.append(next(frames).stamp.frame)
    taken.release()
    assert latest.join(10)  # 6 and 7 were read
    got += [frame.stamp.frame for frame in frames]
    assert got == [0, 5, 7]
    assert latest.dropped == 5


def test_the_readers_error_reaches_the_consumer() -> None:
    def camera() -> Generator[Frame, None, None]:
        yield from _stills([0.0])
        raise SourceError("gone")

    with pytest.raises(SourceError, match="gone"):
        list(Latest(camera()))


@pytest.mark.timeout(30)
def test_a_silent_camera_ends_the_frames() -> None:
    quiet = threading.Event()

    def camera() -> Generator[Frame, None, None]:
        yield from _stills([0.0])
        quiet.wait()

    latest = Latest(camera(), timeout_s=0.2)
    assert len(list(latest)) == 1
    assert latest.silent
    quiet.set()


@pytest.mark.timeout(30)
def test_stop_ends_a_waiting_consumer_and_closes_the_camera() -> None:
    more, closed = threading.Event(), threading.Event()

    def camera() -> Generator[Frame, None, None]:
        try:
            yield from _stills([0.0])
            more.wait()
            yield from _stills([1.0])
            yield from _stills([2.0])
        finally:
            closed.set()

    latest = Latest(camera())
    timer = threading.Timer(0.2, latest.stop)
    timer.start()
    assert len(list(latest)) == 1
    more.set()
    assert latest.join(10)
    assert closed.is_set()


@pytest.mark.parametrize(
    ("arrivals", "own", "expected"),
    [
        ([0.0, 0.04, 0.07], [None] * 3, [0.0, 0.04, 0.07]),
        ([0.0, 0.04, 0.06], [7.0, 7.033, 7.067], [0.0, 0.033, 0.067]),
        ([0.0, 0.04, 0.07], [None, 7.033, 7.067], [0.0, 0.04, 0.074]),
        ([0.0, 0.04, 0.07], [7.0, 7.0, 7.0], [0.0, 0.04, 0.07]),
        ([0.0, 0.04, 0.07], [7.0, 3.0, 3.033], [0.0, 0.04, 0.073]),
        ([0.0, 0.04, 0.07], [7.0, 9000.0, 9000.033], [0.0, 0.04, 0.073]),
        ([0.0, 3.0, 3.001], [7.0, 7.033, 7.067], [0.0, 0.033, 0.067]),
        ([0.0, 3.0], [7.0, 10.0], [0.0, 3.0]),
    ],
    ids=["none", "jitter", "late", "stuck", "back", "jump", "stalled", "gap"],
)
def test_a_cameras_own_stamps_are_used_while_they_make_sense(
    arrivals: list[float], own: list[float | None], expected: list[float]
) -> None:
    clock = LiveClock()
    times = [clock(100 + a, o) - 100 for a, o in zip(arrivals, own, strict=True)]
    assert times == pytest.approx(expected, abs=1e-3)


class FakeCamera:
    """What ``cv2.VideoCapture`` would be; gives a frame whenever ``feed`` allows one."""

    def __init__(self, *_: object) -> None:
        self.feed = threading.Semaphore(0)
        self.properties = {cv2.CAP_PROP_FPS: 25.0, cv2.CAP_PROP_FRAME_WIDTH: 64.0}
        self.reads = 0
        self.asked = threading.Semaphore(0)
        self.lost = False
        self.released = threading.Event()

    def isOpened(self) -> bool:
        return True

    def set(self, what: int, value: float) -> bool:
        return True

    def get(self, what: int) -> float:
        return self.properties.get(what, 0.0)

    def read(self) -> tuple[bool, Image | None]:
        self.asked.release()
        self.feed.acquire()
        if self.lost:
            self.feed.release()
            return False, None
        self.reads += 1
        self.properties[cv2.CAP_PROP_POS_MSEC] = 5000.0 + 40 * self.reads
        return True, _flat(self.reads)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> FakeCamera:
    fake = FakeCamera()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: fake)
    return fake


@pytest.mark.timeout(30)
def test_a_webcam_gives_numbered_frames_with_the_drivers_times(camera: FakeCamera) -> None:
    source = open_source("3")
    frames = iter(source.frames())
    got = []
    for _ in range(4):
        camera.feed.release()
        got.append(next(frames))
    assert [frame.stamp.frame for frame in got] == [0, 1, 2, 3]
    assert [frame.stamp.pts for frame in got] == pytest.approx([0, 0.04, 0.08, 0.12], abs=1e-3)
    assert [int(frame.image[0, 0, 0]) for frame in got] == [18, 20, 22, 24]
    assert (source.stream, source.live, source.fps) == ("cam3", True, 25)
    assert (source.width, source.height, source.n_frames) == (64, None, None)
    source.interrupt()
    camera.feed.release()
    source.close()
    assert camera.released.is_set()
    assert list(frames) == []
    assert source.warning == ""


@pytest.mark.timeout(30)
def test_what_a_webcam_sends_before_anyone_asks_is_neither_numbered_nor_delivered(
    camera: FakeCamera,
) -> None:
    source = open_source("0")
    camera.asked.acquire()
    for _ in range(5):
        camera.feed.release()
        camera.asked.acquire()  # it was read, and the next one is waited for
    frames = iter(source.frames())
    camera.feed.release()
    first = next(frames)
    assert (first.stamp.frame, first.stamp.pts) == (0, 0)
    assert first.image[0, 0, 0] == 16 + 2 * 6
    assert source.dropped == 0  # type: ignore[attr-defined]
    camera.feed.release()
    source.close()


@pytest.mark.timeout(30)
def test_a_webcam_that_is_unplugged_ends_the_frames_with_a_warning(camera: FakeCamera) -> None:
    source = open_source("0", watch=Watch(read_timeout_s=0.2))
    frames = iter(source.frames())
    camera.feed.release()
    assert next(frames).stamp.frame == 0
    camera.lost = True
    camera.feed.release()
    assert list(frames) == []
    assert source.warning == "webcam 0: the camera was lost: no frame for 0.2 s"
    source.close()
    assert camera.released.is_set()


@pytest.mark.timeout(30)
def test_a_webcam_that_hangs_ends_the_frames_with_a_warning(camera: FakeCamera) -> None:
    source = open_source("0", watch=Watch(read_timeout_s=0.2))
    assert list(source.frames()) == []
    assert source.warning == "webcam 0: the camera was lost: no frame for 0.2 s"
    camera.feed.release()
    source.close()


@pytest.mark.timeout(30)
def test_an_absent_webcam_is_an_error_of_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"^webcam 97: cannot be opened; is it .* free\?$"):
        open_source("97")
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(60)
def test_a_webcam_that_is_unplugged_and_plugged_in_again_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cameras = [FakeCamera(), FakeCamera(), FakeCamera()]
    waiting = list(cameras)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: waiting.pop(0))
    monkeypatch.setattr(cameras[1], "isOpened", lambda: False)  # not there yet
    timeline = Timeline()
    watch = Watch(read_timeout_s=0.3, timeline=timeline)
    lasting = Lasting(
        "cam0",
        lambda: Webcam(0, "cam0", None, watch),
        timeline,
        Webcam(0, "cam0", None, watch),
        backoff=Backoff(0.1, 1.0),
    )
    got: list[Frame] = []
    said: list[Camera] = []
    for step in lasting.steps():
        if isinstance(step, Frame):
            got.append(step)
        elif step is not None:
            said.append(step)
        if len(got) == 2 and not cameras[0].lost:
            cameras[0].lost = True
            cameras[0].feed.release()
        (cameras[0] if not said else cameras[2]).feed.release()
        if len(got) == 6:
            lasting.interrupt()
    lasting.close()
    assert [message.kind for message in said] == ["lost", "retrying", "retrying", "back"]
    assert said[0].detail == "no frame for 0.3 s"
    assert said[2].detail.endswith("webcam 0: cannot be opened; is it connected and free?")
    for before, after in pairwise(got):
        assert after.stamp.frame > before.stamp.frame
        assert after.stamp.pts > before.stamp.pts
    away = [b.stamp.pts - a.stamp.pts for a, b in pairwise(got)]
    assert max(away) > 0.3
    assert cameras[0].released.is_set()
