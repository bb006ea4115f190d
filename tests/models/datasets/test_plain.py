"""A plain CSV for anyone's own data."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.datasets import plain
from models.errors import UserError
from tests.models.datasets import trees

HEAD = "subject,video,onset,apex,offset,aus,kind"


def table(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8-sig")
    return path


def test_videos_and_image_folders(tmp_path: Path) -> None:
    trees.images(tmp_path / "anna" / "one", ["7.jpg", "08.jpg", "10.jpg"])
    (tmp_path / "two.mp4").write_bytes(b"")
    path = table(
        tmp_path,
        "anna,anna/one,7,8,10,4+L12B,micro,100",
        "bert,two,0,,30,,,",
        "bert,two,40,44,,12,macro,",
        head=f"{HEAD},fps",
    )
    made = plain.read(path, fps=25.0)
    assert [(c.subject, c.video, c.fps, len(c.truth)) for c in made.clips()] == [
        ("anna", "anna/one", 100.0, 1),
        ("bert", "two", 25.0, 2),
    ]
    first, second, third = made.annotations
    assert (first.au_numbers, first.kind, first.row) == ({4, 12}, "micro", 2)
    assert (second.onset, second.apex, second.kind) == (0, None, None)
    assert third.offset is None
    assert made.frames("two").index(40) == 40
    pairs, left_out = made.pairs()
    assert [(p.onset.name, p.apex.name) for p in pairs] == [("7.jpg", "08.jpg")]
    assert len(left_out) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,v,1,2,3,4,mini", "'mini' is neither"),
        ("a,v,1,2,3,smile,micro", "'smile' is not understood"),
        ("a,v,x,2,3,4,micro", "onset 'x' is not a frame number"),
        ("a,v,-1,2,3,4,micro", "onset '-1' is not a frame number"),
        ("a,v,5,6,3,4,micro", "offset 3 is before onset 5"),
        ("a,v,5", "too few cells"),
        (",v,1,2,3,4,micro", "no subject"),
        ("a,,1,2,3,4,micro", "no video"),
    ],
)
def test_malformed_rows(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(UserError, match="row 2: ") as error:
        plain.read(table(tmp_path, row))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_rates_must_be_rates_and_agree(tmp_path: Path) -> None:
    head = f"{HEAD},fps"
    with pytest.raises(UserError, match="fps 'inf' is not a rate"):
        plain.read(table(tmp_path, "a,v,1,2,3,4,micro,inf", head=head))
    rows = ("a,v,1,2,3,4,micro,30", "a,v,4,5,6,4,micro,25")
    with pytest.raises(UserError, match="row 3: fps 25 of v contradicts 30"):
        plain.read(table(tmp_path, *rows, head=head))


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        plain.read(tmp_path / "none.csv")
    with pytest.raises(UserError, match="holds no annotations"):
        plain.read(table(tmp_path))
    with pytest.raises(UserError, match="no header with subject, video"):
        plain.read(table(tmp_path, head="subject,onset"))
    with pytest.raises(UserError, match="the header has video twice"):
        plain.read(table(tmp_path, head=f"{HEAD},video"))
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        plain.read(tmp_path / "bad.csv")


def test_ambiguous_and_missing_videos(tmp_path: Path) -> None:
    made = plain.read(table(tmp_path, "a,v,1,2,3,4,micro"))
    with pytest.raises(UserError, match="1 annotated videos are missing, the first is v"):
        list(made.clips())
    for name in ("v.mp4", "v.avi"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"both v\.avi and v\.mp4 are there"):
        list(plain.read(table(tmp_path, "a,v,1,2,3,4,micro")).clips())
