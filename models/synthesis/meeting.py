"""Random meetings of two synthetic people: they cross, come close, leave and return.

================  =====================================================================
kind              what happens, once
================  =====================================================================
``cross``         two change places, one passing in front of the other
``pass``          one walks across the picture behind or before one who stays
``close``         two come as close as 1.7 to 2 eye distances and part again
``away``          one leaves the picture and is back within 0.6 to 1.2 s
``long_away``     one leaves and comes back after 3 to 4 s
``small``         two change places, one at most 0.7 times as large and behind
================  =====================================================================

People are different portraits, and variants of them. Expressions come in turn: never two
people at once, so that an event's time tells whose it is.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from models.synthesis.group import Group, Person, Place
from models.synthesis.portrait import portrait_names
from models.synthesis.script import Expression, HeadMotion, Scene

Kind = Literal["cross", "pass", "close", "away", "long_away", "small"]

_SIZE = (640, 360)
_SIZES = (52.0, 74.0)  # eye distances, px
_LARGE, _SMALL = 80.0, (0.6, 0.7)  # px, and share of it: FaceMesh finds none below some 45 px
_CLOSE_D = (1.7, 2.0)
_STAY_S = 2.0  # everybody stays at rest before, and as long after
_STROLL_S = (1.6, 3.0)  # from place to place
_OUT_S = (0.25, 0.6)  # out of the picture, of the whole way there and back
_LONG_S = (2.4, 3.4)
_FIRST_S, _EVERY_S, _LAST_S = 0.9, 1.1, 0.8
_PX_PER_D = (0.03, 0.045)  # movement at the apex, eye distances
_AUS = ((1, 2), (4,), (12,), (6, 12), (15, 17))


def random_meeting(
    seed: int, kind: Kind | None = None, duration_s: float = 10.0, fps: float = 30.0
) -> Group:
    """A group drawn from ``seed``; ``kind``: default: drawn too.

    Raises:
        ValueError: an unknown kind, or too short for it.
    """
    rng = np.random.default_rng([seed, 30])
    drawn = _drawn(rng)
    chosen: Kind = kind or drawn
    if chosen not in get_args(Kind):
        raise ValueError(f"kind {chosen!r}: one of {', '.join(get_args(Kind))}")
    if not duration_s >= 9.5:
        raise ValueError(f"a meeting takes at least 9.5 s, not {duration_s:g}")
    names = [str(name) for name in rng.permutation(portrait_names())]
    sizes = rng.uniform(*_SIZES, 3)
    if chosen == "small":
        sizes[:2] = _LARGE * rng.uniform(*_SMALL), _LARGE
    paths = _paths(rng, chosen, sizes)
    scripts = _scripts(rng, len(paths), sizes, duration_s)
    people = [
        Person(
            Scene(
                duration_s,
                expressions=scripts[k],
                head=HeadMotion(0.7, 0.4, 0.002, 6.0, 1.0, 0.7),
                seed=int(rng.integers(2**31)),
                identity=int(rng.integers(1, 2**31)) if rng.random() < 0.5 else 0,
                eye_px=float(sizes[k]),
            ),
            paths[k],
            names[k],
        )
        for k in range(len(paths))
    ]
    camera = Scene(
        duration_s, noise=float(rng.uniform(1.0, 2.5)), light=float(rng.uniform(0, 0.02)),
        seed=seed, fps=fps, width=_SIZE[0], height=_SIZE[1],
    )  # fmt: skip
    return Group(camera, tuple(people))


def kind_of(seed: int) -> Kind:
    """The kind that ``random_meeting`` draws from ``seed``."""
    return _drawn(np.random.default_rng([seed, 30]))


def _drawn(rng: np.random.Generator) -> Kind:
    kinds: tuple[Kind, ...] = get_args(Kind)
    return kinds[int(rng.integers(len(kinds)))]


def _paths(
    rng: np.random.Generator, kind: Kind, sizes: npt.NDArray[np.float64]
) -> list[tuple[Place, ...]]:
    """Where everybody goes, from the back to the front."""
    width, height = _SIZE
    left, right = (float(x) for x in (rng.uniform(110, 150), width - rng.uniform(110, 150)))
    ys = [float(y) for y in height * 0.45 + rng.uniform(-14, 14, 3)]
    gone = _STAY_S + float(rng.uniform(*_STROLL_S))
    if kind in ("cross", "small"):
        ends = [(left, right), (right, left)]
        late = float(rng.uniform(-0.3, 0.3))
        ways: list[tuple[Place, ...]] = [
            (
                Place(_STAY_S, ends[k][0], ys[k]),
                Place(gone + (late if k else 0.0), ends[k][1], ys[k]),
            )
            for k in range(2)
        ]
        return ways
    if kind == "pass":
        stays = (Place(0.0, width / 2, ys[0]),)
        walks = (Place(_STAY_S, left - 20, ys[1]), Place(gone, right + 20, ys[1]))
        return [stays, walks] if rng.random() < 0.5 else [walks, stays]
    if kind == "close":
        apart = float(rng.uniform(*_CLOSE_D)) * (sizes[0] + sizes[1]) / 2
        back = gone + float(rng.uniform(*_STROLL_S)) + 0.8
        return [
            (
                Place(_STAY_S, x, y),
                Place(gone, width / 2 + side * apart / 2, y),
                Place(gone + 0.8, width / 2 + side * apart / 2, y),
                Place(back, x, y),
            )
            for x, y, side in ((left, ys[0], -1), (right, ys[1], 1))
        ]
    out_s = float(rng.uniform(*(_OUT_S if kind == "away" else _LONG_S)))
    outside = -1.0 * sizes[0] * 0.9
    stroll = 1.2
    leaves = (
        Place(_STAY_S, left, ys[0]),
        Place(_STAY_S + stroll, outside, ys[0]),
        Place(_STAY_S + stroll + out_s, outside, ys[0]),
        Place(_STAY_S + 2 * stroll + out_s, left, ys[0]),
    )
    return [leaves, (Place(0.0, right, ys[1]),)]


def _scripts(
    rng: np.random.Generator, people: int, sizes: npt.NDArray[np.float64], duration_s: float
) -> list[tuple[Expression, ...]]:
    """Expressions of everybody, one after the other."""
    scripts: list[list[Expression]] = [[] for _ in range(people)]
    turn = int(rng.integers(people))
    for start in np.arange(_FIRST_S, duration_s - _LAST_S - 0.6, _EVERY_S):
        length = float(rng.uniform(0.33, 0.6))
        apex = float(start) + length * float(rng.uniform(0.4, 0.55))
        px = float(sizes[turn] * rng.uniform(*_PX_PER_D))
        aus = _AUS[int(rng.integers(len(_AUS)))]
        scripts[turn].append(Expression(float(start), apex, float(start) + length, aus, px))
        turn = (turn + 1) % people
    return [tuple(script) for script in scripts]
