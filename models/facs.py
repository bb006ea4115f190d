"""The Facial Action Coding System and the coding guide's reading of it.

Sources: *guide* is Dong et al., "A Brief Guide: Code for Spontaneous Expressions
and Micro-Expressions in Videos", FME '21; *face* is its extension, Dong et al.,
"Spontaneous Facial Expressions and Micro-Expressions Coding: From Brain to Face",
2022. Table 3 and the seven coding rules are the same in both.

Where the two are not of one mind with themselves:

* Eq. 2 of *guide* (eq. 1 of *face*) prints Q_i = S_i \\ (intersection of the other
  S_j) and calls the operator a symmetric difference. The other five sets share no
  AU, so that would be S_i itself. The words ("appears in a certain emotion but does
  not appear in other emotions"), the example and the bold print of Table 3 all mean
  the difference with the *union*; that is what ``exclusive_aus`` computes.
* Bold print survives in the texts only before a comma: 6, 12; 2; 16, 22; 20; 7, 24.
  All are in the computed sets, which add 28, 23 and 43, the last ones of their
  rows; rules 1, 4 and 7 name them as specific, too.
* AU20 is exclusive to fear and named as the example of that, yet no rule has it:
  it is read by Table 3.
* Rule 7 reads AU4 with AU5 ("eyes wide open") as sadness, though Table 3 gives
  sadness no AU5, and anger and fear have both; section 4.2 argues for the depressor
  anguli oris (AU15) beside the frown. The rule is kept as printed, and gives way to
  a reading that explains more of the AUs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Category = Literal["positive", "negative", "surprise", "others"]
CATEGORIES: tuple[Category, ...] = ("positive", "negative", "surprise", "others")

# The five terminal branches of the facial nerve, top to bottom (guide section 3).
NERVE_BRANCHES = ("temporal", "zygomatic", "buccal", "marginal mandibular", "cervical")

# Branches of the facial nerve (CN VII), as far as the papers give them: guide
# section 3, face section 2, both section 4; the last two muscles as "the lower lip
# and chin muscles". Muscles that are not here: the papers are silent.
BRANCHES: dict[str, tuple[str, ...]] = {
    "frontalis": ("temporal",),
    "corrugator supercilii": ("temporal",),
    "depressor supercilii": ("temporal",),
    "orbicularis oculi": ("temporal", "zygomatic"),
    "zygomaticus major": ("zygomatic",),
    "zygomaticus minor": ("zygomatic",),
    "buccinator": ("buccal",),
    "orbicularis oris": ("buccal",),
    "depressor anguli oris": ("buccal", "marginal mandibular"),
    "platysma": ("cervical",),
    "depressor labii inferioris": ("marginal mandibular",),
    "mentalis": ("marginal mandibular",),
}


@dataclass(frozen=True)
class ActionUnit:
    """One action unit (or FACS's code of a head or eye position).

    ``muscles`` follow FACS (Ekman and Friesen, 1978); those of AU1, AU4 and AU12 are
    also in the papers' texts. Empty where FACS names no single muscle.
    """

    number: int
    name: str
    muscles: tuple[str, ...] = ()

    @property
    def branches(self) -> tuple[str, ...]:
        """Branches of the facial nerve that move it, where the papers give them."""
        found = (branch for muscle in self.muscles for branch in BRANCHES.get(muscle, ()))
        return tuple(dict.fromkeys(found))


_UNITS = (
    ActionUnit(1, "inner brow raiser", ("frontalis",)),
    ActionUnit(2, "outer brow raiser", ("frontalis",)),
    ActionUnit(4, "brow lowerer", ("corrugator supercilii", "depressor supercilii")),
    ActionUnit(5, "upper lid raiser", ("levator palpebrae superioris",)),
    ActionUnit(6, "cheek raiser", ("orbicularis oculi",)),
    ActionUnit(7, "lid tightener", ("orbicularis oculi",)),
    ActionUnit(8, "lips toward each other", ("orbicularis oris",)),
    ActionUnit(9, "nose wrinkler", ("levator labii superioris alaeque nasi",)),
    ActionUnit(10, "upper lip raiser", ("levator labii superioris",)),
    ActionUnit(11, "nasolabial deepener", ("zygomaticus minor",)),
    ActionUnit(12, "lip corner puller", ("zygomaticus major",)),
    ActionUnit(13, "sharp lip puller", ("levator anguli oris",)),
    ActionUnit(14, "dimpler", ("buccinator",)),
    ActionUnit(15, "lip corner depressor", ("depressor anguli oris",)),
    ActionUnit(16, "lower lip depressor", ("depressor labii inferioris",)),
    ActionUnit(17, "chin raiser", ("mentalis",)),
    ActionUnit(18, "lip pucker", ("incisivii labii superioris", "incisivii labii inferioris")),
    ActionUnit(19, "tongue show"),
    ActionUnit(20, "lip stretcher", ("risorius", "platysma")),
    ActionUnit(21, "neck tightener", ("platysma",)),
    ActionUnit(22, "lip funneler", ("orbicularis oris",)),
    ActionUnit(23, "lip tightener", ("orbicularis oris",)),
    ActionUnit(24, "lip pressor", ("orbicularis oris",)),
    ActionUnit(25, "lips part", ("depressor labii inferioris", "mentalis", "orbicularis oris")),
    ActionUnit(26, "jaw drop", ("masseter", "temporalis", "medial pterygoid")),
    ActionUnit(27, "mouth stretch", ("pterygoids", "digastric")),
    ActionUnit(28, "lip suck", ("orbicularis oris",)),
    ActionUnit(29, "jaw thrust"),
    ActionUnit(30, "jaw sideways"),
    ActionUnit(31, "jaw clencher", ("masseter",)),
    ActionUnit(32, "lip bite"),
    ActionUnit(33, "cheek blow"),
    ActionUnit(34, "cheek puff"),
    ActionUnit(35, "cheek suck"),
    ActionUnit(36, "tongue bulge"),
    ActionUnit(37, "lip wipe"),
    ActionUnit(38, "nostril dilator", ("nasalis",)),
    ActionUnit(39, "nostril compressor", ("nasalis", "depressor septi nasi")),
    ActionUnit(41, "lid droop", ("levator palpebrae superioris",)),
    ActionUnit(42, "slit", ("orbicularis oculi",)),
    ActionUnit(43, "eyes closed", ("levator palpebrae superioris", "orbicularis oculi")),
    ActionUnit(44, "squint", ("orbicularis oculi",)),
    ActionUnit(45, "blink", ("levator palpebrae superioris", "orbicularis oculi")),
    ActionUnit(46, "wink", ("levator palpebrae superioris", "orbicularis oculi")),
    ActionUnit(51, "head turn left"),
    ActionUnit(52, "head turn right"),
    ActionUnit(53, "head up"),
    ActionUnit(54, "head down"),
    ActionUnit(55, "head tilt left"),
    ActionUnit(56, "head tilt right"),
    ActionUnit(57, "head forward"),
    ActionUnit(58, "head back"),
    ActionUnit(61, "eyes turn left"),
    ActionUnit(62, "eyes turn right"),
    ActionUnit(63, "eyes up"),
    ActionUnit(64, "eyes down"),
    ActionUnit(65, "walleye"),
    ActionUnit(66, "cross-eye"),
)
ACTION_UNITS: dict[int, ActionUnit] = {unit.number: unit for unit in _UNITS}

# Table 3 of both papers: the sets S_i.
EMOTION_AUS: dict[str, frozenset[int]] = {
    "happiness": frozenset({1, 6, 12, 14, 26, 27, 28}),
    "surprise": frozenset({1, 2, 5, 25, 26, 27}),
    "anger": frozenset({4, 5, 9, 10, 16, 22, 23}),
    "fear": frozenset({1, 4, 5, 20, 25}),
    "disgust": frozenset({1, 4, 7, 9, 10, 14, 15, 17, 24, 25}),
    "sadness": frozenset({1, 4, 14, 15, 17, 43}),
}

# Guide section 2, face section 5: the four types for micro-expressions.
CATEGORY_OF: dict[str, Category] = {
    "happiness": "positive",
    "surprise": "surprise",
    "anger": "negative",
    "fear": "negative",
    "disgust": "negative",
    "sadness": "negative",
    "positive": "positive",
    "negative": "negative",
    "others": "others",
}


def exclusive_aus() -> dict[str, frozenset[int]]:
    """Q_i: the AUs that occur in one emotion of Table 3 only (guide eq. 2, face eq. 1)."""
    return {
        emotion: aus.difference(*(s for other, s in EMOTION_AUS.items() if other != emotion))
        for emotion, aus in EMOTION_AUS.items()
    }


def aus_of_muscle(muscle: str) -> tuple[int, ...]:
    """The AUs that ``muscle`` moves, alone or with others.

    Raises:
        ValueError: no AU names the muscle.
    """
    aus = tuple(unit.number for unit in _UNITS if muscle in unit.muscles)
    if not aus:
        known = sorted({name for unit in _UNITS for name in unit.muscles})
        raise ValueError(f"no AU names a muscle {muscle!r}; the muscles are {', '.join(known)}")
    return aus


def aus_of_branch(branch: str) -> tuple[int, ...]:
    """The AUs with a muscle that ``branch`` of the facial nerve moves, as far as is known.

    Raises:
        ValueError: not one of ``NERVE_BRANCHES``.
    """
    if branch not in NERVE_BRANCHES:
        raise ValueError(f"no branch {branch!r}; the branches are {', '.join(NERVE_BRANCHES)}")
    return tuple(unit.number for unit in _UNITS if branch in unit.branches)


def aus_of_emotion(emotion: str) -> tuple[int, ...]:
    """The AUs of an emotion's row of Table 3.

    Raises:
        ValueError: Table 3 has no such row.
    """
    if emotion not in EMOTION_AUS:
        raise ValueError(f"Table 3 has no {emotion!r}; the emotions are {', '.join(EMOTION_AUS)}")
    return tuple(sorted(EMOTION_AUS[emotion]))


def emotions_of(au: int) -> tuple[str, ...]:
    """The emotions whose rows of Table 3 hold ``au``, in the papers' order; one: exclusive."""
    return tuple(emotion for emotion, aus in EMOTION_AUS.items() if au in aus)


@dataclass(frozen=True)
class CodingRule:
    """One of the seven coding rules in the conclusion of both papers.

    It fires when all AUs of at least one of ``any_of`` are present; ``words`` are
    the papers' own for each AU.
    """

    number: int
    label: str  # an emotion of Table 3, or "negative"
    any_of: tuple[frozenset[int], ...]
    words: dict[int, str]

    def evidence(self, aus: frozenset[int]) -> frozenset[int]:
        """The AUs for which the rule fires; empty when it does not."""
        return frozenset().union(*(wanted for wanted in self.any_of if wanted <= aus))


def _each(*aus: int) -> tuple[frozenset[int], ...]:
    return tuple(frozenset({au}) for au in aus)


CODING_RULES: tuple[CodingRule, ...] = (
    CodingRule(
        1,
        "happiness",
        _each(6, 12, 28),
        {12: "corners of lips pulled up", 6: "cheek rise", 28: "lip suck"},
    ),
    CodingRule(2, "surprise", _each(2), {2: "brow rise"}),
    CodingRule(3, "negative", _each(4), {4: "frown"}),
    CodingRule(4, "anger", _each(16, 22, 23), {16: "gnashing", 22: "gnashing", 23: "gnashing"}),
    CodingRule(
        5,
        "fear",
        (frozenset({1, 4, 5, 25}),),
        {1: "eyebrows", 4: "eyebrows", 5: "eyes", 25: "mouth"},
    ),
    CodingRule(6, "disgust", _each(7, 24), {7: "lower eyelid rise", 24: "mouth tightly closed"}),
    CodingRule(
        7,
        "sadness",
        (frozenset({4, 5}), frozenset({43})),
        {4: "frown", 5: "eyes wide open", 43: "eyes closed"},
    ),
)


@dataclass(frozen=True)
class CodingReading:
    """What a set of AUs is coded as, and why.

    ``rule`` is the number of the coding rule, None when the reading comes from
    Table 3's exclusive AUs or nothing fires; ``aus`` are the AUs that fired it.
    """

    rule: int | None
    label: str
    category: Category
    aus: frozenset[int]
    text: str


def _by_rules(aus: frozenset[int]) -> list[CodingReading]:
    readings = []
    for rule in CODING_RULES:
        evidence = rule.evidence(aus)
        if evidence:
            why = " + ".join(f"AU{au} {rule.words[au]}" for au in sorted(evidence))
            readings.append(
                CodingReading(
                    rule.number,
                    rule.label,
                    CATEGORY_OF[rule.label],
                    evidence,
                    f"rule {rule.number}: {why}",
                )
            )
    return readings


def _by_table(aus: frozenset[int]) -> list[CodingReading]:
    """Exclusive AUs that no rule of their emotion knows (in Table 3: AU20)."""
    readings = []
    for emotion, exclusive in exclusive_aus().items():
        known = frozenset().union(*(r.words for r in CODING_RULES if r.label == emotion))
        evidence = (exclusive - known) & aus
        if evidence:
            why = " + ".join(f"AU{au}" for au in sorted(evidence))
            text = f"Table 3: {why} exclusive to {emotion}"
            readings.append(CodingReading(None, emotion, CATEGORY_OF[emotion], evidence, text))
    return readings


def _precedence(reading: CodingReading, aus: frozenset[int]) -> tuple[int, int]:
    if reading.rule == 5:
        return 0, 0
    if reading.label not in EMOTION_AUS:
        return 2, 0
    return 1, -len(EMOTION_AUS[reading.label] & aus)


def read(aus: Iterable[int]) -> list[CodingReading]:
    """Every coding rule that fires on ``aus``, the primary reading first.

    The papers do not say which rule wins when several fire. Here:

    1. rule 5 (fear), the only one that asks for four AUs at once;
    2. the rules that name an emotion, and Table 3's exclusive AUs: first the emotion
       whose row of Table 3 holds more of ``aus``, then in the papers' order;
    3. rule 3, which says no more than "negative".

    None is left out: a positive and a negative reading of one expression are both
    returned. When nothing fires there is one reading, "others".

    Raises:
        ValueError: a number that FACS does not have.
    """
    given = frozenset(aus)
    unknown = sorted(given - ACTION_UNITS.keys())
    if unknown:
        raise ValueError(f"FACS has no AU {', '.join(map(str, unknown))}")
    readings = _by_rules(given) + _by_table(given)
    if not readings:
        return [CodingReading(None, "others", "others", frozenset(), "no coding rule fires")]
    return sorted(readings, key=lambda reading: _precedence(reading, given))
