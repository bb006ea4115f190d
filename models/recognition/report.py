"""Results as Markdown, beside what the papers print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.recognition.classes import Scheme
from models.recognition.evaluation import FoldResult, Settings, pooled, pooled_aus
from models.recognition.metrics import Figures, figures


@dataclass(frozen=True)
class Published:
    """A row that a paper prints; None: not printed."""

    source: str
    uf1: float | None = None
    uar: float | None = None
    war: float | None = None
    wf1: float | None = None


# (network, evaluation, scheme, data sets or fold) -> what the paper prints for its full method
PUBLISHED: dict[tuple[str, str, str, str], Published] = {
    ("map", "loso", "five", "casme2"): Published("002, Table 3", 0.827, 0.850, 0.833),
    ("map", "loso", "five", "samm"): Published("002, Table 3", 0.758, 0.751, 0.794),
    ("map", "loso", "three", "casme2"): Published("002, Table 3", 0.925, 0.924, 0.932),
    ("map", "loso", "three", "samm"): Published("002, Table 3", 0.816, 0.805, 0.865),
    ("augcn", "hde", "objective", "casme2 to samm"): Published(
        "003, Table VI", uar=0.588, war=0.662
    ),
    ("augcn", "hde", "objective", "samm to casme2"): Published(
        "003, Table VI", uar=0.595, war=0.708
    ),
    ("augcn", "hde", "objective", "mean"): Published("003, Table VI", uar=0.592, war=0.685),
    ("augcn", "cde", "objective", "casme2+samm"): Published("003, Table VI", 0.685, wf1=0.742),
}
_TABLE_4 = {  # accuracy and UF1 on CASME II, then on SAMM
    "sb": (0.8008, 0.7921, 0.7574, 0.7218),
    "sb + AU": (0.8008, 0.7871, 0.7206, 0.6560),
    "db": (0.8008, 0.7828, 0.7500, 0.6925),
    "db + AU": (0.8171, 0.7974, 0.7574, 0.7338),
    "db + AWM": (0.8252, 0.7957, 0.7721, 0.7347),
    "db + all w/o RR": (0.8171, 0.8188, 0.7647, 0.7019),
    "full": (0.8333, 0.8267, 0.7941, 0.7582),
}
_TABLES_3_TO_5 = {  # WAR and UAR from SAMM to CASME II
    "resnet18": ("III", 0.640, 0.532),
    "dual-inception": ("III", 0.648, 0.544),
    "aufeat": ("III", 0.664, 0.560),
    "relfeat": ("III", 0.676, 0.564),
    "confeat": ("III", 0.686, 0.579),
    "w/o DA": ("III", 0.659, 0.511),
    "softmax-attention": ("IV", 0.705, 0.566),
    "focal-loss": ("IV", 0.704, 0.582),
    "dense-graph": ("V", 0.699, 0.568),
    "original-graph": ("V", 0.690, 0.569),
    "full": ("III", 0.708, 0.595),
}
_ABLATED = "samm to casme2"  # the fold of 003's ablation
_HEAD = (
    "| | samples | UF1 | UAR | WAR = accuracy | WF1 |",
    "| --- | --- | --- | --- | --- | --- |",
)


@dataclass(frozen=True)
class Told:
    """What the report says besides figures."""

    network: str
    variant: str
    scheme: Scheme
    datasets: tuple[str, ...]
    classes: tuple[str, ...]
    aus: tuple[int, ...]
    subjects: int
    remarks: tuple[str, ...] = ()  # "synthetic", samples left out


def markdown(results: Sequence[FoldResult], settings: Settings, told: Told) -> str:
    """The report of one evaluation."""
    blocks = [
        f"# {told.network} ({told.variant}), {settings.evaluation.upper()}, "
        f"{told.scheme} classes, {' + '.join(told.datasets)}",
        _setting(results, settings, told),
        "\n".join(["## Figures", "", *_HEAD, *_rows(results, settings, told)]),
    ]
    if settings.protocol == "as-published":
        blocks.append(_leak(results, told))
    if settings.evaluation == "hde":
        blocks.append(_per_fold(results, told, settings))
    blocks.append(_confusion(results, told))
    aus = _detection(results, settings, told)
    return "\n\n".join([*blocks, *([aus] if aus else [])]) + "\n"


def _figures(results: Sequence[FoldResult], told: Told, leaked: bool = False) -> Figures:
    return figures(*pooled(results, leaked), len(told.classes))


def row(name: str, found: Figures) -> str:
    """One line of a table of figures."""
    return (
        f"| {name} | {found.samples} | {found.uf1:.3f} | {found.uar:.3f} | {found.war:.3f} | "
        f"{found.wf1:.3f} |"
    )


def printed(published: Published | None) -> list[str]:
    """The paper's own line, for the same table; empty where it prints nothing."""
    if published is None:
        return []
    cells = (published.uf1, published.uar, published.war, published.wf1)
    words = " | ".join("-" if value is None else f"{value:.3f}" for value in cells)
    return [f"| *paper {published.source}, on its own data* | | {words} |"]


def _setting(results: Sequence[FoldResult], settings: Settings, told: Told) -> str:
    epochs = sorted(result.epoch for result in results)
    lines = [
        f"- {len(results)} folds over {told.subjects} subjects, seed {settings.seed}; figures are "
        "of all folds' test samples pooled",
        "- epoch of each fold chosen on inner validation subjects, who are neither trained on nor "
        f"tested: epochs {epochs[0]} to {epochs[-1]}, median {epochs[len(epochs) // 2]}",
        *(f"- {remark}" for remark in told.remarks),
    ]
    return "\n".join(lines)


