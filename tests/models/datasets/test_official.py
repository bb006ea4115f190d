"""The four official formats, in trees written by the test."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from models.datasets import NAMES, facts, load
from models.errors import UserError
from tests.models.datasets import trees

CASME2_ROWS = [
    ("01", "EP02_01f", 46, 59, 86, 12, "happiness"),
    ("01", "EP03_02", 131, "/", 161, "4+7", "others"),
    (2, "EP01_11f", 46.0, 91, 96, "L12", "repression"),
]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    words = str(error.value)
    assert "\n" not in words
    return words


# --- CASME II ---


@pytest.fixture
def casme2(tmp_path: Path) -> Path:
    trees.casme2(tmp_path, CASME2_ROWS)
    raw = tmp_path / "CASME2_RAW_selected"
    trees.images(raw / "sub01" / "EP02_01f", [f"img{i}.jpg" for i in range(46, 102)])
    trees.images(raw / "sub01" / "EP03_02", [f"img{i}.jpg" for i in range(131, 140)])
    trees.images(raw / "sub02" / "EP01_11f", [f"img{i}.jpg" for i in range(46, 97)])
    return tmp_path


def test_casme2_reads_blank_columns_missing_apexes_and_numbers_as_text(casme2: Path) -> None:
    made = load("casme2", casme2)
    assert (made.name, made.fps, made.subjects) == ("casme2", 200.0, ("sub01", "sub02"))
    first, second, third = made.annotations
    assert (first.subject, first.video, first.row) == ("sub01", "sub01/EP02_01f", 2)
    assert (first.onset, first.apex, first.offset) == (46, 59, 86)
    assert (first.kind, first.emotion, first.au_text) == ("micro", "happiness", "12")
    assert second.apex is None
    assert second.au_numbers == {4, 7}
    assert third.aus[0].side == "L"
    assert third.subject == "sub02"


def test_casme2_pairs_are_the_onset_and_apex_images(casme2: Path) -> None:
    pairs, left_out = load("casme2", casme2).pairs()
    assert [(p.annotation.subject, p.aus, p.onset.name, p.apex.name) for p in pairs] == [
        ("sub01", {12}, "img46.jpg", "img59.jpg"),
        ("sub02", {12}, "img46.jpg", "img91.jpg"),
    ]
    assert left_out == ["row 3 (sub01/EP03_02): apex not annotated"]


def test_casme2_frames_are_in_numeric_order(casme2: Path) -> None:
    made = load("casme2", casme2)
    frames = made.frames(made.annotations[0])
    assert [path.name for path in frames.images[52:56]] == [f"img{i}.jpg" for i in range(98, 102)]
    assert frames.index(46) == 0
    assert [frames.number(i) for i in (0, 55)] == [46, 101]
    for index in (-1, 56):
        with pytest.raises(UserError, match="no image at position"):
            frames.number(index)
    assert [p.name for p in frames.between(100, 200)] == ["img100.jpg", "img101.jpg"]
    with pytest.raises(UserError, match="has no frame 45"):
        frames.index(45)


def test_casme2_missing_image_and_folder_are_reported(casme2: Path) -> None:
    raw = casme2 / "CASME2_RAW_selected"
    (raw / "sub01" / "EP02_01f" / "img59.jpg").unlink()
    pairs, left_out = load("casme2", casme2).pairs()
    assert len(pairs) == 1
    assert "has no frame 59" in left_out[0]
    for image in (raw / "sub02" / "EP01_11f").iterdir():
        image.unlink()
    with pytest.raises(UserError, match="no expression with onset and apex image"):
        load("casme2", casme2).pairs()


def test_casme2_cut_out_faces_come_after_raw_ones_and_two_raw_ones_are_ambiguous(
    casme2: Path,
) -> None:
    trees.images(casme2 / "Cropped" / "sub01" / "EP02_01f", ["img46.jpg"])
    made = load("casme2", casme2)
    assert "RAW" in str(made.frames("sub01/EP02_01f").path)
    chosen = load("casme2", casme2, images=casme2 / "Cropped")
    assert "Cropped" in str(chosen.frames("sub01/EP02_01f").path)
    trees.images(casme2 / "other_raw" / "sub01" / "EP02_01f", ["img46.jpg"])
    with pytest.raises(UserError, match=r"lies in .* and .*; name one folder") as error:
        load("casme2", casme2).frames("sub01/EP02_01f")
    one_line(error)


def casme2_rows(row_60: tuple[object, ...]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("01", f"EP02_{i:02}", 1, 2, 3, "4", "others") for i in range(60)
    ]
    return [*rows, row_60]


def test_casme2_correction_is_made_reported_and_can_be_switched_off(tmp_path: Path) -> None:
    trees.casme2(tmp_path, casme2_rows(("07", "EP06_02_01", 11, 66, "91?", "4+R10", "disgust")))
    made = load("casme2", tmp_path)
    assert made.annotations[60].offset == 91
    assert made.reports[0].startswith("annotation 60 (EP06_02_01): offset corrected from 91? to 91")
    with pytest.raises(UserError, match=r"row 62: offset '91\?' is not a frame number"):
        load("casme2", tmp_path, corrections=False)


def test_a_numeric_mistake_stays_when_corrections_are_off(tmp_path: Path) -> None:
    trees.casme2(tmp_path, casme2_rows(("07", "EP06_02_01", 11, 66, 9, "4+R10", "disgust")))
    assert load("casme2", tmp_path).annotations[60].offset == 91
    plain = load("casme2", tmp_path, corrections=False)
    assert (plain.annotations[60].offset, plain.reports) == (9, ())
    assert facts(plain).odd[0] == "row 62 (sub07/EP06_02_01): offset 9 before onset 11"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("07", "EP06_02_01", 11, 66, 91, "4", "others"), "is 91 already"),
        (("07", "EP06_02_02", 11, 66, 9, "4", "others"), "that row is 07 EP06_02_02"),
        (("08", "EP06_02_01", 11, 66, 9, "4", "others"), "that row is 08 EP06_02_01"),
        (("07", "EP06_02_01", 11, 67, 9, "4", "others"), "its apex is 67, not 66"),
    ],
)
def test_a_correction_for_another_row_is_not_made(
    tmp_path: Path, row: tuple[object, ...], said: str
) -> None:
    trees.casme2(tmp_path, casme2_rows(row))
    made = load("casme2", tmp_path)
    assert made.annotations[60].offset == row[4]
    assert said in made.reports[0]


def test_a_correction_out_of_range_is_reported(casme2: Path) -> None:
    assert load("casme2", casme2).reports == (
        "annotation 60 (EP06_02_01): offset not corrected: the table has only 3 annotations",
    )


# --- SAMM ---


def samm_rows() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("006", f"006_1_{i}", 10, 20, 30, 21, "4+7", "Anger") for i in range(1, 135)
    ]
    rows[56] = ("013", "013_1_9", 5658, 5680, 5793, 82, "7", "Anger")
    rows[125] = ("028", "028_4_1", 1071, -1, 1134, 64, "A14C", "Contempt")
    rows[132] = (32, "032_3_1", 4896, -1, 4970, 75, "4A", "Anger")
    rows[133] = ("032", "032_3_2", 5126, 5127, 5207, 82, "4A", "Anger")
    return rows


def test_samm_reads_below_thirteen_title_rows(tmp_path: Path) -> None:
    trees.samm(tmp_path, samm_rows())
    trees.images(
        tmp_path / "006" / "006_1_2", [f"006_{i:05}.jpg" for i in (10, 20, 30, 9998, 10002)]
    )
    made = load("samm", tmp_path)
    assert (made.fps, made.annotations[0].row, len(made.annotations)) == (200.0, 15, 134)
    second = made.annotations[1]
    assert (second.subject, second.video, second.kind) == ("006", "006_1_2", "micro")
    frames = made.frames(second)
    assert frames.numbers == (10, 20, 30, 9998, 10002)
    pairs, left_out = made.pairs()
    assert [(p.onset.name, p.apex.name) for p in pairs] == [("006_00010.jpg", "006_00020.jpg")]
    assert len(left_out) == 133


def test_samm_corrections(tmp_path: Path) -> None:
    trees.samm(tmp_path, samm_rows())
    made = load("samm", tmp_path)
    assert made.annotations[56].offset == 5739
    assert [made.annotations[i].apex for i in (125, 132, 133)] == [1105, 4945, 5130]
    assert made.annotations[132].subject == "032"
    assert len(made.reports) == 4
    assert "corrected from -1 to 1105" in made.reports[1]
    plain = load("samm", tmp_path, corrections=False)
    assert plain.annotations[56].offset == 5793
    assert [plain.annotations[i].apex for i in (125, 132, 133)] == [None, None, 5127]


def test_samm_has_the_objective_class_of_each_row(tmp_path: Path) -> None:
    """The made trees put every row into class VII; another text is an error with its row."""
    path = trees.samm(tmp_path, [("006", "006_1_2", 5562, 5588, 5632, 71, "4+7", "Anger")])
    (note,) = load("samm", tmp_path).annotations
    assert note.objective == 7
    book = openpyxl.load_workbook(path)
    sheet = book["MICRO_ONLY"]
    for words, found in (("III", 3), (2, 2), (None, None)):
        sheet.cell(15, 11).value = words
        book.save(path)
        assert load("samm", tmp_path).annotations[0].objective == found
    sheet.cell(15, 11).value = 8
    book.save(path)
    with pytest.raises(UserError, match="row 15: objective class '8' is none of 1 to 7"):
        load("samm", tmp_path)


def test_samm_without_its_sheet_names_those_that_are_there(tmp_path: Path) -> None:
    trees.workbook(tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx", {"ALL": [], "OTHER": []})
    with pytest.raises(UserError, match="no sheet MICRO_ONLY; it has ALL, OTHER") as error:
        load("samm", tmp_path)
    one_line(error)


# --- CAS(ME)^2 ---

SQ_ROWS = [
    (1, "anger1_1", 557, 572, 608, "4+10+14", "negative", "macro-expression", "anger"),
    (1, "anger1_2", 2155, 2163, 0, 4, "negative", "macro-expression", "anger"),
    (1, "happy1_10", 138, 0, 148, "43", "others", "micro-expression", "happiness"),
    (2, "disgust1_1", 5, 8, 11, "12+6", "positive", "micro-expression", "disgust"),
]


@pytest.fixture
def casme_sq(tmp_path: Path) -> Path:
    trees.casme_sq(tmp_path, SQ_ROWS)
    raw = tmp_path / "rawpic"
    trees.images(raw / "s15" / "15_0401girlcrashing", [f"img{i:03}.jpg" for i in range(1, 12)])
    trees.images(raw / "s15" / "15_0502funnyerrors", ["img001.jpg"])
    trees.images(raw / "s16" / "16_0101disgustingteeth", ["img_1.jpg", "img_2.jpg"])
    trees.images(raw / "s16" / "16_0507nothinghere", ["img001.jpg"])
    trees.images(tmp_path / "cropped" / "s16" / "16_0101disgustingteeth", ["img1.jpg"])
    trees.images(tmp_path / "selectedpic" / "s15" / "anger1_1", ["img557.jpg"])
    (tmp_path / "rawvideo" / "s16").mkdir(parents=True)
    (tmp_path / "rawvideo" / "s16" / "16_0101disgustingteeth.avi").write_bytes(b"")
    return tmp_path


def test_casme_sq_follows_both_naming_rules(casme_sq: Path) -> None:
    made = load("casme_sq", casme_sq)
    assert made.fps == 30.0
    assert made.subjects == ("s15", "s16")
    assert made.videos == ("15_0401", "15_0502", "16_0101")
    assert [a.kind for a in made.annotations] == ["macro", "macro", "micro", "micro"]
    assert [(a.onset, a.apex, a.offset) for a in made.annotations] == [
        (557, 572, 608),
        (2155, 2163, None),
        (138, None, 148),
        (5, 8, 11),
    ]
    assert made.annotations[0].expression == "anger1_1"
    assert made.annotations[3].emotion == "positive"
    assert facts(made).without["offset"] == {"macro": 1}


def test_casme_sq_clips_hold_also_videos_without_expressions(casme_sq: Path) -> None:
    clips = list(load("casme_sq", casme_sq).clips())
    assert [(c.subject, c.video, c.fps, len(c.truth)) for c in clips] == [
        ("s15", "15_0401", 30.0, 2),
        ("s15", "15_0502", 30.0, 1),
        ("s16", "16_0101", 30.0, 1),
        ("s16", "16_0507", 30.0, 0),
    ]
    assert [path.name for path in clips[0].source.images][9:] == ["img010.jpg", "img011.jpg"]
    assert "rawpic" in str(clips[2].source.path)


def test_casme_sq_takes_videos_when_told_to(casme_sq: Path) -> None:
    made = load("casme_sq", casme_sq, images=casme_sq / "rawvideo")
    frames = made.frames("16_0101")
    assert (frames.is_file, frames.index(1), frames.index(11)) == (True, 0, 10)
    assert frames.number(10) == 11
    for wrong in (lambda: frames.index(0), lambda: frames.number(-1)):
        with pytest.raises(UserError):
            wrong()
    with pytest.raises(UserError, match="a video file; images are needed"):
        frames.image(1)
    with pytest.raises(UserError, match="2 annotated videos are missing, the first is 15_0401"):
        list(made.clips())


def test_casme_sq_updated_workbook_with_durations(tmp_path: Path) -> None:
    trees.casme_sq(tmp_path, [(*row, 51) for row in SQ_ROWS], "CAS(ME)^2code_final(Updated).xlsx")
    assert [a.au_text for a in load("casme_sq", tmp_path).annotations] == [
        "4+10+14",
        "4",
        "43",
        "12+6",
    ]


@pytest.mark.parametrize("rule", [(32, "s32", 15), ("s32", 15), (15, "s32", 32), (32, "32_", 15)])
def test_casme_sq_naming_rule1_in_any_order_of_columns(
    tmp_path: Path, rule: tuple[object, ...]
) -> None:
    row = (15.0, "anger1_1", 1, 2, 3, "4", "others", "macro-expression", "")
    sheets = {
        "CASFEcode_final": [row],
        "naming rule1": [rule],
        "naming rule2": [("0401", "anger1")],
    }
    trees.workbook(tmp_path / "CAS(ME)^2code_final.xlsx", sheets)
    assert load("casme_sq", tmp_path).annotations[0].video == "32_0401"


def test_casme_sq_a_video_in_another_subjects_folder_keeps_its_name(casme_sq: Path) -> None:
    trees.images(casme_sq / "rawpic" / "s19" / "23_0502funnyerrors", ["img001.jpg"])
    clips = {clip.video: clip.subject for clip in load("casme_sq", casme_sq).clips()}
    assert clips["23_0502"] == "s23"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((9, "anger1_1", 1, 2, 3, "4", "n", "macro-expression", ""), "subject 9 is not in naming"),
        ((1, "envy1_1", 1, 2, 3, "4", "n", "macro-expression", ""), "'envy1_1' is not in naming"),
        ((1, "anger1_1", 1, 2, 3, "4", "n", "mini", ""), "'mini' is neither micro nor macro"),
        ((1, "anger1_1", 1, 2, 3, "4"), "the eighth cell must say"),
        ((1, "anger1_1", 1, 2, "x", "4", "n", "macro-expression", ""), "offset 'x' is not a frame"),
        ((1, "anger1_1", 1, 2, 3, "grin", "n", "macro-expression", ""), "'grin' is not understood"),
    ],
)
def test_casme_sq_malformed_rows(tmp_path: Path, row: tuple[object, ...], said: str) -> None:
    trees.casme_sq(tmp_path, [SQ_ROWS[0], row])
    with pytest.raises(UserError) as error:
        load("casme_sq", tmp_path)
    assert "row 2: " in one_line(error)
    assert said in str(error.value)


# --- SAMM Long Videos ---


def test_samm_lv_reads_below_nine_title_rows(tmp_path: Path) -> None:
    trees.samm_lv(
        tmp_path,
        [
            ("006", "006_1_1", 563, 640, 743, "Macro", "4(B/C)+7B"),
            (6, "006_1_2", 5562, 5588, 5632, "Micro - 1/2", "4+7"),
            ("007", "007_2_1", 0, 12, 40, "Macro", "Chewing"),
            (None, None, None, None, None, None, "all of them coded twice"),
        ],
    )
    trees.images(
        tmp_path / "SAMM_longvideos" / "006_1", [f"006_1_{i:04}.jpg" for i in (1, 2, 9999, 10000)]
    )
    (tmp_path / "SAMM_longvideos" / "007_2.mp4").write_bytes(b"")
    trees.images(tmp_path / "SAMM_longvideos" / "008_1", ["008_1_0001.jpg"])
    made = load("samm_lv", tmp_path)
    assert [(a.subject, a.video, a.kind, a.row) for a in made.annotations] == [
        ("006", "006_1", "macro", 11),
        ("006", "006_1", "micro", 12),
        ("007", "007_2", "macro", 13),
    ]
    assert made.annotations[2].onset is None
    assert made.annotations[2].aus == ()
    assert "row 14: text beside the table" in made.reports[0]
    clips = list(made.clips())
    assert [(c.subject, c.video, c.fps, c.source.is_file) for c in clips] == [
        ("006", "006_1", 200.0, False),
        ("007", "007_2", 200.0, True),
        ("008", "008_1", 200.0, False),
    ]
    assert clips[0].source.numbers == (1, 2, 9999, 10000)


# --- all ---


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known are casme2, samm, casme_sq, samm_lv"):
        load("smic", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_missing_root_and_missing_workbook(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load(name, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no workbook .*\.xlsx here or one folder below") as error:
        load(name, tmp_path)
    one_line(error)
    with pytest.raises(UserError, match="no such workbook"):
        load(name, tmp_path, workbook=tmp_path / "mine.xlsx")


def test_two_workbooks_are_ambiguous_until_one_is_named(casme2: Path) -> None:
    second = casme2 / "old" / "CASME2-coding-20140508.xlsx"
    trees.workbook(second, {"Sheet1": [trees.CASME2_HEAD]})
    (casme2 / "~$CASME2-coding-20190701.xlsx").write_bytes(b"lock")
    with pytest.raises(UserError, match=r"several workbooks fit: .*20140508\.xlsx") as error:
        load("casme2", casme2)
    one_line(error)
    named = casme2 / "CASME2-coding-20190701.xlsx"
    assert len(load("casme2", casme2, workbook=named).annotations) == 3


def test_a_file_that_is_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "CASME2-coding-20190701.xlsx").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not a workbook that can be read") as error:
        load("casme2", tmp_path)
    one_line(error)


def test_a_workbook_without_the_header(tmp_path: Path) -> None:
    trees.workbook(tmp_path / "CASME2-coding-20190701.xlsx", {"Sheet1": [("a", "b"), (1, 2)]})
    with pytest.raises(UserError, match="no header with subject, filename, onsetframe"):
        load("casme2", tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("x1", "EP1", 1, 2, 3, "4", "others"), "subject 'x1' is not a number"),
        (("01", "EP1", "first", 2, 3, "4", "others"), "onset 'first' is not a frame number"),
        (("01", "EP1", 1.5, 2, 3, "4", "others"), "onset '1.5' is not a frame number"),
        (("01", "EP1", -7, 2, 3, "4", "others"), "onset '-7' is not a frame number"),
        (("01", None, 1, 2, 3, "4", "others"), "no filename"),
        (("01", "EP1", 1, 2, 3, "4+grin", "others"), "'grin' is not understood"),
    ],
)
def test_malformed_cells_name_their_row(tmp_path: Path, row: tuple[object, ...], said: str) -> None:
    trees.casme2(tmp_path, [CASME2_ROWS[0], row])
    with pytest.raises(UserError) as error:
        load("casme2", tmp_path)
    assert "CASME2-coding-20190701.xlsx row 3: " in one_line(error)
    assert said in str(error.value)


def test_folders_without_frames_and_images_without_order(casme2: Path) -> None:
    made = load("casme2", casme2, images=casme2 / "nowhere")
    with pytest.raises(UserError, match="no such folder"):
        made.pairs()
    (casme2 / "empty").mkdir()
    with pytest.raises(UserError, match="no videos or folders of images"):
        load("casme2", casme2, images=casme2 / "empty").pairs()
    folder = casme2 / "CASME2_RAW_selected" / "sub01" / "EP02_01f"
    trees.images(folder, ["img046.jpg"])
    with pytest.raises(UserError, match="two images are number 46"):
        load("casme2", casme2).frames("sub01/EP02_01f")
    (folder / "img046.jpg").rename(folder / "cover.jpg")
    with pytest.raises(UserError, match="an image without a number"):
        load("casme2", casme2).frames("sub01/EP02_01f")
    with pytest.raises(UserError, match="the frames of video sub09/EP1 are missing"):
        load("casme2", casme2).frames("sub09/EP1")
