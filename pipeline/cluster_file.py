"""``mespot cluster --out``: JSON Lines that every event reaches once, over restarts of all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from models.errors import UserError
from pipeline.event_order import Head, Position
from pipeline.known import known

_BEGIN = b'{"v":1,"type":"event",'


class ClusterFile:
    """Events of all cameras, appended.

    Args:
        path: the file; an event that was torn at its end is taken off.

    Attributes:
        had: positions by camera and log, the newest log last.

    Raises:
        UserError: it cannot be read or written, holds something else, or another process
            writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.had: dict[str, dict[str, str]] = {}
        try:
            self._file = path.open("a+b")
            try:
                self._take_lock()
                self._read()
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None

    def _take_lock(self) -> None:
        import fcntl  # not everywhere

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self.path}: another mespot cluster writes to it") from None

    def _read(self) -> None:
        head, whole, number = msgspec.json.Decoder(known(Head)), 0, 0
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                if whole or _BEGIN.startswith(line[: len(_BEGIN)]):
                    break
                raise UserError(f"{self.path}: no events of mespot's")
            try:
                self._note(head.decode(line))
            except msgspec.DecodeError:
                raise UserError(f"{self.path} line {number}: no event of mespot's") from None
            whole += len(line)
        self._file.truncate(whole)

    def _note(self, head: Head) -> None:
        logs = self.had.setdefault(head.stream, {})
        logs.pop(head.log, None)
        logs[head.log] = str(Position(head.seq, head.run, head.log))

    def write(self, event: dict[str, Any]) -> None:
        """Append one event; on its way to the disk when it returns."""
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        os.fsync(self._file.fileno())
        self._file.close()
