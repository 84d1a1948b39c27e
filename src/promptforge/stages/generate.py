"""generate: source rows into the table prompts, cleaned, named, and told what they are for.

Every input row gives one row of prompts. A row that cannot be read has a null text and a verdict of the check
`source`; a row that was purged has one of the check `tombstone`. What the source does not say (axis, expected
text, scene) is derived from the cleaned text: that is three quarters of the time (a third alone for the scene; see
benchmarks/README.md). A shard of 50,000 rows takes some 350 MB while its rows are Python objects.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from promptforge import lexicon, records, scenes, targets, texts
from promptforge.errors import ConfigError
from promptforge.protocols import SourcePart
from promptforge.records import Candidate
from promptforge.schema import arrow_schema
from promptforge.stages.run import Run, Unit
from promptforge.store import Commit

VERSION = 1
BLOCK_ROWS = 1024  # sources take turns by blocks of this many rows, so that none has to be read to its end first


@dataclass(frozen=True, slots=True)
class Shard:
    """A range of rows of one part of one source.

    `offset` is the part's first row within the source; `repeat` counts earlier parts with the same content, since
    a file given twice is twice as many input rows.
    """

    source: int
    part: int
    start: int
    stop: int
    offset: int
    repeat: int = 0

    @property
    def name(self) -> str:
        """Name of the shard's files."""
        return f"s{self.source:03d}.p{self.part:04d}.r{self.start:09d}"


def shards(run: Run) -> list[Shard]:
    """Every shard of the run, in stream order of the sources; looks at every input file first."""
    found = []
    names = [run.source(position).name for position in range(len(run.parts.sources))]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ConfigError(f"sources.{position}: a second source called {name!r}; give it a name of its own")
        offset = 0
        seen: Counter[str] = Counter()
        for number, part in enumerate(run.source(position).parts()):
            for start in range(0, part.n_rows, run.recipe.run.shard_rows):
                stop = min(start + run.recipe.run.shard_rows, part.n_rows)
                found.append(Shard(position, number, start, stop, offset, seen[part.digest]))
            offset += part.n_rows
            seen[part.digest] += 1
    return found


def unit(run: Run, shard: Shard) -> Unit:
    """The work of one shard."""
    part = run.source(shard.source).parts()[shard.part]
    digest = records.digest_of(
        {
            "version": [VERSION, lexicon.digest(), targets.VERSION, texts.VERSION, scenes.VERSION],
            "libraries": [version("ftfy"), unicodedata.unidata_version],  # they clean and fold
            "source": run.parts.sources[shard.source].identity | {"params": None},
            "name": run.source(shard.source).name,
            "part": part.digest,
            "label": part.label,
            "columns": run.recipe.sources[shard.source].params.get("columns"),
            "axis": run.recipe.sources[shard.source].params.get("axis"),
            "licence": run.source(shard.source).licence,
            "rows": [shard.start, shard.stop, shard.offset, shard.repeat],
            "position": [shard.source, len(run.parts.sources)],
            "natural_test_share": _natural_share(run, shard),
            **({"purged": sorted(elsewhere.items())} if (elsewhere := _purged_elsewhere(run)) else {}),
        }
    )
    return Unit("generate", shard.name, digest, lambda: _make(run, shard, part))


def _natural_share(run: Run, shard: Shard) -> float:
    """Share of the shard's split groups that become test_natural; none of what a machine wrote is natural."""
    written = run.parts.sources[shard.source].kind in ("grammar", "llm")
    return 0.0 if written else run.recipe.publish.natural_test_share


def _purged_elsewhere(run: Run) -> dict[str, str]:
    """What was purged where the data set was made that this run adds to."""
    return {} if run.extended is None else dict(run.extended.tombstones)


def tombstones(commits: Iterable[Commit], run: Run) -> dict[str, str]:
    """prompt_id and fold_key of every purged text -> reason."""
    gone: dict[str, str] = {}
    for commit in commits:
        item = commit.file("tombstones")
        if item:
            for row in run.store.read(item).to_pylist():
                gone[row["prompt_id"]] = gone[row["fold_key"]] = row["reason"]
    return gone


