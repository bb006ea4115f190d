"""``mespot report``: all that was spotted in a recording, on one page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.config import Config
from pipeline.pages import replace
from pipeline.report_event import card
from pipeline.report_page import pieces
from pipeline.report_run import Seen, look, opened


def report(config: Config, out: Path, tell: Callable[[Seen], bool]) -> Seen:
    """Look at a recording and write its report.

    Args:
        config: of the run.
        out: the HTML file; what stands there is replaced at the end.
        tell: hears of the progress after every frame; False ends the run early, and the
            report says that it is partial.

    Raises:
        UserError: the source is a camera or cannot be read, or the file cannot be written.
    """
    with opened(config) as source, tempfile.TemporaryFile() as spool:
        seen = look(source, config, spool, lambda account: card(account, config), tell)
        replace(out, pieces(seen, config, spool))
    return seen
