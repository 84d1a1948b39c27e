"""Predicates over scores: from SQL that a person wrote to SQL that can only compare.

DuckDB parses the expression (json_serialize_sql), and every node of what it understood is written anew from the lists
below; nothing of the person's text goes on. So there are no subqueries, no tables, no settings, no files, no second
statement, whatever is written. Numbers are DOUBLE; a division by zero is null.

Not covered: dates, lists, JSON in a detail, functions beyond _FUNCTIONS.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from promptforge.errors import ConfigError
from promptforge.faults import nearest

MAX_CHARACTERS = 2000
#: Levels, parentheses among them. Each takes five frames here, and Python's limit would depend on who calls.
MAX_DEPTH = 64

#: Columns of a prompt that a predicate may name.
PROMPT_COLUMNS: Mapping[str, str] = {"axis": "word", "category": "word", "style_kind": "word", "n_words": "number"}

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}

#: Function -> how it is written; each takes numbers only. None of them can fail for any number.
_FUNCTIONS: Mapping[str, tuple[range, Callable[..., str]]] = {
    "+": (range(1, 3), lambda *a: f"({' + '.join(a)})"),
    "-": (range(1, 3), lambda *a: f"(- {a[0]})" if len(a) == 1 else f"({a[0]} - {a[1]})"),
    "*": (range(2, 3), lambda a, b: f"({a} * {b})"),
    "/": (range(2, 3), lambda a, b: f"({a} / nullif({b}, 0))"),
    "abs": (range(1, 2), lambda a: f"abs({a})"),
    "least": (range(2, 33), lambda *a: f"least({', '.join(a)})"),
    "greatest": (range(2, 33), lambda *a: f"greatest({', '.join(a)})"),
    "round": (range(1, 2), lambda a: f"round({a})"),
}

Metrics = Mapping[str, Mapping[str, str]]  #: scorer -> metric -> number, word or list
Names = Callable[[str, str], str]  #: SQL of the column of a scorer's metric


@dataclass(frozen=True, slots=True)
class Predicate:
    """`sql` is true, false or null; `reads` and `columns` are the metrics and the prompt columns that it names."""

    sql: str
    reads: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]


def quoted_name(scorer: str, metric: str) -> str:
    """The column of a metric where nothing else is said."""
    name = f"{scorer}.{metric}".replace('"', '""')
    return f'"{name}"'


def compiled(expression: str, metrics: Metrics, names: Names = quoted_name) -> Predicate:
    """The predicate as SQL of our own. Raises ConfigError with the reason where it is anything else."""
    writer = _Writer(metrics, names)
    sql, kind = writer.write(_parsed(expression))
    if kind not in ("truth", "null"):
        raise ConfigError(f"it is a {kind}, not true or false; compare it with something")
    found = Predicate(sql, tuple(sorted(writer.reads)), tuple(sorted(writer.columns)))
    _bind(found, metrics, names)
    return found


def _bind(predicate: Predicate, metrics: Metrics, names: Names) -> None:
    """Raise ConfigError where DuckDB would not take it over these columns, all empty."""
    types = {"number": "DOUBLE", "word": "VARCHAR"}
    columns = [
        f"NULL::{types[metrics[scorer][metric]]} AS {names(scorer, metric)}" for scorer, metric in predicate.reads
    ]
    columns += [f'NULL::{types[kind]} AS "{name}"' for name, kind in PROMPT_COLUMNS.items()]
    with duckdb.connect(":memory:") as con:
        try:
            con.sql(f"SELECT {predicate.sql} FROM (SELECT {', '.join(columns)})").fetchall()
        except duckdb.Error as exc:
            raise ConfigError(f"it cannot be worked out ({str(exc).splitlines()[0]})") from exc


def _parsed(expression: str) -> Mapping[str, Any]:
    """DuckDB's tree of the one expression; nothing is bound or run."""
    if len(expression) > MAX_CHARACTERS:
        raise ConfigError(f"it has {len(expression):,} characters; at most {MAX_CHARACTERS:,} are read")
    if not expression.strip():
        raise ConfigError("it is empty")
    with duckdb.connect(":memory:") as con:
        con.execute("SET enable_external_access = false")
        con.execute(f"SET max_expression_depth = {MAX_DEPTH}")
        try:
            found = con.execute(
                "SELECT json_serialize_sql($text, skip_null := true, skip_empty := true)",
                {"text": f"SELECT (\n{expression}\n)"},
            ).fetchall()
        except duckdb.Error as exc:  # half a character, which is no UTF-8
            raise ConfigError("it cannot be read as text") from exc
    tree = json.loads(found[0][0])
    if tree["error"]:
        said = str(tree.get("error_message", "it cannot be parsed"))
        if "expression depth" in said:
            raise ConfigError(f"it is nested more than {MAX_DEPTH} levels deep")
        raise ConfigError(f"it is not one SQL expression ({said})")
    statements = tree["statements"]
    node = statements[0]["node"]
    allowed = {"type", "cte_map", "select_list", "from_table", "aggregate_handling"}
    empty = node.get("from_table", {}).get("type") == "EMPTY" and not node.get("cte_map")
    if len(statements) != 1 or node["type"] != "SELECT_NODE" or not empty or node.keys() - allowed:
        raise ConfigError("it is more than one expression")
    items: Sequence[Mapping[str, Any]] = node["select_list"]
    if len(items) != 1:
        raise ConfigError(f"it is {len(items)} expressions; one is expected")
    return items[0]


