"""Tables in TOML: those that come with the package, by name, and a person's own, by the path of a .toml file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError
from promptforge.faults import nearest


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of .toml files inside the package `package`; `noun` says in messages what one of them is."""

    noun: str
    package: str
    folder: str = "recipes"

    def names(self) -> tuple[str, ...]:
        """What comes with the package, sorted."""
        files = (resources.files(self.package) / self.folder).iterdir()
        return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))

    def read(self, name: str) -> dict[str, Any]:
        """The raw tables of a name or a file. Raises ConfigError where there is none or it is not TOML."""
        if name.endswith(".toml"):
            path = Path(name)
            if not path.is_file():
                raise ConfigError(f"{name}: no such {self.noun} file; promptforge comes with {', '.join(self.names())}")
            text = path.read_bytes()
        elif name in self.names():
            text = (resources.files(self.package) / self.folder / f"{name}.toml").read_bytes()
        else:
            raise ConfigError(
                f"no {self.noun} {name!r} (a file of your own must end in .toml){nearest(name, self.names())}"
            )
        try:
            return tomllib.loads(text.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{name}: not TOML: {exc}") from exc