def _rows(results: Sequence[FoldResult], settings: Settings, told: Told) -> list[str]:
    rows = [row("leak-free", _figures(results, told))]
    if settings.evaluation != "hde":
        key = (told.network, settings.evaluation, told.scheme, "+".join(told.datasets))
        rows += printed(PUBLISHED.get(key))
    return rows


def _leak(results: Sequence[FoldResult], told: Told) -> str:
    honest, leaked = _figures(results, told), _figures(results, told, leaked=True)
    return "\n".join(
        [
            "## What the leak is worth",
            "",
            "*As published*: the same trainings, but each fold's epoch is the one that answers "
            "best on its own test samples (by accuracy, as the published code does; leak-free "
            "chooses by UF1). Not a result; shown because most published figures are of this kind.",
            "",
            *_HEAD,
            row("leak-free", honest),
            row("as published", leaked),
            f"| difference | | {leaked.uf1 - honest.uf1:+.3f} | {leaked.uar - honest.uar:+.3f} | "
            f"{leaked.war - honest.war:+.3f} | {leaked.wf1 - honest.wf1:+.3f} |",
        ]
    )


def _per_fold(results: Sequence[FoldResult], told: Told, settings: Settings) -> str:
    lines = ["## Each way", "", *_HEAD]
    found = []
    for result in results:
        found.append(_figures([result], told))
        lines.append(row(result.name, found[-1]))
        key = (told.network, settings.evaluation, told.scheme, result.name)
        lines += printed(PUBLISHED.get(key))
    values = (
        sum(getattr(one, name) for one in found) / len(found)
        for name in ("uf1", "uar", "war", "wf1")
    )
    lines.append("| mean of both | | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return "\n".join([*lines, *printed(PUBLISHED.get((told.network, "hde", told.scheme, "mean")))])


def _confusion(results: Sequence[FoldResult], told: Told) -> str:
    counts = _figures(results, told).confusion
    lines = [
        "## Confusion (rows: annotated)",
        "",
        "| | " + " | ".join(told.classes) + " |",
        "| --- |" + " --- |" * len(told.classes),
    ]
    for name, values in zip(told.classes, counts, strict=True):
        lines.append(f"| {name} | " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)


def _detection(results: Sequence[FoldResult], settings: Settings, told: Told) -> str:
    """AU F1 over all folds; under HDE each way, as in 003's Table VII."""
    from models.recognition.au_scores import au_f1, mean_f1

    parts = [[one] for one in results] if settings.evaluation == "hde" else [list(results)]
    pairs = [both for both in map(pooled_aus, parts) if both is not None]
    if not pairs:
        return ""
    names = [one.name for one in results] if settings.evaluation == "hde" else ["all folds"]
    scores = [au_f1(carried > 0, detected > 0) for carried, detected in pairs]
    lines = [
        "## AU detection (F1; thresholds chosen on the inner validation)",
        "",
        "| AU | " + " | ".join(f"samples, {name} | F1" for name in names) + " |",
        "| --- |" + " --- | --- |" * len(names),
    ]
    for k, au in enumerate(told.aus):
        cells = (
            f"{int(carried[:, k].sum())} | {_cell(found[k])}"
            for (carried, _), found in zip(pairs, scores, strict=True)
        )
        lines.append(f"| {au} | " + " | ".join(cells) + " |")
    means = (f"| {_cell(mean_f1(found))}" for found in scores)
    return "\n".join([*lines, "| mean | " + " | ".join(means) + " |"])


def _cell(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


def ablation(
    rows: Sequence[tuple[str, Sequence[FoldResult]]], settings: Settings, told: Told
) -> str:
    """The ablation table: every variant as it came out, beside the paper's own.

    MER-auGCN's tables are of the fold SAMM to CASME II, and so are its rows under HDE.
    """
    lines = [
        f"# Ablation of {told.network}, {settings.evaluation.upper()}, {told.scheme} classes, "
        f"{' + '.join(told.datasets)}",
        "",
        *(f"- {remark}" for remark in told.remarks),
        "",
        *_HEAD,
    ]
    for name, results in rows:
        chosen = [result for result in results if result.name == _ABLATED] or list(results)
        where = f" ({_ABLATED})" if chosen != list(results) else ""
        lines.append(row(name + where, _figures(chosen, told)))
        if settings.protocol == "as-published":
            lines.append(row(f"{name}{where}, as published", _figures(chosen, told, leaked=True)))
        lines += printed(_ablated(name, settings, told))
    return "\n".join(lines) + "\n"


def _ablated(variant: str, settings: Settings, told: Told) -> Published | None:
    """The paper's own row, where it is of the same data set, evaluation and classes."""
    setting = (told.network, settings.evaluation, told.scheme)
    if setting == ("map", "loso", "five") and variant in _TABLE_4:
        own = _TABLE_4[variant]
        if told.datasets == ("casme2",):
            return Published("002, Table 4, CASME II", own[1], war=own[0])
        return Published("002, Table 4, SAMM", own[3], war=own[2])
    if setting == ("augcn", "hde", "objective") and variant in _TABLES_3_TO_5:
        table, war, uar = _TABLES_3_TO_5[variant]
        return Published(f"003, Table {table}, SAMM to CASME II", uar=uar, war=war)
    return None
