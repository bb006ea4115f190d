"""The work of the pipeline: numpy in, numpy out; knows nothing of sockets."""

import models  # noqa: F401  it bounds what OpenCV decodes, before OpenCV is loaded
