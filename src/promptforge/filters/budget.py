"""Does the text encoder read the whole prompt? What stands behind its limit is unseen by teacher and student alike.

Counted are T5's tokens against the regime's max_sequence_length, and CLIP's against 77. Nothing is dropped for CLIP,
whose one pooled vector says little of a long prompt anyway: a near miss says what it does not see. The tokenizers come
as tokenizer.json files by path, read by the library `tokenizers` of the extra `models`.

A token stands for one byte of the NFKC-folded text or more, so most rows are known to fit by their bytes; the rest is
tokenised. Without T5's file a row that the bytes leave open passes with the near miss `budget_unknown`.
Not covered: an encoder with another tokenizer than these two kinds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.protocols import Filter, Finding

VERSION = 1
PLACES = ("t5", "clip")

_MARKS = 2  # T5 adds a blank before and an end after the text, CLIP a start and an end
_CLAUSE = re.compile(r"[,.;:!?]\s+")
_SHOWN = 80  # characters of what is cut


class Params(BaseModel):
    """Limits, and where the tokenizers lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(
        512,
        ge=8,
        le=4096,
        description="tokens that T5 reads, its end mark among them: the regime's max_sequence_length",
    )
    t5: str | None = Field(None, description="T5's tokenizer.json, or a folder that holds it")
    clip: str | None = Field(
        None, description="CLIP's tokenizer.json, or a folder that holds it; left out: not counted"
    )
    clip_tokens: int = Field(77, ge=8, le=4096, description="tokens that CLIP reads, start and end among them")


def identity(params: Params) -> Mapping[str, Any]:
    """The tokenizers by the SHA-256 of their files."""
    return {
        name: hashlib.sha256(_file(name, where).read_bytes()).hexdigest()
        for name, where in (("t5", params.t5), ("clip", params.clip))
        if where is not None
    }


def build(params: Params) -> Filter:
    """The check, with its tokenizers loaded."""
    return _Budget(params)


class _Budget:
    columns: tuple[str, ...] = ("text_clean", "expected_text")

    def __init__(self, params: Params) -> None:
        self._params = params
        self._t5 = None if params.t5 is None else _load("t5", params.t5)
        self._clip = None if params.clip is None else _load("clip", params.clip)

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` and `threshold` are tokens; `detail` is the string or clause at which the encoder stops reading."""
        found: dict[int, Finding] = {}
        bounds = _bounds(rows["text_clean"])
        for place, text, expected, bound in _open(rows, bounds, self._params.max_tokens):
            if self._t5 is None:
                found[place] = Finding(
                    place, "near_miss", "budget_unknown", float(bound), float(self._params.max_tokens)
                )
                continue
            finding = look(place, text, expected, self._t5, self._params.max_tokens)
            if finding is not None:
                found[place] = finding
        if self._clip is not None:
            for place, text, expected, _ in _open(rows, bounds, self._params.clip_tokens):
                finding = look(place, text, expected, self._clip, self._params.clip_tokens)
                if finding is not None:
                    near = Finding(place, "near_miss", "clip_cut", finding.value, finding.threshold, finding.detail)
                    found.setdefault(place, near)
        return [found[row] for row in sorted(found)]


def look(row: int, text: str, expected: Sequence[str], tokenizer: Any, limit: int) -> Finding | None:
    """The word on one text by one tokenizer."""
    encoding = tokenizer.encode(text)
    n_tokens = len(encoding.ids)
    if n_tokens <= limit:
        return None
    own = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    n_read = limit - (n_tokens - len(own))
    cut = encoding.offsets[own[n_read]][0]
    lost = next((string for string in expected if string and text.rfind(string) + len(string) > cut), None)
    if lost is not None:
        return Finding(row, "drop", "expected_text_cut", float(n_tokens), float(limit), lost[:_SHOWN])
    start = max((match.end() for match in _CLAUSE.finditer(text, 0, cut + 1)), default=0)
    return Finding(row, "drop", "over_budget", float(n_tokens), float(limit), text[start : start + _SHOWN])


def _bounds(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """At most so many tokens has each text."""
    foreign = pc.invert(pc.string_is_ascii(text))
    if pc.any(foreign, min_count=0).as_py():
        text = pc.if_else(foreign, pc.utf8_normalize(text, form="NFKC"), text)
    return pc.add(pc.binary_length(text), _MARKS)


def _open(rows: pa.Table, bounds: pa.ChunkedArray, limit: int) -> list[tuple[int, str, list[str], int]]:
    """Place, text, strings to be drawn and bound of the rows that their bytes leave open."""
    places = pc.indices_nonzero(pc.greater(bounds, limit))
    some = rows.select(["text_clean", "expected_text"]).take(places).to_pylist()
    return [
        (place, row["text_clean"], row["expected_text"] or [], bound)
        for place, row, bound in zip(places.to_pylist(), some, bounds.take(places).to_pylist(), strict=True)
    ]


def _file(name: str, where: str) -> Path:
    path = Path(where).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(
            f"filters.budget.{name}: {where}: no such file; expected a tokenizer.json or a folder with one"
        )
    return path


def _load(name: str, where: str) -> Any:
    path = _file(name, where)
    try:
        from tokenizers import Tokenizer
    except ImportError as exc:
        raise EnvironmentFault(
            f"filters.budget.{name} needs the library tokenizers: `make setup-models`, or pip install tokenizers; or"
            f" leave {name} out: then bytes alone are counted"
        ) from exc
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises no narrower class
        raise ConfigError(f"filters.budget.{name}: {path}: no tokenizer.json: {exc}") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
