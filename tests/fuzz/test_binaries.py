"""Prototype files, models, images, videos, samples and checkpoints: valid ones made hostile."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelError, PrototypeError, SourceError, UserError
from models.images import read
from models.onnx_metadata import read_metadata
from models.prototypes import Prototype, PrototypeSet, load
from models.recogniser import Recogniser, card_of, read_card
from pipeline.sources import open_source
from pipeline.sources.video import SourceClock
from tests.fuzz.hostile import damaged_bytes, damaged_text, damaged_tree, draws, few, fuzzed

# ---------------------------------------------------------------- prototypes

_AUS = (1, 45)
_ROWS = [[au, half] for au in _AUS for half in ("left", "right")]
_JOINT = {
    "basis": np.ones((4, 10), np.float16),
    "basis_scale": np.ones(4, np.float32),
    "responses": np.ones((4, 4), np.float32),
    "noise": np.eye(4, dtype=np.float32),
    "mismatch": np.ones((2, 4, 4), np.float16),
    "mismatch_scale": np.ones(2, np.float32),
}


class _Members(dict[str, bytes]):
    """Of a zip file; a failing example shows their names alone."""

    def __repr__(self) -> str:
        return f"members {sorted(self)}"


@pytest.fixture(scope="module")
def prototypes(tmp_path_factory: Any) -> dict[str, bytes]:
    """The members of a small, valid file with a joint model."""
    path = tmp_path_factory.mktemp("prototypes") / "p.npz"
    field = np.zeros((240, 280, 2), np.float32)
    PrototypeSet("n", "3", "test", (Prototype(4, "eye", field, 1.0, 5),)).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = _header(members)
    header["joint"] = {"rows": _ROWS, "eye_length": 5}
    members["header.npy"] = _npy(np.frombuffer(json.dumps(header).encode(), np.uint8))
    return _Members(members | {f"joint_{name}.npy": _npy(array) for name, array in _JOINT.items()})


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _header(members: dict[str, bytes]) -> Any:
    return json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())


def _zip(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_seed_is_valid(tmp_path: Path, prototypes: dict[str, bytes]) -> None:
    assert load(_zip(tmp_path / "p.npz", prototypes)).joint is not None


@given(draws, few)
@fuzzed(60)
def test_prototype_headers(
    tmp_path_factory: Any, prototypes: dict[str, bytes], draw: Random, times: int
) -> None:
    text = json.dumps(damaged_tree(_header(prototypes), draw, times))
    text = text if draw.random() < 0.7 else damaged_text(text, draw, times)
    header = np.frombuffer(text.encode("utf-8", "surrogatepass") or b" ", np.uint8)
    path = tmp_path_factory.mktemp("p") / "p.npz"
    _load(_zip(path, prototypes | {"header.npy": _npy(header)}))


_HEADERS = [
    "{'descr': '<V1000000000', 'fortran_order': False, 'shape': (240, 280, 2), }",
    "{'descr': ('<f2', (1000000000,)), 'fortran_order': False, 'shape': (240, 280, 2), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (240, 280, 2), }",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (True, -1, 10000000000000000), }",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 99999999999999999999), }",
    "{'descr': [('a', '<f2')] * 10, 'fortran_order': False, 'shape': (), }",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (240, 280, 2L), }",
    "(" * 5000,
    "__import__('os').system('touch owned')",
    "{'descr': '''",
    "",
]


@given(draws, few)
@fuzzed(60)
def test_prototype_members(
    tmp_path_factory: Any, prototypes: dict[str, bytes], draw: Random, times: int
) -> None:
    members = dict(prototypes)
    name = draw.choice(sorted(members))
    if draw.random() < 0.5:
        text = draw.choice(_HEADERS)
        if draw.random() < 0.5:
            text = damaged_text(text, draw, times)
        made = text.encode("utf-8", "replace")[:65_000]
        size = len(made).to_bytes(2, "little")
        members[name] = b"\x93NUMPY\x01\x00" + size + made + members[name][80:]
    else:
        members[name] = damaged_bytes(members[name], draw, times)
    kind = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    path = _zip(tmp_path_factory.mktemp("p") / "p.npz", members, kind)
    if draw.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes(), draw, times))
    _load(path)


def _load(path: Path) -> None:
    try:
        found = load(path)
    except PrototypeError:
        return
    assert len(found.name) <= 100
    assert all(np.isfinite(p.field).all() for p in found.prototypes)


@pytest.mark.parametrize("header", _HEADERS)
def test_array_headers_that_lie_are_refused(
    tmp_path: Path, prototypes: dict[str, bytes], header: str
) -> None:
    size = len(header).to_bytes(2, "little")
    for name in ("field_0.npy", "joint_basis.npy", "header.npy"):
        lying = b"\x93NUMPY\x01\x00" + size + header.encode() + bytes(100)
        with pytest.raises(PrototypeError):
            load(_zip(tmp_path / "p.npz", prototypes | {name: lying}))
    assert not Path("owned").exists()


# ---------------------------------------------------------------- models

_FLOW = {"source": "flow_onset_apex", "region": "eye", "size": [8, 6], "channels": ["u"]}
_CARD: dict[str, Any] = {
    "format": "1",
    "name": "tiny",
    "version": "3",
    "training": "synthetic",
    "classes": ["negative", "positive"],
    "categories": {"negative": "negative"},
    "inputs": {"flow": _FLOW},
    "output": "logits",
    "figures": {"uf1": 0.5},
    "aus": [4],
}


@given(draws, few)
@fuzzed(150)
def test_model_cards(draw: Random, times: int) -> None:
    tree = damaged_tree(_CARD, draw, times)
    made = {
        f"mespot.{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in (tree if isinstance(tree, dict) else {}).items()
    }
    if made and draw.random() < 0.5:
        key = draw.choice(sorted(made))
        made[key] = damaged_text(made[key], draw, times)
    try:
        card = read_card(made)
    except ModelError:
        return
    assert len(card.name) <= 100
    assert len(card.classes) <= 1000
    assert sum(np.prod(spec.shape) for spec in card.inputs.values()) <= 2**24


@pytest.mark.parametrize(
    "changes",
    [
        {"figures": "[" * 100_000},
        {"classes": json.dumps([f"c{n}" for n in range(5000)])},
        {"name": "a\x1b[2J"},
        {"name": "x" * 1000},
        {"inputs": json.dumps({"a": _FLOW | {"size": [4096, 4096], "channels": ["u", "v"]}})},
        {"inputs": json.dumps({"a": _FLOW | {"channels": ["u"] * 10**6}})},
    ],
)
def test_cards_without_measure_are_refused(changes: dict[str, str]) -> None:
    made = {f"mespot.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in _CARD.items()}
    assert read_card(made).name == "tiny"
    with pytest.raises(ModelError):
        read_card(made | {f"mespot.{key}": value for key, value in changes.items()})


@pytest.fixture(scope="module")
def model() -> bytes:
    """A valid model: logits from the mean of one plane."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (the train extra)")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["flow"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["row"]),
            helper.make_node("MatMul", ["row", "w"], ["out"]),
        ],
        "g",
        [helper.make_tensor_value_info("flow", 1, ["n", 1, 6, 8])],
        [helper.make_tensor_value_info("out", 1, ["n", 2])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    for key, value in (_CARD | {"aus": []}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        made.metadata_props.add(key=f"mespot.{key}", value=text)
    return bytes(made.SerializeToString())


def test_the_model_is_valid(tmp_path: Path, model: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(model)
    assert Recogniser(tmp_path / "m.onnx").name == "tiny"


@given(draws, few)
@fuzzed(50)
def test_models(tmp_path_factory: Any, model: bytes, draw: Random, times: int) -> None:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    path.write_bytes(damaged_bytes(model, draw, times))
    for reader in (card_of, Recogniser):
        try:
            reader(path)  # type: ignore[operator]
        except ModelError as error:
            assert "\n" not in str(error)
    with contextlib.suppress(ValueError, OSError):
        read_metadata(path)


@pytest.mark.parametrize("fields", [b"\x08\x01" * 200_000, b"\x72\x80\x89\x7a" + bytes(2_000_000)])
def test_metadata_without_measure_are_refused(tmp_path: Path, fields: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(fields)
    with pytest.raises(ValueError, match="more than"):
        read_metadata(tmp_path / "m.onnx")


@pytest.mark.parametrize("where", ["../secret.bin", "{}/secret.bin", "link.bin"])
def test_weights_are_read_from_the_models_own_folder_alone(tmp_path: Path, where: str) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (the train extra)")
    helper = onnx.helper
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    weights = onnx.TensorProto(name="w", dims=[2], data_type=1, data_location=1)
    for key, value in (("location", where.format(tmp_path)), ("offset", "0"), ("length", "8")):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["flow", "w"], ["out"])],
        "g",
        [helper.make_tensor_value_info("flow", 1, [2])],
        [helper.make_tensor_value_info("out", 1, [2])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        Recogniser(folder / "m.onnx")


# ---------------------------------------------------------------- images and videos


def _png(width: int, height: int) -> bytes:
    """A black PNG of that size, a few kB long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compressobj(1)
    packed = b"".join(rows.compress(bytes(1 + width)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("width", "height"), [(9_000, 8_000), (40_000, 2), (2, 40_000)])
def test_an_image_that_unpacks_without_measure_is_no_image(
    tmp_path: Path, width: int, height: int
) -> None:
    (tmp_path / "1.png").write_bytes(_png(width, height))
    assert read(tmp_path / "1.png") is None
    with pytest.raises(SourceError, match="not a readable image"):
        open_source(str(tmp_path), fps=30)
    (tmp_path / "1.png").write_bytes(_png(300, 200))
    image = read(tmp_path / "1.png")
    assert image is not None
    assert image.shape == (200, 300)


def test_an_images_size_is_looked_at_before_its_pixels_are_allocated(tmp_path: Path) -> None:
    """In a process of its own: OpenCV learns the limit when it is loaded."""
    (tmp_path / "1.png").write_bytes(_png(12_000, 12_000))
    program = (
        "import resource, sys; from pathlib import Path;"
        "from models.images import read; import cv2;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "assert read(Path(sys.argv[1])) is None;"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before;"
        "assert grown < 100_000 * (1024 if sys.platform == 'darwin' else 1), grown"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "1.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


_IMAGE = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)


@given(st.sampled_from([".png", ".jpg", ".bmp", ".tiff", ".ppm", ".webp"]), draws, few)
@fuzzed(100)
def test_images(tmp_path_factory: Any, suffix: str, draw: Random, times: int) -> None:
    folder = tmp_path_factory.mktemp("images")
    data = cv2.imencode(suffix, _IMAGE)[1].tobytes()
    (folder / f"1{suffix}").write_bytes(damaged_bytes(data, draw, times))
    found = read(folder / f"1{suffix}")
    assert found is None or found.dtype == np.uint8
    try:
        list(open_source(str(folder), fps="max").frames())
    except UserError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: Any) -> dict[str, bytes]:
    """A second of video in several containers."""
    made = _Members()
    folder = tmp_path_factory.mktemp("videos")
    kinds = {"mp4": "libx264", "mkv": "mjpeg", "avi": "mpeg4", "mpg": "mpeg2video"}
    for suffix, codec in kinds.items():
        path = folder / f"a.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = 32, 24
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(12):
                frame = av.VideoFrame.from_ndarray(_IMAGE, format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        made[suffix] = path.read_bytes()
    return made


@given(st.sampled_from(["mp4", "mkv", "avi", "mpg"]), draws, few)
@fuzzed(100)
def test_videos(
    tmp_path_factory: Any, videos: dict[str, bytes], suffix: str, draw: Random, times: int
) -> None:
    path = tmp_path_factory.mktemp("videos") / f"a.{suffix}"
    data = videos[suffix]
    if draw.random() < 0.5:  # the header is where sizes, rates and durations stand
        data = damaged_bytes(data[:1500], draw, times) + data[1500:]
    path.write_bytes(damaged_bytes(data, draw, 1))
    try:
        video = open_source(str(path), fps="max")
    except SourceError as error:
        assert "\n" not in str(error)
        return
    last = -1.0
    for count, frame in enumerate(video.frames()):
        assert max(frame.image.shape[:2]) <= 16_384
        assert last < frame.stamp.pts <= 86_400 * (count + 1)
        last = frame.stamp.pts
    assert "\n" not in video.warning
    video.close()


_PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"/>',
}


@pytest.mark.parametrize("kind", _PLAYLISTS)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.sdp", "a.mpd", "a.ffconcat"])
def test_a_video_opens_no_other_file_and_no_address(
    tmp_path: Path, videos: dict[str, bytes], kind: str, name: str
) -> None:
    (tmp_path / "other.mp4").write_bytes(videos["mp4"])
    (tmp_path / name).write_text(_PLAYLISTS[kind].format("other.mp4"))
    with pytest.raises(SourceError):
        open_source(str(tmp_path / name), fps="max")


@pytest.mark.parametrize("name", ["concat:other.mp4", "subfile,,start,0,end,0,,:other.mp4"])
def test_a_name_is_a_files_name_and_no_protocol(
    tmp_path: Path, videos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.mp4").write_bytes(videos["mp4"])
    with pytest.raises(SourceError, match="no such file"):
        open_source(name, fps="max")


def test_a_video_of_sides_that_libraries_abort_at_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 40_000, 16, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 40_000), np.uint8), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="40000 x 16 px"):
        open_source(str(path), fps="max")


@given(st.lists(st.one_of(st.none(), st.floats(-1e15, 1e15)), max_size=20))
@fuzzed(100)
def test_source_time_goes_on_whatever_the_stamps_say(stamps: list[float | None]) -> None:
    clock = SourceClock(25)
    last = -1.0
    for stamp in stamps:
        pts = clock(stamp)
        assert last < pts <= last + 86_402
        last = pts


# ---------------------------------------------------------------- samples and checkpoints


class _Owner:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch owned",)


def _samples() -> Any:
    from models.recognition.samples import Samples

    return Samples(
        {"flow": np.zeros((2, 1, 2, 4, 4), np.float32)},
        np.array([0, 1]),
        ("a", "b"),
        (frozenset({4}), frozenset()),
        ("s1", "s2"),
        ("x", "x"),
        ("n1", "n2"),
    )


@given(draws, few)
@fuzzed(40)
def test_samples(tmp_path_factory: Any, draw: Random, times: int) -> None:
    from models.recognition import samples

    path = tmp_path_factory.mktemp("samples") / "s.npz"
    samples.save(_samples(), path)
    assert samples.load(path).names == ("n1", "n2")
    path.write_bytes(damaged_bytes(path.read_bytes(), draw, times))
    try:
        samples.load(path)
    except UserError as error:
        assert "delete it" in str(error)


def test_samples_that_claim_more_than_they_hold_are_refused(tmp_path: Path) -> None:
    from models.recognition import samples

    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,), }"
    lying = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with pytest.raises(UserError, match="delete it"):
        samples.load(_zip(tmp_path / "s.npz", {"labels.npy": lying, "said.npy": lying}))


@pytest.mark.slow
def test_a_pickled_command_in_samples_or_checkpoint_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
    from models.recognition import samples
    from models.recognition.training import _UNREADABLE

    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "s.npz", labels=np.array([_Owner()], object), said=np.array("{}"))
    with pytest.raises(UserError, match="delete it"):
        samples.load(tmp_path / "s.npz")
    torch.save({"network": _Owner()}, tmp_path / "training.pt")
    with pytest.raises(_UNREADABLE):
        torch.load(tmp_path / "training.pt", weights_only=True)
    assert not (tmp_path / "owned").exists()
