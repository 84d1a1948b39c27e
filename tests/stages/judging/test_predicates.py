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
        ("system.main.abs(a.b) > 1", "it calls abs with more than"),
        ("abs(a.b ORDER BY a.c) > 1", "it calls abs with more than"),
        ("abs(DISTINCT a.b) > 1", "it calls abs with more than"),
        ("abs(a.b) FILTER (true) > 1", "it calls abs with more than"),
        ("repeat('x', 1000000000) = 'x'", "it calls repeat"),
        ("len(range(10000000000)) > 1", "it calls len"),
        ("text.verdict ~ '(a*)*b'", "it calls regexp_matches"),
        ("text.verdict[1] = 'r'", "it holds array extract"),
        ("struct_extract(text, 'cer') > 1", "it calls struct_extract"),
        ("a.b > 'inf'", "puts a number beside a word"),
        ("a.b > 'inf'::DOUBLE", "it holds operator cast"),
        ("image_id = 'x'", "image_id is no scorer.metric"),
        ("m0 > 1", "m0 is no scorer.metric"),
        ("main.a.b > 1", "main.a.b is no scorer.metric"),
        ("text.verdict = 'half \ud800'", "it cannot be read as text"),
        ("a.b > 1\0 OR true", "it is not one SQL expression"),
        ("a\uff0eb > 1", "is no scorer.metric"),
        (" \n", "it is empty"),
        ("1) FROM (SELECT 1", "it is more than one expression"),
        ("true) LIMIT (1", "it is more than one expression"),
        ("true) UNION (SELECT 1", "it is more than one expression"),
        ("1), (1", "it is 2 expressions"),
        ("(" * 999 + "true" + ")" * 999, "it has 2,002 characters"),
        ("(" * 900 + "true" + ")" * 900, "it is nested more than 64 levels deep"),
        ("NOT " * 70 + "true", "it is nested more than 64 levels deep"),
        ("a.b > 1" + " + 1" * 70, "it is nested more than 64 levels deep"),
    ],
)
def test_what_is_no_predicate_is_refused_with_its_reason(expression: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with pytest.raises(ConfigError) as caught:
        compiled(expression.replace("{file}", str(file)), METRICS)
    assert reason in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_how_deep_a_predicate_may_be_does_not_depend_on_who_asks() -> None:
    expression = "NOT (" * 30 + "a.b > 1" + ")" * 30

    def deep(levels: int) -> str:
        return deep(levels - 1) if levels else compiled(expression, METRICS).sql

    assert deep(0) == deep(400)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a.b * 10 > 1", True),  # overflows to infinity
        ("a.b * 10 - a.b * 10 < 1", False),  # infinity less infinity is no number, and above every one
        ("-a.b * 10 < -1 AND abs(-a.b * 10) = a.b * 10", True),
        ("round(a.b * 10) = greatest(a.b * 10, 1)", True),
        ("least(a.b * 10, 1) / (a.b * 10) = 0", True),
        ("a.c / (a.b - a.b) IS NULL", True),
    ],
)
def test_no_arithmetic_fails_on_a_row(expression: str, wanted: bool) -> None:
    with duckdb.connect() as con:
        con.execute('CREATE TABLE t AS SELECT 1e308 AS "a.b", 1e-300 AS "a.c"')
        assert con.sql(f"SELECT {compiled(expression, METRICS).sql} FROM t").fetchall() == [(wanted,)]


def test_names_in_quotes_are_names() -> None:
    metrics = {'a"; DROP TABLE t; --': {"b'": "number"}}
    found = compiled('"a""; DROP TABLE t; --"."b\'" > 1', metrics)
    assert found.reads == (('a"; DROP TABLE t; --', "b'"),)
    with duckdb.connect() as con:
        assert con.sql(f'SELECT {found.sql} FROM (SELECT 2 AS "a""; DROP TABLE t; --.b\'")').fetchall() == [(True,)]


def test_what_is_written_is_ours_alone() -> None:
    found = compiled("a.b > 1 /* '; DROP TABLE x */ AND text.verdict = ''' OR 1=1 --'", METRICS)
    assert found.sql == """(("a.b" > 1.0::DOUBLE) AND ("text.verdict" = ''' OR 1=1 --'))"""
    assert found.reads == (("a", "b"), ("text", "verdict"))
