"""distill: train a student on a published set, with a bar on the screen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from promptforge import recipe
from promptforge.commands import terminal
from promptforge.distill.settings import DistillSettings, read
from promptforge.errors import ConfigError
from promptforge.faults import nearest


def available() -> tuple[str, ...]:
    """Names of the settings that come with the package."""
    folder = resources.files("promptforge.distill") / "recipes"
    return tuple(sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml")))


def settings_of(name: str, changes: Sequence[str]) -> DistillSettings:
    """Settings by name or from a .toml file, with changes. Raises ConfigError where there are none or a wrong one."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such file; promptforge comes with {', '.join(available())}")
        text = path.read_bytes()
    elif name in available():
        text = (resources.files("promptforge.distill") / "recipes" / f"{name}.toml").read_bytes()
    else:
        raise ConfigError(f"no distillation {name!r} (a file of your own ends in .toml){nearest(name, available())}")
    try:
        raw: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{name}: not TOML: {exc}") from exc
    return read(recipe.override(raw, changes), name)


def distill(name: str, out: Path | None, changes: Sequence[str]) -> None:
    """Train to the end, or go on where an earlier call was stopped."""
    settings = settings_of(name, changes)
    folder = out or Path("runs") / "distill" / settings.name
    from promptforge.distill.train import Report, train

    is_first = os.environ.get("RANK", "0") == "0"  # of the ranks that torchrun or accelerate started
    console = terminal.err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal and is_first)) as bar:
        task = bar.add_task(settings.name, total=sum(phase.batches for phase in settings.phases))

        def tell(report: Report) -> None:
            bar.update(task, completed=report.batch, description=f"{report.phase}, loss {report.loss:.3g}")
            if is_first and not console.is_terminal and report.batch % settings.checkpoint_every == 0:
                console.print(f"{report.phase}: batch {report.batch:,} of {report.n_batches:,}, loss {report.loss:.4g}")

        student = train(settings, folder, tell)
    if is_first:
        terminal.out().print(f"student:  {student}\nlosses:   {folder / 'losses.jsonl'}")
