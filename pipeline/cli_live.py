"""``mespot live``, alone: the door needs no other command, and nothing heavy before it is used."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from models.errors import UserError
from pipeline.redaction import holds_secret, redacted

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.console import Screen
    from pipeline.console_json import JsonScreen
    from pipeline.watchers import Watcher

_LONGEST_LINE = 2000
_LEFT_BEHIND = ("capture", "face", "motion", "spot", "classify", "publish", "imports")
_SOURCE_HELP = (
    "Webcam index (0), rtsp:// address, video file, folder of numbered images, "
    "or synthetic: (a scripted face with known truth)."
)
_SEEN = (
    "a password on the command line can be read by everybody on this machine (ps); "
    "put the address into MESPOT_SOURCE or a configuration file"
)


def live(
    source: Annotated[
        str | None, typer.Argument(help=_SOURCE_HELP, show_default="synthetic:")
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Replay rate of recorded input: a number, source (its own) or max."),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            help="Address of the event socket; port * takes a free one and prints it.",
            show_default="tcp://127.0.0.1:5556",
        ),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Address of the replay socket (docs/protocol.md).",
            show_default="beside the event socket, on the next port",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the events to this JSON Lines file.")
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="The event log.", show_default="by stream, in the state folder"),
    ] = None,
    no_log: Annotated[
        bool, typer.Option("--no-log", help="No event log: what is not heard is lost.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(help="Seconds to run: source time if recorded, wall time if live."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="ONNX recogniser (docs/recogniser-format.md); may be given more than once.",
            show_default="those shipped",
        ),
    ] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="No recogniser: the coding guide alone.")
    ] = False,
    require_gpu: Annotated[
        bool | None,
        typer.Option("--require-gpu", help="Fail when a recogniser cannot use the GPU."),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(
            help="inproc: threads; ipc or tcp: processes. Changes no result.",
            show_default="inproc",
        ),
    ] = None,
    faces: Annotated[int | None, typer.Option(help="Faces to follow.", show_default="1")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="mespot: joint explanation; paper: He et al.'s.", show_default="mespot"),
    ] = None,
    calibrate: Annotated[
        float | None,
        typer.Option(
            help="Learn the neutral face for so many seconds before anything is spotted.",
            show_default="0",
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure", help="Let everybody who reaches the event socket listen, without a key."
        ),
    ] = None,
    lsl: Annotated[
        bool,
        typer.Option("--lsl", help="Offer events and curves as LabStreamingLayer streams."),
    ] = False,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics", help="Serve http://127.0.0.1:9464/metrics and /healthz (docs/metrics.md)."
        ),
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(
            help="What is said here: text, or JSON Lines on standard output.",
            show_default="text",
        ),
    ] = None,
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", help="Serve a page to look on, at http://127.0.0.1:8765."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and warnings.")] = False,
) -> None:
    """Spot micro- and macro-expressions in SOURCE and publish them as they happen."""
    if no_models and model:
        raise UserError("--no-models and --model: give one or the other")
    if no_log and log:
        raise UserError("--no-log and --log: give one or the other")
    _deaf_to_reloads(config)
    from pipeline.cameras import load_cameras

    again = functools.partial(
        load_cameras,
        config,
        source=source,
        fps=fps,
        events=events,
        replay=replay,
        out=out,
        log={"enabled": False} if no_log else None if log is None else {"path": log},
        duration=duration,
        model=[] if no_models else model or None,
        require_gpu=require_gpu,
        transport=transport,
        faces=faces,
        method=method,
        spot=None if calibrate is None else {"calibrate_s": calibrate},
        security=None if insecure is None else {"insecure": insecure},
        lsl={"enabled": True} if lsl else None,
        metrics={"enabled": True} if metrics else None,
        console=None if log_format is None else {"format": log_format},
        dashboard={"enabled": True} if dashboard else None,
    )
    cameras = again()
    screen = _screen(cameras, quiet, verbose)
    with _said_by(screen):
        if source is not None and holds_secret(source):
            screen.note(_SEEN)
        run(cameras, screen, None if config is None else again)


def _deaf_to_reloads(config: Path | None) -> None:
    """A service manager may ask for a reload before anything stands that could take one."""
    number = getattr(signal, "SIGHUP", None)
    if config is not None and number and signal.getsignal(number) == signal.SIG_DFL:
        signal.signal(number, lambda number, frame: None)


def run(
    cameras: Sequence[Config],
    screen: Screen | JsonScreen,
    again: Callable[[], Sequence[Config]] | None = None,
) -> None:
    """Run one camera, or several in one process, until they end or a signal comes.

    Args:
        cameras: one configuration for each.
        screen: says what happens.
        again: reads the configurations anew, on SIGHUP.

    Raises:
        UserError: a camera cannot start, or ends by a failure.
    """
    from pipeline.graph import Graph
    from pipeline.kernels import kernels
    from pipeline.notify import Notifier
    from pipeline.several import Several
    from pipeline.signals import One, Signals
    from pipeline.watchers import Watchers

    notifier = Notifier(len(cameras))
    with contextlib.ExitStack() as stack:
        watchers = Watchers([screen, *_watchers(cameras, screen), notifier])
        stack.callback(watchers.close)
        if kernels().cold:
            screen.say("compiling", "the first start compiles, which takes a minute or so")
        if len(cameras) > 1:
            several = Several(cameras, watchers, screen.note)
            Signals(several, again, screen.note, notifier).listen()
            try:
                several.run()
            finally:
                screen.summaries(several.summaries)
        else:
            graph = Graph(cameras[0], watchers.on_report, hear=watchers.on_message)
            Signals(One(graph), again, screen.note, notifier).listen()
            screen.summary(graph.run())


def _screen(cameras: Sequence[Config], quiet: bool, verbose: bool) -> Screen | JsonScreen:
    settings = cameras[0]
    if settings.console.format == "json":
        from pipeline.console_json import JsonScreen

        return JsonScreen(quiet, verbose)
    from pipeline.console import Screen
    from pipeline.node import is_live

    return Screen(quiet, verbose, is_live(settings.source), several=len(cameras) > 1)


@contextlib.contextmanager
def _said_by(screen: Screen | JsonScreen) -> Iterator[None]:
    """What ends the run is said in the form that was asked for."""
    if not hasattr(screen, "error"):
        yield
        return
    try:
        yield
    except UserError as error:
        screen.error(str(error), exit_code=error.exit_code)
        raise typer.Exit(error.exit_code) from None
    except Exception as error:  # noqa: BLE001  a log's reader finds a bug's trace in its line
        where = "".join(traceback.format_exception(error))
        screen.error(f"{type(error).__name__}: {error}", exit_code=1, traceback=where)
        raise typer.Exit(1) from None


def _watchers(cameras: Sequence[Config], screen: Screen | JsonScreen) -> Iterator[Watcher]:
    """Those who look on, as far as they are asked for; what is the process's is the first's."""
    settings = cameras[0]
    if settings.lsl.enabled:
        from pipeline.lsl import LslBridge

        yield LslBridge(settings, screen.note)
    if settings.metrics.enabled:
        from pipeline.metrics.watcher import MetricsWatcher

        names = [camera.stream for camera in cameras]
        yield MetricsWatcher(settings, functools.partial(screen.say, "metrics"), screen.note, names)
    if settings.dashboard.enabled:
        from pipeline.dashboard.page import Dashboard

        page = Dashboard(settings.dashboard)
        screen.say("dashboard", f"dashboard on {page.address}")
        yield page


door = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
door.command()(live)


def one_line(text: str) -> str:
    """``text`` on one line of bounded length, without control characters a file may have in it."""
    shown = "".join(c if c.isprintable() else " " for c in text[:_LONGEST_LINE])
    return shown + ("…" if len(text) > _LONGEST_LINE else "")


def obey(arguments: list[str], commands: typer.Typer = door, name: str = "mespot") -> int:
    """Run a command line; one line on standard error and an exit code for a mistake."""
    as_json = (commands is door or arguments[:1] == ["live"]) and _json_asked(arguments)
    try:
        code = commands(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UserError as error:
        _complain(str(error), error.exit_code, name, as_json)
        return error.exit_code
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        # Typer vendors or imports Click: its usage errors carry format_message and exit_code
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            message, code = f"{error.format_message()} (see --help)", int(error.exit_code)
            _complain(message, code, name, as_json)
            return code
        raise


def _json_asked(arguments: list[str]) -> bool:
    """Whether mistakes that come before the configuration is read are to be JSON."""
    if "--log-format" in " ".join(arguments):
        return "--log-format=json" in arguments or "--log-format json" in " ".join(arguments)
    return os.environ.get("MESPOT_CONSOLE__FORMAT") == "json"


def _complain(message: str, code: int, name: str, as_json: bool) -> None:
    shown = one_line(redacted(message))
    if as_json:
        from pipeline.console_json import JsonScreen

        JsonScreen(quiet=True, verbose=False).error(shown, exit_code=code)
    else:
        typer.echo(f"{name}: {shown}", err=True)


def leave(code: int) -> NoReturn:
    """End the process with ``code``.

    A node that was given up within a library's start would abort an orderly end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread.name in _LEFT_BEHIND for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
