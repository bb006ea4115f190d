"""Recipes from plain values, as the command line and ``run.json`` hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import msgspec

from models.au_graph import adjusted, original
from models.errors import UserError
from models.map_net import MapOptions
from models.recogniser import FlowMethod
from models.recognition.augcn_recipe import VARIANTS, AugcnRecipe
from models.recognition.map_recipe import MapRecipe, Target, variants
from models.recognition.recipe import Recipe

Network = Literal["map", "augcn"]
NETWORKS: tuple[Network, ...] = get_args(Network)
Style = Literal["paper", "code"]
Balance = Literal["printed", "inverse"]  # of eq. 3, see ``models.augcn.detection_loss``


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a recipe; None is the paper's (or, with ``style`` "code", the code's) choice.

    ``width``, ``size``, ``target``, ``factor`` and ``style`` are MAP's; ``features``, ``at``
    and ``balance`` MER-auGCN's.
    """

    network: Network
    classes: tuple[str, ...]
    aus: tuple[int, ...]
    variant: str = "full"
    style: Style = "paper"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    flow: FlowMethod | None = None
    steady: bool | None = None
    width: float | None = None
    size: int | None = None
    target: Target | None = None
    factor: float | None = None
    features: int | None = None
    at: int | None = None
    balance: Balance | None = None


_SHARED = ("epochs", "batch_size", "learning_rate", "flow", "steady")
_OWN: dict[Network, tuple[str, ...]] = {
    "map": ("width", "size", "target", "factor"),
    "augcn": ("features", "at", "balance"),
}


def rows(network: Network) -> tuple[str, ...]:
    """The rows of the network's ablation tables; "full" is the paper's method."""
    return variants() if network == "map" else tuple(VARIANTS)


def recipe(plan: Plan) -> Recipe:
    """The recipe of a plan.

    Raises:
        UserError: a value is the other network's, or does not fit.
    """
    strange = [name for own in _OWN.values() for name in own if name not in _OWN[plan.network]]
    for name in strange:
        if getattr(plan, name) is not None:
            raise UserError(f"--{name}: not of {plan.network}")
    names = (*_SHARED, *_OWN[plan.network])
    given = {name: getattr(plan, name) for name in names if getattr(plan, name) is not None}
    try:
        return _map(plan, given) if plan.network == "map" else _augcn(plan, given)
    except ValueError as error:
        raise UserError(str(error)) from None


def _map(plan: Plan, given: dict[str, Any]) -> Recipe:
    width = given.pop("width", None)
    official = plan.style == "code"
    if width is not None:
        given["options"] = MapOptions.official(width=width) if official else MapOptions(width=width)
    make = MapRecipe.official if official else MapRecipe
    return cast(Recipe, make(plan.classes, plan.aus, variant=plan.variant, **given))


def _augcn(plan: Plan, given: dict[str, Any]) -> Recipe:
    if plan.style == "code":
        raise UserError("--style code: the code of MER-auGCN was never published")
    if "at" in given:
        given["at"] = (given["at"], given["at"])
    return AugcnRecipe(plan.classes, plan.aus, variant=plan.variant, **given)


def vocabulary(network: Network, aus: Mapping[str, Sequence[frozenset[int]]]) -> tuple[int, ...]:
    """The AUs that a network is told of.

    MAP: every AU that is annotated. MER-auGCN: the nodes of the AU graph of Table I that have
    samples in every data set (paper 003, section III.A).

    Args:
        network: its name.
        aus: by data set, the AUs of its samples.
    """
    present = {name: frozenset().union(*sets) for name, sets in aus.items()}
    if network == "map":
        return tuple(sorted(frozenset().union(*present.values())))
    return adjusted(original(), *present.values()).aus
