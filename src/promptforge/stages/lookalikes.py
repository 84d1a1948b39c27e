"""lookalikes: which pictures of the plan look alike, by perceptual hash, then by CLIP where there are embeddings.

A pair whose hashes differ in at most 6 bits of 64 has in at least one of four bands of 16 at most one differing bit,
so looking each band up, and each band with one bit turned, finds every pair: among 100,000 random hashes
in 0.4 s on one core, among a million in 12 s.

Two limits keep the table small where very many pictures are alike (an empty canvas, say): of more than 64 pictures
with one and the same hash, those after the 64th by id are paired with the first alone; and where more than five
million pairs would remain, the farthest are left out, down to the distance that the commit counts as `hamming`.
Not covered: pictures without a hash (nothing varies in them); pairs that CLIP alone would find.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge import catalog, records
from promptforge.schema import arrow_schema
from promptforge.stages.parts import Part
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.stages.score import wanted_scores
from promptforge.store import Commit

VERSION = 1

MAX_HAMMING = 6  # of 64; two unrelated pictures differ in 32 bits, give or take 4
CROWD = 64
MOST_PAIRS = 5_000_000

_BANDS, _WIDTH = 4, 16
_CHUNK = 4_000_000  # candidate pairs at a time: 100 MB
_READS = {
    "prompts": ["row_id", "prompt_id"],
    "verdicts": ["row_id", "verdict"],
    "render_plan": ["image_id", "prompt_id"],
    "images": ["image_id", "error"],
    "scores": ["image_id", "scorer", "digest", "metric", "detail"],
}

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_DETAILS = """
SELECT s.image_id, r.prompt_id, s.detail
FROM ({in_force}) f
JOIN scores s USING (image_id, scorer, digest)
JOIN render_plan r USING (image_id)
{more}
WHERE s.metric = $metric AND s.detail IS NOT NULL
ORDER BY s.image_id
"""


def unit(run: Run, commits: Sequence[Commit]) -> Unit:
    """The work of the whole run over the commits of text, dedup, plan, render and score."""
    likeness = [part for part in run.parts.scorers if part.kind == "likeness"]
    digest = records.digest_of(
        {
            "version": VERSION,
            "scorers": [part.digest for part in likeness],
            "input": digest_columns(commits, _READS),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, commits) as con:
            table, reached = _lookalikes(con, likeness)
        return {"lookalikes": table}, {"pairs": table.num_rows, "hamming": reached}

    return Unit("lookalikes", "all", digest, make)


def _lookalikes(con: duckdb.DuckDBPyConnection, likeness: Sequence[Part]) -> tuple[pa.Table, int]:
    """The table, and the largest distance that it covers. Hashes come from the first of these scorers."""
    hashed = _details(con, likeness[:1], "phash")
    ids, prompts = hashed["image_id"].to_numpy(zero_copy_only=False), hashed["prompt_id"].to_numpy(zero_copy_only=False)
    hashes = np.array([int(word, 16) for word in hashed["detail"].to_pylist()], dtype=np.uint64)
    left, right, distance, reached = close_pairs(hashes, MAX_HAMMING)
    cosine = np.full(len(left), np.nan)
    embedding = [part for part in likeness if getattr(part.params, "embedding", False)][:1]
    if embedding and len(left):
        paired = np.unique(np.concatenate([left, right]))
        con.register("paired", pa.table({"image_id": pa.array(ids[paired])}))
        found = _details(con, embedding, "embedding", "SEMI JOIN paired USING (image_id)")
        place = {name: row for row, name in enumerate(found["image_id"].to_pylist())}
        rows = np.array([place.get(name, -1) for name in ids], dtype=np.int64)
        vectors = np.stack(
            [np.frombuffer(base64.b64decode(text), dtype="<f2") for text in found["detail"].to_pylist()]
            or [np.zeros(1, dtype="<f2")]
        )
        known = (rows[left] >= 0) & (rows[right] >= 0)
        cosine[known] = _cosines(vectors, rows[left[known]], rows[right[known]])
    columns = {
        "image_id": pa.array(ids[left], pa.string()),
        "other_id": pa.array(ids[right], pa.string()),
        "same_prompt": pa.array(prompts[left] == prompts[right], pa.bool_()),
        "hamming": pa.array(distance, pa.int32()),
        "cosine": pa.array(cosine, pa.float64(), mask=np.isnan(cosine)),
    }
    return pa.table(columns).cast(arrow_schema("lookalikes")), reached


def _details(con: duckdb.DuckDBPyConnection, parts: Sequence[Part], metric: str, more: str = "") -> pa.Table:
    """image_id, prompt_id and detail of one metric in force, by image_id."""
    sql = _DETAILS.format(in_force=wanted_scores(parts), more=more)
    return con.sql(sql, params={"metric": metric}).to_arrow_table()


def close_pairs(
    hashes: Hashes, most: int, *, crowd: int = CROWD, ceiling: int = MOST_PAIRS
) -> tuple[Ints, Ints, Ints, int]:
    """Every pair of places left < right whose 64-bit hashes differ in at most `most` bits, and in how many; sorted.

    The last number is the distance up to which they are all there: `most`, or less where more than `ceiling` pairs
    would be found. Of more than `crowd` equal hashes, those after the first `crowd` are paired with the first alone.
    """
    distinct, group, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.argsort(group, kind="stable")
    starts = np.cumsum(sizes) - sizes
    first, second, distance, reached = _neighbours(distinct, most, ceiling)
    kept = np.minimum(sizes, crowd)
    n_pairs = np.bincount(distance, weights=kept[first] * kept[second], minlength=most + 1)
    while reached > 0 and n_pairs[: reached + 1].sum() > ceiling:
        reached -= 1
    near = distance <= reached
    first, second, distance = first[near], second[near], distance[near]
    # A group with itself counts like any pair of groups, of which only i < j is kept.
    alone = np.flatnonzero(sizes > 1)
    first, second = np.concatenate([first, alone]), np.concatenate([second, alone])
    distance = np.concatenate([distance, np.zeros(len(alone), dtype=np.int64)])
    pair, i = _expanded(kept[first] * kept[second])
    width = kept[second][pair]
    mine, yours = i // np.maximum(width, 1), i % np.maximum(width, 1)
    one, other = starts[first][pair] + mine, starts[second][pair] + yours
    good = (first != second)[pair] | (mine < yours)
    late, beyond = _expanded(sizes - kept)
    one = np.concatenate([one[good], starts[late]])
    other = np.concatenate([other[good], starts[late] + crowd + beyond])
    bits = np.concatenate([distance[pair][good], np.zeros(len(late), dtype=np.int64)])
    left, right = np.minimum(members[one], members[other]), np.maximum(members[one], members[other])
    order = np.lexsort((right, left))
    return left[order], right[order], bits[order], reached


def _neighbours(hashes: Hashes, most: int, ceiling: int) -> tuple[Ints, Ints, Ints, int]:
    """Pairs of distinct hashes at most `most` bits apart, their distances, and the distance that is covered."""
    count, limit = len(hashes), most
    found = [np.empty(0, dtype=np.int64)]
    for left, right in _candidates(hashes, most // _BANDS):
        near = np.bitwise_count(hashes[left] ^ hashes[right]) <= limit
        found.append(left[near] * count + right[near])
        if sum(map(len, found)) > 2 * ceiling:
            codes = np.unique(np.concatenate(found))
            while limit > 0 and len(codes) > ceiling:
                limit -= 1
                codes = codes[_distances(hashes, codes) <= limit]
            found = [codes]
    codes = np.unique(np.concatenate(found))
    codes = codes[_distances(hashes, codes) <= limit]
    return codes // max(count, 1), codes % max(count, 1), _distances(hashes, codes), limit


def _distances(hashes: Hashes, codes: Ints) -> Ints:
    count = max(len(hashes), 1)
    found: Ints = np.bitwise_count(hashes[codes // count] ^ hashes[codes % count]).astype(np.int64)
    return found


def _candidates(hashes: Hashes, radius: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs left < right that differ in at most `radius` bits of some band, in pieces; pairs may come again."""
    turned = [mask for mask in range(1 << _WIDTH) if mask.bit_count() <= radius]
    for band in range(_BANDS):
        keys = ((hashes >> np.uint64(_WIDTH * band)) & np.uint64((1 << _WIDTH) - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        sizes = np.bincount(keys, minlength=1 << _WIDTH)
        starts = np.cumsum(sizes) - sizes
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        for mask in turned:
            theirs = keys ^ mask
            begin = rank + 1 if mask == 0 else starts[theirs]
            # Each pair once: within a bucket from the earlier one on, else from the smaller key.
            n_others = np.where(keys <= theirs, starts[theirs] + sizes[theirs] - begin, 0)
            for piece in _pieces(n_others):
                which, offset = _expanded(n_others[piece])
                one, other = which + piece.start, order[begin[piece][which] + offset]
                yield np.minimum(one, other), np.maximum(one, other)


def _pieces(sizes: Ints) -> Iterator[slice]:
    """Slices of rows whose sizes come to about _CHUNK each."""
    edges = np.searchsorted(np.cumsum(sizes), np.arange(0, sizes.sum(), _CHUNK), side="left")
    edges = np.unique(np.append(edges, len(sizes)))
    for start, stop in pairwise(edges):
        yield slice(int(start), int(stop))


def _expanded(sizes: Ints) -> tuple[Ints, Ints]:
    """For each row as many entries as its size: the row, and the entry's number within it."""
    row = np.repeat(np.arange(len(sizes)), sizes)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _cosines(vectors: npt.NDArray[np.float16], left: Ints, right: Ints) -> npt.NDArray[np.float64]:
    """Cosine of each pair of rows, to five places: float16 holds no more."""
    found = np.empty(len(left), dtype=np.float64)
    for start in range(0, len(left), 8192):
        a, b = (vectors[rows[start : start + 8192]].astype(np.float64) for rows in (left, right))
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found[start : start + 8192] = np.einsum("ij,ij->i", a, b) / np.maximum(lengths, 1e-12)
    return np.clip(found, -1, 1).round(5)
