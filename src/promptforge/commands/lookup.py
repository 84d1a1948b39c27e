"""why and show: everything that is known of one row, and one picture.

Either is named by row_id, prompt_id or image_id; the first digits are enough where they begin the ids of one prompt.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from promptforge import catalog
from promptforge.commands import clusters, gates, terminal
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.stages.generate import tombstones
from promptforge.stages.render import decode
from promptforge.stages.run import Run, open_run

_ID = re.compile(r"\A[0-9a-f]{4,32}\Z")

_GAP = """
SELECT g.* FROM arrangement a JOIN cells c USING (row_id)
JOIN gap_cells g ON g.axis = a.axis AND g.words = c.words AND g.category IS NOT DISTINCT FROM c.category
WHERE a.prompt_id = $id
"""

_NAMED = """
SELECT 'row_id' AS kind, row_id AS id, coalesce(prompt_id, row_id) AS owner FROM prompts WHERE starts_with(row_id, $id)
UNION SELECT 'prompt_id', prompt_id, prompt_id FROM prompts WHERE starts_with(prompt_id, $id)
UNION SELECT 'prompt_id', prompt_id, prompt_id FROM images WHERE starts_with(prompt_id, $id)
UNION SELECT 'image_id', image_id, prompt_id FROM images WHERE starts_with(image_id, $id)
ORDER BY id LIMIT 1000
"""

# The take that was selected, else the first.
_TAKE = """
SELECT i.image_id, i.prompt_id, i.take, i.error, i.teacher FROM images i
LEFT JOIN selection s ON s.prompt_id = i.prompt_id
WHERE starts_with(i.image_id, $id) OR i.prompt_id = $id
ORDER BY coalesce(i.image_id = s.image_id, false) DESC, i.take, i.image_id LIMIT 1
"""


def _prefix(text: str) -> str:
    folded = text.strip().lower()
    if not _ID.match(folded):
        raise ConfigError(f"{text!r} is no id: expected 4 to 32 hex digits of a row_id, prompt_id or image_id")
    return folded


def _records(con: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = con.sql(sql, params=values or None).to_arrow_table().to_pylist()
    return rows


def _named(con: duckdb.DuckDBPyConnection, prefix: str) -> tuple[str, dict[str, list[str]]]:
    """The one prompt_id (row_id where no text could be read) that is meant, and the ids that begin so, by kind."""
    found = _records(con, _NAMED, id=prefix)
    if not found:
        raise ConfigError(
            f"no row_id, prompt_id or image_id begins with {prefix}; ids are in the tables:"
            f" {terminal.program()} schema prompts"
        )
    if len({row["owner"] for row in found}) > 1:
        ids = sorted({row["id"] for row in found})
        raise ConfigError(f"{len(ids)} ids begin with {prefix}: {', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}")
    kinds: dict[str, list[str]] = {}
    for row in found:
        kinds.setdefault(row["kind"], []).append(row["id"])
    return found[0]["owner"], kinds


def why(root: Path, text: str) -> None:
    """Print what became of a row: text, verdicts, decisions, gates, and what each check says of it now."""
    run = open_run(root)
    prefix = _prefix(text)
    with catalog.open_run(root) as con:
        if not _records(con, _NAMED, id=prefix) and (taken := _taken_over(run, prefix)):
            terminal.out().print("\n".join(taken))
            return
        owner, kinds = _named(con, prefix)
        by_row = list(kinds) == ["row_id"]  # else every row of the prompt
        rows = _records(
            con,
            f"SELECT * FROM prompts WHERE {'list_contains($id, row_id)' if by_row else 'prompt_id = $id'}"
            " ORDER BY stream_order, row_id LIMIT 1000",
            id=kinds["row_id"] if by_row else owner,
        )
        if not rows:
            raise ConfigError(
                f"{prefix}: a picture of prompt {owner}, which this run does not have; show can tell more"
            )
        # The row that stands for the prompt: a dropped one has no decision, even where its text is the same.
        chosen = {
            row["row_id"] for row in _records(con, "SELECT row_id FROM selection WHERE prompt_id = $id", id=owner)
        }
        standing = next((row for row in rows if row["row_id"] in chosen), None)
        withheld = _records(con, "SELECT reason FROM withheld WHERE prompt_id = $id LIMIT 1", id=rows[0]["prompt_id"])
        if withheld:
            terminal.out().print(
                f"prompt_id  {rows[0]['prompt_id']}\nverdict    {withheld[0]['reason']}; text withheld"
            )
            return
        for row in rows:
            _tell_row(con, run, row)
            if row is standing:
                _tell_selection(con, run, owner)
        if rows[0]["prompt_id"] is not None:
            _tell_checks(con, run, standing or rows[0])


def _taken_over(run: Run, prefix: str) -> list[str]:
    """What is told of the one prompt that begins so in the set that this run adds to; [] where there is none."""
    if run.extended is None:
        return []
    index = run.extended.index
    rows = index.filter(pc.starts_with(index["prompt_id"], prefix)).to_pylist()
    if len(rows) != 1:
        return []
    (row,) = rows
    kept = run.extended.rows(frozenset(tombstones(run.store.commits("purge"), run)))["prompt_id"]
    if pc.index(kept, row["prompt_id"]).as_py() < 0:
        return [f"prompt_id  {row['prompt_id']}", "fate       was purged, so it is not taken over"]
    return [
        f"prompt_id  {row['prompt_id']}",
        f"text       {terminal.safe(row['text']).plain}",
        f"axis       {row['axis']}, split {row['split']}",
        f"fate       taken over from {terminal.safe(run.extended.name).plain}, whose run knows more",
    ]


def _tell_row(con: duckdb.DuckDBPyConnection, run: Run, row: Mapping[str, Any]) -> None:
    console = terminal.out()
    console.print(f"row_id     {row['row_id']}")
    console.print(f"prompt_id  {row['prompt_id'] or '(none: no text could be read)'}")
    console.print("text       " + ("(none)" if row["text_clean"] is None else terminal.safe(row["text_clean"]).plain))
    if row["repairs"]:
        console.print(f"repaired   {', '.join(row['repairs'])}; written as: {terminal.safe(row['text']).plain}")
    place = terminal.safe(f"{row['source']}, {row['source_part']}, row {row['source_row']:,}").plain
    console.print(f"from       {place}")
    axis = "unknown" if row["axis"] is None else row["axis"]
    axis += "" if row["axis_origin"] is None else f" ({row['axis_origin']})"
    known = [f"{name} {terminal.safe(row[name]).plain}" for name in ("category", "split") if row[name] is not None]
    console.print(f"axis       {', '.join([axis, *known])}")
    console.print(f"fate       {_fate(con, row['row_id'])}")
    verdicts = _records(
        con,
        "SELECT stage, check_name, verdict, reason, value, threshold, detail FROM verdicts WHERE row_id = $id",
        id=row["row_id"],
    )
    for verdict in verdicts:
        measured = "" if verdict["value"] is None else f", measured {verdict['value']:g}"
        against = "" if verdict["threshold"] is None else f" against {verdict['threshold']:g}"
        said = f"{verdict['stage']}/{verdict['check_name']}: {verdict['verdict']}"
        if verdict["check_name"] in clusters.CHECKS and verdict["detail"]:
            survivor = _fate(con, verdict["detail"])
            console.print(f"verdict    {said}, {clusters.duplicate_of(con, run, verdict, survivor)}")
            continue
        said += f", {verdict['reason']}"
        detail = terminal.safe(f" ({verdict['detail']})").plain if verdict["detail"] else ""
        console.print(f"verdict    {said}{measured}{against}{detail}")
    for line in (*clusters.benchmark_hits(con, row["row_id"]), *clusters.dropped_for(con, row["row_id"])):
        console.print(line)


def _fate(con: duckdb.DuckDBPyConnection, row_id: str) -> str:
    """What became of a row, and why; empty for one that the run does not have."""
    for fate in _records(con, "SELECT fate, stage, check_name, reason FROM fates WHERE row_id = $id", id=row_id):
        because = dict.fromkeys(fate[name] for name in ("stage", "check_name", "reason") if fate[name])
        told = fate["fate"] in {"accepted", "undecided"}
        return str(fate["fate"]) if told else f"{fate['fate']}: {', '.join(because)}"
    return ""


def _tell_selection(con: duckdb.DuckDBPyConnection, run: Run, prompt: str) -> None:
    console = terminal.out()
    for row in _records(con, "SELECT * FROM arrangement WHERE prompt_id = $id", id=prompt):
        gain = "" if row["gain"] is None else f", adds {row['gain']:g}"
        console.print(f"order      place {row['place']:,} of {row['axis']}, block {row['block']:,}{gain}{_held(row)}")
    for row in _records(con, _GAP, id=prompt):
        measured = f"gap {row['gap']:.3g} of {row['n_measured']:,} prompts" if row["n_measured"] else "not measured"
        cell = terminal.safe(f"{row['category'] or '(no category)'} {row['words']}").plain
        console.print(f"gap        cell {cell}: {measured}, so {row['factor']:.3g} times its share of {row['axis']}")
    for row in _records(con, "SELECT * FROM selection WHERE prompt_id = $id", id=prompt):
        console.print(
            f"selection  {row['state']}{'' if row['reason'] is None else ', ' + row['reason']};"
            f" keep_prompt {_yes(row['keep_prompt'])}, keep_image {_yes(row['keep_image'])}"
            f"{'' if row['image_reason'] is None else ' (' + row['image_reason'] + ')'};"
            f" {row['n_passed']} of {row['n_takes']} takes pass every gate"
        )
    gates.tell(con, run, prompt)


def _held(row: Mapping[str, Any]) -> str:
    """What a cap did to a row's place."""
    if row["left_over"]:
        return f"; left over by {row['held']}"
    return f"; held back by {row['held']} from place {row['turn']:,}" if row["held"] else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tell_checks(con: duckdb.DuckDBPyConnection, run: Run, row: Mapping[str, Any]) -> None:
    """Each check of the recipe on this one row, also those after the one that dropped it."""
    console = terminal.out()
    rows = con.sql("SELECT * FROM prompts WHERE row_id = $id", params={"id": row["row_id"]}).to_arrow_table()
    for part, check in zip(run.parts.filters, run.filters, strict=True):
        findings = check(rows.select(list(check.columns)))
        if not findings:
            console.print(f"check      {part.kind}: passes")
        for finding in findings:
            measured = "" if finding.value is None else f", measured {finding.value:g}"
            against = "" if finding.threshold is None else f" against {finding.threshold:g}"
            detail = terminal.safe(f" ({finding.detail})").plain if finding.detail else ""
            console.print(f"check      {part.kind}: {finding.verdict}, {finding.reason}{measured}{against}{detail}")


