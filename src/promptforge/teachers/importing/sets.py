"""Which picture belongs to which prompt, in what was rendered elsewhere.

Three forms are read:

    a folder with metadata.jsonl or metadata.csv (file_name, and text, prompt, caption or prompt_id), as Hugging Face's
    a folder, also nested, of pictures, each beside a .txt of its name that holds the prompt
    a Parquet file, or a folder of them: a picture column (struct of bytes and path, bytes, or path) and a prompt column

Several pictures of a prompt are takes 0, 1, ... in the order of rows or file names. A name in the data that leads out
of the folder is no picture, and a link that does ends the import, since a file of this machine would be published;
links within the folder, or a hub's cache, are followed. The digest covers prompts, takes and the pictures' bytes, never
where they lie, so the same pictures as a folder and as Parquet are one import. Every picture is read once for it: about
1 s a GB.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import records, texts
from promptforge.errors import SourceFault
from promptforge.teachers.importing.pixels import SUFFIXES

METADATA = ("metadata.jsonl", "metadata.csv")
PROMPT_COLUMNS = ("text", "prompt", "caption", "prompt_id")  #: looked for in this order, in any case
PICTURE_COLUMNS = ("file_name", "image", "path")
#: Columns of the prompt that go into a run with it, under their own names.
CARRIED = ("axis", "category", "expected_text", "pair_id", "parent_id", "style")
_MAX_BYTES = 256 << 20  # of an encoded picture
_MAX_CAPTION = 64 << 10  # bytes of a .txt; a longer one is no prompt
_BATCH = 32  # pictures of a Parquet file in memory at once
_ID = re.compile(r"\A[0-9a-f]{32}\Z")

_GUARD = threading.Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture's bytes are: a file, or a row of a Parquet file."""

    path: Path
    row: int | None = None
    column: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of the import. `text` is as it was written; `prompt_id` is None where there is no usable prompt."""

    text: Any
    prompt_id: str | None
    place: Place | None
    sha256: str | None
    problem: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportSet:
    """Every picture in its order."""

    items: tuple[Item, ...]

    @cached_property
    def by_take(self) -> dict[tuple[str, int], Item]:
        """(prompt_id, take) -> picture."""
        found: dict[tuple[str, int], Item] = {}
        count: dict[str, int] = {}
        for item in self.items:
            if item.prompt_id is not None:
                take = count.get(item.prompt_id, 0)
                count[item.prompt_id] = take + 1
                found[item.prompt_id, take] = item
        return found

    @cached_property
    def digest(self) -> str:
        """64 hex digits over prompts, takes and bytes."""
        lines = sorted(f"{prompt} {take} {item.sha256}\n" for (prompt, take), item in self.by_take.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def n_prompts(self) -> int:
        """Prompts that have a picture."""
        return len({prompt for prompt, _ in self.by_take})

    @property
    def n_takes(self) -> int:
        """Pictures of the prompt that has most."""
        return max((take + 1 for _, take in self.by_take), default=0)

    def data(self, item: Item) -> bytes:
        """The encoded picture. Raises SourceFault where it is not the one that was seen first."""
        assert item.place is not None
        try:
            data = _bytes_at(item.place)
        except OSError as exc:
            raise SourceFault(
                f"{item.place.path}: cannot be read any more: {exc.strerror or exc}; put it back"
            ) from exc
        if data is None or hashlib.sha256(data).hexdigest() != item.sha256:
            where = "" if item.place.row is None else f" row {item.place.row}"
            raise SourceFault(
                f"{item.place.path}{where}: changed since the run began; run again to take it as it is now"
            )
        return data


def read_set(path: str, prompts: str | None = None, pictures: str | None = None) -> ImportSet:
    """The import below `path`, read once a process while its files stay as they are.

    `prompts`, `pictures`: the columns, where they are not the usual ones. Raises SourceFault where nothing can be read.
    """
    root = Path(path).expanduser()
    try:
        state = _state(root)
    except OSError as exc:
        raise SourceFault(
            f"{exc.filename or path}: cannot be read: {exc.strerror}; give a folder of pictures or Parquet"
        ) from exc
    with _GUARD:
        return _read(root, prompts, pictures, state)


def _state(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files: what tells that an import has changed."""
    if not root.is_dir():
        stat = root.stat()
        return ((root.name, stat.st_size, stat.st_mtime_ns),)
    found, home = [], _home(root)
    for where, folders, names in os.walk(root):
        for name in (*folders, *names):
            _check_link(Path(where, name), home)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            # A link to nothing is no picture, and no reason to stop: editors leave such.
            size, changed = (seen.st_size, seen.st_mtime_ns) if (seen := _stat(path)) else (-1, -1)
            found.append((os.path.relpath(path, root), size, changed))
    return tuple(found)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _home(root: Path) -> Path:
    """The folder that no link may lead out of; in a hub's cache snapshots/<commit> holds links to blobs beside it."""
    real = root.resolve()
    cache = next((folder.parent for folder in real.parents if folder.name == "snapshots"), None)
    return cache if cache is not None and (cache / "blobs").is_dir() else real


