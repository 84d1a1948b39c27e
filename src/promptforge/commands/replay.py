"""select: what other thresholds or quotas would change, from stored scores, on one screen; nothing is written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptforge.commands import terminal
from promptforge.commands.replay_options import Shown
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.policy import Gate
from promptforge.recipe import Recipe
from promptforge.stages.difference import COUNTS, Replay, changed_run, replayed
from promptforge.stages.judging.reference import frozen

_MOST_LINES = 6  # of categories and of moves: the answer is to fit a screen; --json and --difference have all
_MOST_CHARS = 72  # of a prompt's text
_MOST_OF_A_SETTING = 200  # characters
_FORMATS = {".parquet": "FORMAT parquet", ".csv": "FORMAT csv, HEADER"}
_KINDS = {
    "lost": "lost",
    "gained": "gained",
    "picture_lost": "picture lost",
    "picture_gained": "picture gained",
    "other_take": "another take",
}


def show(root: Path, settings: Sequence[str], shown: Shown, *, apply: bool) -> None:
    """Print the difference, and write it into a file where one is named."""
    _refuse(root, shown, apply=apply)
    if shown.freeze is not None and not _has_quantiles(changed_run(root, settings).recipe):
        raise ConfigError("--freeze: no gate has a quantile, so there is nothing to freeze")
    with replayed(root, settings, shown.against) as replay:
        if shown.difference is not None:
            _write(replay, shown.difference)
        if shown.freeze is not None:
            put(shown.freeze, "".join(f"{line}\n" for line in frozen(replay.con, replay.run)).encode())
        if shown.json:
            terminal.out().print(json.dumps(_whole(replay, shown), indent=1, default=str), soft_wrap=True)
        else:
            _tell(replay, shown)
            if not apply:
                terminal.out().print("nothing was changed; do it with --apply")


def _refuse(root: Path, shown: Shown, *, apply: bool) -> None:
    if shown.examples < 0:
        raise ConfigError(f"--examples {shown.examples}: expected a whole number from 0 up")
    if shown.json and apply:
        raise ConfigError("--json tells of a dry run; leave it or --apply out")
    if shown.difference is not None and shown.difference.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--difference {shown.difference}: expected a name that ends in {' or '.join(_FORMATS)}")
    for option, path in (("--difference", shown.difference), ("--freeze", shown.freeze)):
        folder = None if path is None else path.resolve().parent
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {folder}")
        if folder is not None and folder.is_relative_to(root.resolve()):
            raise ConfigError(
                f"{option} {path}: lies in the run folder, where select writes nothing; name another place"
            )


def _has_quantiles(recipe: Recipe) -> bool:
    return any(gate.kind == "quantile" for gate in recipe.select.gates.values())


def _write(replay: Replay, path: Path) -> None:
    """Under its final name only when whole."""
    replay.changed().create_view("promptforge_difference")
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.resolve().parent) as folder:
        whole = Path(folder) / "difference"
        options = _FORMATS[path.suffix.lower()]
        quoted = str(whole).replace("'", "''")
        replay.con.execute(f"COPY promptforge_difference TO '{quoted}' ({options})")
        whole.replace(path)


def _whole(replay: Replay, shown: Shown) -> dict[str, Any]:
    return {
        "head": replay.against.number,
        "settings": [{"path": path, "before": old, "after": new} for path, old, new in replay.settings()],
        "axes": replay.axes(),
        "categories": replay.categories(),
        "moves": replay.moves(),
        "short": replay.short(),
        "examples": replay.examples(shown.examples) if shown.examples else [],
    }


def _tell(replay: Replay, shown: Shown) -> None:
    console = terminal.out()
    for path, old, new in replay.settings()[:_MOST_LINES]:
        console.print(terminal.safe(f"{path}: {_value(old)} -> {_value(new)}"))
    axes = replay.axes()
    _tell_axes(axes)
    moves = replay.moves()
    if not moves and not any(row["other_takes"] for row in axes):
        console.print("nothing would change")
    else:
        _tell_categories(replay.categories())
        _tell_moves(moves)
        if shown.examples:
            _tell_examples(replay.examples(shown.examples))
    for line in _notes(replay, axes):
        console.print(line)
    if shown.difference is not None:
        console.print(terminal.safe(f"every row that differs: {shown.difference}"))
    if shown.freeze is not None:
        console.print(terminal.safe(f"bounds of the quantile gates as numbers: --set @{shown.freeze}"))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        unsaid = Gate.model_construct().model_dump(mode="json")  # a gate's defaults
        value = {name: each for name, each in value.items() if each != unsaid.get(name)}
    text = "(none)" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_OF_A_SETTING else f"{text[: _MOST_OF_A_SETTING - 1]}…"


def _tell_axes(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ["accepted", "would be", "gained", "lost", "pictures", "would be", "gained", "lost"]
    names = [f"{kind}{name}" for kind in ("", "pictures_") for name in ("before", "after", "gained", "lost")]
    if any(row["other_takes"] for row in rows):
        columns, names = [*columns, "another take"], [*names, "other_takes"]
    made = terminal.table("axis", *columns, numeric=tuple(columns))
    for row in rows:
        made.add_row(row["axis"], *(f"{row[name]:,}" for name in names))
    terminal.out().print(made)


def _tell_categories(rows: Sequence[Mapping[str, Any]]) -> None:
    """Nothing where rows have no category: then the axes say the same."""
    if not any(row["category"] is not None for row in rows):
        return
    names = [name for name in COUNTS if any(row[name] for row in rows)]
    columns = [name.replace("_", " ").replace("other takes", "another take") for name in names]
    made = terminal.table("category", "axis", *columns, numeric=tuple(columns))
    for row in rows[:_MOST_LINES]:
        category = "(none)" if row["category"] is None else row["category"]
        made.add_row(terminal.safe(category), row["axis"], *(f"{row[name]:,}" for name in names))
    terminal.out().print()
    terminal.out().print(made)
    _more(len(rows), "categories")


def _tell_moves(rows: Sequence[Mapping[str, Any]]) -> None:
    """Over all axes: which gate or quota let how many rows go where."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        move = (_state(row["before"], row["reason_before"]), _state(row["after"], row["reason_after"]))
        counts[move] = counts.get(move, 0) + row["n"]
    if not counts:
        return
    made = terminal.table("was", "would be", "rows", numeric=("rows",))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for (before, after), n in ordered[:_MOST_LINES]:
        made.add_row(terminal.safe(before), terminal.safe(after), f"{n:,}")
    terminal.out().print()
    terminal.out().print(made)
    _more(len(ordered), "such moves")


