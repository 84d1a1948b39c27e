"""A recipe is refused before any work, with the field's path, the value seen and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptforge import recipe
from promptforge.errors import ConfigError
from promptforge.records import Axis
from promptforge.stages import parts

SMALL: dict[str, Any] = {
    "name": "small",
    "sources": [{"kind": "grammar", "axis": "image_quality", "n": 5}],
    "regime": {"teacher": "canvas"},
}


def refused(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe.validate(raw, "small.toml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_small_recipe_gets_its_defaults() -> None:
    found = recipe.validate(SMALL, "here")
    assert (found.render.sample, found.render.takes, found.seed) == (1.0, 1, 0)
    assert found.select.policy == "distill"
    assert found.select.quota.model_dump() == dict.fromkeys(Axis, "all")
    assert found.sources[0].params == {"axis": "image_quality", "n": 5}


def test_every_recipe_in_the_package_is_valid() -> None:
    assert "mini" in recipe.available()
    for name in recipe.available():
        assert recipe.validate(recipe.read(name), name).name == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["rendr.takes=2"], "small.toml: rendr: no such field; did you mean 'render'?"),
        (["render.take=2"], "small.toml: render.take: no such field; did you mean 'takes'?"),
        (
            ["select.quota.text_renderng=2"],
            "small.toml: select.quota.text_renderng: no such field; did you mean 'text_rendering'?",
        ),
        (["publish.zzz=1"], "small.toml: publish.zzz: no such field; there are extends, format, natural_test_share,"),
        (
            ["select.gates.g.skorer='text'", "select.gates.g.metric='cer'", "select.gates.g.max=0"],
            "small.toml: select.gates.g.skorer: no such field; did you mean 'scorer'?",
        ),
        (["render.takes=0"], "small.toml: render.takes: is 0; input should be greater than or equal to 1"),
        (["render.takes=2.5"], "small.toml: render.takes: is 2.5; input should be a valid integer"),
        (["render.takes=many"], "small.toml: render.takes: is 'many'; input should be a valid integer"),
        (["render.sample=1.5"], "small.toml: render.sample: is 1.5; input should be less than or equal to 1"),
        (["select.policy=strict"], "small.toml: select.policy: is 'strict'; input should be 'distill' or 'images'"),
        (
            ["select.quota.text_rendering=-1"],
            "small.toml: select.quota.text_rendering: is -1; expected a whole number from 0 up, or 'all'",
        ),
        (["name='../out'"], "small.toml: name: is '../out'; string should match pattern"),
        (["name=''"], "small.toml: name: is ''"),
        (["seed=-1"], "small.toml: seed: is -1; input should be greater than or equal to 0"),
        (["seed=9223372036854775808"], "small.toml: seed: is 9223372036854775808; input should be less than"),
        (["sources=[]"], "small.toml: sources: is []; tuple should have at least 1 item"),
        (["sources.0={}"], "small.toml: sources.0.kind: missing; it must be given"),
        (["regime={}"], "small.toml: regime.teacher: missing; it must be given"),
        (["run.runner='ray'"], "small.toml: run.runner: is 'ray'; input should be 'threads'"),
        (["filters.length=3"], "small.toml: filters.length: is 3; input should be a valid dictionary"),
    ],
)
def test_a_fault_is_told_with_path_value_and_what_is_allowed(settings: list[str], message: str) -> None:
    assert message in refused(recipe.override(SMALL, settings))


@pytest.mark.parametrize("quota", ["all", 0, 600])
def test_a_quota_is_a_number_or_all(quota: str | int) -> None:
    found = recipe.validate(recipe.override(SMALL, [f"select.quota.text_rendering={quota}"]), "x")
    assert found.select.quota.text_rendering == quota


def test_every_fault_gets_a_line_of_its_own() -> None:
    lines = refused(recipe.override(SMALL, ["render.takes=0", "render.sampel=1", "seed=-1"])).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("small.toml: ") for line in lines)


GATE = "select.gates.g={scorer='text',metric='cer',"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["scorers.text={}", GATE.rstrip(",") + "}"], "select.gates.g: a gate needs min, max or one_of"),
        (["scorers.text={}", GATE + "min=2,max=1}"], "select.gates.g: min 2.0 is above max 1.0: nothing could pass"),
        (["scorers.text={}", GATE + "max=1,axes=[]}"], "select.gates.g.axes"),
        (["scorers.text={}", GATE + "min=nan}"], "select.gates.g.min: is nan; input should be a finite number"),
        (
            ["scorers.text={}", GATE + "max=1,decision='keep_prompt'}"],
            "select: gates g decide keep_prompt, which policy 'distill' rules out",
        ),
        (
            ["scorers.txt={}", GATE + "max=1}"],
            "recipe: select.gates.g reads scorer 'text', which [scorers] does not name; did you mean 'txt'?",
        ),
        ([GATE + "max=1}"], "which [scorers] does not name; there are none"),
        (
            ["render.sample=0", "select.policy=images"],
            "render.sample = 0 draws nothing, so policy 'images' could keep nothing; use policy 'distill'",
        ),
    ],
)
def test_an_impossible_combination_is_refused(settings: list[str], message: str) -> None:
    assert message in refused(recipe.override(SMALL, settings))


def test_a_misspelt_gate_is_told_with_the_gate_that_was_meant() -> None:
    gates = ["scorers.technical={}", "select.gates.not_blurred={scorer='technical',metric='blurred',max=0}"]
    assert refused(recipe.override(SMALL, [*gates, "select.gates.not_blured.max=1"])).splitlines() == [
        f"small.toml: select.gates.not_blured.{field}: missing; it must be given; did you mean 'not_blurred'?"
        for field in ("scorer", "metric")
    ]
    # neither a far name nor another gate that is not whole is offered
    for setting in ("select.gates.zzz.max=1", "select.gates.not_blured.max=1"):
        alone = refused(recipe.override(SMALL, [setting, "select.gates.not_blurd.max=1"]))
        assert "did you mean" not in alone and "missing; it must be given" in alone


@pytest.mark.parametrize("setting", ["select=3", "select.gates=3", "select.gates.g=3"])
def test_a_table_that_is_a_value_is_told_as_such(setting: str) -> None:
    assert f"small.toml: {setting.partition('=')[0]}: is 3; input should be a valid" in refused(
        recipe.override(SMALL, [setting])
    )


def test_policy_images_may_let_a_picture_drop_its_prompt() -> None:
    settings = ["scorers.text={}", GATE + "max=1,decision='keep_prompt'}", "select.policy=images"]
    assert recipe.validate(recipe.override(SMALL, settings), "x").select.gates["g"].decision == "keep_prompt"


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("render.takes=3", ("render", "takes"), 3),
        ("render.sample=0.02", ("render", "sample"), 0.02),
        ("name=other", ("name",), "other"),
        ("name='other'", ("name",), "other"),
        ("sources.0.n=7", ("sources", 0, "n"), 7),
        ("select.quota.text_rendering='all'", ("select", "quota", "text_rendering"), "all"),
        ("regime.note=a=b", ("regime", "note"), "a=b"),
        ("filters.length={max_words=3}", ("filters", "length"), {"max_words": 3}),
        (" render.takes = 3", ("render", "takes"), 3),
    ],
)
def test_a_setting_is_a_path_and_a_toml_value_or_plain_text(setting: str, path: tuple[Any, ...], value: Any) -> None:
    node: Any = recipe.override(SMALL, [setting])
    for part in path:
        node = node[part]
    assert node == value


def test_the_last_setting_wins_and_the_tables_given_stay_as_they_were() -> None:
    assert recipe.override(SMALL, ["seed=1", "seed=2"])["seed"] == 2
    recipe.override(SMALL, ["sources.0.n=99"])
    assert SMALL["sources"][0]["n"] == 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("render.takes", "--set 'render.takes': expected path=value, for example render.takes=3"),
        ("=3", "--set '=3': expected path=value"),
        ("sources.1.n=3", "--set 'sources.1.n=3': sources is a list of 1, so it has no '1'"),
        ("sources.first.n=3", "sources is a list of 1, so it has no 'first'"),
        ("name.x=3", "--set 'name.x=3': name is the value 'small', so it has no 'x'"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe.override(SMALL, [setting])
    assert message in str(caught.value)


def test_an_unknown_recipe_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'mni' \(a file .* in \.toml\); did you mean 'mini'\?$"):
        recipe.read("mni")
    with pytest.raises(ConfigError, match=r"no such recipe file; promptforge comes with .*mini"):
        recipe.read(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not TOML: .*line 1"):
        recipe.read(str(tmp_path / "bad.toml"))
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.toml: not TOML"):
        recipe.read(str(tmp_path / "latin.toml"))


def test_a_recipe_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('name = "own"\n[regime]\nteacher = "canvas"\n[[sources]]\nkind = "grammar"\n')
    assert recipe.validate(recipe.read(str(tmp_path / "own.toml")), "own").name == "own"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["filters.lenght={}"], "small.toml: filters.lenght: no module 'lenght' in filters; did you mean 'length'?"),
        (["sources.0.kind=gramar"], "small.toml: sources.0: no module 'gramar' in sources; did you mean 'grammar'?"),
        (["regime.teacher=canvass"], "small.toml: regime: no module 'canvass' in teachers; did you mean 'canvas'?"),
        (["scorers.technicl={}"], "small.toml: scorers.technicl: no module 'technicl' in scorers; did you mean"),
        (
            ["filters.length.max_word=3"],
            "small.toml: filters.length.max_word: no such field; did you mean 'max_words'?",
        ),
        (["regime.mistake_rate=2"], "small.toml: regime.mistake_rate: is 2; input should be less than or equal to 1"),
        (
            ["scorers.technical={}", "select.gates.g={scorer='technical',metric='blakc',max=0}"],
            "small.toml: select.gates.g.metric: scorer 'technical' has no metric 'blakc'; did you mean 'black'?",
        ),
    ],
)
def test_a_components_name_and_parameters_are_checked_before_any_work(settings: list[str], message: str) -> None:
    found = recipe.validate(recipe.override(SMALL, settings), "small.toml")
    with pytest.raises(ConfigError) as caught:
        parts.resolve(found, "small.toml")
    assert message in str(caught.value)


def test_a_module_path_in_a_recipe_loads_nothing() -> None:
    for kind in ("os", "..store", "drawing", "__init__", "reading.match"):
        found = recipe.validate(recipe.override(SMALL, [f"scorers.'{kind}'={{}}"]) | {"scorers": {kind: {}}}, "x")
        with pytest.raises(ConfigError, match="no module"):
            parts.resolve(found, "x")


def test_the_faults_of_every_component_are_told_at_once() -> None:
    raw = recipe.override(SMALL, ["filters.lenght={}", "regime.teacher=canvass", "sources.0.nn=3"])
    with pytest.raises(ConfigError) as caught:
        parts.resolve(recipe.validate(raw, "x"), "x")
    assert len(str(caught.value).splitlines()) == 3