def _check_link(path: Path, home: Path) -> None:
    if path.is_symlink() and not (target := Path(os.path.realpath(path))).is_relative_to(home):
        raise SourceFault(f"{path}: is a link to {target}, outside of {home}; copy what it leads to, or remove it")


@lru_cache(maxsize=2)
def _read(root: Path, prompts: str | None, pictures: str | None, state: tuple[tuple[str, int, int], ...]) -> ImportSet:
    names = [name for name, _, _ in state]
    if root.is_file():
        tables = [root] if root.suffix.lower() == ".parquet" else []
    else:
        tables = [root / name for name in names if name.lower().endswith(".parquet")]
    listed = next((root / name for name in METADATA if name in names), None)
    if listed is not None:
        return _checked(root, ImportSet(tuple(_listed(listed, prompts, pictures))))
    if tables:
        return _checked(root, _of_tables(tables, prompts, pictures))
    if root.is_file():
        raise SourceFault(f"{root}: unknown kind {root.suffix or '(no ending)'!r}; expected a folder or .parquet")
    shown = [name for name in names if name.lower().endswith(SUFFIXES)]
    return _checked(root, ImportSet(tuple(_captioned(root, name) for name in shown)))


def _checked(root: Path, found: ImportSet) -> ImportSet:
    if not found.items:
        raise SourceFault(
            f"{root}: no picture; expected metadata.jsonl with file_name and text, pictures ({', '.join(SUFFIXES)})"
            " each beside a .txt of its name, or Parquet with an image column"
        )
    return found


# Pictures that are files


def _captioned(root: Path, name: str) -> Item:
    place = Place(root / name)
    caption = place.path.with_suffix(".txt")
    try:
        with caption.open("rb") as stream:
            text = stream.read(_MAX_CAPTION + 1).decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        return Item(None, None, place, _digest(place), f"{name}: no {caption.name} beside it")
    return _item(text, place, {}, is_id=False)


def _listed(path: Path, prompts: str | None, pictures: str | None) -> Iterator[Item]:
    """The rows of a metadata file."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    if path.suffix == ".csv":
        try:
            rows: list[Any] = list(csv.DictReader(io.StringIO(text, newline="")))
        except csv.Error as exc:
            raise SourceFault(f"{path}: cannot be read as CSV: {exc}") from exc
    else:
        rows = [_json(line) for line in text.split("\n") if line.strip()]
    seen = dict.fromkeys(key for row in rows[:1000] if isinstance(row, dict) for key in row)
    prompt = _pick(path, seen, prompts, PROMPT_COLUMNS, "prompts")
    picture = _pick(path, seen, pictures, PICTURE_COLUMNS, "pictures")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            yield Item(None, None, None, None, f"{path.name} row {number}: not a JSON object")
            continue
        carried = {name: row[name] for name in CARRIED if row.get(name) not in (None, "")}
        place = _inside(path.parent, row.get(picture))
        yield _item(row.get(prompt), place, carried, is_id=prompt.lower() == "prompt_id")


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _inside(root: Path, name: Any) -> Place | None:
    """The file of this name, unless the name leads out of the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    path = Path(os.path.normpath(root / name))
    return Place(path) if path.is_relative_to(os.path.normpath(root)) else None


# Parquet


