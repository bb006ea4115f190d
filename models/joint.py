"""Joint explanation: what the flow says about all AUs at once, and about everything else.

A matching index (eq. 22) asks each prototype alone, and prototypes overlap: AU 1 and 2
by 0.77, AU 7 and a blink by 0.62. Here the flow F of both regions, pooled to one vector,
is modelled as

    F = sum_r a_r phi_r + n,    a_r >= 0,    n ~ N(0, Sigma),

with one prototype phi_r per AU *and side* and the covariance Sigma of what neutral faces do:
landmark jitter, head motion, gaze, light, sensor noise. All that detection and attribution
need are the projections x = B F on a small basis B, which holds the prototypes whitened by
Sigma and the strongest directions of the noise itself; both regions are projected apart, so
that one of them can be left out. Not in the paper; the matched filter in coloured noise and
its adaptive form (Kelly 1986, Robey et al. 1992) are textbook matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import PrototypeError

Half = Literal["left", "right"]
Side = Literal["both", "left", "right"]
Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Row = tuple[int, Half]
_HALVES: tuple[Half, Half] = ("left", "right")

BLINK = 45
# Sets of AUs that move together; their flows cancel in part, and each alone is weaker. Those of
# the known AUs that are annotated together, and no other with them, five times or more in the
# labels of CASME II, SAMM, CAS(ME)2 and SAMM Long Videos; and the brows of fear and sadness
TOGETHER = (
    *((1, 2), (1, 2, 5), (4, 5), (4, 6, 7), (4, 7), (4, 7, 9), (4, 9), (4, 10), (4, 14)),
    *((6, 12), (6, 12, 14), (6, 12, 15), (7, 12), (10, 12), (12, 14), (12, 14, 24), (12, 15)),
    *((12, 24), (14, 17), (14, 24), (15, 17)),
    *((1, 4), (1, 2, 4)),
)
_COMPONENTS = 150  # of Sigma that are kept; the rest is taken as white
_BASIS_COMPONENTS = 80
_WHITE = 0.03  # px^2 (of a cell) that are added to every cell's variance
_LIDS_WHITE = 10.0  # the same inside the eye opening, times so many
_TYPICAL_PX = 2.4  # movement (px of the crop) at which the prototypes' spread counts in Sigma
_BLINK_WEIGHT, _SPEECH_WEIGHT = 0.3, 0.1  # of such samples in Sigma
_PRIOR_SPEECH_WEIGHT = 0.3  # the same in the noise of the projections
DIFFUSE = 0.02  # share of a prototype's own projections that counts as unknown


@dataclass(frozen=True)
class NoiseSamples:
    """Short-lag differences of neutral faces' pooled flow."""

    flows: Floats  # (n, D)
    blink: npt.NDArray[np.bool_]  # (n,) a blink lies within
    speech: npt.NDArray[np.bool_]  # (n,) speech lies within


