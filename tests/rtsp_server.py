"""The RTSP server lives with the bench, whose soak needs it too."""

from bench.rtsp_server import RtspServer as RtspServer
from bench.rtsp_server import missing as missing
from bench.rtsp_server import serving as serving
