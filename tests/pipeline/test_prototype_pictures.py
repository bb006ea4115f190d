"""``mespot prototypes show``: what is drawn is what the set holds."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.joint import BLINK
from models.prototypes import SIZES, PrototypeSet, heat_map, load_default
from pipeline.cli import run
from pipeline.drawing import backdrops, pooled, recovered, unpooled
from pipeline.prototype_pictures import cosines, note, sheet, show, web_page
from stages.pooling import LENGTH


@pytest.fixture(scope="module")
def known() -> PrototypeSet:
    return load_default()


def _small(known: PrototypeSet) -> PrototypeSet:
    """Two prototypes and no joint model: quick to draw."""
    return dataclasses.replace(
        known, prototypes=(known.prototypes[0], known.prototypes[-1]), joint=None
    )


def test_recovered_fields_have_the_projections_that_the_model_stores(known: PrototypeSet) -> None:
    model = known.joint
    assert model is not None
    fields = recovered(model)
    assert fields is not None
    found = fields @ model.basis.astype(np.float64).T
    error = np.linalg.norm(found - model.responses, axis=1)
    assert (error < 0.1 * np.linalg.norm(model.responses, axis=1)).all()


def test_recovered_fields_are_like_the_set_s_own(known: PrototypeSet) -> None:
    model = known.joint
    assert model is not None
    fields = recovered(model)
    assert fields is not None
    for one in known.prototypes:
        rows = [i for i, (au, _) in enumerate(model.rows) if au == one.au and au != BLINK]
        shown = unpooled(fields[rows].sum(axis=0))[one.region]
        cosine = np.vdot(shown, one.field) / np.linalg.norm(shown) / np.linalg.norm(one.field)
        assert cosine > 0.6, one.au


def test_a_model_of_another_grid_is_not_drawn_but_told(known: PrototypeSet) -> None:
    model = known.joint
    assert model is not None
    other = dataclasses.replace(model, basis=model.basis[:, :-2])
    assert recovered(other) is None
    assert "cannot be recovered" in note(dataclasses.replace(known, joint=other))
    assert "no joint model" in note(dataclasses.replace(known, joint=None))
    assert note(known) == ""


def test_pooled_and_unpooled_keep_a_smooth_field(known: PrototypeSet) -> None:
    one = known.prototypes[0]
    coarse = pooled(one)
    assert coarse.shape == (LENGTH,)
    back = unpooled(coarse)
    assert np.abs(back[one.region] - one.field).max() < 0.25 * heat_map(one.field).max()
    assert not back["mouth" if one.region == "eye" else "eye"].any()


def test_cosines_of_like_unlike_and_opposite_rows() -> None:
    rows = np.array([[1.0, 0], [2, 0], [0, 3], [-1, 0]])
    assert np.allclose(cosines(rows)[0], [1, 1, 0, -1])
    assert cosines(rows[[0, 2]], np.array([[1.0, 0.5], [0.5, 1]]))[0, 1] == pytest.approx(0.5)


def test_backdrops_are_a_face_s_regions() -> None:
    for region, face in backdrops().items():
        assert face.shape == SIZES[region][::-1]
        assert face.std() > 10


def test_every_prototype_has_both_maps_on_the_sheet(known: PrototypeSet) -> None:
    pictures = [axes for part in sheet(known).subfigs for axes in part.axes]
    titles = [axes.get_title() for axes in pictures]
    for one in known.prototypes:
        assert any(title.startswith(f"AU {one.au} ") for title in titles), one.au
    model = known.joint
    assert model is not None
    for au in model.aus:
        assert f"AU {au} left" in titles and f"AU {au} right" in titles
    maps = pictures[: 2 * len(known.prototypes)]
    assert sum(bool(axes.collections) for axes in maps) == len(known.prototypes)  # arrows
    assert sum(len(axes.images) == 2 for axes in maps) == len(known.prototypes)  # heat on a face


def test_the_files_are_written(known: PrototypeSet, tmp_path: Path) -> None:
    few = _small(known)
    show(few, tmp_path / "p.png")
    assert cv2.imread(str(tmp_path / "p.png")).shape[1] == 1500
    show(few, tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert not re.search(r"https?:|<link|<script", re.sub(r'src="[^"]*"', "", text))
    assert text.count('src="data:image/png;base64,') == 2
    assert "inner brow raiser" in text


def test_the_page_names_where_the_set_comes_from(known: PrototypeSet) -> None:
    odd = dataclasses.replace(_small(known), provenance="<b>from & to</b>")
    assert "&lt;b&gt;from &amp; to&lt;/b&gt;" in web_page(odd)


def test_another_set_can_be_shown(known: PrototypeSet, tmp_path: Path) -> None:
    _small(known).save(tmp_path / "few.npz")
    out = tmp_path / "few.html"
    options = ["--prototypes", str(tmp_path / "few.npz"), "--out", str(out)]
    assert run(["prototypes", "show", *options]) == 0
    assert out.read_text().count("<tr>") == 1 + 2


def test_a_set_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prototypes", "show", "--prototypes", str(tmp_path / "no.npz")]) != 0
    said = capsys.readouterr().err.strip()
    assert said.startswith("mespot: ") and "no such prototype file" in said
    assert len(said.splitlines()) == 1
