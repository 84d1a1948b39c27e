"""report: make report.html anew from a run's tables, and open it where asked."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import duckdb

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.errors import ConfigError, DataFault
from promptforge.report.page import write_report


def make_report(root: Path, out: Path | None, *, show: bool) -> None:
    """Write it into the run folder, or to `out`; `show` opens it in the person's browser."""
    if out is not None and out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out takes the file to write, for example {out / 'report.html'}")
    try:
        with catalog.open_run(root) as con:
            path = write_report(root, con, out)
    except duckdb.BinderException as exc:
        raise DataFault(
            f"{root}: its tables are of another promptforge ({str(exc).splitlines()[0]}); run it again with this one"
        ) from exc
    terminal.out().print(f"report:   {terminal.safe(str(path)).plain}", soft_wrap=True)
    if show and not webbrowser.open(path.resolve().as_uri()):
        terminal.err().print("no browser here; open the file yourself", soft_wrap=True)