def _more(n: int, what: str) -> None:
    if n > _MOST_LINES:
        terminal.out().print(f"and {n - _MOST_LINES:,} more {what}; --json has all")


def _state(state: str, reason: str | None) -> str:
    if reason is None:
        return {"accepted": "accepted, with a picture", "absent": "not there"}.get(state, state)
    return f"accepted, no picture: {reason}" if state == "accepted" else f"{state.replace('_', ' ')}: {reason}"


def _tell_examples(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    made = terminal.table("", "prompt_id", "text", "because")
    for kind, called in _KINDS.items():
        for row in (each for each in rows if each["kind"] == kind):
            text = row["text"] or "(its text is not here any more)"
            short = text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"
            made.add_row(called, row["prompt_id"][:12], terminal.safe(short), terminal.safe(_because(row)))
    terminal.out().print()
    terminal.out().print(made)


def _because(row: Mapping[str, Any]) -> str:
    """Why a row changed: the gate with what it measured and its bound; for what was gained, what kept it out before."""
    if row["kind"] == "other_take":
        return f"take {row['take_before']} -> {row['take_after']}"
    gained = row["kind"].endswith("gained")
    reason = (row["reason_before"] if gained else row["reason_after"]) or ("not there" if gained else "")
    said = f"was {reason}" if gained else str(reason)
    if row.get("predicate") is not None:
        return f"{said}: wanted {row['predicate']}"
    if row.get("metric") is None:
        return said
    value = "" if row["value"] is None else f" {row['value']:g}"
    word = "" if row["detail"] is None or row["one_of"] is None else f" {row['detail']}"
    group = "" if row["key"] is None else f" for {row['key']}"
    return f"{said}: {row['scorer']}.{row['metric']}{value}{word}, wanted {_bound(row)}{group}"


def _bound(row: Mapping[str, Any]) -> str:
    said = [] if row["minimum"] is None else [f"at least {row['minimum']:g}"]
    if row["maximum"] is not None:
        said.append(f"at most {row['maximum']:g}")
    if row["one_of"] is not None:
        said.append(f"one of {', '.join(row['one_of'])}" if row["one_of"] else "none at all")
    return ", ".join(said)


def _notes(replay: Replay, axes: Sequence[Mapping[str, Any]]) -> list[str]:
    """What thresholds alone cannot give: pictures that nobody has drawn, prompts that a quota lacks."""
    said = []
    if unrendered := sum(row["unrendered"] for row in axes):
        said.append(f"{unrendered:,} of the accepted have no picture yet; a run renders what the recipe wants")
    if short := replay.short():
        each = ", ".join(f"{row['cell']} {row['wanted'] - row['accepted']:,} of {row['wanted']:,}" for row in short)
        waiting = sum(row["unrendered"] for row in short)
        more = f"; {waiting:,} kept prompts there have no picture, of which a run would draw more" if waiting else ""
        said.append(f"short of the quota: {each}{more}")
    return said
