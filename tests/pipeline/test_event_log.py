from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import UserError
from pipeline.event_log import EventLog
from pipeline.event_rows import LogError, Reading, Row, reader

DAY_NS = 86_400 * 10**9


def row(seq: int, run: int = 1, size: int = 1500, utc_ns: int | None = None, log: str = "") -> Row:
    body = msgspec.msgpack.encode({"log": log, "run": run, "seq": seq, "pad": "x" * size})
    return Row(seq, run, f"cam/0/0-{seq}", "final", DAY_NS if utc_ns is None else utc_ns, body)


def opened(path: Path, **options: object) -> EventLog:
    options = {"max_days": 1e5} | options
    return EventLog(path, "cam", **options)  # type: ignore[arg-type]


def test_what_was_appended_is_read_after_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "cam.db"
    with closing(opened(path)) as log:
        identity = log.log
        assert (log.run, log.last, log.notes) == (0, -1, [])
        log.append([row(0), row(1)], 1)
        log.append([row(2, 2)], 2)
    with closing(opened(path)) as log:
        assert (log.log, log.run, log.last, log.notes) == (identity, 2, 2, [])
        assert log.page(0, 500) == [row(1), row(2, 2)]
        assert [log.begin_after(run) for run in (0, 1, 2)] == [0, 2, 3]
    assert path.stat().st_mode & 0o077 == 0


def test_a_reader_looks_on_while_it_is_written(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "l.db")) as log, reader(tmp_path / "l.db") as link:
        reading = Reading(link)
        assert reading.ends() == (0, -1)
        log.append([row(seq) for seq in range(10)], 1)
        assert reading.ends() == (0, 9)
        assert [r.seq for r in reading.rows(4, 3)] == [5, 6, 7]
        assert [r.seq for r in reading.rows(4, 9, max_bytes=4000)] == [5, 6]
        assert [r.seq for r in reading.rows(4, 9, max_bytes=1)] == [5]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            link.execute("DELETE FROM events")


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with closing(opened(path)):
        with pytest.raises(UserError, match=r"another mespot writes to .*--no-log") as caught:
            opened(path)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
    opened(path).close()


def test_what_is_no_log_of_this_stream_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    opened(path).close()
    with pytest.raises(UserError, match="holds the events of cam, not of other"):
        EventLog(path, "other")
    with sqlite3.connect(tmp_path / "else.db") as link:
        link.execute("CREATE TABLE bills (euro)")
    before = (tmp_path / "else.db").read_bytes()
    with pytest.raises(UserError, match="a database, but no event log"):
        opened(tmp_path / "else.db")
    assert (tmp_path / "else.db").read_bytes() == before
    with sqlite3.connect(path) as link:
        link.execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="newer mespot"):
        opened(path)


@pytest.mark.parametrize("place", ["file/l.db", "/proc/l.db"])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match=r"Not a directory|File exists|No such file|denied"):
        opened(tmp_path / place)


def test_the_oldest_rows_go_by_size_and_the_numbers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with closing(opened(path, sync="off", max_mb=100)) as log:
        for begin in range(0, 4000, 500):
            log.append([row(seq) for seq in range(begin, begin + 500)], 1)
    large = path.stat().st_size
    with closing(opened(path, max_mb=4)) as log:
        kept = [r.seq for r in log.page(-1, 10_000)]
        assert kept == list(range(kept[0], 4000))
        assert 1000 <= len(kept) < 2600
        for seq in range(4000, 4010):
            log.append([row(seq)], 2)
            log.prune()
    assert path.stat().st_size < large * 0.7
    with closing(opened(path, max_mb=1)) as log:  # what may be open is never too large
        assert len(log.page(-1, 10_000)) == 1000
        assert log.last == 4009


def test_the_oldest_rows_go_by_age_and_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with closing(opened(path)) as log:
        log.append([row(seq, utc_ns=seq * DAY_NS) for seq in range(10)], 1)
    with closing(opened(path, max_days=3, utc_ns=lambda: 10 * DAY_NS)) as log:
        assert [r.seq for r in log.page(-1, 99)] == [7, 8, 9]
    with closing(opened(path, max_days=3, utc_ns=lambda: 99 * DAY_NS)) as log:
        assert [r.seq for r in log.page(-1, 99)] == [9]
        assert log.last == 9


