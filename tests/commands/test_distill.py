"""distill: settings by name, changes, refusals; the training itself is tests/distill."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptforge.cli import answer
from promptforge.distill.named import available, settings_of
from promptforge.errors import ConfigError

AGREED = ["accept_license=flux-1-dev-non-commercial-license"]


@pytest.mark.parametrize("name", [name for name in available() if name.startswith("flux")])
def test_settings_of_the_package_are_whole_and_take_as_many_steps(name: str) -> None:
    settings = settings_of(name, AGREED)
    assert settings.name == name
    per_batch = settings.teacher.steps if settings.objective == "following" else 1
    assert sum(phase.batches for phase in settings.phases) * per_batch == 300_000


def test_a_restricting_licence_must_be_accepted_by_name() -> None:
    with pytest.raises(ConfigError, match="accept_license is None; the teacher comes under 'flux-1-dev-non-commercial"):
        settings_of("flux-t5-base", [])
    with pytest.raises(ConfigError, match="accept_license is 'yes'"):
        settings_of("flux-t5-base", ["accept_license=yes"])


def test_changes_are_put_in(tmp_path: Path) -> None:
    settings = settings_of("flux-t5-base", [*AGREED, "phases.0.batches=7", "student.dropout=0", "dataset=elsewhere"])
    assert (settings.phases[0].batches, settings.student.dropout, settings.dataset) == (7, 0.0, "elsewhere")


def test_unknown_names_and_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'flux-t5-base'"):
        settings_of("flux-t5-bas", [])
    with pytest.raises(ConfigError, match="no such distillation file; promptforge comes with flux-t5-base"):
        settings_of(str(tmp_path / "own.toml"), [])
    (tmp_path / "own.toml").write_text("name =")
    with pytest.raises(ConfigError, match="not TOML"):
        settings_of(str(tmp_path / "own.toml"), [])


def test_the_command_line_says_it_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["distill", "flux-t5-base", "--set", "batch=0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("promptforge: flux-t5-base: batch: is 0") for line in lines)
