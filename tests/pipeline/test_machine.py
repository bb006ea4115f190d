"""What is set for the whole process, looked at from outside in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _says(code: str) -> str:
    command = [sys.executable, "-c", f"from pipeline.machine import *\n{code}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_THREADS = """
import cv2, numpy, scipy.linalg, threadpoolctl
blas = [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
print(cv2.getNumThreads(), max(blas))
"""


@pytest.mark.parametrize(
    "code",
    [
        f"limit_threads()\n{_THREADS}",
        f"import cv2, numpy, scipy.linalg\ncv2.setNumThreads(2)\nlimit_threads()\n{_THREADS}",
    ],
    ids=["before they are loaded", "after"],
)
def test_every_library_computes_on_one_thread(code: str) -> None:
    assert _says(code) == "1 1"


def test_limiting_threads_loads_nothing() -> None:
    assert _says("limit_threads(); print({'cv2', 'numpy'} & sys.modules.keys())") == "set()"


def test_a_library_that_another_thread_imports_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(
        "import time\ntime.sleep(0.5)\ndef setNumThreads(n): print('told', n)\n"
    )
    code = f"""
import threading, time
sys.path.insert(0, {str(tmp_path)!r})
threading.Thread(target=lambda: __import__("cv2")).start()
while "cv2" not in sys.modules:
    time.sleep(0.01)
limit_threads()
"""
    assert _says(code) == "told 1"


def test_a_node_that_wakes_need_not_wait_for_pythons_own_interval() -> None:
    assert float(_says("settle(); print(sys.getswitchinterval())")) <= 0.001


_HOLES = """
import ctypes, re, threading
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def held():
    told = open("/proc/self/smaps_rollup").read()
    return int(re.search(r"Anonymous: +([0-9]+)", told)[1]) // 1000

def fill():
    taken = [libc.malloc(50_000) for _ in range(400)]
    for one in taken:
        ctypes.memset(one, 1, 50_000)
    kept.append(libc.malloc(50_000))  # at the end of the heap: what is below stays with glibc
    for one in taken:
        libc.free(one)

kept = []
before = held()
threads = [threading.Thread(target=fill) for _ in range(4)]
for each in (threading.Thread.start, threading.Thread.join):
    for thread in threads:
        each(thread)
full = held()
give_back_memory()
print(full - before, held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone keeps holes")
def test_what_threads_have_freed_is_given_back() -> None:
    full, left = map(int, _says(_HOLES).split())
    assert full > 15, "MB; else this C library keeps no holes, and nothing is tested"
    assert left < full / 3
