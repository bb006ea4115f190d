"""Modules that a library imports but seldom uses: loaded when used, if ever."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any


class _StandIn(ModuleType):
    """A module that is imported at its first use."""

    def __getattr__(self, name: str) -> Any:
        own = self.__name__
        if sys.modules.get(own) is self:
            del sys.modules[own]
        return getattr(import_module(own), name)


@contextlib.contextmanager
def postponed(*names: str) -> Iterator[None]:
    """Within the context, ``import`` of a module of ``names`` gives a stand-in for it.

    Whoever keeps the stand-in finds the real module behind it. Modules that are loaded
    already are left alone.

    Args:
        names: dotted names, a package before the modules in it.
    """
    made = {name: _StandIn(name) for name in names if name not in sys.modules}
    for name, stand_in in made.items():
        parent, _, child = name.rpartition(".")
        if parent in made:
            made[parent].__dict__[child] = stand_in
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, stand_in in made.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
