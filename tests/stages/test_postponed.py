"""Postponed imports: the module comes when it is used, and not before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.postponed import postponed

_USER = """
import costly_package.part as part
import costly_package

def answer():
    return part.ANSWER
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that imports a package, which writes a file when it is really loaded."""
    package = tmp_path / "costly_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    loaded = tmp_path / "loaded"
    (package / "part.py").write_text(
        f"from pathlib import Path\nPath({str(loaded)!r}).touch()\nANSWER = 42\n"
    )
    (tmp_path / "its_user.py").write_text(_USER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield loaded
    for name in ("its_user", "costly_package", "costly_package.part"):
        sys.modules.pop(name, None)


def test_it_is_loaded_when_used(user: Path) -> None:
    with postponed("costly_package", "costly_package.part"):
        import its_user  # type: ignore[import-not-found]
    assert "costly_package" not in sys.modules
    assert not user.exists()
    assert its_user.answer() == 42
    assert user.exists()
    assert not hasattr(its_user.part, "nonsense")


def test_it_can_be_used_within_the_context_too(user: Path) -> None:
    with postponed("costly_package", "costly_package.part"):
        import its_user

        assert its_user.answer() == 42
    import costly_package.part  # type: ignore[import-not-found]

    assert costly_package.part.ANSWER == 42
    assert user.exists()


def test_what_is_loaded_already_stays(user: Path) -> None:
    import costly_package.part

    before = costly_package.part
    with postponed("costly_package", "costly_package.part"):
        import its_user
    assert its_user.part is before
    assert sys.modules["costly_package.part"] is before


def test_landmarks_load_no_plotting() -> None:
    code = (
        "import sys; from stages.landmarks import FaceMeshLandmarker; FaceMeshLandmarker();"
        "assert not {'matplotlib', 'sounddevice', 'torch', 'jax'} & sys.modules.keys()"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
