"""The Parquet files of dataset/: what a row holds and how files are written.

Row groups are flushed at 64 MiB of pictures or 256 rows: a loader's worker holds one, and viewers refuse more than
286 MiB. Pictures lie uncompressed in their column; everything else is ZSTD. No more than one row group of pictures a
file that is being written is in memory, whatever the size of the data set.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from promptforge.errors import StoreFault
from promptforge.files import sha256_file
from promptforge.models.torch_setup import n_cores
from promptforge.stages.render import decode
from promptforge.store import Commit, Store

if TYPE_CHECKING:
    from typing_extensions import Buffer

SPLITS = ("train", "test_words", "test_composition", "test_natural")

#: Columns of prompts/: what a trainer of text encoders reads.
PROMPT_COLUMNS = (
    "prompt_id",
    "text",
    "axis",
    "category",
    "style",
    "expected_text",
    "scene",
    "source",
    "licence",
    "source_aesthetic",
    "pair_id",
    "split_group",
    "noise_group",
    "n_words",
    "n_chars",
    "n_takes",
    "n_passed",
    "teachability",
    "teachability_low",
    "teachability_high",
)
#: Of these, columns that sets of promptforge 0.1 may lack: null there.
LATER_COLUMNS = ("teachability", "teachability_low", "teachability_high")
#: Further columns of data/, beside the picture and its scores.
PICTURE_COLUMNS = ("image_id", "take", "seed", "width", "height", "teacher", "teacher_licence")
#: Columns that only index.parquet has.
INDEX_COLUMNS = ("split", "keep_image", "image_reason", "sha256", "file", "file_row")

ROW_GROUP_BYTES = 64 * 2**20
ROW_GROUP_ROWS = 256
TEXT_GROUP_ROWS = 16_384  # some 8 MB of prompts
WRITERS = 4  # files at once, one a core: sums, encoding and the disk leave the GIL; each holds a row group or two
PROMPTS_PER_FILE = 1_000_000  # some 300 MB

# Chunks that move with the content: an edited data set shares most of its bytes with the one before.
_PAGES: dict[str, Any] = {
    "use_content_defined_chunking": {"min_chunk_size": 262_144, "max_chunk_size": 1_048_576, "norm_level": 0}
}
_PICTURE = "image.bytes"


@dataclass(frozen=True, slots=True)
class Written:
    """What the manifest and the card say of a file; `arrow_bytes` is its size once read. A text has no rows."""

    bytes: int
    sha256: str
    rows: int | None = None
    arrow_bytes: int = 0

    @classmethod
    def of(cls, path: Path, rows: int | None = None, arrow_bytes: int = 0) -> Written:
        """A file as it lies on disk."""
        return cls(path.stat().st_size, sha256_file(path), rows, arrow_bytes)


def hub_schema(columns: pa.Schema, *, pictures: bool) -> pa.Schema:
    """The Arrow schema that `datasets` reads back as the same features; `pictures` adds the column image."""
    from datasets import Features
    from datasets import Image as ImageFeature

    features = Features.from_arrow_schema(columns.remove_metadata())
    if pictures:
        features["image"] = ImageFeature()
    return features.arrow_schema


def column_types(schema: pa.Schema) -> dict[str, str]:
    """Column -> type, whatever a list calls its child: Parquet renames `item` to `element`."""
    return {
        field.name: f"list<{field.type.value_type}>" if pa.types.is_list(field.type) else str(field.type)
        for field in schema
    }


def write_parquet(path: Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> Written:
    """One durable file with one row group for each table; the caller names `path` inside an unfinished folder."""
    leaves = _leaves(schema)
    rows = arrow_bytes = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as stream:
        sink = _Summed(stream)
        with pq.ParquetWriter(
            sink,
            schema,
            compression={leaf: "NONE" if leaf == _PICTURE else "ZSTD" for leaf in leaves},
            use_dictionary=[leaf for leaf in leaves if leaf != _PICTURE],
            write_statistics=[leaf for leaf in leaves if leaf != _PICTURE],
            write_page_index=True,
            **_PAGES,
        ) as writer:
            for group in groups:
                writer.write_table(group, row_group_size=max(1, group.num_rows))
                rows += group.num_rows
                arrow_bytes += group.nbytes
        os.fsync(stream.fileno())
    return Written(sink.size, sink.sha256.hexdigest(), rows, arrow_bytes)


def write_files(
    folder: Path, files: Mapping[str, tuple[pa.Schema, Callable[[], Iterable[pa.Table]]]]
) -> dict[str, Written]:
    """`write_parquet` for each name (schema, row groups), several at once; the first fault is raised, the rest left."""

    def write(name: str) -> Written:
        schema, groups = files[name]
        return write_parquet(folder / name, schema, groups())

    with ThreadPoolExecutor(min(WRITERS, n_cores()), thread_name_prefix="write") as pool:
        waiting = {name: pool.submit(write, name) for name in files}
        try:
            return {name: future.result() for name, future in waiting.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Summed(io.RawIOBase):
    """What is written to a file, with its SHA-256: the file is not read again for it."""

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream
        self.size = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Buffer, /) -> int:
        rest = memoryview(data).cast("B")
        self.sha256.update(rest)
        size = len(rest)
        while rest:  # the system may take less than it is given
            rest = rest[self._stream.write(rest) :]
        self.size += size
        return size


def _leaves(schema: pa.Schema) -> list[str]:
    """Parquet's names of the leaf columns: settings are by leaf, and a name that is none would be ignored."""
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, schema).close()
    parquet = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [parquet.column(number).path for number in range(len(parquet))]


