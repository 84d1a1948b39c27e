"""What the README shows runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from promptforge import catalog, recipe
from promptforge.stages import parts

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
QUERIES = [
    query.strip()
    for block in re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    for query in re.sub(r"--.*", "", block).split(";")
    if query.strip()
]


def test_the_readme_has_queries() -> None:
    assert len(QUERIES) >= 5


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_readme_runs(query: str, finished: Path) -> None:
    with catalog.open_run(finished) as con:
        con.sql(query).fetchall()


@pytest.mark.parametrize("fragment", re.findall(r"```toml\n(.*?)```", README, re.DOTALL))
def test_a_fragment_of_a_recipe_in_the_readme_fits_into_one(fragment: str) -> None:
    tables = tomllib.loads(fragment)
    raw = {} if "name" in tables else recipe.read("flux-schnell")  # with a name it is a whole recipe
    for table, value in tables.items():
        raw[table] = {**raw.get(table, {}), **value} if isinstance(value, dict) else value
    found = parts.resolve(recipe.validate(raw, "README"), "README")
    assert found.scorers


def test_the_preferences_of_the_readme_name_metrics_that_there_are() -> None:
    (shown,) = re.findall(r"`select\.prefer = (\[.*?\])`", README)
    found = recipe.override(recipe.read("flux-schnell"), [f"select.prefer={shown}"])
    assert parts.resolve(recipe.validate(found, "README"), "README").scorers  # a metric that is not there is refused