def show(root: Path, text: str, output: Path | None) -> None:
    """Write a picture to a file and print what was asked, what was measured and what was read."""
    prefix = _prefix(text)
    console = terminal.out()
    with catalog.open_run(root) as con:
        owner, kinds = _named(con, prefix)
        images = kinds.get("image_id", [])
        if len(images) > 1:
            raise ConfigError(f"{len(images)} takes of one prompt begin with {prefix}: {', '.join(images[:5])}")
        found = _records(con, _TAKE, id=images[0] if images else owner)
        if not found:
            raise ConfigError(_no_picture(con, owner))
        row = found[0]
        image = row["image_id"]
        prompts = _records(
            con,
            "SELECT text_clean, expected_text FROM prompts WHERE prompt_id = $id"
            " AND NOT EXISTS (FROM withheld w WHERE w.prompt_id = $id) LIMIT 1",
            id=row["prompt_id"],
        )
        scores = _records(
            con, "SELECT scorer, metric, value, detail FROM scores_in_force WHERE image_id = $id ORDER BY ALL", id=image
        )
        pixels = con.execute("SELECT encoded FROM pixels WHERE image_id = ?", [image]).fetchone()
    if pixels is not None:
        console.print(f"picture    {_write(pixels[0], image, output)}")
    else:
        said = terminal.safe(row["error"]).plain if row["error"] else "its pixels are not kept here"
        console.print(f"picture    none: {said}")
    console.print(f"image_id   {image}, take {row['take']}, teacher {row['teacher']}")
    console.print(f"prompt_id  {row['prompt_id']}")
    if prompts:
        console.print("prompt     " + terminal.safe(prompts[0]["text_clean"]).plain)
        for wanted in prompts[0]["expected_text"] or ():
            console.print("to draw    " + terminal.safe(wanted).plain)
    if scores:
        made = terminal.table("scorer", "metric", "value", "detail", numeric=("value",))
        for score in scores:
            value = "" if score["value"] is None else f"{score['value']:.4g}"
            made.add_row(score["scorer"], score["metric"], value, terminal.safe(score["detail"] or ""))
        console.print(made)
    with catalog.open_run(root) as con:
        gates.tell(con, open_run(root), row["prompt_id"], image)


def _no_picture(con: duckdb.DuckDBPyConnection, owner: str) -> str:
    """Why a prompt, or a row without text, has no picture."""
    rows = _records(
        con,
        "SELECT row_id FROM fates WHERE prompt_id = $id OR row_id = $id"
        " ORDER BY fate = 'dropped', source_part, source_row LIMIT 1",
        id=owner,
    )
    return f"{owner} was not rendered; it is {_fate(con, rows[0]['row_id'])}"


def _write(encoded: bytes, image: str, output: Path | None) -> Path:
    """The stored WebP as it is, or another format by the file's suffix."""
    path = output or Path(tempfile.gettempdir()) / f"promptforge-{image}.webp"
    if path.suffix.lower() == ".webp":
        put(path, encoded)
        return path
    from PIL import Image

    try:
        Image.fromarray(decode(encoded)).save(path)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}; name a .webp or .png file") from exc
    return path
