"""What is refused of [select] before any work, once the scorers' metrics and the teacher are known."""

from __future__ import annotations

from collections.abc import Callable

from promptforge.errors import ConfigError
from promptforge.faults import nearest
from promptforge.policy import Gate
from promptforge.recipe import Recipe
from promptforge.stages.judging.predicates import Metrics, Predicate, compiled


def check_gates(recipe: Recipe, metrics: Metrics, fingerprint: Callable[[], str], where: str) -> None:
    """Raise ConfigError for a gate or preference that reads what it cannot, or is of another teacher's pictures.

    `metrics` are those of every scorer of the recipe, `fingerprint` gives its teacher's.
    """
    for name, gate in recipe.select.gates.items():
        path = f"{where}: select.gates.{name}"
        if gate.where is None:
            _check_role(recipe, gate.scorer, path)
            _check_metric(gate, metrics, path)
        else:
            for scorer, _ in _predicate(gate.where, metrics, path).reads:
                _check_role(recipe, scorer, path)
        # A bound holds for the teacher that it was measured on; another's pictures score on another scale.
        if gate.measured_on and not recipe.select.other_regime and gate.measured_on != (seen := fingerprint()):
            raise ConfigError(
                f"{path}: its bound was measured on teacher {gate.measured_on}, this one is {seen}; measure it"
                " anew (promptforge first-contact), or set select.other_regime=true to take it all the same"
            )
    for scorer, metric, _ in recipe.select.preferred:
        path = f"{where}: select.prefer"
        if scorer not in metrics:
            raise ConfigError(f"{path}: no scorer {scorer!r}{nearest(scorer, metrics)}")
        _check_role(recipe, scorer, path)
        if metrics[scorer].get(metric) != "number":
            numbers = [known for known, kind in metrics[scorer].items() if kind == "number"]
            raise ConfigError(f"{path}: scorer {scorer!r} has no number {metric!r}{nearest(metric, numbers)}")


def _predicate(expression: str, metrics: Metrics, path: str) -> Predicate:
    try:
        return compiled(expression, metrics)
    except ConfigError as exc:
        raise ConfigError(f"{path}.where: {expression!r} is no predicate over scores: {exc}") from exc


def _check_role(recipe: Recipe, scorer: str, path: str) -> None:
    if recipe.scorers[scorer].role == "evaluate":
        raise ConfigError(
            f"{path}: scorer {scorer!r} has the role evaluate, so no gate may use it; name a scorer with the role"
            " select"
        )


def _check_metric(gate: Gate, metrics: Metrics, path: str) -> None:
    known = metrics[gate.scorer]
    if gate.metric not in known:
        raise ConfigError(
            f"{path}.metric: scorer {gate.scorer!r} has no metric {gate.metric!r}{nearest(gate.metric, known)}"
        )
    kind = known[gate.metric]
    bounded = gate.min is not None or gate.max is not None or gate.quantile is not None
    asked = {"number": bounded, "word": gate.one_of is not None}
    wrong = [each for each, is_asked in asked.items() if is_asked and each != kind]
    if wrong:
        takes = {"number": "min and max", "word": "one_of"}.get(kind, "no gate")
        raise ConfigError(
            f"{path}: metric {gate.metric!r} of scorer {gate.scorer!r} is a {kind} and takes {takes}, not a bound for a"
            f" {wrong[0]}"
        )
