"""The node of each name, and one life of it."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import UserError
from pipeline.capture_node import CaptureNode
from pipeline.classify_node import ClassifyNode
from pipeline.config import Config
from pipeline.node import Abandoned, Links, Node
from pipeline.publish_node import PublishNode
from pipeline.stage_nodes import MotionNode, SpotNode, StageNode

_KINDS: dict[str, Callable[[Config, Links, int], Node]] = {
    "capture": CaptureNode,
    "motion": MotionNode,
    "spot": SpotNode,
    "classify": ClassifyNode,
    "publish": PublishNode,
}


def make(name: str, config: Config, links: Links, epoch: int = 0) -> Node:
    """The node called ``name``."""
    kind = _KINDS.get(name)
    return kind(config, links, epoch) if kind else StageNode(name, config, links, epoch)


def work(node: Node) -> bool:
    """Run ``node`` once; False when it died. Its end is always reported."""
    try:
        node.run()
    except Abandoned:
        return True
    except UserError as error:
        node.reporter.send("fatal", text=str(error), exit_code=error.exit_code)
        return True
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever killed the node is reported as its death
        if node.links.abandon.is_set():
            return True  # it woke up after the run
        node.reporter.send("death", text=f"{type(error).__name__}: {error}")
        return False
    node.reporter.send("done")
    return True
