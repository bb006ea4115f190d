"""A joint model for other prototypes, in the noise of a model that is there already.

``models.joint.fit_joint`` needs recordings of neutral faces, and a set of onset and apex images
has none. A model's file says what neutral faces do to the projections on *its own* basis, and
about nothing else. The basis is therefore kept: the new prototypes are told by their projections
on it, and noise, blink and every level that was tuned to them hold as they are.

The price is what of the new prototypes the old basis does not see. It holds the whitened
prototypes of 17 AUs on either side and the 80 strongest directions of the noise. Rows of their
own for the new prototypes were tried, with their noise inferred from that of the others: on
neutral faces it came out three to eight times too small.

The spread between faces is the given model's, too. That of onset-to-apex flows, each divided by
its own small movement, is mostly head motion and noise, and a spotter that takes it for the
AU's own rejects true expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.errors import PrototypeError
from models.joint import BLINK, DIFFUSE, Array, Floats, Half, JointModel, Row

_HALVES: tuple[Half, Half] = ("left", "right")


def refit(model: JointModel, fields: Mapping[Row, Floats]) -> JointModel:
    """A model of other prototypes with the basis, the noise and the blink of ``model``.

    Args:
        model: its prototypes other than the blink are dropped.
        fields: per AU and side, (D,) pooled flow of a movement of 1 px of the crop.

    Raises:
        PrototypeError: an AU has only one side, a field has another length, the blink is
            among the fields, or ``model`` has no blink.
    """
    rows = tuple(fields)
    _check(model, rows, fields)
    basis = model.basis.astype(np.float64)
    responses = {row: basis @ field.astype(np.float64) for row, field in fields.items()}
    kept: tuple[Row, ...] = tuple((BLINK, half) for half in _HALVES)
    blink = [model.responses[model.index(*row)] for row in kept]
    return JointModel(
        rows + kept,
        model.eye_length,
        model.basis,
        np.array([*responses.values(), *blink]),
        model.noise,
        _mismatch(model, responses),
    )


def _check(model: JointModel, rows: Sequence[Row], fields: Mapping[Row, Floats]) -> None:
    aus = {au for au, _ in rows}
    if BLINK in aus:
        raise PrototypeError(f"AU {BLINK} is the blink, which is kept from the given model")
    if not rows or len(rows) != 2 * len(aus):
        raise PrototypeError("both sides of every AU are needed, and one AU at least")
    if BLINK not in model.aus:
        raise PrototypeError("the given joint model has no blink")
    length = model.basis.shape[1]
    for (au, half), field in fields.items():
        if field.shape != (length,):
            raise PrototypeError(f"AU {au} {half}: a field of shape {field.shape}, not ({length},)")


def _mismatch(model: JointModel, responses: Mapping[Row, Array]) -> dict[int, Array]:
    """The given model's spread of the same AU, or the usual one, and a little diffuse."""
    spreads = [spread for au, spread in model.mismatch.items() if au != BLINK]
    usual = np.mean(spreads or list(model.mismatch.values()), axis=0)
    made = {}
    for au in dict.fromkeys(au for au, _ in responses):
        power = np.mean([responses[au, half] ** 2 for half in _HALVES], axis=0)
        made[au] = np.asarray(model.mismatch.get(au, usual) + np.diag(DIFFUSE * power), np.float64)
    return made | {BLINK: model.mismatch[BLINK]}