@dataclass(frozen=True, eq=False)
class JointModel:
    """Basis, responses and noise; K projections, R prototypes, D cells.

    Attributes:
        rows: AU and side of each prototype, R of them, left and right of each AU.
        eye_length: so many of the D numbers belong to the eye region.
        basis: B, (K, D) float32.
        responses: (R, K), projections of a movement of 1 px of the crop.
        noise: (K, K), covariance of the projections of neutral faces.
        mismatch: per AU, (K, K): covariance between faces of 1 px of that AU.
    """

    rows: tuple[Row, ...]
    eye_length: int
    basis: Floats
    responses: Array
    noise: Array
    mismatch: Mapping[int, Array]

    @property
    def size(self) -> int:
        """K."""
        return len(self.basis)

    @property
    def aus(self) -> tuple[int, ...]:
        """Every AU once, in order of its first row; the blink included."""
        return tuple(dict.fromkeys(au for au, _ in self.rows))

    def index(self, au: int, half: Half) -> int:
        """Row of one AU's side."""
        return self.rows.index((au, half))

    def detectors(self) -> tuple[list[tuple[int, ...]], Array]:
        """AUs of the detection curves, and their responses (V, K).

        The first are ``templates``; then those of ``TOGETHER`` that the model knows, with
        both sides of every AU alike.
        """
        names, single = self.templates()
        made: list[tuple[int, ...]] = [(au,) for au, _ in names]
        rows = list(single)
        both = {au: row for (au, side), row in zip(names, single, strict=True) if side == "both"}
        for aus in TOGETHER:
            if both.keys() >= set(aus):
                made.append(aus)
                rows.append(np.sum([both[au] for au in aus], axis=0))
        return made, np.array(rows)

    def templates(self) -> tuple[list[tuple[int, Side]], Array]:
        """AU and side of each single template, and its response (V, K); no blink."""
        names: list[tuple[int, Side]] = []
        made = []
        for au in self.aus:
            if au == BLINK:
                continue
            left, right = (self.responses[self.index(au, half)] for half in ("left", "right"))
            names += [(au, "both"), (au, "left"), (au, "right")]
            made += [left + right, left, right]
        return names, np.array(made)

    def project(self, flow: Floats) -> Floats:
        """(2, K) float32 projections of pooled flow (D,): the eye region's, the mouth's."""
        cut = self.eye_length
        return np.stack([self.basis[:, :cut] @ flow[:cut], self.basis[:, cut:] @ flow[cut:]])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything but ``rows`` as arrays for a file."""
        scale = np.abs(self.basis).max(axis=1)
        mismatch = np.array([self.mismatch[au] for au in self.aus])
        level = np.abs(mismatch).max(axis=(1, 2))
        return {
            "basis": (self.basis / scale[:, None]).astype(np.float16),
            "basis_scale": scale.astype(np.float32),
            "responses": self.responses.astype(np.float32),
            "noise": self.noise.astype(np.float32),
            "mismatch": (mismatch / level[:, None, None]).astype(np.float16),
            "mismatch_scale": level.astype(np.float32),
        }

    @classmethod
    def from_arrays(
        cls, rows: Sequence[Row], eye_length: int, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> JointModel:
        """The inverse of ``arrays``.

        Raises:
            PrototypeError: shapes disagree or a number is not finite.
        """
        aus = tuple(dict.fromkeys(au for au, _ in rows))
        k = len(arrays["basis"])
        wanted = {
            "basis_scale": (k,),
            "responses": (len(rows), k),
            "noise": (k, k),
            "mismatch": (len(aus), k, k),
            "mismatch_scale": (len(aus),),
        }
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise PrototypeError(f"{name} has shape {arrays[name].shape}, not {shape}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise PrototypeError("a number is not finite")
        if BLINK not in aus or {(au, half) for au in aus for half in _HALVES} != set(rows):
            raise PrototypeError("both sides of every AU, and AU 45, are needed")
        if not _is_covariance(arrays["noise"].astype(np.float64)):
            raise PrototypeError("noise is no covariance matrix")
        basis = arrays["basis"].astype(np.float32) * arrays["basis_scale"][:, None]
        spread = arrays["mismatch"].astype(np.float64) * arrays["mismatch_scale"][:, None, None]
        return cls(
            tuple(rows),
            eye_length,
            np.ascontiguousarray(basis, np.float32),
            arrays["responses"].astype(np.float64),
            arrays["noise"].astype(np.float64),
            dict(zip(aus, spread, strict=True)),
        )


def _is_covariance(matrix: Array) -> bool:
    values = np.linalg.eigvalsh(matrix)
    symmetric = np.allclose(matrix, matrix.T, atol=1e-5 * max(float(values[-1]), 0.0))
    return bool(symmetric and values[-1] > 0 and values[0] > -1e-5 * values[-1])


def fit_joint(
    samples: Mapping[Row, Floats],
    noise: NoiseSamples,
    eye_length: int,
    lids: npt.NDArray[np.bool_],
) -> JointModel:
    """Fit a model.

    Args:
        samples: per AU and side, (n, D) pooled onset-to-apex flow per px of movement
            (px of the crop) of several faces.
        noise: what neutral faces do.
        eye_length: so many of the D numbers belong to the eye region.
        lids: (D,) cells of the eye opening, where irises and lids make flow unreliable.

    Raises:
        PrototypeError: an AU has only one side, or the blink (AU 45) is missing.
    """
    rows = tuple(samples)
    aus = {au for au, _ in rows}
    if BLINK not in aus or len(rows) != 2 * len(aus):
        raise PrototypeError("both sides of every AU, and AU 45, are needed")
    means = np.array([samples[row].mean(axis=0) for row in rows], np.float64)
    spreads = {row: samples[row] - samples[row].mean(axis=0) for row in rows}
    weight = np.where(noise.blink, _BLINK_WEIGHT, 1.0) * np.where(noise.speech, _SPEECH_WEIGHT, 1.0)
    whitened = _whitened(means, spreads, noise.flows, weight, lids)
    scale = np.sqrt(np.einsum("rd,rd->r", whitened, means))
    basis = np.concatenate([whitened / scale[:, None], _directions(noise)])
    responses = means @ basis.T
    seen = noise.flows @ basis.T
    prior = np.where(noise.blink, _BLINK_WEIGHT, 1.0)
    prior = prior * np.where(noise.speech, _PRIOR_SPEECH_WEIGHT, 1.0)
    covariance = (seen * prior[:, None]).T @ seen / prior.sum() + 1e-3 * np.eye(len(basis))
    return JointModel(
        rows,
        eye_length,
        np.asarray(basis, np.float32),
        responses,
        np.asarray(covariance, np.float64),
        _mismatch(rows, spreads, basis, responses),
    )


def _whitened(
    means: Array,
    spreads: Mapping[Row, Floats],
    flows: Floats,
    weight: Array,
    lids: npt.NDArray[np.bool_],
) -> Array:
    """Sigma^-1 phi for every prototype, (R, D)."""
    between = np.concatenate(list(spreads.values())).astype(np.float64)
    per_face = len(between) - len(spreads)
    sigma = (flows * weight[:, None]).T @ flows / weight.sum()
    sigma = sigma + _TYPICAL_PX**2 * (between.T @ between) / max(per_face, 1)
    values, vectors = np.linalg.eigh(sigma.astype(np.float64))
    values, vectors = values[-_COMPONENTS:], vectors[:, -_COMPONENTS:]
    rest = (np.trace(sigma) - values.sum()) / max(len(sigma) - len(values), 1)
    white = max(float(rest), 0.0) + _WHITE * (1 + _LIDS_WHITE * lids)
    scaled = vectors / white[:, None]
    inner = np.linalg.inv(np.diag(1 / values) + vectors.T @ scaled)
    first = means / white
    return np.asarray(first - (first @ vectors) @ inner @ scaled.T, np.float64)


def _directions(noise: NoiseSamples) -> Array:
    """The strongest directions of the noise without blinks and speech, of unit variance."""
    quiet = noise.flows[~(noise.blink | noise.speech)]
    values, vectors = np.linalg.eigh((quiet.T @ quiet / len(quiet)).astype(np.float64))
    values, vectors = values[-_BASIS_COMPONENTS:], vectors[:, -_BASIS_COMPONENTS:]
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-9))).T, np.float64)


def _mismatch(
    rows: Sequence[Row], spreads: Mapping[Row, Floats], basis: Array, responses: Array
) -> dict[int, Array]:
    """Half the AU's own spread between faces, half that of all, and a little diffuse."""
    seen = {row: spread @ basis.T for row, spread in spreads.items()}
    everything = np.concatenate(list(seen.values()))
    common = everything.T @ everything / len(everything)
    made = {}
    for au in dict.fromkeys(au for au, _ in rows):
        halves: tuple[Row, Row] = ((au, "left"), (au, "right"))
        own = np.concatenate([seen[row] for row in halves])
        power = np.mean([responses[list(rows).index(row)] ** 2 for row in halves], axis=0)
        made[au] = (0.5 * own.T @ own / len(own) + 0.5 * common + np.diag(DIFFUSE * power)).astype(
            np.float64
        )
    return made
