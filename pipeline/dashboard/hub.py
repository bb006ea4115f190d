"""From the run's threads to the browsers: what is known of every camera, and who looks on."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.dashboard.camera import Camera, Record, Rises
from pipeline.dashboard.outbox import Outbox, Payload
from pipeline.exports.version import version
from pipeline.known import known
from pipeline.messages import Report
from pipeline.schema import BlinkMessage, EventMessage, StateMessage

if TYPE_CHECKING:
    from pipeline.graph import Graph

_MOST_CAMERAS = 256
_KINDS = ("event", "blink", "state", "picture", "flow", "rises", "crops")


class _Crops(msgspec.Struct):
    id: str
    face: int
    crops: dict[str, bytes]


class Hub:
    """Everything that a page may ask for; safe in any thread, never waits for a browser.

    Args:
        images: whether pictures may be passed on.
    """

    def __init__(self, images: bool) -> None:
        self.images = images
        self._run = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._cameras: dict[str, Camera] = {}
        self._clients: set[Outbox] = set()
        self._abouts: dict[str, dict[str, Any]] = {}  # as told last

    # ------------------------------------------------------------ from the run

    def report(self, report: Report, graph: Graph) -> None:
        """A node's report."""
        stream = graph.config.stream
        with self._lock:
            camera = self._camera(stream)
            if camera is not None:
                camera.report(report, graph)
        if camera is not None:
            self._tell_about(camera)

    def _tell_about(self, camera: Camera) -> None:
        """What is new about a camera: it is known now, or lives again, maybe otherwise."""
        with self._lock:
            about = camera.about()
            if not about["known"] or self._abouts.get(camera.name) == about:
                return
            self._abouts[camera.name] = about
        self._tell({"t": "camera", "camera": about})

    def message(self, parts: Sequence[bytes]) -> None:
        """What a node put on the tap."""
        kind, _, rest = parts[0].decode().partition(".")
        if kind not in _KINDS:
            return
        stream = rest.rpartition(".")[0] if kind == "event" else rest
        with self._lock:
            camera = self._camera(stream)
            clients = [c for c in self._clients if c.watched == stream]
        if camera is None:
            return
        if kind in ("picture", "flow"):
            self._show(kind, stream, parts[1:], clients)
        elif kind == "rises":
            self._rises(camera, msgspec.msgpack.decode(parts[1], type=known(Rises)), clients)
        elif kind == "crops":
            found = msgspec.msgpack.decode(parts[1], type=known(_Crops))
            if self.images:
                with self._lock:
                    camera.crops(found.id, found.crops)
        else:
            self._published(kind, camera, parts[1])

    def _camera(self, stream: str) -> Camera | None:
        camera = self._cameras.get(stream)
        if camera is None and len(self._cameras) < _MOST_CAMERAS:
            camera = self._cameras[stream] = Camera(stream)
        return camera

    def _show(
        self, kind: str, stream: str, parts: Sequence[bytes], clients: Sequence[Outbox]
    ) -> None:
        """A picture or its flow, to those who look at this stream."""
        if not clients or not self.images:
            return
        header = {"t": kind, "s": stream} | msgspec.msgpack.decode(parts[0])
        payload: Payload
        key = kind
        if kind == "picture":
            head = msgspec.json.encode(header)
            payload = struct.pack(">I", len(head)) + head + parts[1]
        else:
            payload, key = _text(header), f"flow {header['face']}"
        for client in clients:
            client.put(payload, newest=key)

    def _rises(self, camera: Camera, rises: Rises, clients: Sequence[Outbox]) -> None:
        with self._lock:
            camera.rise(rises)
        if clients:
            text = _text({"t": "rises", "s": camera.name, "rises": [rises]})
            for client in clients:
                client.curves(text)

    def _published(self, kind: str, camera: Camera, body: bytes) -> None:
        if kind == "event":
            event = msgspec.msgpack.decode(body, type=known(EventMessage))
            with self._lock:
                event, life = camera.event(event), camera.life
            self._tell({"t": "event", "s": camera.name, "life": life, "event": event})
        elif kind == "blink":
            blink = msgspec.msgpack.decode(body, type=known(BlinkMessage))
            with self._lock:
                camera.blinks.append(blink)
            self._tell({"t": "blink", "s": camera.name, "blink": blink})
        else:
            state = msgspec.msgpack.decode(body, type=known(StateMessage))
            with self._lock:
                camera.state(state)
            self._tell_about(camera)
            self._tell({"t": "state", "s": camera.name, "state": state.state, "face": state.face})
            self.beat()

    # ------------------------------------------------------------ to the browsers

    def _tell(self, message: dict[str, Any]) -> None:
        with self._lock:
            clients = list(self._clients)
        if clients:
            text = _text(message)
            for client in clients:
                client.put(text)

    def beat(self) -> None:
        """Everybody gets the figures of now."""
        with self._lock:
            clients = list(self._clients)
            if not clients:
                return
            figures = {name: camera.health() for name, camera in self._cameras.items()}
        text = _text({"t": "health", "cameras": figures})
        for client in clients:
            client.put(text, newest="health")

    def join(self, client: Outbox) -> None:
        """A browser: it gets what is known so far, then all that comes."""
        from models.facs import ACTION_UNITS

        names = {str(number): unit.name for number, unit in ACTION_UNITS.items()}
        with self._lock:
            cameras = list(self._cameras.values())
            hello = {
                "t": "hello",
                "run": self._run,
                "version": version(),
                "images": self.images,
                "names": names,
                "cameras": [camera.about() for camera in cameras],
                "events": [r.message for camera in cameras for r in camera.records.values()],
            }
            client.put(_text(hello))
            self._clients.add(client)
        self.beat()

    def watch(self, client: Outbox, stream: str) -> None:
        """``client`` wants pictures and curves of ``stream``."""
        with self._lock:
            camera = self._cameras.get(stream)
            if camera is None:
                return
            rises, blinks = list(camera.rises), list(camera.blinks)
            client.watched = stream
            told = {"t": "rises", "s": stream, "rises": rises, "blinks": blinks, "anew": True}
            client.curves(_text(told), anew=True)

    def leave(self, client: Outbox) -> None:
        """A browser is gone."""
        with self._lock:
            self._clients.discard(client)

    def record(self, stream: str, ident: str) -> tuple[Camera, Record] | None:
        """An event, and the camera that saw it."""
        with self._lock:
            camera = self._cameras.get(stream)
            record = None if camera is None else camera.records.get(ident)
            if camera is None or record is None:
                return None
            return camera, Record(record.message, list(record.rises), dict(record.crops))


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
