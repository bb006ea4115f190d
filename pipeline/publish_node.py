"""The node around the event socket."""

from __future__ import annotations

import time

import msgspec
import zmq

from pipeline import sockets
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.guard import Guard
from pipeline.messages import End
from pipeline.node import Links, Node, stamp_of
from pipeline.publish import EventFile, Messages
from pipeline.schema import EventMessage, Message, StateMessage, topic
from pipeline.sockets import Socket
from pipeline.wire import Wire
from stages.items import Event


class PublishNode(Node):
    """Messages out: socket, file, and the supervisor's console."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("publish", config, links, epoch)
        self._messages: Messages | None = None
        self._public: Socket | None = None
        self._address = ""
        self._guard = Guard(links.context, config.security)
        self._file: EventFile | None = None

    def run(self) -> None:
        """Publish until the end."""
        if self._public is None:
            water = self.config.publish.high_water_mark
            context = self.links.context
            self._public, self._address = sockets.public(
                context, zmq.PUB, self.config.events, water, self._guard
            )
            self._own(self._public)
            for warning in self._guard.warnings:
                self.reporter.send("note", text=warning)
            if self.config.out is not None:
                self._file = EventFile(self.config.out, append=self.epoch > 0)
                self._stack.callback(self._file.close)
            self._aus = prototypes(self.config).aus
            self.reporter.send("ready", text=self._address)
        while True:
            item = self.receive()
            self._guard.tend(self._public, self._address)
            if item is None:
                continue
            begin = time.perf_counter()
            self._publish(item)
            if isinstance(item, Event):
                self.reporter.item(stamp_of(item), time.perf_counter() - begin)
            self._keep_clips(isinstance(item, End))
            if isinstance(item, End):
                return

    def _keep_clips(self, ended: bool) -> None:
        clips = self.links.clips
        if clips is not None:
            if ended:
                clips.close()
            self.reporter.dropped.update(clips.dropped())

    def _publish(self, item: Wire) -> None:
        stamp = stamp_of(item)
        if self._messages is None:
            stream = stamp.stream if stamp is not None else getattr(item, "stream", "")
            self._messages = Messages(stream, self._aus)
            self._out(self._messages.state("started"))
        for message in self._messages.of(item):
            self._out(message)

    def _out(self, message: Message) -> None:
        assert self._public is not None
        body = msgspec.msgpack.encode(message)
        self._public.send_multipart([topic(message), body])
        self.reporter.sent += 1
        if isinstance(message, EventMessage) and self._file is not None:
            self._file.write(message)
        if isinstance(message, EventMessage) and self.links.clips is not None:
            self.links.clips.event(message)
        if isinstance(message, EventMessage | StateMessage):
            self.reporter.send("published", payload=body)