def _of_tables(tables: Sequence[Path], prompts: str | None, pictures: str | None) -> ImportSet:
    items: list[Item] = []
    fault: SourceFault | None = None
    for path in tables:
        try:
            with pq.ParquetFile(path) as file:
                names = dict.fromkeys(file.schema_arrow.names)
                column = _pick(path, names, pictures, ("image", *PICTURE_COLUMNS), "pictures")
                items += _of_table(path, file, _pick(path, names, prompts, PROMPT_COLUMNS, "prompts"), column)
        except (pa.ArrowException, OSError) as exc:
            raise SourceFault(f"{path}: cannot be read as Parquet: {exc}; fetch it again") from exc
        except SourceFault as exc:
            fault = exc  # a folder may hold tables of other things, such as an index without pictures
    if not items and fault is not None:
        raise fault
    return ImportSet(tuple(items))


def _of_table(path: Path, file: pq.ParquetFile, prompt: str, column: str) -> list[Item]:
    items: list[Item] = []
    carried = [name for name in CARRIED if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=_BATCH, columns=[prompt, column, *carried]):
        for row in batch.to_pylist():
            inside = _embedded(row[column])
            place = (
                Place(path, len(items), column) if inside is not None else _inside(path.parent, _path_in(row[column]))
            )
            more = {name: row[name] for name in carried if row[name] not in (None, "")}
            items.append(_item(row[prompt], place, more, is_id=prompt.lower() == "prompt_id", data=inside))
    return items


def _embedded(value: Any) -> bytes | None:
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def _path_in(value: Any) -> Any:
    return value.get("path") if isinstance(value, dict) else value


def _bytes_at(place: Place) -> bytes | None:
    if place.row is None:
        return _file_bytes(place.path)
    stat = place.path.stat()
    starts = _group_starts(place.path, stat.st_size, stat.st_mtime_ns)
    group = next(number for number in reversed(range(len(starts))) if starts[number] <= place.row)
    values = _group(place.path, group, place.column, stat.st_size, stat.st_mtime_ns)
    return _embedded(values[place.row - starts[group]].as_py())


@lru_cache(maxsize=64)
def _group_starts(path: Path, size: int, changed: int) -> tuple[int, ...]:
    del size, changed
    with pq.ParquetFile(path) as file:
        counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    return tuple(sum(counts[:number]) for number in range(len(counts)))


# One for each rank of this process, and one to spare: a row group may have 300 MB.
@lru_cache(maxsize=3)
def _group(path: Path, group: int, column: str, size: int, changed: int) -> pa.ChunkedArray:
    del size, changed
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(column)


# Both


def _pick(path: Path, names: Iterable[str], wanted: str | None, usual: Sequence[str], option: str) -> str:
    """The column that was asked for, else the first usual one, in any case."""
    known = list(names)
    if wanted is not None:
        if wanted in known:
            return wanted
        raise SourceFault(f"{path}: has the columns {', '.join(map(repr, known))}; --{option} asks for {wanted!r}")
    lower = {name.lower(): name for name in reversed(known)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None:
        raise SourceFault(
            f"{path}: has the columns {', '.join(map(repr, known)) or '(none)'}, none of them {', '.join(usual)}; say"
            f" which it is: --{option} COLUMN"
        )
    return found


def _item(
    text: Any, place: Place | None, carried: Mapping[str, Any], *, is_id: bool, data: bytes | None = None
) -> Item:
    prompt, problem = None, None
    if is_id and isinstance(text, str) and _ID.match(text):
        prompt = text
    elif not is_id and isinstance(text, str) and (cleaned := texts.clean(text).text):
        prompt = records.prompt_id(cleaned)
    else:
        problem = "no prompt_id of 32 hex digits" if is_id else "no prompt"
    sha = hashlib.sha256(data).hexdigest() if data is not None else _digest(place)
    return Item(None if is_id else text, prompt, place, sha, problem, carried)


def _digest(place: Place | None) -> str | None:
    """SHA-256 of a picture file; None where there is none of a bearable size."""
    if place is None or (data := _file_bytes(place.path)) is None:
        return None
    return hashlib.sha256(data).hexdigest()


def _file_bytes(path: Path) -> bytes | None:
    try:
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            return path.read_bytes()
    except OSError:
        pass
    return None
