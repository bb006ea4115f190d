"""The real label files, read through MESPOT_DATA: every row of all four is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.datasets import Dataset, converted, facts
from models.errors import UserError

FILES: dict[converted.Name, tuple[str, int]] = {
    "casme2": ("casme2.csv", 246),
    "samm": ("samm.csv", 159),
    "casme_sq": ("casme_sq_long.csv", 357),
    "samm_lv": ("samm_lv_25fps.csv", 502),
}


def labels(data: Path, name: converted.Name, corrections: bool = True) -> Dataset:
    return converted.read(data / "labels" / FILES[name][0], name, corrections=corrections)


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_an_annotation(data: Path, name: converted.Name) -> None:
    made = labels(data, name)
    assert len(made.annotations) == FILES[name][1]
    assert len({a.row for a in made.annotations}) == FILES[name][1]
    silent = [a.au_text for a in made.annotations if not a.aus]
    assert silent == (["Chewing", "reaction?"] if name == "samm_lv" else [])


def test_casme2_classes_and_the_ninth_au(data: Path) -> None:
    found = facts(labels(data, "casme2"))
    assert (found.annotations, found.subjects) == (246, 26)
    assert found.emotions == {
        "others": 99,
        "disgust": 63,
        "happiness": 32,
        "repression": 27,
        "surprise": 25,
    }
    assert found.frequent() == (1, 2, 4, 7, 10, 12, 14, 15, 17)
    assert found.beyond_paper() == (10,)
    assert found.aus[10] == 18
    assert any("AU 10 occurs 18 times" in line for line in found.lines())
    assert not found.unsure_aus


def test_samm_classes(data: Path) -> None:
    found = facts(labels(data, "samm"))
    assert (found.subjects, found.kinds) == (29, {"micro": 159})
    assert found.emotions["Anger"] == 57
    assert found.emotions["Contempt"] == 12


def test_casme_sq_kinds_and_missing_offsets(data: Path) -> None:
    made = labels(data, "casme_sq")
    found = facts(made)
    assert found.kinds == {"macro": 300, "micro": 57}
    assert found.without == {"onset": {}, "apex": {"macro": 1}, "offset": {"macro": 44}}
    assert (found.subjects, found.videos) == (22, 95)
    assert made.annotations[0].video == "15_0401"
    assert made.annotations[0].subject == "s15"
    assert len(found.odd) == 3  # apexes after their offsets


def test_samm_lv_kinds_and_missing_onsets(data: Path) -> None:
    made = labels(data, "samm_lv")
    found = facts(made)
    assert made.fps == 25.0
    assert found.kinds == {"macro": 343, "micro": 159}
    assert found.without["onset"] == {"macro": 12}
    assert (found.subjects, found.videos) == (30, 147)


def test_corrections_meet_the_rows_that_they_were_made_for(data: Path) -> None:
    assert [r.split(": ", 1)[1][:21] for r in labels(data, "casme2").reports] == [
        "offset is 91 already"
    ]
    made = labels(data, "samm")
    assert not any("not corrected" in report for report in made.reports)
    assert [made.annotations[i].apex for i in (125, 132, 133)] == [1105, 4945, 5130]
    plain = labels(data, "samm", corrections=False)
    assert [plain.annotations[i].apex for i in (125, 132, 133)] == [1134, 4930, 5127]
    assert plain.reports == ()


def test_labels_only_have_no_frames_and_another_table_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match="labels only"):
        labels(data, "casme2").pairs()
    with pytest.raises(UserError, match="no header with"):
        converted.read(data / "labels" / "casme2.csv", "samm_lv")
    with pytest.raises(UserError, match="row 2: video 'casme_015_0401' is not named"):
        converted.read(data / "labels" / "casme_sq_long.csv", "samm_lv")