def text_groups(rows: pa.Table, schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of a file without pictures."""
    rows = rows.select(schema.names).cast(schema)
    for start in range(0, rows.num_rows, TEXT_GROUP_ROWS):
        yield rows.slice(start, TEXT_GROUP_ROWS)


def picture_groups(rows: pa.Table, schema: pa.Schema, pictures: Iterable[bytes], suffix: str) -> Iterator[pa.Table]:
    """Row groups of a file with pictures; `pictures` yields the encoded picture of each row in order."""
    plain = [name for name in schema.names if name != "image"]
    ids = rows["image_id"].to_pylist()
    start, held, size = 0, list[dict[str, object]](), 0
    for number, (image_id, encoded) in enumerate(zip(ids, pictures, strict=True)):
        held.append({"bytes": encoded, "path": f"{image_id}.{suffix}"})
        size += len(encoded)
        if size >= ROW_GROUP_BYTES or len(held) == ROW_GROUP_ROWS or number == len(ids) - 1:
            group = rows.select(plain).slice(start, len(held))
            image = pa.array(held, schema.field("image").type)
            yield group.append_column("image", image).select(schema.names).cast(schema)
            start, held, size = number + 1, [], 0


def as_png(encoded: bytes) -> bytes:
    """The same pixels as PNG."""
    sink = io.BytesIO()
    Image.fromarray(decode(encoded)).save(sink, "PNG")
    return sink.getvalue()


class Pictures:
    """Encoded pictures out of the committed files, one at a time and in any order.

    Published rows are sorted by prompt_id and lie scattered over the files of `pixels`. These hold their pictures
    uncompressed, so each lies in its file as it is: one pass over the files finds the places (16 bytes a picture are
    kept), and then a picture costs one read of its own bytes. Each is compared with the SHA-256 that its render
    stated. Raises StoreFault where a picture is missing.
    """

    def __init__(self, store: Store, commits: Iterable[Commit], rows: pa.Table) -> None:
        self._ids = rows["image_id"].combine_chunks()
        self._sha256 = rows["sha256"].combine_chunks()
        self._paths: list[Path] = []
        self._file = np.full(rows.num_rows, -1, dtype=np.int32)
        self._offset = np.zeros(rows.num_rows, dtype=np.int64)
        self._size = np.zeros(rows.num_rows, dtype=np.int32)
        places = {image_id: place for place, image_id in enumerate(self._ids.to_pylist())}
        for commit in commits:
            images, pixels = commit.file("images"), commit.file("pixels")
            if images and pixels:
                known = store.read(images, ["image_id"])["image_id"].to_pylist()
                if any(image_id in places for image_id in known):
                    self._locate(store.check(pixels), places)
        lost = np.flatnonzero(self._file < 0)
        if lost.size:
            raise StoreFault(
                f"{store.root}: no committed picture {self._ids[int(lost[0])]} (and {lost.size - 1} more); run again"
                " to render what is missing"
            )

    def _locate(self, path: Path, places: Mapping[str, int]) -> None:
        table = pq.ParquetFile(path).read(["image_id", "encoded"])
        self._paths.append(path)
        at = 0
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for image_id, encoded in zip(table["image_id"].to_pylist(), table["encoded"], strict=True):
                place = places.get(image_id)
                data = encoded.as_buffer()
                at = content.find(data, at)
                if at < 0:
                    raise StoreFault(f"{path}: pictures are not stored plainly; was it written by another program?")
                if place is not None:
                    self._file[place], self._offset[place] = len(self._paths) - 1, at
                    self._size[place] = data.size
                at += data.size

    def __getitem__(self, number: int) -> bytes:
        """The picture of the n-th row that this was made for."""
        path = self._paths[int(self._file[number])]
        with path.open("rb") as stream:
            stream.seek(int(self._offset[number]))
            encoded: bytes = stream.read(int(self._size[number]))
        if hashlib.sha256(encoded).hexdigest() != self._sha256[number].as_py():
            raise StoreFault(
                f"{path}: picture {self._ids[number]} is not what was rendered (sha256 differs); restore the file"
            )
        return encoded
