"""What is wrong with a data set folder: every fault that can be told from the folder alone.

    missing, extra     a file that the manifest names is not there; one is there that it does not name
    sha256, rows       a file is not what the manifest says
    schema             a Parquet file has other columns or types than the manifest says
    image              a picture cannot be decoded, or has another size than its row says
    duplicate          a prompt_id stands twice in prompts/, or in data/
    index              index.parquet, prompts/ and data/ do not hold the same prompts and places
    split              a split_group lies in two splits
    reserved           a prompt in train has words or combinations that are reserved for a test

Reserved words are looked for only where the lexicon is the one that the data set was made with.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from promptforge import lexicon, scenes
from promptforge.files import differences
from promptforge.records import Scene
from promptforge.stages.shards import column_types


@dataclass(frozen=True, slots=True)
class DatasetFault:
    """One fault: its kind, the file (relative to the folder) and what was seen."""

    kind: str
    file: str
    detail: str


def verify_dataset(root: Path) -> list[DatasetFault]:
    """Every fault of the data set folder `root`, sorted by file; [] for none.

    Contents are compared only where every file is what the manifest says: a broken file makes more faults than one.
    """
    path = root / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
        files: Mapping[str, Any] = manifest["files"]
    except FileNotFoundError:
        return [DatasetFault("missing", "manifest.json", f"{root} has none: publish was not finished")]
    except (ValueError, KeyError, TypeError) as exc:
        return [DatasetFault("schema", "manifest.json", f"not a manifest: {exc!r}")]
    faults = [*_file_faults(root, files)]
    if not faults:
        faults += _schema_faults(root, manifest)
    if not faults:
        for name in files:
            if name.startswith("data/"):
                faults += _picture_faults(root, name)
        faults += _row_faults(root, files)
        if manifest["backends"]["lexicon"] == lexicon.digest():
            faults += reserved_faults(root)
    return sorted(faults, key=lambda fault: (fault.file, fault.kind, fault.detail))


def _file_faults(root: Path, files: Mapping[str, Any]) -> Iterator[DatasetFault]:
    sums = {name: stated["sha256"] for name, stated in files.items()}
    for name, what, seen in differences(root, sums):
        if what == "missing":
            yield DatasetFault("missing", name, "the manifest names it")
        elif what == "changed":
            yield DatasetFault("sha256", name, f"is {seen[:16]}..., the manifest says {sums[name][:16]}...")
        elif name != "manifest.json":
            yield DatasetFault("extra", name, "the manifest does not name it")


def _schema_faults(root: Path, manifest: Mapping[str, Any]) -> Iterator[DatasetFault]:
    for name, stated in sorted(manifest["files"].items()):
        if not name.endswith(".parquet"):
            continue
        try:
            parquet = pq.ParquetFile(root / name)
        except (pa.ArrowInvalid, OSError) as exc:
            yield DatasetFault("schema", name, f"not Parquet: {exc}")
            continue
        if parquet.metadata.num_rows != stated["rows"]:
            yield DatasetFault("rows", name, f"has {parquet.metadata.num_rows}, the manifest says {stated['rows']}")
        wanted = manifest["columns"][name.split("/")[0].removesuffix(".parquet")]
        seen = column_types(parquet.schema_arrow)
        for column in sorted({*wanted, *seen}):
            if wanted.get(column) != seen.get(column):
                detail = f"{column} is {seen.get(column, 'missing')}, the manifest says {wanted.get(column, 'nothing')}"
                yield DatasetFault("schema", name, detail)


def _picture_faults(root: Path, name: str) -> Iterator[DatasetFault]:
    with pq.ParquetFile(root / name) as parquet:
        row = 0
        for number in range(parquet.num_row_groups):
            for item in parquet.read_row_group(number, ["image", "width", "height"]).to_pylist():
                fault = _picture_fault(item)
                if fault:
                    yield DatasetFault("image", name, f"row {row}: {fault}")
                row += 1


def _picture_fault(item: Mapping[str, Any]) -> str | None:
    try:
        with Image.open(io.BytesIO(item["image"]["bytes"])) as image:
            image.load()
            size = image.size
    except Exception as exc:  # Pillow raises whatever its decoders raise
        return f"cannot be decoded: {exc}"
    stated = (item["width"], item["height"])
    return None if size == stated else f"is {size[0]} x {size[1]}, its row says {stated[0]} x {stated[1]}"


def _row_faults(root: Path, files: Mapping[str, Any]) -> Iterator[DatasetFault]:
    """Faults across files, in SQL."""
    with duckdb.connect(":memory:") as con:
        for folder in ("prompts", "data"):
            con.register(folder, _places(root, sorted(name for name in files if name.startswith(f"{folder}/"))))
        con.register("listed", pq.ParquetFile(root / "index.parquet").read(["prompt_id", "split", "file", "file_row"]))
        for kind, query in _ACROSS.items():
            for file, detail in con.execute(query).fetchall():
                yield DatasetFault(kind, file, detail)


def _places(root: Path, names: Sequence[str]) -> pa.Table:
    """Where each prompt lies: prompt_id, split_group, file, file_row, split."""
    found = [_PLACE.empty_table()]
    for name in names:
        rows = pq.ParquetFile(root / name).read(["prompt_id", "split_group"])
        split = name.split("/")[1].split("-")[0]
        places = {"file": [name] * len(rows), "file_row": range(len(rows)), "split": [split] * len(rows)}
        found.append(pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **places}, schema=_PLACE))
    return pa.concat_tables(found)


_PLACE = pa.schema(
    {"prompt_id": pa.string(), "split_group": pa.string(), "file": pa.string(), "file_row": pa.int64()}
    | {"split": pa.string()}
)
_ACROSS = {
    "duplicate": """
        SELECT min(file), 'prompt_id ' || prompt_id || ' stands ' || count(*) || ' times' FROM prompts
        GROUP BY prompt_id HAVING count(*) > 1
        UNION ALL
        SELECT min(file), 'prompt_id ' || prompt_id || ' stands ' || count(*) || ' times' FROM data
        GROUP BY prompt_id HAVING count(*) > 1""",
    "split": """
        SELECT min(file), 'split_group ' || split_group || ' lies in '
            || string_agg(DISTINCT split, ', ' ORDER BY split)
        FROM prompts GROUP BY split_group HAVING count(DISTINCT split) > 1""",
    "index": """
        SELECT 'index.parquet', 'prompt_id ' || coalesce(l.prompt_id, p.prompt_id) || ' is in split '
            || coalesce(l.split, 'none') || ', and in prompts/ in ' || coalesce(p.split, 'none')
        FROM listed l FULL JOIN prompts p USING (prompt_id) WHERE l.split IS DISTINCT FROM p.split
        UNION ALL
        SELECT 'index.parquet', 'prompt_id ' || coalesce(l.prompt_id, d.prompt_id) || ' should have its picture at '
            || coalesce(l.file || ':' || l.file_row, 'no place') || ', it is at '
            || coalesce(d.file || ':' || d.file_row, 'no place')
        FROM listed l FULL JOIN data d USING (prompt_id)
        WHERE l.file IS DISTINCT FROM d.file OR l.file_row IS DISTINCT FROM d.file_row""",
}


def reserved_faults(root: Path) -> Iterator[DatasetFault]:
    """Every prompt is in the split that its words demand; test_natural is drawn from what train may have."""
    columns = ["prompt_id", "split", "expected_text", "scene"]
    with pq.ParquetFile(root / "index.parquet") as parquet:
        for batch in parquet.iter_batches(columns=columns):
            for row in batch.to_pylist():
                scene = Scene.from_json(row["scene"]) if row["scene"] else None
                wanted = scenes.split_of(row["expected_text"] or (), scene)
                if wanted != ("train" if row["split"] == "test_natural" else row["split"]):
                    detail = f"prompt_id {row['prompt_id']} is in {row['split']}, its words are those of {wanted}"
                    yield DatasetFault("reserved", "index.parquet", detail)
