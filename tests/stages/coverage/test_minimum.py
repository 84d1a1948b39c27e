"""What a recipe demands of its prompts: refused early where that can be seen, else before drawing or publishing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog, recipe
from promptforge.errors import ConfigError, DataFault
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages import parts
from promptforge.stages.coverage.demands import demands, hopeless
from promptforge.stages.coverage.minimum import shortfalls
from promptforge.stages.coverage.rows import ACCEPTED
from promptforge.stages.purge import purge
from promptforge.stages.run import prepare

GPU = ("flux-schnell", "flux-dev", "flux-dev-distill", "sd3")
OWN = {"kind": "files", "paths": ["captions.txt"]}


def made(name: str = "mini", **changes: Any) -> Recipe:
    return recipe.validate(recipe.read(name) | changes, "test")


def demanding(**bounds: Any) -> dict[str, Any]:
    return {"coverage": {"min": bounds}}


@pytest.mark.parametrize("name", GPU)
def test_the_recipes_of_real_models_want_natural_captions_for_quality(name: str) -> None:
    (line,) = hopeless(made(name))
    assert "every source of image_quality is a grammar, wanted at least 70% natural captions" in line
    assert "--captions captions.txt" in line
    assert "--set coverage.min.natural_share.image_quality=0" in line


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": [OWN | {"axis": "image_quality"}, {"kind": "grammar", "axis": "image_quality", "n": 5}]},
        {"sources": [OWN, {"kind": "grammar", "axis": "image_quality", "n": 5}]},  # the files may have any axis
        {"sources": [{"kind": "grammar", "axis": "text_rendering", "n": 5}]},  # no quality at all: a share of nothing
        {"coverage": {"min": {"natural_share": {"image_quality": 0}}}},
        {"coverage": None},
        {"select": {"quota": {"image_quality": 0}}},
    ],
)
def test_a_recipe_that_can_have_them_is_not_refused(changes: dict[str, Any]) -> None:
    assert hopeless(made("flux-schnell", **changes)) == []


@pytest.mark.parametrize(
    ("quota", "least", "said"),
    [
        (
            {"image_quality": 5},
            {"image_quality": 6},
            "prompts.image_quality: the quota of select.quota lets in 5,",
        ),
        (
            dict.fromkeys(AXES, 5),
            {"all": 16},
            "prompts.all: the quota of select.quota lets in 15, wanted at least 16",
        ),
        (dict.fromkeys(AXES, 5), {"all": 15, "text_rendering": 5}, None),
        ({"image_quality": 5}, {"all": 16, "text_rendering": 6}, None),  # the other axes have no quota
    ],
)
def test_more_prompts_than_the_quotas_let_in_are_refused(
    quota: dict[str, int], least: dict[str, int], said: str | None
) -> None:
    found = hopeless(made(select={"quota": quota}, **demanding(prompts=least)))
    assert len(found) == (said is not None)
    assert all(f"coverage.min.{said}" in line for line in found)


def test_files_of_another_axis_give_quality_nothing() -> None:
    sources = [OWN | {"axis": "text_rendering"}, {"kind": "grammar", "axis": "image_quality", "n": 5}]
    assert len(hopeless(made("flux-schnell", sources=sources))) == 1


def test_a_hopeless_run_makes_no_folder(tmp_path: Path) -> None:
    raw = recipe.read("mini") | demanding(natural_share={"all": 0.1})
    with pytest.raises(ConfigError, match="every source is a grammar"):
        prepare(tmp_path / "run", raw, "test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"min": {"natural_shar": {"all": 0.5}}}, "coverage.min.natural_shar: no such field; did you mean"),
        ({"min": {"natural_share": {"quality": 0.5}}}, "coverage.min.natural_share.quality: no such field"),
        ({"min": {"natural_share": {"all": 70}}}, "coverage.min.natural_share.all: is 70"),
        ({"min": {"cell": -1}}, "coverage.min.cell: is -1"),
        ({"max": {}}, "coverage.max: no such field"),
    ],
)
def test_a_wrong_demand_is_refused_with_its_place(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parts.resolve(made(coverage=table), "test")
    assert said in str(caught.value)


def short(root: Path, **bounds: Any) -> list[str]:
    with catalog.open_run(root) as con:
        return shortfalls(con, ACCEPTED, demands(made(**demanding(**bounds))))


def test_what_falls_short_is_a_line_with_seen_and_wanted_and_remedy(finished: Path) -> None:
    assert short(finished, prompts={"all": 17}, natural_share={"all": 1}) == []
    (line,) = short(finished, prompts={"all": 18})  # quotas of 5, 6 and 6
    assert line.startswith("prompts.all: 17 accepted prompts over all axes, wanted at least 18; ")
    assert line.endswith("--set coverage.min.prompts.all=0")


def test_a_thin_cell_is_named(finished: Path) -> None:
    assert short(finished, cell=5) == []  # files without categories: a cell an axis
    (line,) = short(finished, cell=6)
    assert line.startswith("cell: 5 accepted prompts in image_quality without a category, wanted at least 6; ")


def test_a_run_that_falls_short_ends_before_anything_is_drawn(
    tmp_path: Path, tiny: Callable[[], dict[str, Any]], drive: Callable[..., Any]
) -> None:
    root = tmp_path / "run"
    with pytest.raises(DataFault, match=r"before anything is drawn:\nunique_nouns.all: \d+ unique nouns over all"):
        drive(root, tiny() | demanding(unique_nouns={"all": 500}))
    assert not (root / "images").exists()
    assert not (root / "dataset").exists()


def test_pictures_that_take_too_much_away_leave_nothing_published(
    tmp_path: Path, tiny: Callable[[], dict[str, Any]], drive: Callable[..., Any]
) -> None:
    # Policy images: a gate that no picture passes drops every prompt after drawing, which no plan can know.
    raw = tiny() | demanding(prompts={"all": 3})
    raw["select"] = {
        "policy": "images",
        "gates": {"no": {"scorer": "technical", "metric": "flat", "min": 2, "decision": "keep_prompt"}},
        "quota": {"image_quality": 2, "semantic_understanding": 2, "text_rendering": 2},
    }
    root = tmp_path / "run"
    with pytest.raises(DataFault, match=r"so nothing is published:\nprompts.all: 0 accepted prompts"):
        drive(root, raw)
    assert (root / "images").exists()
    assert not (root / "dataset").exists()


def test_a_met_demand_changes_no_prompt(
    tmp_path: Path, finished: Path, tiny: Callable[[], dict[str, Any]], drive: Callable[..., Any]
) -> None:
    root = tmp_path / "run"
    drive(root, tiny() | {"render": {"sample": 0}} | demanding(natural_share={"image_quality": 0.7}, cell=2))
    with catalog.open_run(root) as one, catalog.open_run(finished) as two:
        query = "SELECT prompt_id FROM published ORDER BY 1"
        assert one.sql(query).fetchall() == two.sql(query).fetchall()


def test_a_purge_leaves_no_noun_of_its_prompt_and_asks_for_no_minimum(
    tmp_path: Path, tiny: Callable[[], dict[str, Any]], drive: Callable[..., Any]
) -> None:
    root = tmp_path / "run"
    drive(root, tiny() | {"render": {"sample": 0}} | demanding(prompts={"image_quality": 5}))
    with catalog.open_run(root) as con:
        # All five wanted are there; the quota takes a sixth row in the place of the purged one while there is any.
        ids = [row[0] for row in con.sql("SELECT prompt_id FROM prompts WHERE axis = 'image_quality'").fetchall()]
    gone = sorted({each for each in ids if each})[:6]
    purge(root, gone, "takedown_request")
    with catalog.open_run(root) as con:
        left = {row[0] for row in con.sql("SELECT prompt_id FROM prompt_nouns").fetchall()}
        assert (
            con.sql("SELECT count(*) FROM prompt_nouns").fetchall()
            == con.sql("SELECT count(*) FROM published").fetchall()
        )
    assert left
    assert not left & set(gone)
