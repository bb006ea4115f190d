"""A start that has to compile says so; one that need not does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.kernels import kernels

LIVE = ["live", "synthetic:duration=0.5", "--fps", "max", "--no-models", "--no-log"]


@pytest.mark.parametrize("kept", [0, 30])
def test_a_start_that_compiles_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: int
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for k in range(kept):
        (tmp_path / f"k{k}.nbi").touch()
    assert kernels().cold == (kept == 0)
    assert run([*LIVE, "--events", "tcp://127.0.0.1:*"]) == 0
    assert ("the first start compiles" in capsys.readouterr().out) == (kept == 0)


def test_a_folder_that_cannot_be_written_is_as_warm_as_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "gone"))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert kernels().cold and not kernels().writable
