"""A whole run behind the page, as a user starts it, in a real Chromium. The camera is synthetic."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pipeline.dashboard import test_page
from tests.pipeline.dashboard.test_page import ROWS, Look, pixels

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[3]
chromium, look = test_page.chromium, test_page.look


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["inproc", "ipc"])
def test_a_run_is_seen(look: Callable[..., Look], transport: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MESPOT_DASHBOARD__PORT": "0",
        "XDG_STATE_HOME": str(tmp_path),
    }
    command = [sys.executable, "run_live.py", "synthetic:", "--duration", "20", "--no-models"]
    command += ["--dashboard", "--events", "tcp://127.0.0.1:*", "--transport", transport]
    said = tmp_path / "said"
    with (
        said.open("w") as out,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            _looked_at(look, said)
        finally:
            process.terminate()
            process.wait(60)
            print(said.read_text())  # shown where the test fails
    assert process.returncode == 0


def _looked_at(look: Callable[..., Look], said: Path) -> None:
    """From the first picture to the end of the run."""
    end = time.monotonic() + 60
    while not (
        found := re.search(r"^dashboard on (http://127\.0\.0\.1:\d+)$", said.read_text(), re.M)
    ):
        assert time.monotonic() < end
        time.sleep(0.1)
    address: Any = SimpleNamespace(dashboard=SimpleNamespace(address=found[1]))
    page = look(address)
    page.until("document.getElementById('no-picture').hidden")
    page.until("document.querySelector('#plot canvas') !== null")
    page.page.uncheck("#show-flow")
    face = pixels(page, "#picture")[200:330, 260:360, :3].reshape(-1, 3).astype(float)
    red, green, blue = face.mean(axis=0)
    assert red > green > blue and red - blue > 20 and face.std() > 10
    assert page.text("#made") == "synthetic camera"
    page.until(ROWS, lambda rows: "final" in rows)
    page.until("Number(document.getElementById('plot').dataset.until) > 4")
    page.page.click("#list li:last-child button")
    page.until("document.querySelectorAll('#explain img').length", lambda n: n == 6)
    assert "AU 1 + AU 2" in page.text("#explain-title")
    assert "standard deviations above this face's own noise" in page.text("#explain")
    assert page.errors == []
    page.until("document.getElementById('link').textContent", lambda t: "reconnecting" in t)


def test_a_page_for_others_without_a_token_is_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"MESPOT_DASHBOARD__HOST": "0.0.0.0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "run_live.py", "synthetic:", "--dashboard"],
        cwd=ROOT,
        env=environment | {"XDG_STATE_HOME": str(tmp_path)},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "dashboard.token" in done.stderr
