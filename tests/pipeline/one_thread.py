"""The graph in one thread: real nodes and supervisor over sockets that are plain queues.

Nothing runs by itself: ``World.step`` lets one node take one item. Where a node waits, the
others run meanwhile, so that no wait takes time. A killed node loses what waits for it and the
newest of what it has sent, as a process does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import zmq

from pipeline.classify_node import ClassifyNode
from pipeline.config import Config
from pipeline.graph import Graph
from pipeline.hosts import Host
from pipeline.lines import Lines
from pipeline.messages import End, Restarted
from pipeline.node import Abandoned, Links, Node
from pipeline.publish import Messages
from pipeline.schema import EventMessage
from pipeline.scoring import Scored
from pipeline.sockets import NODES, addresses
from pipeline.stage_nodes import MotionNode, SpotNode, StageNode
from stages.items import Frame, Reading, Stamp
from tests.pipeline import scripted

STREAM = "scripted"
FPS = 10.0
_IMAGES = {seen: np.full((1, 1), seen, np.uint8) for seen in (False, True)}


class Socket:
    """A socket of one thread; ``wait`` is called where a real one would block."""

    def __init__(self, bound: dict[str, Socket], wait: Callable[[int], None]) -> None:
        self._bound, self._wait = bound, wait
        self._address = ""
        self.queue: deque[tuple[Socket, list[bytes]]] = deque()
        self.closed = False

    def setsockopt(self, *option: Any) -> None:
        """Nothing to set."""

    def bind(self, address: str) -> None:
        assert address not in self._bound
        self._address = address
        self._bound[address] = self

    def connect(self, address: str) -> None:
        self._address = address

    def close(self) -> None:
        self.closed = True
        if self._bound.get(self._address) is self:
            del self._bound[self._address]

    def _ready(self, flags: int) -> bool:
        return bool(self.queue) if flags == zmq.POLLIN else self._address in self._bound

    def poll(self, timeout: int = 0, flags: int = zmq.POLLIN) -> int:
        if timeout and not self._ready(flags):
            self._wait(flags)
        return flags if self._ready(flags) else 0

    def send(self, body: Any, flags: int = 0) -> None:
        self.send_multipart([body])

    def send_multipart(self, parts: Any, copy: bool = True) -> None:
        if self._address in self._bound:
            self._bound[self._address].queue.append((self, [bytes(part) for part in parts]))

    def recv(self) -> bytes:
        return self.queue.popleft()[1][0]

    def recv_multipart(self, flags: int = 0, copy: bool = True) -> list[Any]:
        parts = self.queue.popleft()[1]
        return parts if copy else [SimpleNamespace(buffer=memoryview(part)) for part in parts]


class Poller:
    """Of several sockets."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []

    def register(self, socket: Socket, flags: int) -> None:
        self._sockets.append(socket)

    def poll(self, timeout: int) -> list[tuple[Socket, int]]:
        return [(socket, flag) for socket in self._sockets if (flag := socket.poll(0))]


class Context:
    """Makes sockets."""

    underlying = -1  # no doorkeeper knows it

    def __init__(self, wait: Callable[[int], None]) -> None:
        self._bound: dict[str, Socket] = {}
        self._wait = wait

    def socket(self, kind: int) -> Socket:
        return Socket(self._bound, self._wait)


class Capture(Node):
    """Sends the world's frames."""

    def __init__(self, world: World, config: Config, links: Links, epoch: int) -> None:
        super().__init__("capture", config, links, epoch)
        self._world = world

    def begin(self) -> None:
        self.reporter.send("ready", text=f"{STREAM}\t0")
        if self.epoch:
            self.send(Restarted(STREAM, self.name))

    def frame(self, frame: int, pts: float, seen: bool) -> None:
        self.links.begun.took(frame, pts)
        self.send(Frame(Stamp(STREAM, frame, pts, 0, 0), _IMAGES[seen]))
        self.reporter.received += 1

    def turn(self) -> bool:
        """False once the world's source has ended and everyone was told."""
        self.check()
        if self._world.source_ended:
            self.send(End(STREAM))
        return not self._world.source_ended

    def run(self) -> None:
        """Never called."""


class Publish(Node):
    """Keeps what it would publish; its account of it outlives it, as a log does."""

    def __init__(self, world: World, config: Config, links: Links, epoch: int) -> None:
        super().__init__("publish", config, links, epoch)
        self._world = world

    def check(self) -> None:
        """It is not abandoned before the end that it is told: ``Graph`` waits for it."""
        self.reporter.beat()

    def begin(self) -> None:
        self.reporter.send("ready")
        if self.epoch:
            self._take(Restarted(STREAM, self.name))

    def _take(self, item: Any) -> None:
        made = self._world.messages.of(item)
        self._world.events += [m for m in made if isinstance(m, EventMessage)]

    def turn(self) -> bool:
        item = self.receive()
        if item is not None:
            self._take(item)
        return not isinstance(item, End)

    def run(self) -> None:
        """Never called."""


