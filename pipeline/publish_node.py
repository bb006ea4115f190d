"""The node around the event socket and the replay socket."""

from __future__ import annotations

import time

import msgspec
import zmq

from models.errors import AddressError, UserError
from pipeline import sockets
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.event_rows import LogError
from pipeline.guard import Guard
from pipeline.journal import Journal, open_journal
from pipeline.messages import End
from pipeline.node import Links, Node, stamp_of
from pipeline.numbering import events_of, messages_after, row_of
from pipeline.publish import EventFile, Messages
from pipeline.replay import ReplayServer
from pipeline.schema import BeatMessage, EventMessage, Message, StateMessage, topic
from pipeline.sockets import Socket
from pipeline.wire import Wire
from stages.items import Event

_REPLAY_QUEUE = 10  # pages that wait for a client


class PublishNode(Node):
    """Messages out: log, socket, file, and the supervisor's console."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("publish", config, links, epoch)
        self._stream = config.stream
        self._public: Socket | None = None
        self._journal: Journal | None = None
        self._server: ReplayServer | None = None
        self._guard = Guard(links.context, config.security)
        self._file: EventFile | None = None
        self._addresses = ("", "")
        self._first_run = 0  # of the graph: each life of a process begins one
        self._first_seq = 0  # of the graph's own events
        self._beat_at = 0.0
        self._lived = False
        self._started = False

    def run(self) -> None:
        """Publish until the end."""
        told = self.links.addresses.table.get("public", "")
        again = self._lived or bool(told)
        if self._public is None:
            self._bind(told)
        elif self._server is not None and self._server.ident and not self._server.is_alive():
            self._serve(self._addresses[1])
        messages = self._begin(again)
        self._lived = True
        kept = [*self._addresses, str(self._first_run), str(self._first_seq)]
        self.reporter.send("ready", text="\t".join(kept))
        if again:
            self._started = True
            self._out(messages.state("node_restarted", detail=self.name))
        while True:
            self._beat(messages)
            item = self.receive()
            self._tend()
            if item is None:
                continue
            begin = time.perf_counter()
            self._publish(messages, item)
            if isinstance(item, Event):
                self.reporter.item(stamp_of(item), time.perf_counter() - begin)
            self._keep_clips(isinstance(item, End))
            if isinstance(item, End):
                self._beat(messages, now=True)
                return

    def _bind(self, told: str) -> None:
        """Take the sockets; after a restart those of the life before, which it ``told``."""
        context, config = self.links.context, self.config
        events, replay = config.events, ""
        if told:
            events, replay, run, seq = told.split("\t")
            self._first_run, self._first_seq = int(run), int(seq)
        water = config.publish.high_water_mark
        self._public, events = sockets.public(context, zmq.PUB, events, water, self._guard)
        self._own(self._public)
        for warning in self._guard.warnings:
            self.reporter.send("note", text=warning)
        self._addresses = events, ""
        self._journal = self._opened(again=bool(told))
        self._stack.callback(self._journal.close)
        self._serve(replay)

    def _opened(self, again: bool) -> Journal:
        try:
            return open_journal(self.config, self._stream)
        except UserError as error:
            if not again:
                raise
            journal = Journal(None)  # a run that goes on is worth more than its log
            journal.changes.append(("log_failed", f"{error}; the rest of this run has no log"))
            return journal

    def _serve(self, address: str) -> None:
        """Open the replay socket at ``address``, or where it belongs."""
        assert self._journal is not None
        config, events = self.config, self._addresses[0]
        guard = Guard(self.links.context, config.security)  # the replay thread's own
        try:
            wanted = address or config.replay or sockets.beside(config.events)
            link, bound = self._replay(wanted, guard)
        except AddressError:
            if config.replay is not None:
                raise
            host = config.events.rpartition(":")[0]
            anywhere = f"{host}:*" if host.startswith("tcp://") else "tcp://127.0.0.1:*"
            link, bound = self._replay(anywhere, guard)  # the beat tells where it is
        for warning in guard.warnings:
            self.reporter.send("note", text=warning)
        self._addresses = events, bound
        self._server = ReplayServer(link, bound, guard, self._journal, self._stream)
        self._stack.callback(self._server.stop)

    def _replay(self, address: str, guard: Guard) -> tuple[Socket, str]:
        context = self.links.context
        return sockets.public(context, zmq.ROUTER, address, _REPLAY_QUEUE, guard, "replay")

    def _begin(self, again: bool) -> Messages:
        """Number on from the log, and close what the life before left open."""
        assert self._journal is not None and self._server is not None
        journal = self._journal
        for note in journal.notes:
            self.reporter.once(note)
        if not self._server.ident:
            journal.begin()
        first_run = self._first_run if again else None
        aus = prototypes(self.config).aus
        messages = messages_after(journal, self._stream, aus, first_run)
        if again:
            self._open_file(append=True)
        reason = "publish restarted" if again else "the run before ended unexpectedly"
        self._together(list(messages.retract(reason)))
        if not again:
            messages.new_names()
            self._first_run, self._first_seq = journal.run, journal.last + 1
            self._open_file(append=False)
        if not self._server.ident:
            self._server.start()
        return messages

    def _open_file(self, append: bool) -> None:
        if self.config.out is not None and self._file is None:
            self._file = EventFile(self.config.out, append)
            self._stack.callback(self._file.close)
            if self._journal is None or self._journal.path is None:
                self._file.last = -1  # without a log numbers begin anew

    def _tend(self) -> None:
        """Cut off whoever was revoked."""
        assert self._public is not None and self._server is not None
        self._guard.tend(self._public, self._addresses[0])
        if not self._server.is_alive():
            raise RuntimeError("the replay thread is gone")

    def reloaded(self) -> None:
        """The next beat comes now, so that a shorter interval holds at once."""
        super().reloaded()
        self._beat_at = 0.0
        if self._journal is not None:
            self._journal.limit(self.config.log.max_mb, self.config.log.max_days)

    def _keep_clips(self, ended: bool) -> None:
        clips = self.links.clips
        if clips is not None:
            if ended:
                clips.close()
            self.reporter.dropped.update(clips.dropped())

    def _publish(self, messages: Messages, item: Wire) -> None:
        if not self._started:
            self._started = True
            self._out(messages.state("started"))
        for message in messages.of(item):
            if isinstance(message, EventMessage):
                self._together([message])
            else:
                self._out(message)
        self._tell(messages)

    def _together(self, events: list[EventMessage]) -> None:
        """Log ``events`` all at once, then publish each."""
        assert self._journal is not None
        rows = [row_of(event) for event in events]
        self._journal.append(rows)
        for event, row in zip(events, rows, strict=True):
            self._out(event, row.body)
        if self._file is not None:
            self._write(self._file, events)

    def _out(self, message: Message, body: bytes = b"") -> None:
        assert self._public is not None
        body = body or msgspec.msgpack.encode(message)
        parts = [topic(message), body]
        self._public.send_multipart(parts)
        self.tap(parts)
        self.reporter.sent += 1
        if isinstance(message, EventMessage) and self.links.clips is not None:
            self.links.clips.event(message)
        if isinstance(message, EventMessage | StateMessage):
            self.reporter.send("published", payload=body)

    def _write(self, file: EventFile, events: list[EventMessage]) -> None:
        """Bring the file up to date: with ``events``, or with all that it lacks."""
        assert self._journal is not None
        try:
            if not events or file.last + 1 != events[0].seq:
                rows = self._journal.rows(max(file.last, self._first_seq - 1))
                events = list(events_of(rows))
            for event in events:
                file.write(event)
        except (OSError, LogError) as error:
            reason = getattr(error, "strerror", None) or error
            self.reporter.once(f"out: cannot write {self.config.out}: {reason}")

    def _beat(self, messages: Messages, now: bool = False) -> None:
        """Look after the log and tell subscribers how far events have come, when it is time."""
        assert self._journal is not None and self._server is not None
        if not now and time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + self.config.publish.beat_s
        self._journal.tend()
        self._tell(messages)
        for name in ("malformed", "refused", "turned away", "failed"):
            if self._server.counts[name]:
                self.reporter.dropped[f"replay: {name}"] = self._server.counts[name]
        if messages.refused:
            self.reporter.dropped["publish: closed already"] = messages.refused
        beat = BeatMessage(
            stream=self._stream,
            log=self._journal.log,
            run=self._journal.run,
            seq=self._journal.last,
            replay=self._addresses[1],
            published_utc_ns=time.time_ns(),
        )
        self._out(beat)

    def _tell(self, messages: Messages) -> None:
        """What became of the log, as states."""
        assert self._journal is not None
        while self._journal.changes:
            name, detail = self._journal.changes.pop(0)
            self._out(messages.state(name, detail=detail))
