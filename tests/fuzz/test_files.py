"""Label files, tables, workbooks and configurations: valid ones made hostile."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare import earlier
from bench.report import SCHEMA
from models import crowd, labels
from models.datasets import casme2, converted, plain
from models.datasets.tables import Workbook, read_csv
from models.errors import UserError
from pipeline.cli_live import one_line
from pipeline.config import ConfigError, load
from tests.fuzz.hostile import damaged_bytes, damaged_text, damaged_tree, draws, few, fuzzed

_STAMP = {"frame": 3, "pts": 0.1, "utc_ns": 5}
_EVENT = {
    **{"v": 1, "type": "event", "seq": 0, "id": "cam/0/0-1", "stream": "cam", "face": 0},
    **{"phase": "final", "kind": "micro", "onset": _STAMP, "apex": _STAMP, "offset": _STAMP},
    "aus": [{"au": 4, "side": "both"}],
    "emotions": [{"source": "coding-guide", "label": "anger"}],
}
_TRUTH = {"a.mp4": {"events": [{"onset": 1, "apex": 2, "offset": 9, "kind": "micro", "aus": [4]}]}}
_PLAIN = (
    "subject,video,onset,apex,offset,aus,kind,fps\ns1,a,1,2,9,L4B+7,micro,30\ns2,b,3,,8,12,,25\n"
)
_CASME2 = (
    "Subject,Filename,Onset,Apex,Offset,Action Units,Label\n"
    "01,EP02_01f,46,59,86,4+L12,happiness\n02,EP03_02,5,/,9,R1,others\n"
)
_LONG = (
    "subject,video_name,start_frame,apex_frame,end_frame,type_idx,au\n"
    "15,casme_015_0401,1,2,3,2,4+7\n"
)
_CROWD = "image,aus\na.jpg,1+2+L12\nb.jpg,null\n"
_SCORES = "a.jpg 0.1 0.2 0.3 0.1 0.2 0.1\nb.jpg 0 0 0 1 0 0\n"
_TOML = """
source = "synthetic:seed=3"
fps = 30
model = ["a.onnx"]
[spot]
search_s = 1.0
[motion]
flow = "fast"
window_s = 7
[publish]
high_water_mark = 100
"""


def _refused_or_read(read: Callable[[Path], Any], path: Path) -> None:
    """The reader gives something, or one line that can be shown; anything else fails the test."""
    try:
        read(path)
    except UserError as error:
        assert "\n" not in one_line(str(error))
        assert len(one_line(str(error))) <= 2001


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


_LABELS = {
    "events.jsonl": "\n".join(json.dumps(_EVENT | {"id": str(n)}) for n in range(2)) + "\n",
    "truth.json": json.dumps(_TRUTH),
    "labels.csv": "video,onset,offset,apex,kind,aus,emotion\na.mp4,1,9,2,micro,4+7,anger\n",
    "table.csv": "video_name,start_frame,apex_frame,end_frame,type_idx,au\nv,1,2,3,1,4\n",
    "predictions.csv": "v,1,9,2,8,TP\nv,,,3,4,FP\nw,3,4,,,FN\n",
}


@given(st.sampled_from(sorted(_LABELS)), draws, few)
@fuzzed(300)
def test_label_files(tmp_path_factory: Any, name: str, draw: Random, times: int) -> None:
    folder = tmp_path_factory.mktemp("labels")
    path = _write(folder, name, damaged_text(_LABELS[name], draw, times))
    _refused_or_read(labels.read, path)
    path.write_bytes(damaged_bytes(_LABELS[name].encode(), draw, times))
    _refused_or_read(labels.read, path)


@given(st.sampled_from([_EVENT, _TRUTH]), draws, few)
@fuzzed(300)
def test_json_label_files_with_hostile_fields(
    tmp_path_factory: Any, tree: Any, draw: Random, times: int
) -> None:
    folder = tmp_path_factory.mktemp("json")
    text = json.dumps(damaged_tree(tree, draw, times))
    _refused_or_read(labels.read, _write(folder, "a.json", text))
    _refused_or_read(labels.read, _write(folder, "a.jsonl", text))


_TABLES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "plain": (_PLAIN, lambda path: plain.read(path).paths),
    "casme2": (_CASME2, lambda path: converted.read(path, "casme2")),
    "long": (_LONG, lambda path: converted.read(path, "casme_sq")),
    "crowd": (_CROWD, lambda path: crowd.read(path, None)),
    "scores": (_SCORES, lambda path: crowd.read(_write(path.parent, "l.csv", _CROWD), path)),
}


@given(st.sampled_from(sorted(_TABLES)), draws, few)
@fuzzed(300)
def test_tables(tmp_path_factory: Any, name: str, draw: Random, times: int) -> None:
    folder = tmp_path_factory.mktemp("tables")
    text, read = _TABLES[name]
    _refused_or_read(read, _write(folder, "table.csv", damaged_text(text, draw, times)))
    (folder / "table.csv").write_bytes(damaged_bytes(text.encode(), draw, times))
    _refused_or_read(read, folder / "table.csv")


@given(draws, few)
@fuzzed(300)
def test_configurations(tmp_path_factory: Any, draw: Random, times: int) -> None:
    path = _write(tmp_path_factory.mktemp("toml"), "c.toml", damaged_text(_TOML, draw, times))
    _refused_or_read(load, path)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "faces = " + "1" * 5000,
        'out = "a\\u0000b"',
        'model = ["a\\u0000b"]',
        "[spot]\nsearch_s = inf",
        "[motion]\nwindow_s = nan",
        "[motion]\nwindow_s = 1e300",
        "[publish]\nhigh_water_mark = 99999999999999",
        "duration = inf",
        '"\\u001b[2J\\n" = 1',
        "x" * 2_000_000,
    ],
)
def test_configurations_that_once_ended_in_a_traceback_or_would_never_end(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_write(tmp_path, "c.toml", text))
    assert one_line(str(caught.value)).isprintable()


@given(draws, few)
@fuzzed(100)
def test_the_environment(draw: Random, times: int) -> None:
    key = draw.choice(["FPS", "SPOT__SEARCH_S", "SPOT", "MODEL", "OUT", "FACES", "CAPTURE__NAME"])
    text = damaged_text(draw.choice(['{"search_s": 2}', "30", '["a"]', "a"]), draw, times)
    text = text.replace("\0", "")[:60_000].encode("utf-8", "ignore").decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"MESPOT_{key}", text)
        with contextlib.suppress(ConfigError):
            load()


@given(draws, few)
@fuzzed(100)
def test_measurements(tmp_path_factory: Any, draw: Random, times: int) -> None:
    held = {
        **{"schema": SCHEMA, "made": "today", "machine": {"cpu": "x"}},
        "figures": [{"key": "a.b", "value": 1.0, "unit": "ms"}],
    }
    folder = tmp_path_factory.mktemp("bench")
    text = json.dumps(damaged_tree(held, draw, times))
    _refused_or_read(earlier, _write(folder, "a.json", text))
    _refused_or_read(earlier, _write(folder, "a.json", damaged_text(text, draw, times)))


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(UserError, match="larger than"):
        read_csv(Path("/dev/zero"))


# ---------------------------------------------------------------- workbooks

_HEAD = ("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None)


def _book(path: Path, *rows: tuple[Any, ...]) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Sheet1"
    sheet.append((*_HEAD, "Action Units", "Estimated Emotion"))
    for row in rows or [("01", "EP02_01f", None, 46, 59, 86, None, "4+12", "happiness")]:
        sheet.append(row)
    book.save(path)
    return path


def _changed(path: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> Path:
    """The zip file with every member changed, and further members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | more).items():
            archive.writestr(name, content)
    return path


