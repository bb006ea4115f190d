"""The runtime: sockets, clocks, processes and logs."""

import models  # noqa: F401  it bounds what OpenCV decodes, before OpenCV is loaded
