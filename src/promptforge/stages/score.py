"""score: every scorer on every picture of the plan that it has not measured yet.

A score is named by (image_id, scorer, digest); the digest covers the scorer, its version, parameters and models, and
the prompt fields that it reads. So a new threshold measures nothing again, and a new scorer measures only itself.
"""

from __future__ import annotations

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


def missing(run: Run, commits: Sequence[Commit]) -> list[Row]:
    """Pictures with something left to measure, by image_id: the fields of Picture, and the scorers to run.

    `commits` are those of text, dedup, plan, every render and every score.
    """
    with catalog.connect(run.store, commits) as con:
        rows = con.sql(
            f"""
            WITH todo AS (FROM ({wanted_scores(run.parts.scorers)}) ANTI JOIN scores USING (image_id, scorer, digest))
            SELECT t.image_id, k.text_clean AS text, k.axis, k.expected_text, k.scene,
                map_from_entries(list({{'key': t.scorer, 'value': t.digest}} ORDER BY t.scorer)) AS digests
            FROM todo t JOIN render_plan r USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id
            GROUP BY ALL ORDER BY t.image_id
            """
        ).to_arrow_table()
    found: list[Row] = rows.to_pylist(maps_as_pydicts="strict")
    return found


class PixelReader:
    """Encoded pictures by image_id. Reads a committed file whole, and keeps the last: ask file by file."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._file_of: dict[str, TableFile] = {}
        self._open = ("", dict[str, bytes]())
        for commit in run.store.commits("render"):
            images, pixels = commit.file("images"), commit.file("pixels")
            if images and pixels:
                ids = run.store.read(images, ["image_id", "error"])
                for image_id in ids.filter(pc.is_null(ids["error"]))["image_id"].to_pylist():
                    self._file_of[image_id] = pixels

    @property
    def names(self) -> list[str]:
        """Every file with pictures, sorted."""
        return sorted({item.name for item in self._file_of.values()})

    def file(self, image_id: str) -> TableFile:
        """The file that holds a picture. Raises StoreFault where no commit holds it."""
        item = self._file_of.get(image_id)
        if item is None:
            raise StoreFault(f"{self._run.root}: no committed picture {image_id}; run again to render it")
        return item

    def __getitem__(self, image_id: str) -> bytes:
        item = self.file(image_id)
        if self._open[0] != item.name:
            table = self._run.store.read(item)
            ids, encoded = table["image_id"].to_pylist(), table["encoded"].to_pylist()
            self._open = (item.name, dict(zip(ids, encoded, strict=True)))
        return self._open[1][image_id]


def score_rank(
    run: Run,
    scorers: Mapping[str, Scorer],
    todo: Sequence[Row],
    rank: int,
    world: int,
    progress: Callable[[int], None],
) -> Tally:
    """Measure the pictures of every `world`th file of the folder, from number `rank` on: one rank reads a file.

    Files are counted over the whole folder, not over `todo`, which shrinks while other ranks work.
    """
    pixels = PixelReader(run)
    files: dict[str, list[Row]] = {}
    for row in todo:
        files.setdefault(pixels.file(row["image_id"]).name, []).append(row)

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
    for name in pixels.names[rank::world]:
        shard = name.rpartition("/")[2].split("-")[1]  # that of the render whose pictures these are
        total += run.facts("score", shard, files.get(name, []), make)
    return total
