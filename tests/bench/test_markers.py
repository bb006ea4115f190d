"""Marked tables of a document are rewritten; its prose is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ending import parts
from bench.markers import rewrite, rewritten
from bench.report import Result
from models.errors import UserError

TEXT = """# Title

Prose with `<!-- other -->` and a | pipe.

<!-- bench:flow -->
| old |
<!-- /bench -->
between
<!-- bench:memory -->
<!-- /bench -->

The end.
"""


def test_only_what_lies_between_the_markers_changes() -> None:
    made = rewritten(TEXT, {"flow": "\n| new \\1 |\n\n"})
    assert made == TEXT.replace("| old |", "| new \\1 |")
    assert rewritten(TEXT, {}) == TEXT
    both = rewritten(TEXT, {"flow": "A", "memory": "B"})
    assert "bench:memory -->\nB\n<!-- /bench" in both
    assert rewritten(both, {"flow": "A", "memory": "B"}) == both


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("<!-- /bench -->", "", 1), "bench:flow is not closed"),
        (TEXT.rpartition("<!-- /bench -->")[0], "bench:memory is not closed"),
        (TEXT + TEXT, "twice"),
    ],
)
def test_wrong_markers_leave_the_document_alone(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        rewrite(path, {"flow": "A"})
    assert path.read_text() == text


def test_a_part_without_a_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    assert rewrite(path, {"flow": "A", "nowhere": "B"}) == ["nowhere"]
    assert "\nA\n" in path.read_text()
    with pytest.raises(UserError, match="--into"):
        rewrite(tmp_path / "none.md", {})


def test_tables_go_to_their_parts_with_the_machine() -> None:
    results = [Result("one", ["a"], part="x"), Result("two", ["a"], part="x"), Result("b", ["c"])]
    made = parts("flow", results)
    assert list(made) == ["x", "flow"]
    assert made["x"].index("one") < made["x"].index("two") < made["x"].index("machine:")


def test_the_page_has_a_place_for_every_command() -> None:
    from bench.everything import parts as commands

    page = Path(__file__).parents[2] / "docs" / "performance.md"
    text = page.read_text(encoding="utf-8")
    for name in ("aims", *(part.name for part in commands())):
        assert f"<!-- bench:{name} -->" in text
    assert rewritten(text, {}) == text