def _read_book(path: Path) -> None:
    rows = Workbook(path).rows("sheet1", "Sheet1", alone=True)
    assert len(rows) <= 20_000


@given(draws, few)
@fuzzed(150)
def test_workbooks(tmp_path_factory: Any, draw: Random, times: int) -> None:
    folder = tmp_path_factory.mktemp("books")
    path = _book(folder / "CASME2-coding-1.xlsx")
    if draw.random() < 0.4:
        path.write_bytes(damaged_bytes(path.read_bytes(), draw, times))
    else:
        wanted = draw.choice(
            ["sheet1.xml", "workbook.xml", "sharedStrings.xml", "styles.xml", ".rels"]
        )

        def change(name: str, content: bytes) -> bytes:
            if not name.endswith(wanted):
                return content
            text = damaged_text(content.decode(), draw, times)
            return text.encode("utf-8", "surrogatepass")

        _changed(path, change)
    _refused_or_read(_read_book, path)
    _refused_or_read(lambda path: casme2.read(path.parent), path)


@contextlib.contextmanager
def _little_memory(most_mb: int) -> Iterator[None]:
    """The block may not make the process grow by more."""
    scale = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale - before
    assert grown < most_mb * 1_000_000


def test_a_workbook_that_unpacks_without_measure_is_refused_unread(tmp_path: Path) -> None:
    path = _book(tmp_path / "a.xlsx")
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/media/x", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1_000_000))
    with _little_memory(50), pytest.raises(UserError, match="unpacked larger"):
        Workbook(path)


