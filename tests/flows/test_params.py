"""The flow's parameters: what they make of a recipe, and what a Prefect server refuses by their schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from promptforge import recipe
from promptforge.errors import ConfigError
from promptforge.flows.params import CurateParams


def refused(value: dict[str, Any]) -> bool:
    """Whether JSON schema alone refuses it, as a server does that knows nothing of promptforge."""
    return not jsonschema.Draft202012Validator(CurateParams.model_json_schema()).is_valid(value)


@pytest.mark.parametrize(
    "value",
    [
        {"recipe": "minni"},
        {"takes": 0},
        {"takes": 65},
        {"takes": "three"},
        {"axis": "quality"},
        {"runner": "ray"},
        {"counts": {"image_quality": -1}},
        {"counts": {"pictures": 3}},
        {"settings": ["render.takes"]},
        {"colour": "red"},
    ],
)
def test_a_bad_value_is_refused_at_submission(value: dict[str, Any]) -> None:
    assert refused(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"recipe": "mini", "takes": 2, "counts": {"text_rendering": 5}},
        {"recipe": "recipes/own.toml"},
        {"recipe": "runs/mini/_run.json"},
        {"sources": ["a.txt"], "axis": "text_rendering", "columns": {"text": "caption"}},
        {"settings": ["render.sample=0.02"]},
    ],
)
def test_a_good_value_passes_the_schema_and_the_model(value: dict[str, Any]) -> None:
    assert not refused(value)
    CurateParams.model_validate(value)


def test_every_field_has_a_title_and_says_what_it_is() -> None:
    for name, field in CurateParams.model_json_schema()["properties"].items():
        assert field.get("title"), name
        assert field.get("description"), name


def test_counts_takes_and_settings_reach_the_recipe() -> None:
    params = CurateParams(counts={"text_rendering": 5}, takes=3, settings=["render.sample=0.5", "seed=11"])
    checked = recipe.validate(params.raw(), "test")
    assert checked.select.quota.text_rendering == 5
    assert checked.select.quota.image_quality == recipe.validate(recipe.read("mini"), "x").select.quota.image_quality
    assert (checked.render.takes, checked.render.sample, checked.seed) == (3, 0.5, 11)


def test_files_take_the_place_of_the_recipes_sources() -> None:
    params = CurateParams(sources=["a.txt", "b.csv"], axis="image_quality", columns={"text": "caption"})
    (source,) = params.raw()["sources"]
    assert source == {
        "kind": "files",
        "name": "files",
        "paths": ["a.txt", "b.csv"],
        "axis": "image_quality",
        "columns": {"text": "caption"},
    }


def test_captions_take_the_place_of_quality_alone() -> None:
    first, *rest = CurateParams(captions=["a.txt"], columns={"text": "caption"}).raw()["sources"]
    assert first == {
        "kind": "files",
        "name": "captions",
        "paths": ["a.txt"],
        "axis": "image_quality",
        "columns": {"text": "caption"},
    }
    assert [(item["kind"], item["axis"]) for item in rest] == [
        ("grammar", "semantic_understanding"),
        ("grammar", "text_rendering"),
    ]
    with pytest.raises(ConfigError, match="give one of the two"):
        CurateParams(captions=["a.txt"], sources=["b.txt"]).raw()
    with pytest.raises(ConfigError, match="axis belongs to --source"):
        CurateParams(captions=["a.txt"], axis="image_quality").raw()


def test_own_prompts_have_a_title_of_their_own_unless_one_is_given(tmp_path: Path) -> None:
    def title(**values: Any) -> str:
        return recipe.validate(CurateParams(**values).raw(), "test").publish.pretty_name

    assert title() == "promptforge mini"
    assert title(sources=["a.txt"]) == "promptforge, own prompts"
    assert title(sources=["a.txt"], settings=["publish.pretty_name=Lakes"]) == "Lakes"
    written = tmp_path / "own.toml"
    text = (Path(recipe.__file__).parent / "recipes" / "mini.toml").read_text("utf-8")
    written.write_text(text.replace("promptforge mini", "Harbours"), "utf-8")
    assert title(recipe=str(written), sources=["a.txt"]) == "Harbours"


def test_an_axis_without_files_is_refused() -> None:
    with pytest.raises(ConfigError, match="--source"):
        CurateParams(axis="image_quality").raw()


def test_an_earlier_runs_settings_are_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "_run.json").write_text(json.dumps(recipe.read("mini") | {"seed": 99}))
    assert CurateParams(recipe=str(tmp_path / "_run.json")).raw()["seed"] == 99


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), ("{", "not JSON"), ("[]", "holds no recipe")])
def test_what_is_no_earlier_run_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "_run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        CurateParams(recipe=str(path)).raw()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="shape"):
        CurateParams.model_validate({"shape": 1})


def test_the_run_folder_is_named_by_the_recipe() -> None:
    assert CurateParams().root("mini") == Path("runs/mini")
    assert CurateParams(out="elsewhere/x").root("mini") == Path("elsewhere/x")
