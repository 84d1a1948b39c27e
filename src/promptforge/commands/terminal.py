"""Where commands write, and which run they are about."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from promptforge.errors import ConfigError
from promptforge.texts import show

#: Whether the person asked for tracebacks.
DEBUG: ContextVar[bool] = ContextVar("promptforge_debug", default=False)

_UNBOUNDED = 100_000  # columns: into a file or a pipe nothing is wrapped or cut


def out() -> Console:
    """Standard output. Made anew each time, so that a redirection in force is seen."""
    return _console(err=False)


def err() -> Console:
    """Standard error."""
    return _console(err=True)


def _console(*, err: bool) -> Console:
    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else _UNBOUNDED)


def program() -> str:
    """What a person types to call this program from the folder they are in, quoted for a shell."""
    if shutil.which("promptforge"):
        return "promptforge"
    started = Path(sys.argv[0])
    if started.name != "promptforge":  # python -m: the script lies beside the interpreter
        started = Path(sys.executable).with_name("promptforge")
        if not started.is_file():
            return f"{shlex.quote(sys.executable)} -m promptforge.cli"
    whole = str(started.absolute())  # not resolved: a venv's own path is the one that a person knows
    return shlex.quote(min(os.path.relpath(whole), whole, key=len))


def safe(text: str) -> Text:
    """A text of unknown origin for the screen: no control character, no markup."""
    return Text(show(text))


def table(*columns: str, numeric: tuple[str, ...] = ()) -> Table:
    """An empty table without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        made.add_column(safe(name), justify="right" if name in numeric else "left", overflow="fold")
    return made


def find_run(chosen: Path | None, base: Path = Path("runs"), *, finished: bool = True) -> Path:
    """The folder that was chosen, else the one under runs/ that ran last (and, if `finished`, has something to read).

    Raises ConfigError where there is none.
    """
    if chosen is not None:
        if not (chosen / "_run.json").is_file():
            raise ConfigError(f"{chosen}: no run here (no _run.json); --run takes a folder that `promptforge run` made")
        return chosen
    marks = [
        path for path in base.glob("*/_run.json") if not finished or any((path.parent / "heads").glob("[0-9]*.json"))
    ]
    if not marks:
        raise ConfigError(
            f"no {'finished ' if finished else ''}run under {base}/ in this folder;"
            f" make one with: {program()} run mini, or name one with --run"
        )
    found = _last(marks).parent
    if finished and (last := _last(list(base.glob("*/_run.json"))).parent) != found:
        err().print(f"{last} ran last but has finished nothing yet; this is about {found}", soft_wrap=True)
    return found


def _last(marks: list[Path]) -> Path:
    return max(marks, key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
