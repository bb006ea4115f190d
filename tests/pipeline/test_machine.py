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
