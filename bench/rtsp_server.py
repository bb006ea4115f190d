"""A real RTSP server (GStreamer's) for tests and the soak, in a process of its own.

Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad. The bindings belong to the
system's Python, which runs this file as a script: ``rtsp_server.py VIDEO KIND [USER PASSWORD]``.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PYTHON = "/usr/bin/python3"
_ELEMENTS = ("filesrc", "qtdemux", "h264parse", "rtph264pay")
_CHECK = f"""
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
print(" ".join(e for e in {_ELEMENTS} if Gst.ElementFactory.find(e) is None))
"""


@functools.cache
def missing() -> str:
    """Why no server can be started here; "" when one can."""
    try:
        done = subprocess.run(
            [PYTHON, "-c", _CHECK], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        return f"{PYTHON}: {error.strerror}"
    if done.returncode:
        return f"no GStreamer RTSP server: {done.stderr.strip().splitlines()[-1]}"
    return f"GStreamer lacks {done.stdout.strip()}" if done.stdout.strip() else ""


@dataclass
class RtspServer:
    """A running server: its address and its process, for tests that kill or stop it."""

    address: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def serving(
    video: Path,
    *,
    times: int = 1,
    credentials: tuple[str, str] | None = None,
    live: bool = False,
) -> Iterator[RtspServer]:
    """Serve ``video`` (H.264 in MP4) in real time at rtsp://127.0.0.1:PORT/cam.

    Args:
        video: each client gets it from its beginning, unless ``live``.
        times: how often it is repeated, seamlessly, before the stream ends.
        credentials: user and password that clients must give; not with ``live``.
        live: it plays whether anybody looks or not, as a camera does; clients join in.
    """
    from bench.clip import repeated  # not where the system's Python runs this file

    served = video if times == 1 else repeated(video, times)
    kind = "live" if live else "film"
    command = [PYTHON, __file__, str(served), kind, *(credentials or ())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("rtsp://"), "the RTSP server did not start"
        yield RtspServer(address, process)
    finally:
        process.kill()
        process.communicate()


def _serve(video: str, kind: str, user: str = "", password: str = "") -> None:
    import gi  # type: ignore[import-not-found]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")  # a free port

    class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
        def do_gen_key(self, url: Any) -> str:
            return "cam"  # one film for all who look, under whatever address

    factory = Factory()
    factory.set_launch(
        f'( filesrc location="{video}" ! qtdemux ! h264parse '
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        both = GstRtspServer.RTSPPermissions()
        both.add_permission_for_role("viewer", "media.factory.access", True)
        both.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(both)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    address = f"rtsp://127.0.0.1:{server.get_bound_port()}/cam"
    say = functools.partial(print, address, flush=True)
    if kind == "live":  # a client of its own keeps the film playing
        factory.set_shared(True)
        factory.connect("media-configure", lambda _, media: _without_seeking(Gst, media))
        viewer = Gst.parse_launch(
            f"rtspsrc location={address} protocols=tcp latency=0 "
            "! fakesink name=sink sync=false signal-handoffs=true"
        )
        sink = viewer.get_by_name("sink")
        first = sink.connect("handoff", lambda *_: (say(), sink.disconnect(first)))
        GLib.idle_add(lambda: viewer.set_state(Gst.State.PLAYING) and False)
    else:
        say()
    GLib.MainLoop().run()


def _without_seeking(Gst: Any, media: Any) -> None:  # noqa: N803
    """A client that joins asks for the beginning; a camera cannot go back to it."""

    def refuse(_: Any, info: Any) -> Any:
        seeking = info.get_query().type == Gst.QueryType.SEEKING
        return Gst.PadProbeReturn.DROP if seeking else Gst.PadProbeReturn.OK

    pad = media.get_element().get_by_name("pay0").get_static_pad("src")
    pad.add_probe(Gst.PadProbeType.QUERY_UPSTREAM, refuse)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
