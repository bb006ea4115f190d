"""``mespot archive``: on three nodes of a local cluster, and piece by piece (synthetic clips)."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import SourceError, UserError
from pipeline import Pipeline
from pipeline.archive import Archive, Needs, State
from pipeline.archive_files import seen, videos
from pipeline.archive_settings import fingerprint
from pipeline.archive_tables import write_events
from pipeline.archive_task import Job, StorageError, attempt, receipt_of, target
from pipeline.cli import run
from pipeline.config import load
from tests.pipeline.archived import load_ray, make_archive, three_nodes, wait_for_cores, working

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (mespot[ray])")

COUNT = 6
ROOT = Path(__file__).parents[2]
NO_MODELS = load(model=[])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    make_archive(root, COUNT)
    return root


@pytest.fixture(scope="module")
def expected(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Rows by video, from one process."""
    pipeline, file = Pipeline(model=[]), tmp_path_factory.mktemp("one") / "events"
    made = {}
    for video in videos(archive):
        write_events(pipeline.run(archive / video.name, curves=False), video.name, file)
        made[video.name] = parquet.read_table(file).to_pylist()
    assert all(len(rows) >= 2 for rows in made.values()), "the clips hold expressions"
    return made


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, Any]]:
    """Ray in a cluster of three nodes, and the cluster."""
    ray = load_ray()
    cluster = three_nodes()
    try:
        ray.init(cluster.address, log_to_driver=False)
        wait_for_cores(ray, 3)
        yield ray, cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def rows(file: Path) -> list[Any]:
    found: list[Any] = parquet.read_table(file).to_pylist()
    return found


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def changed(out: Path) -> dict[str, int]:
    """When each video was done."""
    files = (out / "done").rglob("*.json")
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_killed_half_way_changes_nothing_of_the_results(
    nodes: Any, archive: Path, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    ray, cluster = nodes
    doomed = next(iter(cluster.worker_nodes))
    torn: list[int] = []

    def kill(state: State) -> bool:
        if not torn and state.done and (at := working(doomed, "ray::mespot archive")):
            torn.extend(at)
            cluster.remove_node(doomed, allow_graceful=False)
        return True

    made = Archive(archive, tmp_path / "out", NO_MODELS)
    state = made.run(ray, Needs(memory_mb=500, retries=2), kill)
    assert torn, "no task ran on the node when it was to be killed"
    assert not any(Path(f"/proc/{pid}").exists() for pid in torn)
    assert state.reasons == {} and sorted(state.done) == sorted(expected)
    for name, wanted in expected.items():
        assert rows(target(made.out, "events", name)) == wanted
    assert rows(made.events) == [row for name in sorted(expected) for row in expected[name]]
    assert not (made.out / ".parts").exists()

    # a second start has nothing to do; other settings and another video have
    before = changed(made.out)
    assert Archive(archive, made.out, NO_MODELS).state.left == []
    stricter = load(model=[], spot={"threshold_scale": 1.5})
    assert len(Archive(archive, made.out, stricter).state.left) == COUNT
    touched = archive / "s0/clip0.mp4"
    os.utime(touched, ns=(1, 1))
    again = Archive(archive, made.out, NO_MODELS)
    assert [video.name for video in again.state.left] == ["s0/clip0.mp4"]
    again.run(ray, Needs(memory_mb=500))
    after = changed(made.out)
    assert {name for name in after if after[name] != before[name]} == {"done/s0/clip0.mp4.json"}
    assert rows(again.events) == [row for name in sorted(expected) for row in expected[name]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_that_is_killed_is_taken_up_where_it_was(
    archive: Path, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    load_ray()
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    command += ["archive", str(archive), "--out", str(out), "--no-models", "--jobs", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while len(changed(out)) < 2:
            assert driver.poll() is None, "it ended before it was to be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    before = changed(out)
    assert len(before) < COUNT, "it was killed too late"

    (archive / "broken.mp4").write_bytes(b"no video" * 100)
    try:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
    finally:
        (archive / "broken.mp4").unlink()
    assert done.returncode == 1, done.stderr
    assert f"{len(before)} before" in done.stdout, "what was done was not done again"
    after = changed(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == COUNT
    assert rows(out / "events.parquet") == [r for name in sorted(expected) for r in expected[name]]
    (failed,) = table(out / "failed.csv")
    assert failed["video"] == "broken.mp4" and "not a readable video" in failed["reason"]
    states = {row["video"]: row["state"] for row in table(out / "manifest.csv")}
    assert states == {"broken.mp4": "failed"} | dict.fromkeys(expected, "done")


# --- without Ray


def job(root: Path, out: Path, name: str, **more: Any) -> Job:
    """A job of a run that has begun."""
    out.mkdir(exist_ok=True)
    (out / "archive.json").write_text('{"run": "r"}')
    given = {"run": "r", "kinds": ("events",), "settings": fingerprint(NO_MODELS)} | more
    return Job(str(root), str(out), video=seen(root, name), config=NO_MODELS, **given)


def test_which_files_are_videos(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/x.avi", "a/notes.txt", ".hidden.mp4", ".git/y.mp4", "a/._x.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    for number in range(3):
        (tmp_path / "frames").mkdir(exist_ok=True)
        (tmp_path / "frames" / f"img{number}.png").write_bytes(b"12")
    assert [v.name for v in videos(tmp_path)] == ["a/x.avi", "b.MP4"]
    assert [v.name for v in videos(tmp_path, ["*.avi"])] == ["a/x.avi"]
    assert [v.name for v in videos(tmp_path, ["a/*", "b*"])] == ["a/x.avi", "b.MP4"]
    images = videos(tmp_path, images=True)
    assert [v.name for v in images] == ["a/x.avi", "b.MP4", "frames"]
    assert images[-1].size == 6
    (tmp_path / "frames" / "img1.png").write_bytes(b"13")
    os.utime(tmp_path / "frames" / "img1.png", ns=(1, 1))
    assert videos(tmp_path, images=True)[-1] != images[-1], "an image in it changed"
    with pytest.raises(SourceError, match="no such folder"):
        videos(tmp_path / "nowhere")


def test_what_cannot_be_read_is_a_failed_video_and_no_end(tmp_path: Path, capsys: Any) -> None:
    root, out = tmp_path / "videos", tmp_path / "out"
    for name in ("a.mp4", "shut/b.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    (root / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (root / "round.avi").symlink_to(root / "round.avi")
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "shut":  # permissions do not stop root
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.scandir", scandir)
        state = Archive(root, out, NO_MODELS).state
        assert [video.name for video in state.left] == ["a.mp4"]
        assert list(state.reasons) == ["gone.mp4", "round.avi", "shut"]
        assert "No such file" in state.reasons["gone.mp4"]
        assert "Permission denied" in state.reasons["shut"]
        assert "shut" in [video.name for video in videos(root, ["a*"])]
        with pytest.raises(SourceError, match="Permission denied"):
            videos(root / "shut")
        (root / "a.mp4").unlink()
        assert run(["archive", str(root), "--out", str(out), "--no-models"]) == 1
    assert "3 failed" in capsys.readouterr().err
    assert [row["video"] for row in table(out / "failed.csv")] == list(state.reasons)


def test_results_depend_on_settings_and_files_not_on_where_they_go(tmp_path: Path) -> None:
    known = fingerprint(NO_MODELS)
    assert fingerprint(load(model=[], out=tmp_path / "x", events="tcp://127.0.0.1:1")) == known
    assert fingerprint(load(model=[], method="paper")) != known
    assert fingerprint(load(model=[], spot={"micro_s": 0.4})) != known
    assert fingerprint(load()) != known, "the shipped recognisers read"
    from models.prototypes import _DEFAULT

    copy = tmp_path / "other-name.npz"
    copy.write_bytes(_DEFAULT.read_bytes())
    named = fingerprint(load(model=[], motion={"prototypes": str(copy)}))
    with copy.open("ab") as file:
        file.write(b"\0")
    assert fingerprint(load(model=[], motion={"prototypes": str(copy)})) != named


def test_a_receipt_is_of_one_content_and_one_choice_of_settings(
    archive: Path, tmp_path: Path
) -> None:
    name = "s0/clip1.mp4"
    made = job(archive, tmp_path, name)
    outcome = attempt(made)
    assert outcome.receipt is not None and outcome.reason == ""
    assert outcome.receipt.frames == 261 and outcome.receipt.events == 3
    assert outcome.receipt.cpu_s > 0

    def receipt(settings: str = made.settings, kinds: tuple[str, ...] = ("events",)) -> Any:
        return receipt_of(tmp_path, settings, seen(archive, name), kinds)

    assert receipt() == outcome.receipt
    assert receipt("other") is None
    assert receipt(kinds=("events", "blinks")) is None
    target(tmp_path, "events", name).unlink()
    assert receipt() is None, "its events are gone"


def test_blinks_and_curves_are_kept_where_wanted(archive: Path, tmp_path: Path) -> None:
    name = "s0/clip0.mp4"
    outcome = attempt(job(archive, tmp_path, name, kinds=("events", "blinks", "curves")))
    assert outcome.receipt is not None
    result = Pipeline(model=[]).run(archive / name)
    curves = parquet.read_table(target(tmp_path, "curves", name))
    assert curves.num_rows == sum(len(c.times) for c in result.curves)
    assert curves.column_names[:5] == ["video", "face", "reference", "frame", "time_s"]
    first = result.curves[0]
    assert curves.column(f"au{first.aus[1]}").to_pylist()[: len(first.times)] == (
        first.values[:, 1].tolist()
    )
    assert parquet.read_table(target(tmp_path, "blinks", name)).num_rows == len(result.blinks)


def test_a_broken_video_is_an_answer_and_a_strange_storage_the_end(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.archive_task._SEEN_S", 0.0)
    videos_, out = tmp_path / "videos", tmp_path / "out"
    videos_.mkdir()
    (videos_ / "broken.mp4").write_bytes(b"no video" * 100)
    broken = job(videos_, out, "broken.mp4")
    outcome = attempt(broken)
    assert outcome.receipt is None and not outcome.storage
    assert "not a readable video" in outcome.reason
    os.utime(videos_ / "broken.mp4", ns=(1, 1))
    assert "changed" in attempt(broken).reason
    strange = attempt(job(videos_, out, "broken.mp4", run="another"))
    assert strange.storage and "storage that every node sees" in strange.reason
    other = attempt(job(videos_, out, "broken.mp4", settings="another"))
    assert other.storage and "another version" in other.reason
    assert issubclass(StorageError, UserError)


def test_without_ray_one_line_names_the_extra(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["archive", str(archive), "--out", str(tmp_path / "out"), "--no-models"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "mespot[ray]" in err


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["{empty}", "--out", "{out}"], 2, "no videos"),
        (["{out}/nowhere", "--out", "{out}"], 4, "no such folder"),
        (["{empty}", "--out", "{out}", "--ray", "auto", "--jobs", "2"], 2, "--jobs"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: Any, arguments: list[str], code: int, line: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "out": tmp_path / "out"}
    assert run(["archive", *(word.format(**places) for word in arguments)]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and line in err


def test_two_runs_do_not_share_an_out(archive: Path, tmp_path: Path) -> None:
    one, other = (Archive(archive, tmp_path, NO_MODELS) for _ in range(2))
    with one._own(), pytest.raises(UserError, match="works here"), other._own():
        pass
