"""What the libraries may take of the machine: threads, the interpreter, memory. Set here alone.

The nodes are the parallelism: each library computes on one thread. The exceptions are set
where they belong: ``classify.threads`` for a recogniser's inference (``models.onnx_session``),
two threads for decoding a video (``pipeline.sources.video``). MediaPipe brings a pool of its
own, which cannot be told.
"""

from __future__ import annotations

import ctypes
import os
import sys

_SINGLE = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
# a node that wakes waits so long for one that computes in Python; Python's own is 5 ms
_SWITCH_S = 0.0005
# glibc's mallopt: its numbers, and ours
_M_TRIM_THRESHOLD, _TRIM_BYTES = -1, 8 * 1024 * 1024
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 256 * 1024


def settle() -> None:
    """Everything below, for a process that runs nodes."""
    limit_threads()
    sys.setswitchinterval(_SWITCH_S)
    return_memory()


def limit_threads() -> None:
    """One thread per library, in this process and those that it starts.

    It also makes results equal from driver to driver: a product of matrices is not the same
    to the last digit on one thread and on two.
    """
    for variable in _SINGLE:  # read by what is loaded from now on
        os.environ[variable] = "1"
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    if "numpy" in sys.modules:
        import threadpoolctl

        threadpoolctl.threadpool_limits(1, user_api="blas")


def return_memory() -> None:
    """Give images back to the system when they are freed (glibc; elsewhere nothing happens).

    Left alone, glibc learns from the first frame to keep blocks of that size in its heap.
    Crops, which live for seconds, then come to lie between frames, which do not, and the
    holes add up to 100 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
