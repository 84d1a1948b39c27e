"""Prompts that are accepted elsewhere: what [dedup] compares a new run with.

Each set is a run folder (what its newest head accepts), a published data set (index.parquet) or prompts in files. Files
are compared with the sums of their records, manifest or first look before a row of them is used. A prompt that several
sets hold is the first one's.

Memory: the texts, scenes and strings of all sets as Arrow columns, some 700 bytes a prompt, twice where sets overlap;
Python objects are made of BATCH_ROWS rows at a time. Prompts of files are parsed, 6,000 a second of one busy core.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import catalog, records, scenes, targets, texts
from promptforge.errors import ConfigError, SourceFault, StoreFault
from promptforge.files import SPILL, sha256_file
from promptforge.sources import files
from promptforge.stages.resemblance.settings import Against
from promptforge.store import Commit, Store

#: place says where a prompt stands: the set's name, of a file its name and row, and the prompt_id.
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("prompt_id", "fold_key", "text_clean", "expected", "scene", "pair", "place")]
)
_ACCEPTED = """
SELECT p.prompt_id, p.fold_key, p.text_clean, array_to_string(p.expected_text, ' ') AS expected, p.scene,
    CASE WHEN p.pair_id IS NULL THEN '' ELSE p.noise_group END AS pair, $name || ': ' || p.prompt_id AS place
FROM selection s JOIN prompts p USING (row_id)
WHERE s.keep_prompt AND p.text_clean IS NOT NULL ORDER BY p.prompt_id
"""
_TABLES = ("prompts", "selection")
BATCH_ROWS = 10_000
PREFIX = "accepted in "  #: of the detail of a verdict that names such a prompt


class Earlier:
    """The sets in order; files are looked at once, at the first question."""

    def __init__(self, sets: Sequence[Against], own: Path) -> None:
        self._readers = [_reader(item, own) for item in sets]
        self._own = own

    @cached_property
    def digest(self) -> str:
        """A digest of what is accepted there and of the sets' names, never of a path."""
        return records.digest_of([[reader.name, reader.digest()] for reader in self._readers])

    def rows(self) -> pa.Table:
        """Every prompt once, in the order of the sets and of their prompts; columns as SCHEMA."""
        found = pa.concat_tables([SCHEMA.empty_table(), *(reader.rows() for reader in self._readers)]).combine_chunks()
        numbered = pa.table({"prompt_id": found["prompt_id"], "number": np.arange(found.num_rows)})
        first = numbered.group_by("prompt_id").aggregate([("number", "min")])["number_min"]
        if len(first) == found.num_rows:
            return found
        return found.take(pa.array(np.sort(first.to_numpy()))).combine_chunks()


def _reader(item: Against, own: Path) -> _RunFolder | _Dataset | _PromptFiles:
    path = Path(item.path).expanduser()
    if not path.exists():
        whence = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths start"
        raise SourceFault(f"{path}: no such run, data set or file of prompts{whence}; check dedup.against")
    if path.resolve() == own.resolve() or own.resolve() in path.resolve().parents:
        raise ConfigError(f"{path}: dedup.against names the run itself, so that it would drop all that it has accepted")
    if (path / "heads").is_dir():
        return _RunFolder(item.label, path, own)
    if (path / "manifest.json").is_file() and (path / "index.parquet").is_file():
        return _Dataset(item.label, path)
    return _PromptFiles(item.label, item)


