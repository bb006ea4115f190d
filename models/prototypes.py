"""AU prototypes (He et al., ECAI 2023, eqs 14-18, 31-32) and their file format.

File format, version 2: a NumPy ``.npz`` without pickles. Member ``header`` is
UTF-8 JSON as uint8 (``format``, ``name``, ``version``, ``provenance``, a list
``prototypes`` of ``au``, ``region``, ``theta``, ``samples``, and ``joint``: null, or
``rows``, a list of [AU, "left" or "right"], and ``eye_length``); member ``field_<i>``
is prototype i, float16 or float32, (h, w, 2): mean onset-to-apex flow in px of the
normalised crop, x right, y down, not normalised. ``theta`` is in the unit of the
matching index (eq. 22 summed over the full-size crop), so it belongs to the
magnitude of its field. The members ``joint_<name>`` are the arrays of
``models.joint.JointModel``. Members are stored or deflated, nothing else.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.archives import array_header, check_zip
from models.errors import PrototypeError
from models.joint import Half, JointModel

Region = Literal["eye", "mouth"]
Field = npt.NDArray[np.float32]

FORMAT = 2
SIZES: dict[Region, tuple[int, int]] = {"eye": (280, 240), "mouth": (260, 160)}  # w, h
AU_REGIONS: dict[int, Region] = {
    **dict.fromkeys((1, 2, 4, 5, 6, 7, 9, 43, 45), "eye"),
    **dict.fromkeys((10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28), "mouth"),
}
PAPER_AUS = (1, 2, 4, 7, 12, 14, 15, 17)
_MOST = 64  # prototypes in a file
_MOST_BYTES = 64_000_000  # of the file itself
_MOST_UNPACKED, _MOST_MEMBERS = 256_000_000, 100
_MOST_PROJECTIONS = 1024  # K of the joint model
_LONGEST_NAME, _LONGEST_TEXT = 100, 10_000
_MOST_NUMBERS = 8_000_000  # in an array of the joint model
_JOINT = ("basis", "basis_scale", "responses", "noise", "mismatch", "mismatch_scale")
_DEFAULT = Path(__file__).parent / "data" / "prototypes.npz"


@dataclass(frozen=True, eq=False)
class Prototype:
    """M_j of one AU."""

    au: int
    region: Region
    field: Field  # (h, w, 2) float32, px of the crop
    theta: float  # peak threshold of eq. 24, matching-index units
    samples: int  # |S_AU_j|


@dataclass(frozen=True, eq=False)
class PrototypeSet:
    """Prototypes in the order of the matching curves."""

    name: str
    version: str
    provenance: str
    prototypes: tuple[Prototype, ...]
    joint: JointModel | None = None

    @property
    def aus(self) -> tuple[int, ...]:
        """AU of each curve."""
        return tuple(p.au for p in self.prototypes)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Region of each curve."""
        return tuple(p.region for p in self.prototypes)

    @property
    def thetas(self) -> npt.NDArray[np.float64]:
        """(V,) thresholds theta_j."""
        return np.array([p.theta for p in self.prototypes], np.float64)

    def save(self, path: Path) -> None:
        """Write the file described above; the same set gives the same bytes."""
        header = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "provenance": self.provenance,
            "prototypes": [
                {"au": p.au, "region": p.region, "theta": p.theta, "samples": p.samples}
                for p in self.prototypes
            ],
            "joint": _joint_header(self.joint),
        }
        members = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)} | {
            f"field_{i}": p.field.astype(np.float16) for i, p in enumerate(self.prototypes)
        }
        if self.joint is not None:
            arrays = self.joint.arrays()
            members |= {f"joint_{name}": array for name, array in arrays.items()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in members.items():
                content = io.BytesIO()
                np.save(content, array, allow_pickle=False)
                # a fixed date, so that a rebuilt file can be compared by its bytes
                archive.writestr(_entry(name), content.getvalue(), compresslevel=9)


def without_joint(prototypes: PrototypeSet) -> PrototypeError:
    """What to say of a set that cannot be used for joint explanation."""
    return PrototypeError(
        f"prototype set {prototypes.name}: no joint model in it; fit it again, "
        "or set method to paper"
    )


def _joint_header(joint: JointModel | None) -> dict[str, Any] | None:
    if joint is None:
        return None
    return {"rows": [list(row) for row in joint.rows], "eye_length": joint.eye_length}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


@dataclass(frozen=True, eq=False)
class FlowSample:
    """Onset-to-apex flow of one expression (eqs 16-17) and the AUs that it carries."""

    aus: frozenset[int]
    eye: Field  # (240, 280, 2) px
    mouth: Field  # (160, 260, 2) px


def fit(
    samples: Iterable[FlowSample],
    aus: Iterable[int] = PAPER_AUS,
    *,
    name: str,
    version: str,
    provenance: str,
) -> PrototypeSet:
    """Mean flow over the samples that carry each AU (eqs 14, 18); theta is left at 0.

    Raises:
        PrototypeError: an AU without samples or without a region.
    """
    wanted = list(aus)
    sums: dict[int, Any] = defaultdict(float)
    counts: dict[int, int] = defaultdict(int)
    for sample in samples:
        for au in sample.aus.intersection(wanted):
            flow = sample.eye if _region(au) == "eye" else sample.mouth
            sums[au] = sums[au] + flow.astype(np.float64)
            counts[au] += 1
    missing = [au for au in wanted if not counts[au]]
    if missing:
        raise PrototypeError(f"no sample carries AU {', '.join(map(str, missing))}")
    made = tuple(
        Prototype(au, _region(au), np.asarray(sums[au] / counts[au], np.float32), 0.0, counts[au])
        for au in wanted
    )
    return PrototypeSet(name, version, provenance, made)


def _region(au: int) -> Region:
    if au not in AU_REGIONS:
        raise PrototypeError(f"AU {au} is not known; known are {sorted(AU_REGIONS)}")
    return AU_REGIONS[au]


def load_default() -> PrototypeSet:
    """The shipped, synthetic set."""
    return load(_DEFAULT)


def load(path: Path) -> PrototypeSet:
    """Read a prototype file.

    Raises:
        PrototypeError: missing, malformed, another version, unknown AU, wrong size.
    """
    if not path.is_file():
        raise PrototypeError(f"{path}: no such prototype file")
    try:
        check_zip(path, _MOST_BYTES, _MOST_UNPACKED, _MOST_MEMBERS)
        with zipfile.ZipFile(path) as archive:
            return _parse(path, archive)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise PrototypeError(f"{path}: not a prototype file: {error}") from None


def _member(
    path: Path, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None
) -> npt.NDArray[Any]:
    """One array; nothing is allocated before the sizes that the file states are checked.

    ``shape`` None: one dimension of at most 1 MB.
    """
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise PrototypeError(f"{path}: not a prototype file: member {name} is missing") from None
    limit = 8 * int(np.prod(shape)) + 4096 if shape else 1_000_000
    if info.file_size > limit or info.compress_type not in (0, zipfile.ZIP_DEFLATED):
        raise PrototypeError(f"{path}: member {name} is larger than it can be, or not deflated")
    try:
        content = archive.read(info)
        _check_shape(content, shape)
        array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except PrototypeError as error:
        raise PrototypeError(f"{path}: {name.replace('_', ' ')}: {error}") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise PrototypeError(f"{path}: member {name} is damaged: {error}") from None
    return array


def _check_shape(content: bytes, wanted: tuple[int, ...] | None) -> None:
    """Refuse another shape before NumPy allocates it."""
    shape, _ = array_header(io.BytesIO(content), len(content))
    if wanted is None and (len(shape) != 1 or shape[0] > len(content)):
        raise ValueError("not a list of bytes")
    if wanted is not None and shape != wanted:
        raise PrototypeError(f"size {shape}, but {wanted} is needed; fit it again")


def _free_member(path: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """An array of floats whose shape the file states itself."""
    try:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as member:
            shape, kind = array_header(io.BytesIO(member.read(4096)), info.file_size)
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        raise PrototypeError(f"{path}: member {name} is missing or damaged") from None
    if kind.kind != "f" or np.prod(shape, dtype=np.float64) > _MOST_NUMBERS:
        raise PrototypeError(f"{path}: member {name} is larger than it can be, or no floats")
    return _member(path, archive, name, shape)


def _header(path: Path, archive: zipfile.ZipFile) -> Any:
    text = _member(path, archive, "header", None)
    try:
        return json.loads(text.astype(np.uint8).tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise PrototypeError(f"{path}: malformed header: {error}") from None


def _parse(path: Path, archive: zipfile.ZipFile) -> PrototypeSet:
    header = _header(path, archive)
    try:
        found = header["format"]
        if found != FORMAT:
            raise PrototypeError(f"{path}: format {found}; this mespot reads format {FORMAT}")
        rows = [
            (int(r["au"]), str(r["region"]), float(r["theta"]), int(r["samples"]))
            for r in header["prototypes"]
        ]
        words = [_words(header[key], key) for key in ("name", "version", "provenance")]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise PrototypeError(f"{path}: malformed header: {error!r}") from None
    if not 0 < len(rows) <= _MOST:
        raise PrototypeError(f"{path}: {len(rows)} prototypes; from 1 to {_MOST} are allowed")
    made = tuple(_prototype(path, archive, i, *row) for i, row in enumerate(rows))
    if len({p.au for p in made}) != len(made):
        raise PrototypeError(f"{path}: an AU occurs twice")
    joint = _joint(path, archive, header.get("joint"))
    return PrototypeSet(words[0], words[1], words[2], made, joint)


def _words(value: Any, key: str) -> str:
    """A name or text of the header; names travel in every event."""
    text = str(value)
    if key == "provenance":
        return text[:_LONGEST_TEXT]
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"{key} is longer than {_LONGEST_NAME} printable characters")
    return text


def _half(value: Any) -> Half:
    if value not in ("left", "right"):
        raise ValueError(f"{value!r} is neither left nor right")
    return "left" if value == "left" else "right"


def _joint(path: Path, archive: zipfile.ZipFile, header: Any) -> JointModel | None:
    if header is None:
        return None
    try:
        rows = [(int(au), _half(half)) for au, half in header["rows"]]
        eye_length = int(header["eye_length"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise PrototypeError(f"{path}: malformed header: {error!r}") from None
    if not 0 < len(rows) <= 2 * _MOST:
        raise PrototypeError(f"{path}: malformed header: rows of the joint model")
    arrays = {name: _free_member(path, archive, f"joint_{name}") for name in _JOINT}
    if arrays["basis"].ndim != 2 or not 0 < eye_length < arrays["basis"].shape[1]:
        raise PrototypeError(f"{path}: joint model: the basis does not fit")
    if len(arrays["basis"]) > _MOST_PROJECTIONS:
        raise PrototypeError(f"{path}: joint model: more than {_MOST_PROJECTIONS} projections")
    try:
        return JointModel.from_arrays(rows, eye_length, arrays)
    except PrototypeError as error:
        raise PrototypeError(f"{path}: joint model: {error}") from None


def _prototype(
    path: Path,
    archive: zipfile.ZipFile,
    index: int,
    au: int,
    region: str,
    theta: float,
    samples: int,
) -> Prototype:
    if au not in AU_REGIONS:
        raise PrototypeError(f"{path}: unknown AU {au}; known are {sorted(AU_REGIONS)}")
    if region not in SIZES:
        raise PrototypeError(f"{path}: AU {au}: unknown region {region!r}; eye or mouth")
    width, height = SIZES[region]
    field = _member(path, archive, f"field_{index}", (height, width, 2))
    if field.dtype not in (np.float16, np.float32) or not np.isfinite(field).all():
        raise PrototypeError(f"{path}: AU {au}: needs finite float16 or float32 values")
    if not (np.isfinite(theta) and theta > 0):
        raise PrototypeError(f"{path}: AU {au}: theta must be above 0, not {theta}")
    return Prototype(au, region, field.astype(np.float32), theta, samples)


def directional_map(field: Field, spacing: int = 16, phi: float = 8.0) -> npt.NDArray[np.float64]:
    """Arrows (n, 4) x0, y0, x1, y1 on uniformly spaced pixels (eq. 31); ``phi`` amplifies."""
    height, width = field.shape[:2]
    ys, xs = np.mgrid[spacing // 2 : height : spacing, spacing // 2 : width : spacing]
    starts = np.column_stack([xs.ravel(), ys.ravel()]).astype(np.float64)
    return np.column_stack([starts, starts + phi * field[ys.ravel(), xs.ravel()]])


def heat_map(field: Field) -> npt.NDArray[np.float32]:
    """Magnitude H_j (h, w) in px (eq. 32)."""
    return np.asarray(np.hypot(field[..., 0], field[..., 1]), np.float32)
