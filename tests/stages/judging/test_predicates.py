"""Predicates: what may be said, what is refused and why, and that nothing else is ever run."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from promptforge.errors import ConfigError
from promptforge.stages.judging.predicates import compiled

METRICS = {"text": {"cer": "number", "verdict": "word", "reading": "list"}, "a": {"b": "number", "c": "number"}}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        # b is 2, c is 0, cer is null, verdict is 'read', n_words is 3
        ("a.b > 1 AND a.c = 0", True),
        ("a.b > 1 AND text.cer < 1", None),
        ("a.b < 1 AND text.cer < 1", False),
        ("text.verdict IN ('read', 'it''s') OR a.b < 0", True),
        ("NOT (text.cer IS NULL)", False),
        ("coalesce(text.cer, 0) + a.b * 2 - 1 BETWEEN 3 AND 3", True),
        ("abs(-a.b) = greatest(a.c, least(a.b, 5)) AND round(1.4) = 1", True),
        ("a.b / a.c > 1", None),  # a division by zero is null
        ("CASE WHEN axis = 'text_rendering' THEN a.b > 9 ELSE n_words = 3 END", True),
        ("a.b NOT IN (1, 2) -- no", False),
        ("text.cer IS DISTINCT FROM 1", True),
    ],
)
def test_a_predicate_says_what_sql_says(expression: str, wanted: bool | None) -> None:
    row = '2.0 AS "a.b", 0.0 AS "a.c", NULL::DOUBLE AS "text.cer", \'read\' AS "text.verdict", \'x\' AS axis, 3 n_words'
    with duckdb.connect() as con:
        found = con.sql(f"SELECT {compiled(expression, METRICS).sql} FROM (SELECT {row})").fetchall()
    assert found == [(wanted,)]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("a.b", "it is a number, not true or false"),
        ("text.verdict > 0.5", "puts a word beside a number"),
        ("abs(text.verdict) > 1", "abs takes a number, not a word"),
        ("text.cerr > 1", "scorer 'text' has no metric 'cerr'; did you mean 'cer'?"),
        ("tex.cer > 1", "no scorer 'tex'; did you mean 'text'?"),
        ("text.reading = 'x'", "is a list, which no predicate reads"),
        ("n_word > 1", "did you mean 'n_words'?"),
        ("a.b > 1 AND", "it is not one SQL expression"),
        ("a.b > 1e400", "too large"),
        ("a.b > 1; SELECT 1", "it is not one SQL expression"),
        ("a.b > 1; COPY (SELECT 1) TO '{file}'", "it is not one SQL expression"),
        ("1=1) FROM read_text('{file}') --", "it is not one SQL expression"),
        ("1=1); ATTACH '{file}' --", "it is not one SQL expression"),
        ("PRAGMA database_list", "it is not one SQL expression"),
        ("a.b > 1, a.c > 2", "it calls row"),
        ("a.b > (SELECT 1)", "it holds subquery"),
        ("EXISTS (SELECT * FROM read_text('{file}'))", "it holds subquery"),
        ("read_text('{file}') = 'x'", "it calls read_text"),
        ("getenv('HOME') = 'x'", "it calls getenv"),
        ("current_setting('threads') = '1'", "it calls current_setting"),
        ("pg_catalog.abs(a.b) > 1", "it calls abs"),
        ("count(*) FILTER (a.b > 1) > 1", "it calls count_star"),
        ("sum(a.b) OVER () > 1", "it holds window"),
        ("columns(*) > 1", "it holds star"),
        ("a.b::VARCHAR = '1'", "it holds operator cast"),
        ("a.b > $1", "it holds value parameter"),
        ("list_transform([1], x -> x) = [1]", "it calls list_transform"),
    ],
)
def test_what_is_no_predicate_is_refused_with_its_reason(expression: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with pytest.raises(ConfigError) as caught:
        compiled(expression.replace("{file}", str(file)), METRICS)
    assert reason in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_ours_alone() -> None:
    found = compiled("a.b > 1 /* '; DROP TABLE x */ AND text.verdict = ''' OR 1=1 --'", METRICS)
    assert found.sql == """(("a.b" > 1.0::DOUBLE) AND ("text.verdict" = ''' OR 1=1 --'))"""
    assert found.reads == (("a", "b"), ("text", "verdict"))
