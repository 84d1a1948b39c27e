"""purge in a run with every check of the whole set: its tables keep nothing of the text, and the rest stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog, records
from promptforge.stages.purge import purge
from promptforge.stages.verify import verify
from promptforge.store import Store
from tests.stages.conftest import CAPTIONS

Recipe = Callable[[], dict[str, Any]]
Drive = Callable[..., Any]
LAKE, STYLED, CALM, PEACE, UMBRELLA, KITES = CAPTIONS[:6]
PAIR = ["a red cup on the shelf of a kitchen", "a blue cup on the shelf of a kitchen"]


def holding(root: Path, prompt: str) -> set[tuple[str, str]]:
    """(stage, table) of every record of the folder that says this prompt's text or id in any column."""
    store, needles = Store(root), (prompt, records.prompt_id(prompt))
    found = set()
    for commit in store.all_commits():
        for item in commit.files:
            text = "\n".join(str(row) for row in store.read(item).to_pylist())
            if any(needle in text for needle in needles):
                found.add((commit.stage, item.table))
    return found


def reasons(root: Path) -> dict[str, str | None]:
    """Text -> why it is not accepted, of the rows with a text."""
    with catalog.open_run(root) as con:
        rows = con.sql("SELECT text, reason FROM fates JOIN prompts USING (row_id) WHERE text IS NOT NULL").fetchall()
    return dict(rows)


def purge_all(root: Path, *prompts: str) -> None:
    """Purge these one after the other; nothing but tombstones says anything of them, and the folder is whole."""
    for number, prompt in enumerate(prompts, 1):
        assert ("generate", "prompts") in holding(root, prompt)
        assert purge(root, [records.prompt_id(prompt)], "takedown").prompts == (records.prompt_id(prompt),)
        for gone in prompts[:number]:
            assert holding(root, gone) <= {("purge", "tombstones")}, (gone, prompt)
        assert verify(root) == []


def test_survivors_and_what_they_dropped_copies_and_prompts_accepted_elsewhere_leave_no_table_that_names_them(
    tmp_path: Path, checked: Recipe, drive: Drive
) -> None:
    root = tmp_path / "run"
    drive(root, checked())
    before = reasons(root)
    assert [before[text] for text in (LAKE, STYLED, CALM, PEACE, UMBRELLA, KITES)] == [
        *(None, "near_duplicate", None, "semantic_duplicate", "exact_duplicate", "contaminated")
    ]
    purge_all(root, LAKE, CALM, UMBRELLA, KITES)
    after = reasons(root)
    # Whom a survivor stood for stands for itself now.
    assert {after[STYLED], after[PEACE]} <= {None, "quota_full", "source_cap"}
    assert drive(root, checked())["publish"].done == 0


def test_a_member_of_a_minimal_pair_goes_alone(tmp_path: Path, checked: Recipe, drive: Drive) -> None:
    raw = checked()
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"text": text, "pair_id": "1"}) + "\n" for text in PAIR), "utf-8")
    source = {"kind": "files", "paths": [str(path)], "name": "pairs", "axis": "semantic_understanding"}
    raw["sources"].append(source)
    raw["select"]["quota"]["semantic_understanding"] = "all"
    root = tmp_path / "run"
    drive(root, raw)
    assert [reasons(root)[text] for text in PAIR] == [None, None]
    purge_all(root, PAIR[0])
    assert reasons(root)[PAIR[1]] is None


@pytest.mark.models
def test_no_vector_of_a_purged_prompt_comes_back_because_it_is_accepted_elsewhere(
    tmp_path: Path, checked: Recipe, drive: Drive
) -> None:
    """The new run of dedup compares with it once more, and keeps nothing of that."""
    from tests.tiny_models.encoders import tiny_encoder

    raw = checked()
    raw["dedup"]["semantic"] = {"model": str(tiny_encoder(tmp_path / "encoder")), "threshold": 0.9999}
    root = tmp_path / "run"
    drive(root, raw)
    assert ("embed", "sentence_vectors") in holding(root, UMBRELLA)
    purge_all(root, UMBRELLA, LAKE)
    assert purge(root, [], "takedown").rewritten == 0
