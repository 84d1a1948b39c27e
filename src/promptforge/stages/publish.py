"""publish: the accepted prompts and their pictures as a Hugging Face data set folder.

    dataset/README.md            the card
    dataset/data/                config `default`: accepted prompts whose picture may be used, with the picture
    dataset/prompts/             config `prompts`: every accepted prompt, no pictures
    dataset/index.parquet        every accepted prompt with its scores and the place of its picture, for SQL
    dataset/manifest.json        what it is made of, and the SHA-256 of every file; written last

Where no picture may be used there is no data/, and `default` is prompts/ too. The folder is a function of its digest,
which covers the rows themselves and no commit: shard counts and interruptions change nothing. It is built whole under
dataset.tmp-<digest>/ and swapped in by two renames; the next call finishes a swap that was cut off.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import __version__, lexicon
from promptforge.files import fsync_folder, put
from promptforge.schema import arrow_schema
from promptforge.stages import shards
from promptforge.stages.card import card
from promptforge.stages.content import Content, gather
from promptforge.stages.run import DATASET, Run, Tally, Unit
from promptforge.stages.shards import PICTURE_COLUMNS, PROMPT_COLUMNS, SPLITS, Written
from promptforge.store import Commit


def publish(run: Run, commits: Sequence[Commit]) -> tuple[Commit, Tally]:
    """Commit the table published, and see to it that dataset/ is what it says.

    `commits` are those in force up to select.
    """
    begun = time.monotonic()
    content = gather(run, commits)
    digest = content.digest

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        table = content.index.filter(content.own(content.index)).select(arrow_schema("published").names)
        tables = {"published": table, "coverage_measures": content.measures, "prompt_nouns": content.nouns}
        return tables, {"prompts": table.num_rows, "pictures": pc.sum(table["keep_image"], min_count=0).as_py()}

    commit, tally = run.work(Unit("publish", "all", digest, make))
    final = run.root / DATASET
    if not is_whole(final, digest):
        fresh = run.root / f"{DATASET}.tmp-{digest[:16]}"
        if not is_whole(fresh, digest):
            _build(run, commits, content, fresh)
        _swap(fresh, final)
        tally = Tally("publish", done=1, rows=content.index.num_rows, seconds=time.monotonic() - begun)
    for pattern in (f"{DATASET}.tmp-*", f"{DATASET}.old-*"):
        for leftover in sorted(run.root.glob(pattern)):
            shutil.rmtree(leftover)
    return commit, tally


def is_whole(folder: Path, digest: str) -> bool:
    """Whether a folder holds the data set of this digest: every file that its manifest names, by size, and no other.

    The manifest is written last, so a folder with one was finished. `verify_dataset` compares the contents.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        files = {name: item["bytes"] for name, item in manifest["files"].items()}
        stated = manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    found = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    found.pop("manifest.json")
    return bool(stated == digest and found == files)


def _swap(fresh: Path, final: Path) -> None:
    """Put `fresh` in the place of `final`; killed in between, `fresh` is still whole and the next call goes on."""
    if final.exists():
        old = final.with_name(f"{DATASET}.old-{fresh.name.rpartition('-')[2]}")
        if old.exists():
            shutil.rmtree(old)
        final.rename(old)
    fresh.rename(final)
    fsync_folder(final.parent)


def _build(run: Run, commits: Sequence[Commit], content: Content, fresh: Path) -> None:
    """Write every file of the data set, manifest last; nothing is left of it where that fails."""
    if fresh.exists():
        shutil.rmtree(fresh)
    try:
        files = _write_shards(run, commits, content, fresh)
        put(fresh / "index.parquet", content.index_file)
        files["index.parquet"] = Written.of(fresh / "index.parquet", content.index.num_rows, content.index.nbytes)
        schemas = _schemas(content)
        put(fresh / "README.md", card(run, content, schemas, files).encode())
        files["README.md"] = Written.of(fresh / "README.md")
        put(fresh / "manifest.json", _manifest(run, content, schemas, files).encode())
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _schemas(content: Content) -> dict[str, pa.Schema]:
    """Folder -> schema of its files; no data/ where no picture may be used."""
    index = content.index.schema
    plain = pa.schema([index.field(name) for name in PROMPT_COLUMNS])
    schemas = {"prompts": shards.hub_schema(plain, pictures=False)}
    if content.n_pictures:
        rich = pa.schema([index.field(name) for name in (*PROMPT_COLUMNS, *PICTURE_COLUMNS, *content.scores)])
        schemas["data"] = shards.hub_schema(rich, pictures=True)
    return schemas


