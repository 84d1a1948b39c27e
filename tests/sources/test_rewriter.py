"""Rewriting through the real protocol: a model that keeps the contract of each parent, and one that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptforge.records import prompt_id
from promptforge.sources import llm
from promptforge.sources.inventing.contract import lost
from promptforge.stages.ask import Asker
from promptforge.store import Store
from tests.sources.rewriter import BREAKS, Break, Rewriter

PARENTS = (
    "two red cups on a green table",
    'a white sign that says "OPEN LATE" above a door',
    "three dogs beside a red apple",
)


def rewritten(folder: Path, breaks: Break | None) -> list[llm.Candidate]:
    path = folder / "parents.txt"
    path.write_text("\n".join(PARENTS), "utf-8")
    model = Rewriter(breaks)
    ask = Asker(Store(folder / "run"), "rewriter", model.identity, lambda: model)
    params = llm.Params(llm="rewriter", task="rewrite", parents=(str(path),), n=12)
    source = llm.build(params, 3, ask=ask)
    (part,) = source.parts()
    return list(source.read(part, 0, part.n_rows))


def test_what_keeps_the_contract_is_a_row_with_its_parent(tmp_path: Path) -> None:
    found = rewritten(tmp_path, None)
    assert len(found) == 12
    for row in found:
        parent = PARENTS[row.row % len(PARENTS)]
        assert (row.fault, row.parent_id) == (None, prompt_id(parent))
        assert row.text is not None
        assert row.text.startswith(f"{parent}, ")
        assert 15 <= len(row.text.split()) <= 45
        assert lost(parent, row.text) == ()


@pytest.mark.parametrize(
    ("breaks", "hurt"),
    [("number", (0, 2)), ("colour", (0, 2)), ("thing", (0, 1, 2)), ("text", (1,)), ("added_text", (0, 1, 2))],
)
def test_what_breaks_the_contract_is_a_row_without_text_that_says_so(
    tmp_path: Path, breaks: Break, hurt: tuple[int, ...]
) -> None:
    assert breaks in BREAKS
    for row in rewritten(tmp_path, breaks):
        if row.row % len(PARENTS) in hurt:
            assert (row.text, row.fault) == (None, "contract_broken"), row
        else:
            assert row.fault is None, row
