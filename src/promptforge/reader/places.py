"""Where each value of a plain, uncompressed Parquet column lies in its file, so that one costs one read of its bytes.

A page of such a column is a header, its levels, and then for each value its length in 4 bytes and its bytes. One walk
over headers and lengths finds every value; no value is read. The file stays plain Parquet for everybody else.
Source: the Parquet format 2.11 (PageHeader, PLAIN of BYTE_ARRAY) and Thrift's compact protocol.

Not covered: repeated columns, columns with nulls, dictionary pages, compression; each is refused by name.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from promptforge.errors import StoreFault

_DATA_PAGE, _DATA_PAGE_V2 = 0, 3  # PageType
_PLAIN = 0  # Encoding


def value_places(path: Path, column: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Offset and size in bytes of each value of a leaf column, e.g. image.bytes, in the order of the rows.

    Raises StoreFault where the column is not stored plainly or has nulls.
    """
    offsets: list[int] = []
    sizes: list[int] = []
    metadata = pq.read_metadata(path)
    leaf = next((n for n in range(metadata.num_columns) if metadata.schema.column(n).path == column), None)
    if leaf is None:
        raise StoreFault(f"{path}: no column {column}; publish the data set again")
    schema = metadata.schema.column(leaf)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        rows = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunk = group.column(leaf)
            rows += group.num_rows
            plain = chunk.compression == "UNCOMPRESSED" and schema.max_repetition_level == 0
            if not plain or chunk.dictionary_page_offset is not None:
                raise _not_plain(path, column)
            at, stop = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
            while 0 < at < stop:
                at = _page(content, at, schema.max_definition_level > 0, offsets, sizes)
            if at != stop or len(offsets) != rows:
                raise _not_plain(path, column)
    return np.array(offsets, dtype=np.int64), np.array(sizes, dtype=np.int32)


def _page(content: mmap.mmap, at: int, levels: bool, offsets: list[int], sizes: list[int]) -> int:
    """Note the places of one page's values; gives the offset behind the page, or one that no page has, where wrong."""
    header, at = _struct(content, at)
    stop = at + int(header[3])
    if header[1] == _DATA_PAGE:
        encoding = header[5][2]
        if levels:
            at += 4 + int.from_bytes(content[at : at + 4], "little")
    elif header[1] == _DATA_PAGE_V2:
        encoding = header[8][4]
        at += int(header[8][5]) + int(header[8][6])
    else:
        return -1
    if encoding != _PLAIN:
        return -1
    while at < stop:
        size = int.from_bytes(content[at : at + 4], "little")
        offsets.append(at + 4)
        sizes.append(size)
        at += 4 + size
    return at if at == stop else -1


def _not_plain(path: Path, column: str) -> StoreFault:
    return StoreFault(
        f"{path}: column {column} is not stored plainly and without nulls, as promptforge writes it; was the file"
        " written by another program? datasets.load_dataset reads it all the same"
    )


def _struct(content: mmap.mmap, at: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol as {field: value}, and the offset behind it."""
    found: dict[int, Any] = {}
    field = 0
    while kind := content[at]:
        at += 1
        if kind >> 4:
            field += kind >> 4
        else:
            field, at = _zigzag(content, at)
        found[field], at = _value(content, at, kind & 15)
    return found, at + 1


def _value(content: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:  # byte
        return content[at], at + 1
    if kind in (4, 5, 6):  # integers
        return _zigzag(content, at)
    if kind == 7:  # double
        return content[at : at + 8], at + 8
    if kind == 8:  # binary
        size, at = _varint(content, at)
        return content[at : at + size], at + size
    if kind == 12:
        return _struct(content, at)
    raise ValueError(f"a page header holds no type {kind}")  # lists and maps: none in the format


def _zigzag(content: mmap.mmap, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
