from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import PrototypeError
from models.prototypes import (
    FlowSample,
    Prototype,
    PrototypeSet,
    directional_map,
    fit,
    heat_map,
    load,
    load_default,
)


def _sample(rng: np.random.Generator, *aus: int) -> FlowSample:
    eye = rng.standard_normal((240, 280, 2)).astype(np.float32)
    mouth = rng.standard_normal((160, 260, 2)).astype(np.float32)
    return FlowSample(frozenset(aus), eye, mouth)


def _fit(samples: list[FlowSample], *aus: int) -> PrototypeSet:
    return fit(samples, aus, name="t", version="1", provenance="random numbers")


def test_prototype_is_the_mean_flow_of_the_samples_that_carry_the_au() -> None:
    rng = np.random.default_rng(0)
    samples = [_sample(rng, 1, 12), _sample(rng, 1), _sample(rng, 12), _sample(rng, 4)]
    made = _fit(samples, 1, 12)
    assert made.prototypes[0].field == pytest.approx(
        (samples[0].eye + samples[1].eye) / 2, abs=1e-6
    )
    assert made.prototypes[1].field == pytest.approx(
        (samples[0].mouth + samples[2].mouth) / 2, abs=1e-6
    )
    assert [p.samples for p in made.prototypes] == [2, 2]


def test_noise_of_the_mean_falls_with_the_number_of_samples() -> None:  # eq. 15
    rng = np.random.default_rng(1)
    few = _fit([_sample(rng, 4) for _ in range(2)], 4).prototypes[0].field.var()
    many = _fit([_sample(rng, 4) for _ in range(8)], 4).prototypes[0].field.var()
    assert few / many == pytest.approx(4.0, rel=0.05)


def test_an_au_without_samples_is_refused() -> None:
    with pytest.raises(PrototypeError, match="no sample carries AU 2"):
        _fit([_sample(np.random.default_rng(0), 1)], 1, 2)


def _set(au: int = 4, theta: float = 2.0, size: tuple[int, int] = (240, 280)) -> PrototypeSet:
    field = np.full((*size, 2), 0.5, np.float32)
    return PrototypeSet("n", "3", "test", (Prototype(au, "eye", field, theta, 5),))


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    _set().save(path)
    back = load(path)
    assert (back.name, back.version, back.provenance, back.aus) == ("n", "3", "test", (4,))
    assert back.thetas == pytest.approx([2.0])
    assert (back.prototypes[0].field == 0.5).all()
    assert back.prototypes[0].field.dtype == np.float32


def _header(path: Path, change: dict[str, Any]) -> None:
    with np.load(path) as old:
        arrays = dict(old)
    header = json.loads(arrays.pop("header").tobytes().decode()) | change
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(path, header=text, **arrays)