class _RunFolder:
    def __init__(self, name: str, path: Path, own: Path) -> None:
        self.name, self._path, self._own = name, path, own

    @cached_property
    def _commits(self) -> tuple[Commit, ...]:
        store = Store(self._path)
        head = store.head()
        commits = () if head is None else tuple(store.in_force(head))
        if not any(commit.file("selection") for commit in commits):
            raise StoreFault(
                f"{self._path}: this run has accepted nothing yet; finish it, or leave it out of dedup.against"
            )
        return commits

    def digest(self) -> Any:
        """Of the columns that are read, as their records state them."""
        files = [item for commit in self._commits for item in commit.files if item.table in _TABLES]
        return [[item.table, item.rows, dict(item.columns)] for item in files]

    def rows(self) -> pa.Table:
        with catalog.connect(Store(self._path), self._commits, check=_TABLES) as con:
            con.execute("SET temp_directory = '" + str(self._own / SPILL).replace("'", "''") + "'")
            found = con.sql(_ACCEPTED, params={"name": self.name}).to_arrow_table()
        return found.cast(SCHEMA)


class _Dataset:
    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path / "index.parquet"
        manifest = path / "manifest.json"
        try:
            self._sha256 = str(json.loads(manifest.read_text("utf-8"))["files"]["index.parquet"]["sha256"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise SourceFault(
                f"{manifest}: not the manifest of a published data set ({exc!r}); fetch it again"
            ) from exc

    def digest(self) -> Any:
        return [_reading(), self._sha256]

    def rows(self) -> pa.Table:
        seen = sha256_file(self._path)
        if seen != self._sha256:
            raise SourceFault(
                f"{self._path}: sha256 is {seen[:16]}..., its manifest says {self._sha256[:16]}...; fetch it again"
            )
        wanted = ["prompt_id", "text", "expected_text", "scene", "pair_id", "noise_group"]
        found = pq.ParquetFile(self._path).read(columns=wanted).sort_by("prompt_id")
        return _table(
            _row(
                self.name,
                row["text"],
                expected=row["expected_text"],
                scene=row["scene"],
                pair=row["noise_group"] if row["pair_id"] else "",
            )
            for batch in found.to_batches(BATCH_ROWS)
            for row in batch.to_pylist()
        )


class _PromptFiles:
    def __init__(self, name: str, item: Against) -> None:
        self.name = name
        self._column = item.column
        columns = {} if item.column is None else {"text": item.column}
        params = {"paths": [item.path], "name": name, "columns": columns}
        self._source = files.Files(files.Params.model_validate(params))

    def digest(self) -> Any:
        listed = [[part.label, part.digest] for part in self._source.parts()]
        return [_reading(), files.VERSION, self._column, listed]

    def rows(self) -> pa.Table:
        return _table(self._read())

    def _read(self) -> Iterator[dict[str, str]]:
        for part in self._source.parts():
            where = part.label if self.name == part.label else f"{self.name}/{part.label}"
            for candidate in self._source.read(part, 0, part.n_rows):
                if candidate.text is None:
                    continue
                text = texts.clean(candidate.text).text
                if text:
                    pair = candidate.pair_id and records.content_id("pair", self.name, candidate.pair_id)
                    yield _row(
                        f"{where} row {candidate.row}",
                        text,
                        expected=candidate.expected_text,
                        scene=None,
                        pair=pair or "",
                    )


def _reading() -> list[int]:
    """Versions of what makes prompt_id, strings to be drawn and scene of a text that comes without them."""
    return [texts.VERSION, targets.VERSION, scenes.VERSION]


def _row(where: str, text: str, *, expected: Sequence[str] | None, scene: str | None, pair: str) -> dict[str, str]:
    prompt = records.prompt_id(text)
    return {
        "prompt_id": prompt,
        "fold_key": texts.fold_key(text),
        "text_clean": text,
        "expected": " ".join(targets.parse(text).strings if expected is None else expected),
        "scene": scene or scenes.parse(text).to_json(),
        "pair": pair,
        "place": f"{where}: {prompt}",
    }


def _table(rows: Iterator[dict[str, str]]) -> pa.Table:
    made = [SCHEMA.empty_table()]
    while some := list(islice(rows, BATCH_ROWS)):
        made.append(pa.Table.from_pylist(some, schema=SCHEMA))
    return pa.concat_tables(made)
