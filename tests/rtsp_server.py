"""A real RTSP server for tests: GStreamer's, run by the system's Python.

``/usr/bin/python3 tests/rtsp_server.py VIDEO`` serves VIDEO once per client at
``rtsp://127.0.0.1:PORT/cam`` and prints the port. Debian: gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-{base,good,bad,ugly}, python3-gi.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PYTHON = "/usr/bin/python3"


def why_not() -> str | None:
    """Why no server can be had here; None when it can."""
    if not Path(PYTHON).exists():
        return f"no {PYTHON}"
    probe = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "assert all(map(Gst.ElementFactory.find, ('qtdemux', 'h264parse', 'rtph264pay')))"
    )
    done = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, timeout=60)
    return None if done.returncode == 0 else "GStreamer's RTSP server is not installed"


@contextlib.contextmanager
def serving(video: Path) -> Iterator[str]:
    """The address at which ``video`` (H.264 in MP4) is served, in real time."""
    server = subprocess.Popen(
        [PYTHON, str(Path(__file__)), str(video)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield f"rtsp://127.0.0.1:{int(server.stdout.readline())}/cam"
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def main() -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{sys.argv[1]}" ! qtdemux ! h264parse config-interval=-1 '
        "! rtph264pay name=pay0 pt=96 )"
    )
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
