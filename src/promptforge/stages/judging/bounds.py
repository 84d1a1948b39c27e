"""The gates of a recipe as rows of the table policy: one for each gate, axis and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.policy import Gate
from promptforge.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Fitted:
    """The bound of a quantile gate on one axis, for one key or (None) for all that have none of their own."""

    gate: str
    axis: str
    key: str | None
    bound: float
    n_reference: int


def policy_rows(recipe: Recipe, fitted: Sequence[Fitted] = ()) -> list[dict[str, Any]]:
    """Rows of the table policy, in the recipe's order.

    A quantile gate has a row for each bound that was fitted to it, none where there was nothing to fit it to.
    """
    return [
        _about(name, gate) | row
        for name, gate in recipe.select.gates.items()
        for row in _rows(gate, [each for each in fitted if each.gate == name])
    ]


def _about(name: str, gate: Gate) -> dict[str, Any]:
    return {
        "gate": name,
        "kind": gate.kind,
        "decision": gate.decision,
        "by": gate.by,
        "scorer": gate.scorer or None,
        "metric": gate.metric or None,
        "quantile": gate.quantile,
        "predicate": gate.where,
        "validated": gate.validated,
        "measured_on": gate.measured_on,
    }


def _rows(gate: Gate, fitted: Sequence[Fitted]) -> list[dict[str, Any]]:
    if gate.kind == "bound":
        return [
            {"axis": str(axis), "key": key, "minimum": low, "maximum": high}
            for axis, pairs in gate.limits.items()
            for key, (low, high) in pairs.items()
        ]
    if gate.kind == "quantile":
        bound = "minimum" if gate.side == "min" else "maximum"
        return [
            {"axis": each.axis, "key": each.key, bound: each.bound, "n_reference": each.n_reference} for each in fitted
        ]
    words = None if gate.one_of is None else list(gate.one_of)
    return [{"axis": str(axis), "one_of": words} for axis in gate.axes]