def _write_shards(run: Run, commits: Sequence[Commit], content: Content, fresh: Path) -> dict[str, Written]:
    schemas = _schemas(content)
    text, rich = schemas["prompts"], schemas.get("data")
    todo: dict[str, tuple[pa.Schema, Callable[[], Iterator[pa.Table]]]] = {}
    for split in SPLITS:
        rows = content.index.filter(pc.equal(content.index["split"], split))
        n_files = -(-rows.num_rows // shards.PROMPTS_PER_FILE)
        for number in range(n_files):
            piece = rows.slice(number * shards.PROMPTS_PER_FILE, shards.PROMPTS_PER_FILE)
            name = f"prompts/{split}-{number:05d}-of-{n_files:05d}.parquet"
            todo[name] = (text, partial(shards.text_groups, piece, text))
    if rich is not None:
        shown = content.index.filter(content.index["keep_image"])
        pictures = _Pictures(run, commits, content, shown)
        start = 0
        for entry in pc.value_counts(shown["file"]).to_pylist():  # in order of appearance, and rows of a file adjoin
            name, count = entry["values"], entry["counts"]
            todo[name] = (rich, partial(_groups, shown, rich, pictures, range(start, start + count)))
            start += count
    files = shards.write_files(fresh, todo)
    for folder in schemas:
        if (fresh / folder).is_dir():
            fsync_folder(fresh / folder)
    return files


def _groups(shown: pa.Table, schema: pa.Schema, pictures: _Pictures, rows: range) -> Iterator[pa.Table]:
    """Row groups of the file with these rows of `shown`."""
    encoded = (pictures[row] for row in rows)
    return shards.picture_groups(shown.slice(rows.start, len(rows)), schema, encoded, pictures.suffix)


class _Pictures:
    """The published picture of each of these rows; those of the set that is added to as they are there."""

    def __init__(self, run: Run, commits: Sequence[Commit], content: Content, shown: pa.Table) -> None:
        own = content.own(shown)
        self.suffix = run.recipe.publish.format
        self._is_own = own.to_numpy()
        self._place = np.where(self._is_own, np.cumsum(self._is_own), np.cumsum(~self._is_own)) - 1
        self._mine = shards.Pictures(run.store, commits, shown.filter(own))
        theirs = shown.filter(pc.invert(own))["prompt_id"]
        self._theirs = run.extended.pictures(theirs) if run.extended is not None else None

    def __getitem__(self, row: int) -> bytes:
        place = int(self._place[row])
        if self._is_own[row]:
            encoded = self._mine[place]
            return shards.as_png(encoded) if self.suffix == "png" else encoded
        assert self._theirs is not None
        return self._theirs[place]


def _manifest(run: Run, content: Content, schemas: Mapping[str, pa.Schema], files: Mapping[str, Written]) -> str:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for split, axis, prompts, pictures in content.figures["splits"]:
        counts.setdefault(split, {})[axis] = {"prompts": prompts, "pictures": pictures}
    columns = {folder: schemas[folder] for folder in schemas} | {"index": content.index.schema}
    manifest = {
        "promptforge": __version__,
        "digest": content.digest,
        "recipe": content.recipe,
        "backends": {
            "teacher": {
                **content.recipe["teacher"],
                "licence": run.parts.licence.name,
                "pictures": [
                    {"fingerprint": teacher, "description": json.loads(regime), "n_pictures": drawn, "n_errors": errors}
                    for teacher, regime, drawn, errors, _ in content.figures["teachers"]
                ],
            },
            "scorers": content.recipe["scorers"],
            "lexicon": lexicon.digest(),
        },
        "columns": {name: shards.column_types(columns[name]) for name in columns},
        "files": {
            name: {"rows": item.rows, "bytes": item.bytes, "sha256": item.sha256} for name, item in files.items()
        },
        "counts": counts,
    }
    if content.extends is not None:
        manifest["extends"] = content.extends
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
