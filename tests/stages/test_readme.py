"""What the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptforge import catalog

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
