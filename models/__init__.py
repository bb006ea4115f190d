"""What is learned or known: prototypes, FACS, recognisers, synthesis."""

import os

# OpenCV reads it when it is loaded: an image's header is looked at before its pixels are allocated
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))
