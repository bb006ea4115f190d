"""Errors that a user can cause; each message is one line that says what to do."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave. ``exit_code`` is the process's exit status."""

    exit_code = 2


class SourceError(UserError):
    """A camera, video or folder cannot be opened or read."""

    exit_code = 4


class PrototypeError(UserError):
    """A prototype file is missing, malformed or does not fit."""


class ModelError(UserError):
    """An ONNX recogniser is missing, malformed or does not fit."""


class GpuError(UserError):
    """The GPU was required and could not be used."""

    exit_code = 5


class AddressError(UserError):
    """A socket address is malformed, occupied or not allowed."""

    exit_code = 6
