"""Action units as annotators write them."""

from __future__ import annotations

import pytest

from models.datasets.aus import AUCode, parse
from models.errors import UserError


def spot(words: str) -> UserError:
    return UserError(f"row 7: {words}")


def codes(text: str) -> list[tuple[int, str | None, str | None, bool]]:
    return [(c.number, c.side, c.intensity, c.certain) for c in parse(text, spot)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("4+7", [(4, None, None, True), (7, None, None, True)]),
        ("L12", [(12, "L", None, True)]),
        ("R14", [(14, "R", None, True)]),
        ("AU12", [(12, None, None, True)]),
        ("AU 4 + AU 7", [(4, None, None, True), (7, None, None, True)]),
        ("L10A", [(10, "L", "A", True)]),
        ("4(B/C)+7B", [(4, None, "B/C", True), (7, None, "B", True)]),
        ("10A/B", [(10, None, "A/B", True)]),
        ("A9E+ref(10)", [(9, None, "E", True), (10, None, None, False)]),
        ("T18+B23", [(18, None, None, True), (23, None, None, True)]),
        ("R12 or R14", [(12, "R", None, False), (14, "R", None, False)]),
        (
            "(R6 or R12) + R15",
            [(6, "R", None, False), (12, "R", None, False), (15, "R", None, True)],
        ),
        ("R(12or14)B+38", [(12, "R", "B", False), (14, "R", "B", False), (38, None, None, True)]),
        ("6C/D+ref(7)12E", [(6, None, "C/D", True), (7, None, None, False), (12, None, "E", True)]),
        ("9A ref (L12)", [(9, None, "A", True), (12, "L", None, False)]),
        ("(1B+2A)or(loses AU4)", [(1, None, "B", False), (2, None, "A", False)]),
        ("(L/A)4B", [(4, None, "B", True)]),
        ("A(4B/C)", [(4, None, "B/C", True)]),
        (
            "7A/B+L10A/B)+12C",
            [(7, None, "A/B", True), (10, "L", "A/B", True), (12, None, "C", True)],
        ),
        ("subject do 2x  R2(C and then B)", [(2, "R", "C/B", True)]),
        ("26+ADR30", [(26, None, None, True), (30, "R", None, True)]),
        ("12B ?", [(12, None, "B", False)]),
        ("Chewing", []),
        ("R14+17+soft focus", [(14, "R", None, True), (17, None, None, True)]),
    ],
)
def test_every_way_of_writing(
    text: str, wanted: list[tuple[int, str | None, str | None, bool]]
) -> None:
    assert codes(text) == wanted


def test_the_raw_text_of_a_code_is_kept() -> None:
    assert parse("A9E+ref(10)", spot)[0] == AUCode(9, None, "E", "A9E")


@pytest.mark.parametrize("text", ["smile", "4+x7", "123", "0", "4F", "l12", "12.5", "4;DROP", "٤"])
def test_unknown_text_is_an_error_that_names_the_row(text: str) -> None:
    with pytest.raises(UserError, match=r"^row 7: action units .* is not understood"):
        parse(text, spot)
