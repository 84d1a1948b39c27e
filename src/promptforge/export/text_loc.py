"""Pictures of drawn words with their minimal pairs, for finding where in a model text is made (t2i-text-loc).

    <split>/<image_id>.webp  pictures of prompts that ask for text
    <split>/metadata.jsonl   file_name (or `image`, see Params), caption, text: the strings to be drawn, as one;
                             texts: each of them; prompt_id, image_id, pair_id, seed
    <split>/pairs.jsonl      pair_id, and of A and B each caption_, text_, file_, prompt_id_, image_id_: the prompts
                             differ in the drawn text alone, and both started from the same noise (seed)

Only pairs whose two pictures are here. A is the member with the smaller prompt_id. Compare readings by character error
rate or by words: a multiset of characters takes anagrams for right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from promptforge.export.folder.captioned import write_pictures
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published

VERSION = 1
PICTURES = True
LEFT_OUT = "their prompts ask for no text"
USE = """python - <<'END'
import datasets
print(datasets.load_dataset("imagefolder", data_dir="{folder}/train", split="train")[0])
END"""


class Params(Chosen):
    """Which rows, and the name of the column that names the picture."""

    file_column: Literal["file_name", "image"] = Field(
        "file_name", description="file_name is what datasets' imagefolder wants; image what reads metadata.jsonl itself"
    )


def fitting(source: Published, rows: pa.Table, params: Params) -> pa.Table:
    """Rows that have something to read."""
    del source, params
    return rows.filter(pc.greater(pc.fill_null(pc.list_value_length(rows["expected_text"]), 0), 0))


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """Pictures by 256, then one piece for each split's two lists."""
    for split in params.splits:
        mine = rows.filter(pc.equal(rows["split"], split))
        if mine.num_rows:
            write_pictures(output, source, mine, split)
            lists = partial(_lists, rows=mine, split=split, suffix=source.suffix, file_column=params.file_column)
            output.piece(f"{split}-lists", lists)


def _lists(piece: Piece, rows: pa.Table, split: str, suffix: str, file_column: str) -> None:
    columns = ["prompt_id", "image_id", "text", "expected_text", "pair_id", "noise_group", "seed"]
    known = rows.select(columns).to_pylist()
    metadata = (
        {
            file_column: _file(row, suffix),
            "caption": row["text"],
            "text": _drawn(row),
            "texts": row["expected_text"],
            **{name: row[name] for name in ("prompt_id", "image_id", "pair_id", "seed")},
        }
        for row in known
    )
    piece.put(f"{split}/metadata.jsonl", _lines(metadata))
    piece.put(f"{split}/pairs.jsonl", _lines(_pairs(known, suffix)))


def _pairs(rows: Iterable[Mapping[str, Any]], suffix: str) -> Iterator[dict[str, Any]]:
    """Pairs in the order of their A. A source's pair_id is its own: the noise group tells two sources apart."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["pair_id"] is not None:
            found.setdefault((row["noise_group"], row["pair_id"]), []).append(row)
    for (_, pair_id), members in found.items():
        if len(members) != 2 or not _differ_in_text_alone(*members):
            continue
        pair: dict[str, Any] = {"pair_id": pair_id, "seed": members[0]["seed"]}
        for letter, row in zip("ab", members, strict=True):
            pair |= {
                f"caption_{letter}": row["text"],
                f"text_{letter}": _drawn(row),
                f"file_{letter}": _file(row, suffix),
                f"prompt_id_{letter}": row["prompt_id"],
                f"image_id_{letter}": row["image_id"],
            }
        yield pair


def _differ_in_text_alone(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if _drawn(one) == _drawn(other):
        return False
    return _template(one) == _template(other) or all(_is_drawn(*pair) for pair in ((one, other), (other, one)))


def _is_drawn(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the one place where its caption differs from the other lies in a string that it asks for."""
    text, its = str(row["text"]), str(other["text"])
    before = _n_alike(text, its)
    after = _n_alike(text[before:][::-1], its[before:][::-1])
    return any(text[before : len(text) - after] in string for string in row["expected_text"])


def _n_alike(text: str, other: str) -> int:
    """Length of the beginning that both share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))


def _template(row: Mapping[str, Any]) -> str:
    """The caption with its strings taken out, the longest first, so that none is found inside another."""
    text = str(row["text"])
    for string in sorted(row["expected_text"], key=lambda item: (-len(item), item)):
        text = text.replace(string, "\0")
    return text


def _drawn(row: Mapping[str, Any]) -> str:
    return " ".join(row["expected_text"])


def _file(row: Mapping[str, Any], suffix: str) -> str:
    return f"{row['image_id']}.{suffix}"


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
