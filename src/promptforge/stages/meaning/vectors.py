"""Vectors of prompts, at half precision: a cosine is right to 5e-5.

By a model: what is missing is encoded in pieces of ENCODED_ROWS and committed as rows of sentence_vectors, so that a
run that was killed encodes at most one piece again, the same piece with the same bits. What was purged in this folder
and is accepted elsewhere still is compared with; its vector is not kept. Or out of a Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge import records, texts
from promptforge.errors import SourceFault
from promptforge.models import sentences
from promptforge.models.digests import sha256_of
from promptforge.schema import arrow_schema
from promptforge.stages.meaning.search import Halves
from promptforge.stages.progress import meter
from promptforge.stages.resemblance.settings import SemanticSettings
from promptforge.store import Store

STAGE = "embed"  #: where the vectors are committed
ENCODED_ROWS = 4096  #: half a minute of one core for a model of MiniLM's size
_TEXT_COLUMNS = ("prompt_id", "text", "prompt", "caption")


def identity(settings: SemanticSettings) -> dict[str, object]:
    """What decides the vectors: the weights or the file, by content. Raises where they are not there; loads nothing."""
    if settings.model is not None:
        return {"model": sentences.identity(settings.model, settings.revision)}
    path = _path(settings)
    return {"vectors": sha256_of(path)}


def of_prompts(store: Store, settings: SemanticSettings, ids: pa.Array, prompts: pa.Array) -> Halves:
    """A vector for each prompt_id and its text, shape (n, width); NaN where the file has none for it."""
    if settings.model is None:
        return _from_file(_path(settings), ids)
    model = records.digest_of(identity(settings))[:32]
    vectors, known = _committed(store, model, ids)
    missing = np.flatnonzero(~known)
    if not len(missing):
        return vectors
    encoder = sentences.load(settings.model, settings.revision)
    if not known.any():
        vectors = np.empty((len(ids), encoder.width), np.float16)
    meter(store.root).expect(STAGE, len(missing))
    passing = _buried(store, prompts, missing)
    lasting = missing[~passing]
    for start in range(0, len(lasting), ENCODED_ROWS):
        rows = lasting[start : start + ENCODED_ROWS]
        made = encoder.encode(prompts.take(pa.array(rows)).to_pylist()).astype("<f2")
        names = ids.take(pa.array(rows))
        columns = [names, pa.array([model] * len(rows)), pa.array([row.tobytes() for row in made], pa.binary())]
        table = pa.table(dict(zip(arrow_schema("sentence_vectors").names, columns, strict=True)))
        digest = records.digest_of({"model": model, "rows": names.to_pylist()})
        table = table.cast(arrow_schema("sentence_vectors"))
        store.commit(STAGE, "all", digest, {"sentence_vectors": table}, {"rows": len(rows)})
        vectors[rows] = made
        meter(store.root).add(STAGE, len(rows))
    if passing.any():
        rows = missing[passing]
        vectors[rows] = encoder.encode(prompts.take(pa.array(rows)).to_pylist())
        meter(store.root).add(STAGE, len(rows))
    return vectors


def _buried(store: Store, prompts: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Which of these prompts were purged here, in whatever spelling."""
    files = [item for commit in store.commits("purge") for item in commit.files if item.table == "tombstones"]
    keys = {key for item in files for key in store.read(item, ["fold_key"])["fold_key"].to_pylist()}
    if not keys:
        return np.zeros(len(rows), bool)
    return np.array([texts.fold_key(text) in keys for text in prompts.take(pa.array(rows)).to_pylist()], bool)


def _committed(store: Store, model: str, ids: pa.Array) -> tuple[Halves, np.ndarray]:
    """Vectors that are there already, and which rows have one."""
    known = np.zeros(len(ids), bool)
    vectors: Halves = np.empty((len(ids), 0), np.float16)
    for commit in store.commits(STAGE):
        item = commit.file("sentence_vectors")
        if item is None:
            continue
        table = store.read(item).combine_chunks()
        table = table.filter(pc.equal(table["model"], model)).combine_chunks()
        place = pc.index_in(ids, value_set=table["prompt_id"].combine_chunks())
        rows = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
        if not len(rows):
            continue
        blobs = table["vector"].combine_chunks().take(place.take(pa.array(rows)))
        found = np.frombuffer(b"".join(blobs.to_pylist()), "<f2").reshape(len(rows), -1)
        if not known.any():
            vectors = np.empty((len(ids), found.shape[1]), np.float16)
        vectors[rows], known[rows] = found, True
    return vectors, known


def _path(settings: SemanticSettings) -> Path:
    path = Path(str(settings.vectors)).expanduser()
    if not path.is_file():
        raise SourceFault(f"{path}: no such file; dedup.semantic.vectors names a Parquet file of vectors")
    return path


def _from_file(path: Path, ids: pa.Array) -> Halves:
    vectors: Halves | None = None
    known = np.zeros(len(ids), bool)
    for names, found in _batches(path):
        if vectors is None:
            vectors = np.full((len(ids), found.shape[1]), np.nan, np.float16)
        if found.shape[1] != vectors.shape[1]:
            raise SourceFault(
                f"{path}: vectors of {found.shape[1]} and of {vectors.shape[1]} numbers; expected one width"
            )
        place = pc.index_in(ids, value_set=names)
        valid = place.is_valid().to_numpy(zero_copy_only=False) & ~known  # of two rows for a prompt the first counts
        at = place.fill_null(0).to_numpy(zero_copy_only=False)[valid]
        wide = found[at].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):  # one of length 0 becomes NaN: it resembles none
            vectors[valid] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        known |= valid
    if vectors is None:
        raise SourceFault(f"{path}: no row; expected a vector for each prompt")
    return vectors


def _batches(path: Path) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """prompt_ids and their vectors, as the file has them."""
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        key = next((name for name in _TEXT_COLUMNS if name in names), None)
        lists = [field.name for field in file.schema_arrow if _is_vector(field.type)]
        if key is None or len(lists) != 1:
            raise SourceFault(
                f"{path}: has the columns {', '.join(names)}; expected prompt_id or the prompt as"
                f" {', '.join(_TEXT_COLUMNS[1:])}, and one column of lists of floating-point numbers"
            )
        for batch in file.iter_batches(8192, columns=[key, lists[0]], use_threads=False):
            if not batch.num_rows:
                continue
            column = batch.column(lists[0])
            size = pc.unique(pc.list_value_length(column)).to_pylist()
            if len(size) != 1 or not size[0]:
                raise SourceFault(
                    f"{path}: column {lists[0]!r} has lists of {size} numbers; expected one width, no null"
                )
            numbers = column.flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            told = batch.column(key)
            if key != "prompt_id":
                told = pa.array([text and records.prompt_id(texts.clean(text).text) for text in told.to_pylist()])
            yield told.cast(pa.string()), numbers
    except (pa.ArrowException, OSError) as exc:
        raise SourceFault(f"{path}: cannot be read as Parquet ({str(exc).splitlines()[0]})") from exc


def _is_vector(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))
