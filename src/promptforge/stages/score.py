"""score: every scorer on every picture of the plan that it has not measured yet.

A score is named by (image_id, scorer, digest); the digest covers the scorer, its version, parameters and models, and
the prompt fields that it reads. So a new threshold measures nothing again, and a new scorer measures only itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import pyarrow.compute as pc

from promptforge import catalog
from promptforge.errors import StoreFault
from promptforge.protocols import Picture, Scorer
from promptforge.records import Scene
from promptforge.stages.parts import Part
from promptforge.stages.render import decode
from promptforge.stages.run import Row, Run, Tally
from promptforge.store import Commit, TableFile

VERSION = 1

_NEEDS = {"picture": "true", "scene": "scene IS NOT NULL", "expected_text": "len(expected_text) > 0"}
_INPUTS = {
    "text": "text_clean",
    "axis": "axis",
    "scene": "scene",
    "expected_text": "to_json(expected_text)::VARCHAR",
}


def wanted_scores(parts: Sequence[Part]) -> str:
    """SQL of the relation (image_id, scorer, digest): every score that the plan's pictures should have."""
    selects = [
        f"SELECT i.image_id, '{part.kind}' AS scorer, substr(sha256(to_json([{_fields(part)}])::VARCHAR), 1, 32)"
        " AS digest FROM render_plan r JOIN images i USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id"
        f" WHERE i.error IS NULL AND {_NEEDS[part.module.NEEDS]}"
        for part in parts
    ]
    empty = "SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS scorer, NULL::VARCHAR AS digest WHERE false"
    return " UNION ALL ".join([empty, *selects])


def _fields(part: Part) -> str:
    return ", ".join([f"'{part.digest}'", *(_INPUTS[name] for name in part.module.INPUTS)])


def missing(run: Run, commits: Sequence[Commit]) -> dict[int, list[Row]]:
    """Bucket -> pictures with something left to measure, sorted by image_id: fields of Picture, scorers to run.

    `commits` are those of text, dedup, plan, every render and every score.
    """
    with catalog.connect(run.store, commits) as con:
        rows = con.sql(
            f"""
            WITH todo AS (
                SELECT * FROM ({wanted_scores(run.parts.scorers)}) w
                WHERE NOT EXISTS (
                    SELECT 1 FROM scores s
                    WHERE s.image_id = w.image_id AND s.scorer = w.scorer AND s.digest = w.digest
                )
            )
            SELECT r.bucket, t.image_id, k.text_clean AS text, k.axis, k.expected_text, k.scene,
                map_from_entries(list({{'key': t.scorer, 'value': t.digest}} ORDER BY t.scorer)) AS digests
            FROM todo t JOIN render_plan r USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id
            GROUP BY ALL ORDER BY r.bucket, t.image_id
            """
        ).to_arrow_table()
    found: dict[int, list[Row]] = {}
    for row in rows.to_pylist(maps_as_pydicts="strict"):
        found.setdefault(row["bucket"], []).append(row)
    return found


class PixelReader:
    """Encoded pictures by image_id; each committed file is read once and the last few are kept."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._file_of: dict[str, TableFile] = {}
        self._open: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        for commit in run.store.commits("render"):
            images, pixels = commit.file("images"), commit.file("pixels")
            if images and pixels:
                ids = run.store.read(images, ["image_id", "error"])
                for image_id in ids.filter(pc.is_null(ids["error"]))["image_id"].to_pylist():
                    self._file_of[image_id] = pixels

    def __getitem__(self, image_id: str) -> bytes:
        """Raises StoreFault where no commit holds the picture."""
        item = self._file_of.get(image_id)
        if item is None:
            raise StoreFault(f"{self._run.root}: no committed picture {image_id}; run again to render it")
        if item.name not in self._open:
            table = self._run.store.read(item)
            self._open[item.name] = dict(zip(table["image_id"].to_pylist(), table["encoded"].to_pylist(), strict=True))
            if len(self._open) > 4:
                self._open.popitem(last=False)
        return self._open[item.name][image_id]


def score_rank(
    run: Run,
    scorers: Mapping[str, Scorer],
    todo: Mapping[int, Sequence[Row]],
    rank: int,
    world: int,
    progress: Callable[[int], None],
) -> Tally:
    """Measure the pictures of the buckets that are `rank` modulo `world`."""
    pixels = PixelReader(run)

    def make(row: Row) -> dict[str, list[Row]]:
        picture = Picture(
            pixels=decode(pixels[row["image_id"]]),
            text=row["text"],
            axis=row["axis"],
            expected_text=tuple(row["expected_text"] or ()),
            scene=Scene.from_json(row["scene"]) if row["scene"] else None,
        )
        found = [
            {
                "image_id": row["image_id"],
                "scorer": name,
                "digest": digest,
                "metric": score.metric,
                "value": score.value,
                "detail": score.detail,
            }
            for name, digest in row["digests"].items()
            for score in scorers[name].score(picture)
        ]
        progress(1)
        return {"scores": found}

    total = Tally("score")
    for bucket in (number for number in sorted(todo) if number % world == rank):
        total += run.facts("score", f"b{bucket:05d}", todo[bucket], make)
    return total
