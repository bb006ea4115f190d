"""What the libraries may take of the machine: threads and the interpreter. Set here alone.

The nodes are the parallelism: each library computes on one thread. The exceptions are set
where they belong: ``classify.threads`` for a recogniser's inference (``models.onnx_session``),
two threads for decoding a video (``pipeline.sources.video``). MediaPipe brings a pool of its
own, which cannot be told.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys

_SINGLE = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
# a node that wakes waits so long for one that computes in Python; Python's own is 5 ms
_SWITCH_S = 0.001


def settle() -> None:
    """For a process that runs nodes: one thread per library, and quick switches between nodes."""
    limit_threads()
    sys.setswitchinterval(_SWITCH_S)


def give_back_memory() -> None:
    """Free what is held in circles, and give the system what glibc keeps for itself.

    Decoders come and go in threads, and so in heaps of their own, of which glibc gives back
    the end alone: a camera that was lost a hundred times left 300 MB of holes.
    """
    gc.collect()
    give_back_holes()


def give_back_holes() -> None:
    """The second half of it alone: a few ms, and no node waits for it."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def limit_threads() -> None:
    """One thread per library, in this process and those that it starts.

    It also makes results equal from driver to driver: a product of matrices is not the same
    to the last digit on one thread and on two.
    """
    for variable in _SINGLE:  # read by what is loaded from now on
        os.environ[variable] = "1"
    if "cv2" in sys.modules:
        import cv2  # waits, where another thread has only begun to import it

        cv2.setNumThreads(1)
    if "numpy" in sys.modules:
        import threadpoolctl

        threadpoolctl.threadpool_limits(1, user_api="blas")
