"""The form of the flow distill: what it refuses, and what it makes of the settings."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from promptforge.distill import named
from promptforge.errors import ConfigError
from promptforge.flows.distill_params import DistillParams

AGREED = "accept_license=flux-1-dev-non-commercial-license"


def test_every_field_of_the_form_is_explained() -> None:
    for name, field in DistillParams.model_json_schema()["properties"].items():
        assert field["title"], name
        assert field["description"], name


def test_the_form_takes_names_of_the_package_and_toml_files_alone() -> None:
    pattern = re.compile(DistillParams.model_json_schema()["properties"]["settings"]["pattern"])
    assert all(pattern.match(name) for name in [*named.available(), "own.toml", "/a/b.toml"])
    assert not any(pattern.match(name) for name in ["flux-t5-bas", "mini", ".toml", ""])


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"recipe": "mini"}, {"settings": ""}, {"changes": "batch=2"}])
def test_a_wrong_parameter_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DistillParams.model_validate(wrong)


def test_data_set_and_changes_are_put_into_the_settings() -> None:
    params = DistillParams(dataset='runs/my "own" set', changes=[AGREED, "batch=7"])
    settings = params.read()
    assert (settings.name, settings.dataset, settings.batch) == ("flux-t5-base", 'runs/my "own" set', 7)
    assert DistillParams(changes=[AGREED]).read().dataset == "runs/paper/dataset"  # as the file says
    assert params.root(settings.name) == Path("runs/distill/flux-t5-base")
    assert DistillParams(out="elsewhere").root(settings.name) == Path("elsewhere")


def test_what_only_the_settings_know_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="accept_license is None"):
        DistillParams().read()