class Faces(scripted.Faces):
    """A face is there where the picture says so."""

    def there(self, frame: Frame) -> bool:
        return bool(frame.image[0, 0])


class Worker:
    """Scores when the world says so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._jobs: deque[int] = deque()
        self._done: list[Scored] = []
        world.workers.append(self)

    def submit(self, number: int, evidence: Any) -> bool:
        self._jobs.append(number)
        return True

    def score(self) -> None:
        if self._jobs:
            reading = Reading("slow", "positive", scores={"positive": 1.0})
            self._done.append(Scored(self._jobs.popleft(), [reading]))

    def results(self) -> list[Scored]:
        if self._world.source_ended:
            while self._jobs:
                self.score()
        found, self._done = self._done, []
        return found

    def stop(self, wait: bool = True) -> None:
        """Nothing runs."""


SCORER = SimpleNamespace(models=("slow@1",), about=[], unscored=lambda cause: [])


class World(Host):
    """All nodes, their queues and their supervisor.

    Args:
        patch: sets attributes of modules, as ``pytest.MonkeyPatch.setattr``.
    """

    can_kill = True

    def __init__(self, patch: Any) -> None:
        patch("pipeline.stage_nodes.zmq", SimpleNamespace(Poller=Poller, POLLIN=zmq.POLLIN))
        patch("pipeline.stage_nodes.build", lambda name, config, epoch: self._stage(name, epoch))
        patch("pipeline.classify_node.ScoreWorker", lambda scorer, most: Worker(self))
        graph = {"heartbeat_s": 1e-9, "deaths": 10**6}
        # a deadline of no time: every final goes out without its scores
        self.config = scripted.config(graph=graph, classify={"deadline_s": 1e-9})
        patch("pipeline.restarts._FIRST_S", 0.0)
        self.now = 1000.0
        patch("pipeline.ending.time", SimpleNamespace(monotonic=lambda: self.now))
        self.events: list[EventMessage] = []
        self.messages = Messages(STREAM, scripted.AUS)
        self.workers: list[Worker] = []
        self.nodes: dict[str, Any] = {}
        self.doomed: dict[str, int] = {}
        self.source_ended = False
        self.over = False  # the supervisor has left
        self._idle = False  # the node whose turn it is has nothing to take, and waits for nobody
        self._gone: list[str] = []
        self._new: set[str] = set()
        self._busy: list[str] = []
        self._frame, self._pts = 0, 0.0
        with addresses("inproc", "world") as table:
            context: Any = Context(self._meanwhile)
            self.graph = Graph(self.config)
            self.begun = self.graph._begun
            self.begun.stream = STREAM
            self._links = Links(table, context, begun=self.begun)
            self.lines = Lines(context, table)
        for name in NODES:
            if name != "face":
                self.start(name, 0)
        while not all(state.ready for state in self.graph.nodes.values()):
            for name in NODES:
                self.step(name)
            self.supervise()

    @staticmethod
    def _stage(name: str, epoch: int) -> Any:
        if name == "face":
            return Faces()
        made = scripted.stage(name, epoch)
        if name == "classify":
            made = scripted.ClassifyStage("none@0", SCORER)  # type: ignore[arg-type]
        return made

    @property
    def publishes(self) -> bool:
        """Whether the publisher is there."""
        return "publish" in self.nodes and self.graph.nodes["publish"].ready

    # ------------------------------------------------------------ host

    def prepare(self) -> None:
        """Nothing to import."""

    def start(self, name: str, epoch: int) -> None:
        if name in self.nodes:  # a thread that was begun again meanwhile
            return
        arguments = self.config, self._links, epoch
        if name == "capture":
            node: Any = Capture(self, *arguments)
        elif name == "publish":
            node = Publish(self, *arguments)
        elif name == "face":
            node = StageNode(name, *arguments)
        else:
            kinds = {"motion": MotionNode, "spot": SpotNode, "classify": ClassifyNode}
            node = kinds[name](*arguments)
        self.nodes[name] = node
        self._new.add(name)

    def dead(self) -> list[str]:
        found, self._gone = self._gone, []
        return found

    def bury(self, name: str) -> None:
        """Nothing is left."""

    def end(self, patience_s: float) -> None:
        """Nothing runs."""

    # ------------------------------------------------------------ what happens

    def supervise(self) -> None:
        """The supervisor takes a turn for each report."""
        self.now += 0.01
        reports: Any = self.lines._reports
        for _ in range(max(1, len(reports.queue))):
            self.graph._turn(self, self.lines)
            if self.graph._failure is not None:  # as in ``Graph._supervise``: the end is told
                self.over = self.over or self.graph._ending.over(self.lines)

    def feed(self, count: int, seen: bool) -> None:
        """Frames from the camera."""
        for _ in range(count):
            if "capture" in self._new:
                self.step("capture")
            if "capture" in self.nodes and not self.source_ended:
                self._frame, self._pts = self._frame + 1, self._pts + 1 / FPS
                node = self.nodes["capture"]
                self._work("capture", lambda n=node: n.frame(self._frame, self._pts, seen))

    def pause(self, seconds: float) -> None:
        """The camera is away."""
        self._frame += round(seconds * FPS)
        self._pts += seconds

    def step(self, name: str) -> bool:
        """One turn of a node; whether it took something."""
        node = self.nodes.get(name)
        if node is None or name in self._busy or self.over:
            return False
        if name == "motion" and "spot" in self._busy:
            return False  # it might wait for spot's answer, which waits itself, in this one thread
        if name in self._new:
            self._new.discard(name)
            self._work(name, node.begin)
            return True
        waiting = node.inbox is None or node.inbox.poll() or self._has_feedback(node)
        before, self._idle = self._idle, not waiting
        # idle nodes say that they are; while others wait for others it would take for ever
        waiting = waiting or (self.source_ended and len(self._busy) <= 1)
        try:
            if waiting and self._work(name, node.turn) is False:
                self._leave(name)
        finally:
            self._idle = before
        return bool(waiting)

    @staticmethod
    def _has_feedback(node: Any) -> bool:
        return isinstance(node, MotionNode) and bool(node.feedback.poll())

    def _work(self, name: str, work: Callable[[], Any]) -> Any:
        self._busy.append(name)
        try:
            done = work()
        except Abandoned:
            self.nodes.pop(name, None)
            return None
        finally:
            self._busy.remove(name)
        if self.doomed.get(name) == 0:
            del self.doomed[name]
            self.kill(name, 1)
            return None
        if name in self.doomed:
            self.doomed[name] -= 1
        return done

    def _leave(self, name: str) -> None:
        """As ``pipeline.nodes.work``; a process that is done keeps its sockets."""
        self.nodes.pop(name).reporter.send("done")

    def kill(self, name: str, lost: int) -> None:
        """A node's process is gone, with its queue and the newest ``lost`` it has sent."""
        if name in self._busy or name not in self.nodes:
            return
        node = self.nodes.pop(name)
        if node.outbox is not None:
            _forget(node, lost)
        node.close()
        self._gone.append(name)

    def fail(self, name: str) -> None:
        """A node's thread raises; its sockets and what waits in them stay."""
        node = self.nodes.get(name)
        if node is None or name == "capture" or name == "publish":
            return
        node.reporter.send("death")
        if isinstance(node, ClassifyNode):
            node.deliver(node._release(list(node._waiting)))
            node._stop()
        node.next_epoch()
        state = self.graph.nodes[name]
        while (report := self.lines.report(0)) is not None:
            if report.kind != "death":
                self.graph._take(report)
        state.renew(node.epoch)
        self._new.add(name)

    def _meanwhile(self, flags: int) -> None:
        """A node waits: the others go on, the supervisor too."""
        if self._idle and flags == zmq.POLLIN:
            return
        if self.graph._failure is not None:
            self._links.abandon.set()  # nobody is begun again: who waits would wait for ever
        if len(self._busy) > len(NODES) or "supervisor" in self._busy or self.over:
            return
        for name in reversed(NODES):
            if name != "capture":
                self.step(name)
        self._busy.append("supervisor")
        try:
            self.supervise()
        finally:
            self._busy.remove("supervisor")

    def settle(self) -> None:
        """Everything that waits is taken."""
        for _ in range(3):
            while any([self.step(name) for name in NODES[1:]]) and not self.source_ended:
                pass
            self.supervise()

    def finish(self, turns: int = 3000) -> None:
        """To the end of the run.

        Raises:
            AssertionError: it does not come.
        """
        self.source_ended = True
        for _ in range(turns):
            if self.over or self.graph._ending.over(self.lines):
                return
            for name in NODES:
                self.step(name)
            self.supervise()
        missing = [name for name, state in self.graph.nodes.items() if not state.done]
        raise AssertionError(f"the run does not end: {missing} are not done")

    def check(self, over: bool) -> tuple[int, int]:
        """Announced and closed expressions; raises when one is closed twice, or not in the end."""
        return scripted.closings([msgspec.to_builtins(e) for e in self.events], over)


def _forget(node: Any, lost: int) -> None:
    """Take back the newest messages that ``node`` has sent and nobody has taken."""
    target = node.outbox._bound.get(node.outbox._address)
    if target is None:
        return
    mine = [entry for entry in target.queue if entry[0] is node.outbox]
    for entry in mine[len(mine) - min(lost, len(mine)) :]:
        target.queue.remove(entry)
