"""Settings of a distillation by name, or from a person's own .toml file, with changes put in."""

from __future__ import annotations

from collections.abc import Sequence

from promptforge import recipe
from promptforge.distill.settings import DistillSettings, read
from promptforge.packaged import Shelf

_SHELF = Shelf("distillation", "promptforge.distill")


def available() -> tuple[str, ...]:
    """Names of the settings that come with the package."""
    return _SHELF.names()


def settings_of(name: str, changes: Sequence[str]) -> DistillSettings:
    """Settings by name or from a .toml file, with changes. Raises ConfigError where there are none or a wrong one."""
    return read(recipe.override(_SHELF.read(name), changes), name)