def test_a_removed_file_takes_nothing_in_secret(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with closing(opened(path)) as log:
        path.rename(tmp_path / "moved.db")
        with pytest.raises(LogError, match="No such file"):
            log.append([row(0)], 1)
        path.touch()
        with pytest.raises(LogError, match="another file is in its place"):
            log.append([row(0)], 1)
        path.unlink()
        (tmp_path / "moved.db").rename(path)
        log.append([row(0)], 1)
        assert [r.seq for r in log.page(-1, 9)] == [0]


def test_no_number_is_given_twice_though_the_log_lost_its_end(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with closing(opened(path)) as log:
        log.append([row(0)], 1)
        log.mark(3, 17)  # numbered in memory, with a disk that was full
    with closing(opened(path)) as log:
        assert (log.run, log.logged_run, log.last) == (3, 1, 17)
    (tmp_path / "l.db.lock").write_bytes(b"\xff garbage")
    with closing(opened(path)) as log:
        assert (log.run, log.last) == (1, 0)


COUNT = 40


@pytest.fixture(scope="module")
def torn() -> Iterator[Path]:
    """A log as a kill leaves it: half of it in the write-ahead file."""
    code = (
        "import os, sys; from pathlib import Path; from tests.pipeline.test_event_log import *\n"
        "log = opened(Path(sys.argv[1]))\n"
        "for k in range(COUNT):\n"
        "    log.append([row(k, log=log.log)], 1); log.mark(1, k)\n"
        "    if k == COUNT // 2:\n"
        "        log._connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n"
        "os._exit(9)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "l.db"
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False)
        assert done.returncode == 9
        assert (Path(name) / "l.db-wal").stat().st_size > 50_000
        yield Path(name)


def test_a_kill_loses_nothing(torn: Path, tmp_path: Path) -> None:
    shutil.copytree(torn, tmp_path, dirs_exist_ok=True)
    with closing(opened(tmp_path / "l.db")) as log:
        assert log.notes == []
        assert [r.seq for r in log.page(-1, 99)] == list(range(COUNT))


def _harm(path: Path, share: float, junk: bytes, cut: bool) -> None:
    at = int(path.stat().st_size * share)
    if cut:
        os.truncate(path, at)
        return
    with path.open("r+b") as file:
        file.seek(at)
        file.write(junk)


@given(
    name=st.sampled_from(["l.db", "l.db-wal"]),
    share=st.floats(0, 0.9999),
    junk=st.binary(min_size=1, max_size=5000),
    cut=st.booleans(),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_log_keeps_what_can_be_read_and_goes_on(
    torn: Path, name: str, share: float, junk: bytes, cut: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(torn, folder, dirs_exist_ok=True)
        path = Path(folder) / "l.db"
        _harm(Path(folder) / name, share, junk, cut)
        with closing(opened(path)) as log:
            kept = log.page(-1, 999)
            notes, last, identity = log.notes, log.last, log.log
            assert all(r == row(r.seq, log=identity) for r in kept if kept)
            if len(kept) < COUNT:
                assert notes  # never silently
            if name == "l.db-wal":
                assert len(kept) > COUNT // 2
            if kept:
                assert last == COUNT - 1
            log.append([row(last + 1, 2, log=identity)], 2)
        aside = [p for p in Path(folder).iterdir() if ".corrupt-" in p.name]
        assert bool(aside) == any("was damaged" in note for note in notes)
        with closing(opened(path)) as log:
            assert log.notes == []
            assert log.page(-1, 999) == [*kept, row(last + 1, 2, log=identity)]
            assert log.log == identity


@pytest.mark.parametrize("word", [b"final", b"cam/0/0-3"])
def test_overwritten_text_that_is_no_text_is_damage(
    torn: Path, tmp_path: Path, word: bytes
) -> None:
    shutil.copytree(torn, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "l.db"
    data = path.read_bytes()
    assert word in data
    path.write_bytes(data.replace(word, b"\x80" * len(word), 1))
    with closing(opened(path)) as log:
        assert len(log.notes) == 1
        assert "was damaged" in log.notes[0]
        assert len(log.page(-1, 99)) >= COUNT - 1


def test_a_repair_that_was_killed_is_finished(torn: Path, tmp_path: Path) -> None:
    from pipeline.event_log_repair import repair

    shutil.copytree(torn, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "l.db"
    repair(path, "cam", "test")
    path.rename(tmp_path / "l.db.salvaged")  # as between the two renames
    with closing(opened(path)) as log:
        assert [r.seq for r in log.page(-1, 99)] == list(range(COUNT))