@dataclass
class _Writer:
    """Writes a tree as SQL, and tells of each part whether it is a number, a word or a truth."""

    metrics: Metrics
    names: Names
    reads: set[tuple[str, str]] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)

    def write(self, node: Mapping[str, Any]) -> tuple[str, str]:
        """SQL in parentheses of its own, and number, word, truth or null."""
        writers = {
            "COLUMN_REF": self._column,
            "CONSTANT": self._constant,
            "COMPARISON": self._comparison,
            "CONJUNCTION": self._conjunction,
            "OPERATOR": self._operator,
            "BETWEEN": self._between,
            "FUNCTION": self._function,
            "CASE": self._case,
        }
        known = writers.get(node["class"])
        if known is None or "alias" in node:
            raise ConfigError(f"it holds {_said(node)}, which no predicate may")
        return known(node)

    def _column(self, node: Mapping[str, Any]) -> tuple[str, str]:
        names: Sequence[str] = node["column_names"]
        if len(names) == 1 and names[0] in PROMPT_COLUMNS:
            self.columns.add(names[0])
            kind = PROMPT_COLUMNS[names[0]]
            return (f'"{names[0]}"::DOUBLE' if kind == "number" else f'"{names[0]}"'), kind
        if len(names) != 2:
            raise ConfigError(
                f"{'.'.join(names)} is no scorer.metric{nearest('.'.join(names), [*self._known(), *PROMPT_COLUMNS])}"
            )
        scorer, metric = names
        kind = self.metrics.get(scorer, {}).get(metric, "")
        if kind not in ("number", "word"):
            said = f"is a {kind}, which no predicate reads" if kind else f"is not there{self._near(scorer, metric)}"
            raise ConfigError(f"{scorer}.{metric} {said}")
        self.reads.add((scorer, metric))
        return self.names(scorer, metric), kind

    def _near(self, scorer: str, metric: str) -> str:
        if scorer not in self.metrics:
            return f": no scorer {scorer!r}{nearest(scorer, self.metrics)}"
        return f": scorer {scorer!r} has no metric {metric!r}{nearest(metric, self.metrics[scorer])}"

    def _known(self) -> list[str]:
        return [
            f"{scorer}.{metric}"
            for scorer, metrics in self.metrics.items()
            for metric, kind in metrics.items()
            if kind in ("number", "word")
        ]

    def _constant(self, node: Mapping[str, Any]) -> tuple[str, str]:
        literal = node.get("literal", {})
        kind, text = literal.get("kind"), str(literal.get("text", ""))
        if kind in ("NUMERIC", "INTEGER"):
            if not math.isfinite(float(text)):
                raise ConfigError(f"the number {text} is too large")
            return f"{float(text)!r}::DOUBLE", "number"
        if kind == "STRING":
            quoted = text.replace("'", "''")
            return f"'{quoted}'", "word"
        if kind == "BOOLEAN":
            return ("true" if text.lower() == "true" else "false"), "truth"
        if kind == "NULL_LITERAL":
            return "NULL", "null"
        raise ConfigError(f"it holds a constant of kind {kind}; numbers, words, true and false are known")

    def _alike(self, nodes: Sequence[Mapping[str, Any]], what: str) -> tuple[list[str], str]:
        """The SQL of each, where all are of one kind (or null), and that kind."""
        written = [self.write(node) for node in nodes]
        kinds = dict.fromkeys(kind for _, kind in written if kind != "null")
        if len(kinds) > 1:
            raise ConfigError(f"{what} puts a {' beside a '.join(kinds)}: {' and '.join(_text(n) for n in nodes)}")
        return [sql for sql, _ in written], next(iter(kinds), "null")

    def _all(self, nodes: Sequence[Mapping[str, Any]], wanted: str, what: str) -> list[str]:
        sqls, kind = self._alike(nodes, what)
        if kind not in (wanted, "null"):
            raise ConfigError(f"{what} takes a {wanted}, not a {kind}: {' and '.join(_text(n) for n in nodes)}")
        return sqls

    def _comparison(self, node: Mapping[str, Any]) -> tuple[str, str]:
        sign = _COMPARISONS.get(node["type"])
        if sign is None:
            raise ConfigError(f"it holds {_said(node)}, which no predicate may")
        (left, right), _ = self._alike([node["left"], node["right"]], f"the comparison {sign}")
        return f"({left} {sign} {right})", "truth"

    def _conjunction(self, node: Mapping[str, Any]) -> tuple[str, str]:
        word = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[node["type"]]
        return f"({word.join(self._all(node['children'], 'truth', word.strip()))})", "truth"

    def _operator(self, node: Mapping[str, Any]) -> tuple[str, str]:
        children: Sequence[Mapping[str, Any]] = node.get("children", [])
        match node["type"]:
            case "OPERATOR_NOT":
                return f"(NOT {self._all(children, 'truth', 'NOT')[0]})", "truth"
            case "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                sql, _ = self.write(children[0])
                return f"({sql} IS {'NOT ' if 'NOT' in node['type'] else ''}NULL)", "truth"
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                first, *rest = self._alike(children, "IN")[0]
                return f"({first} {'NOT ' if 'NOT' in node['type'] else ''}IN ({', '.join(rest)}))", "truth"
            case "OPERATOR_COALESCE":
                sqls, kind = self._alike(children, "coalesce")
                return f"coalesce({', '.join(sqls)})", kind
        raise ConfigError(f"it holds {_said(node)}, which no predicate may")

    def _between(self, node: Mapping[str, Any]) -> tuple[str, str]:
        (value, low, high), _ = self._alike([node["input"], node["lower"], node["upper"]], "BETWEEN")
        return f"({value} BETWEEN {low} AND {high})", "truth"

    def _function(self, node: Mapping[str, Any]) -> tuple[str, str]:
        name = str(node["function_name"]).lower()
        if name not in _FUNCTIONS:
            raise ConfigError(f"it calls {name}, which no predicate may; there are {', '.join(_FUNCTIONS)}, coalesce")
        odd = node.keys() & {"filter", "schema", "catalog"} or node.get("order_bys", {}).get("orders")
        if odd or node.get("distinct") or node["qualified_name"]["path"] != [node["function_name"]]:
            raise ConfigError(f"it calls {name} with more than its name and arguments, which no predicate may")
        counts, written = _FUNCTIONS[name]
        arguments = [argument["expression"] for argument in node.get("arguments", [])]
        if len(arguments) not in counts:
            raise ConfigError(f"{name} takes {counts.start} to {counts.stop - 1} arguments, not {len(arguments)}")
        return written(*self._all(arguments, "number", name)), "number"

    def _case(self, node: Mapping[str, Any]) -> tuple[str, str]:
        checks = node["case_checks"]
        whens = self._all([check["when_expr"] for check in checks], "truth", "CASE WHEN")
        results = [check["then_expr"] for check in checks] + ([node["else_expr"]] if "else_expr" in node else [])
        sqls, kind = self._alike(results, "CASE")
        parts = [f"WHEN {when} THEN {then}" for when, then in zip(whens, sqls, strict=False)]
        rest = f" ELSE {sqls[-1]}" if "else_expr" in node else ""
        return f"(CASE {' '.join(parts)}{rest} END)", kind


def _said(node: Mapping[str, Any]) -> str:
    return str(node.get("type", node["class"])).lower().replace("_", " ")


def _text(node: Mapping[str, Any]) -> str:
    """A few words for a part of the tree in a message."""
    if node["class"] == "COLUMN_REF":
        return ".".join(node["column_names"])
    if node["class"] == "CONSTANT":
        return repr(node.get("literal", {}).get("text"))
    return _said(node)