def _make(run: Run, shard: Shard, part: SourcePart) -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
    source = run.source(shard.source)
    gone = _purged_elsewhere(run) | tombstones(run.store.commits("purge"), run)
    natural_share = _natural_share(run, shard)
    prompts: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    for candidate in source.read(part, shard.start, shard.stop):
        row = _origin(run, shard, part, candidate)
        prompts.append(row)
        if candidate.fault == "purged":  # a language model's answer that a purge emptied
            verdicts.append(_verdict(row, "tombstone", candidate.fault_detail or "purged", None))
            continue
        if candidate.text is None:
            verdicts.append(_verdict(row, "source", candidate.fault or "unreadable", candidate.fault_detail))
            continue
        known = _derive(candidate, source.name, natural_share)
        reason = gone.get(known["prompt_id"]) or gone.get(known["fold_key"])
        if reason:
            verdicts.append(_verdict(row, "tombstone", reason, None))
        else:
            row.update(known)
    return (
        {
            "prompts": pa.Table.from_pylist(prompts, schema=arrow_schema("prompts")),
            "verdicts": pa.Table.from_pylist(verdicts, schema=arrow_schema("verdicts")),
        },
        {"rows": len(prompts), "dropped": len(verdicts)},
    )


def _origin(run: Run, shard: Shard, part: SourcePart, candidate: Candidate) -> dict[str, Any]:
    source = run.source(shard.source)
    place = shard.offset + candidate.row
    block, within = divmod(place, BLOCK_ROWS)
    content = f"{part.digest}#{shard.repeat}" if shard.repeat else part.digest
    return {
        **dict.fromkeys(arrow_schema("prompts").names),
        "row_id": records.row_id(source.name, content, candidate.row),
        "source": source.name,
        "source_part": part.label,
        "source_row": candidate.row,
        "stream_order": (block * len(run.parts.sources) + shard.source) * BLOCK_ROWS + within,
        "licence": source.licence,
        "repairs": [],
        "axis": candidate.axis,
        "axis_origin": "source" if candidate.axis else None,
    }


def _derive(candidate: Candidate, source: str, natural_share: float) -> dict[str, Any]:
    """Everything that follows from the text and from what the source said."""
    assert candidate.text is not None
    cleaned = texts.clean(candidate.text)
    prompt = records.prompt_id(cleaned.text)
    if candidate.expected_text is not None:
        expected, expected_origin = candidate.expected_text, "source" if candidate.expected_text else None
    else:
        parsed = targets.parse(cleaned.text)
        expected, expected_origin = parsed.strings, parsed.origin
    scene = candidate.scene or scenes.parse(cleaned.text)
    axis = candidate.axis or texts.tell_axis(cleaned.text, expected, scene)
    # Two files may both have a pair "1": a pair or family is one within its source.
    pair = candidate.pair_id and records.content_id("pair", source, candidate.pair_id)
    family = candidate.parent_id and records.content_id("family", source, candidate.parent_id)
    return {
        "text": candidate.text,
        "text_clean": cleaned.text,
        "prompt_id": prompt,
        "fold_key": texts.fold_key(cleaned.text),
        "repairs": list(cleaned.repairs),
        "axis": axis,
        "axis_origin": "source" if candidate.axis else "told",
        "category": candidate.category,
        "style": candidate.style or scene.style,
        "template": candidate.template,
        "expected_text": list(expected),
        "expected_origin": expected_origin,
        "scene": scene.to_json(),
        "scene_origin": "source" if candidate.scene else "parsed",
        "parent_id": candidate.parent_id,
        "pair_id": candidate.pair_id,
        "noise_group": pair or prompt,
        "split_group": pair or family or prompt,
        "split": _split(expected, scene, pair or family or prompt, natural_share),
        "source_aesthetic": candidate.source_aesthetic,
        "n_words": texts.n_words(cleaned.text),
        "n_chars": len(cleaned.text),
    }


def _split(expected: tuple[str, ...], scene: records.Scene, group: str, natural_share: float) -> str:
    reserved = scenes.split_of(expected, scene)
    if reserved == "train" and int(records.content_id("natural", group)[:8], 16) < natural_share * 2**32:
        return "test_natural"
    return reserved


def _verdict(row: Mapping[str, Any], check: str, reason: str, detail: str | None) -> dict[str, Any]:
    return {
        "row_id": row["row_id"],
        "stage": "generate",
        "check_name": check,
        "verdict": "drop",
        "reason": reason,
        "detail": detail,
    }