def test_a_workbook_of_very_many_members_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"xl/worksheets/{number:010}.xml", b"")
    with _little_memory(50), pytest.raises(UserError, match="members"):
        Workbook(path)


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        ('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', "more than 20000 rows"),
        ('<row r="1"><c r="XFD1"><v>1</v></c></row>', "ok"),
        ('<row r="999999999999999"><c r="A999999999999999"><v>1</v></c></row>', "rows"),
        ('<row r="-5"><c r="A1"><v>1</v></c></row>', "any"),
        ("<row><c><v>1</v></c></row>" * 30_000, "more than 20000 rows"),
    ],
)
def test_far_cells_and_endless_rows_cost_no_memory(
    tmp_path: Path, cells: str, outcome: str
) -> None:
    path = _book(tmp_path / "a.xlsx")

    def far(name: str, content: bytes) -> bytes:
        if not name.endswith("sheet1.xml"):
            return content
        merged = b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'
        begin, _, _ = content.partition(b"<sheetData>")
        return begin + b"<sheetData>" + cells.encode() + merged + b"</worksheet>"

    with _little_memory(100):
        try:
            rows = Workbook(_changed(path, far)).rows("sheet1", "Sheet1", alone=True)
            assert outcome in ("ok", "any")
            assert all(len(cells) <= 100 for _, cells in rows)
        except UserError as error:
            assert outcome == "any" or outcome in str(error)


def test_entities_are_not_expanded_without_measure(tmp_path: Path) -> None:
    path = _book(tmp_path / "a.xlsx")
    names = "abcdefghij"
    entities = "".join(
        f'<!ENTITY {name} "{f"&{names[i - 1]};" * 10 if i else "x" * 1000}">'
        for i, name in enumerate(names)
    )

    def laughs(name: str, content: bytes) -> bytes:
        if not name.endswith("sheet1.xml"):
            return content
        return f"<!DOCTYPE worksheet [{entities}]>".encode() + content.replace(b"EP02", b"&j;")

    with _little_memory(100), pytest.raises(UserError, match="not a workbook that can be read"):
        _read_book(_changed(path, laughs))


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/../../secret", "inside/link"])
def test_a_table_names_no_video_out_of_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "img1.png").write_bytes(b"")
    (root / "inside" / "link").symlink_to(tmp_path / "secret")
    table = _write(root, "t.csv", f"subject,video,onset,apex,offset,aus,kind\ns1,{name},1,2,9,4,\n")
    dataset = plain.read(table)
    with pytest.raises(UserError, match="leads out of"):
        _ = dataset.paths


def test_links_out_of_a_data_set_are_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (other / "EP02_01f").mkdir(parents=True)
    (other / "EP02_01f" / "img1.png").write_bytes(b"")
    root.mkdir()
    _book(root / "CASME2-coding-1.xlsx")
    (root / "sub01").symlink_to(other)
    with pytest.raises(UserError, match="a link out of"):
        _ = casme2.read(root).paths
    (root / "sub01").unlink()
    (root / "sub01" / "EP02_01f").mkdir(parents=True)
    (root / "sub01" / "EP02_01f" / "img46.png").symlink_to(other / "EP02_01f" / "img1.png")
    with pytest.raises(UserError, match="a link out of"):
        casme2.read(root).frames("sub01/EP02_01f")


def test_a_root_that_is_a_link_itself_is_the_users_own_choice(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub01" / "EP02_01f").mkdir(parents=True)
    (root / "sub01" / "EP02_01f" / "img46.png").write_bytes(b"")
    _book(root / "CASME2-coding-1.xlsx")
    (tmp_path / "link").symlink_to(root)
    assert casme2.read(tmp_path / "link").frames("sub01/EP02_01f").numbers == (46,)


def test_what_is_said_of_a_hostile_name_is_one_printable_line() -> None:
    assert one_line("a\x1b[2J\nb\0c") == "a [2J b c"
    assert len(one_line("x" * 10_000_000)) == 2001