@pytest.mark.parametrize(
    ("made", "change", "message"),
    [
        (_set(), {"format": 1}, "reads format 2"),
        (_set(), {"format": 3}, "reads format 2"),
        (_set(au=99), {}, "unknown AU 99"),
        (_set(size=(160, 260)), {}, "fit it again"),
        (_set(theta=0.0), {}, "theta must be above 0"),
        (_set(theta=float("nan")), {}, "theta must be above 0"),
        (_set(), {"prototypes": []}, "0 prototypes"),
        (_set(), {"prototypes": "x"}, "malformed header"),
        (_set(), {"prototypes": [{"au": 4, "region": "ear", "theta": 1, "samples": 1}]}, "ear"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(
    tmp_path: Path, made: PrototypeSet, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.npz"
    made.save(path)
    _header(path, change)
    with pytest.raises(PrototypeError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    made = _set()
    made.prototypes[0].field[0, 0, 0] = np.inf
    made.save(tmp_path / "p.npz")
    with pytest.raises(PrototypeError, match="finite"):
        load(tmp_path / "p.npz")


def test_missing_foreign_and_torn_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PrototypeError, match="no such prototype file"):
        load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(PrototypeError, match="not a prototype file"):
        load(tmp_path / "text.npz")
    _set().save(tmp_path / "p.npz")
    whole = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PrototypeError, match="not a prototype file"):
        load(tmp_path / "torn.npz")


def test_pickles_and_oversized_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, header=np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(PrototypeError):
        load(path)
    np.savez_compressed(path, header=np.zeros(2_000_000, np.uint8))
    with pytest.raises(PrototypeError, match="larger than"):
        load(path)


def test_pictures_follow_equations_31_and_32() -> None:
    field = np.zeros((32, 48, 2), np.float32)
    field[8, 24] = (3.0, -4.0)
    arrows = directional_map(field, spacing=16, phi=2.0)
    assert [24.0, 8.0, 30.0, 0.0] in arrows.tolist()
    assert len(arrows) == 6
    assert heat_map(field)[8, 24] == pytest.approx(5.0)
    assert heat_map(field).sum() == pytest.approx(5.0)


def test_the_shipped_set_covers_the_papers_aus_and_says_that_it_is_synthetic() -> None:
    shipped = load_default()
    assert {1, 2, 4, 7, 12, 14, 15, 17} <= set(shipped.aus)
    assert "synthetic" in shipped.provenance
    assert (shipped.thetas > 0).all()


def test_the_shipped_prototypes_move_as_anatomy_says() -> None:
    by_au = {p.au: p.field for p in load_default().prototypes}

    def mean(au: int, x: slice, y: slice) -> tuple[float, float]:
        dx, dy = by_au[au][y, x].mean(axis=(0, 1))
        return float(dx), float(dy)

    much = 0.15  # of the movement: the shipped fields are those of 1 px of the crop
    brow, right, left, middle = slice(60, 95), slice(40, 100), slice(180, 240), slice(110, 170)
    outer = slice(10, 50)
    assert mean(1, middle, brow)[1] < -much  # inner brow up, the outer less
    assert mean(1, middle, brow)[1] < mean(1, outer, brow)[1]
    assert mean(2, outer, brow)[1] < -much  # outer brow up, the inner less
    assert mean(2, outer, brow)[1] < mean(2, middle, brow)[1]
    for side, inward in ((right, 1), (left, -1)):  # image left is the subject's right
        dx, dy = mean(4, side, brow)
        assert dx * inward > much  # brows together
        assert dy > much  # and down
    corner = slice(40, 80)
    for side, outward in ((slice(20, 70), -1), (slice(190, 240), 1)):
        dx, dy = mean(12, side, corner)
        assert dx * outward > much  # corners out
        assert dy < -much  # and up
        assert mean(15, side, corner)[1] > much  # corners down
    assert mean(17, slice(100, 160), slice(80, 130))[1] < -much  # chin up
    assert mean(7, slice(50, 100), slice(120, 150))[1] < -much  # lower lid up


def _swap(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path) as old:
        members = {n: old.read(n) for n in old.namelist()} | {name: content}
    with zipfile.ZipFile(path, "w") as new:
        for member, data in members.items():
            new.writestr(member, data, method)


def _claim(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[no-untyped-call]
    return stream.getvalue() + b"xx"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("field_0.npy", _claim((10**9, 10**9))),
        ("header.npy", _claim((10**15,))),
        ("header.npy", b"not an array"),
        ("field_0.npy", _claim((240, 280, 2))),
    ],
)
def test_a_size_that_the_member_does_not_hold_is_refused_before_it_is_allocated(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / "p.npz"
    _set().save(path)
    _swap(path, name, content)
    with pytest.raises(PrototypeError, match=r"p\.npz"):
        load(path)


def test_only_stored_and_deflated_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    _set().save(path)
    with zipfile.ZipFile(path) as archive:
        field = archive.read("field_0.npy")
    _swap(path, "field_0.npy", field, zipfile.ZIP_LZMA)
    with pytest.raises(PrototypeError, match="not deflated"):
        load(path)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    field = np.random.default_rng(0).standard_normal((240, 280, 2)).astype(np.float32)
    PrototypeSet("n", "3", "test", (Prototype(4, "eye", field, 1.0, 5),)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PrototypeError, match="field_0 is damaged"):
        load(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", '{"format": 2, "prototypes": [{"au": 1e999}]}']
)
def test_a_strange_header_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, header=np.frombuffer(text.encode(), np.uint8))
    with pytest.raises(PrototypeError, match="malformed header"):
        load(path)


def test_the_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _set().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_shipped_file_is_small() -> None:
    assert load_default().regions.count("mouth") == 4
    file = Path(__file__).parents[2] / "models" / "data" / "prototypes.npz"
    assert file.stat().st_size < 3_000_000
