"""What is learned or known: prototypes, FACS, recognisers, synthesis."""

import os

# OpenCV reads it when it is loaded: an image's header is looked at before its pixels are allocated
MOST_PIXELS = 2**26
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
