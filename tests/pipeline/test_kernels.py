"""A start that has to compile says so; one that need not does not."""

from __future__ import annotations

import os
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


def test_one_source_that_was_written_again_leaves_the_others_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stages

    home = Path(stages.__file__).parent
    sources = sorted(home.glob("*.py"), key=lambda path: path.stat().st_mtime)
    oldest, newest = sources[0], sources[-1]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    at = oldest.stat().st_mtime
    for k in range(30):
        for source in (oldest, newest):
            kernel = tmp_path / f"{source.stem}.f{k}-1.py311.nbi"
            kernel.touch()
            os.utime(kernel, (at, at))
    known = 60 if newest.stat().st_mtime == at else 30
    assert (kernels().kept, kernels().fresh, kernels().cold) == (60, known, False)


def test_a_folder_that_cannot_be_written_is_as_warm_as_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "gone"))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert kernels().cold and not kernels().writable
