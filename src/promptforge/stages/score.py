"""score: every scorer on every picture of the plan that it has not measured yet.

A score is named by (image_id, scorer, digest); the digest covers the scorer, its version, parameters and models, and
the prompt fields that it reads. So a new threshold measures nothing again, and a new scorer measures only itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow.compute as pc

from promptforge import catalog
from promptforge.errors import StoreFault
from promptforge.models.torch_setup import n_cores
from promptforge.protocols import Picture, Pixels, Rendering, Scorer
from promptforge.records import Question, Scene
from promptforge.stages.parts import Part, scores_of
from promptforge.stages.render import Measure, decode
from promptforge.stages.run import Row, Run, Tally
from promptforge.store import Commit, TableFile

MOST_DECODERS = 16  # threads, one for each core up to here; 1024 px take 20 ms, a picture of CLIP on a GPU 1 ms
SCORED_TOGETHER = 16

_NEEDS = {
    "picture": "true",
    "scene": "scene IS NOT NULL",
    "expected_text": "len(expected_text) > 0",
    "questions": "k.prompt_id IN (SELECT prompt_id FROM questions)",
}
_QUESTIONS = (
    "(SELECT list({'key': key, 'kind': kind, 'text': text, 'requires': requires, 'noun': noun, 'value': value,"
    " 'other': other, 'verified': verified} ORDER BY place) FROM questions q WHERE q.prompt_id = k.prompt_id)"
)
_INPUTS = {
    "text": "text_clean",
    "axis": "axis",
    "scene": "scene",
    "expected_text": "to_json(expected_text)::VARCHAR",
    "questions": f"to_json({_QUESTIONS})::VARCHAR",
}


def wanted_scores(parts: Sequence[Part], *, of_plan: bool = False) -> str:
    """SQL of the relation (image_id, scorer, digest): every score that the plan's pictures should have.

    `of_plan`: also of pictures that are not made yet, and of those that cannot be.
    """
    drawn = "render_plan i" if of_plan else "render_plan r JOIN images i USING (image_id)"
    condition = "true" if of_plan else "i.error IS NULL"
    selects = [
        f"SELECT i.image_id, '{part.name}' AS scorer, {_digest(part)} AS digest FROM {drawn}"
        " JOIN kept k ON k.prompt_id = i.prompt_id"
        f" WHERE {condition} AND {_NEEDS[part.module.NEEDS]}"
        for part in parts
    ]
    empty = "SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS scorer, NULL::VARCHAR AS digest WHERE false"
    return " UNION ALL ".join([empty, *selects])


def wanted_digests(parts: Sequence[Part], *columns: str) -> str:
    """SQL of the relation (prompt_id, d0, d1, ...): the digest of each part's scores of a planned prompt's pictures.

    Null where the part is not for the prompt. As `wanted_scores`, with one row a prompt: a third of its time. `columns`
    of prompts come with it, since a second scan of a million takes as long as a digest.
    """
    digests = [
        f"CASE WHEN {_NEEDS[part.module.NEEDS]} THEN {_digest(part)} END AS d{place}"
        for place, part in enumerate(parts)
    ]
    selected = ["k.prompt_id", *(f"k.{name}" for name in columns), *digests]
    return f"SELECT {', '.join(selected)} FROM kept k SEMI JOIN render_plan r USING (prompt_id)"


def _digest(part: Part) -> str:
    fields = ", ".join([f"'{part.digest}'", *(_INPUTS[name] for name in part.module.INPUTS)])
    return f"substr(sha256(to_json([{fields}])::VARCHAR), 1, 32)"


#: Over todo(image_id, scorer, digest): what a Picture says besides its pixels, and digests: scorer -> digest.
_SUBJECTS = f"""
SELECT t.image_id, k.text_clean AS text, k.axis, k.expected_text, k.scene, {_QUESTIONS} AS questions, t.digests
FROM (SELECT image_id, map_from_entries(list({{'key': scorer, 'value': digest}} ORDER BY scorer)) AS digests
      FROM todo GROUP BY image_id) t
JOIN render_plan r USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id
ORDER BY t.image_id
"""


def missing(run: Run, commits: Sequence[Commit]) -> list[Row]:
    """Pictures with something left to measure, by image_id: the fields of Picture, and the scorers to run.

    `commits` are those of text, dedup, questions, plan, every render and every score.
    """
    todo = f"FROM ({wanted_scores(run.parts.scorers)}) ANTI JOIN scores USING (image_id, scorer, digest)"
    return _subjects(run, commits, todo)


def _subjects(run: Run, commits: Sequence[Commit], todo: str) -> list[Row]:
    with catalog.connect(run.store, commits) as con:
        rows = con.sql(f"WITH todo AS ({todo}) {_SUBJECTS}").to_arrow_table()
    found: list[Row] = rows.to_pylist(maps_as_pydicts="strict")
    return found


def measure_in_render(run: Run, commits: Sequence[Commit], scorers: Mapping[str, Scorer]) -> Measure:
    """Scores of pictures as they are drawn, under the digests that the stage score would give them.

    Pictures are encoded without loss, so a score of the drawn pixels is that of the decoded file.
    """
    todo = wanted_scores([part for part in run.parts.scorers if part.name in scorers], of_plan=True)
    subjects = {row["image_id"]: row for row in _subjects(run, commits, todo)}

    def measure(drawn: Sequence[tuple[Row, Rendering]]) -> Sequence[list[Row]]:
        pairs = [
            (subjects[row["image_id"]], rendering.pixels)
            for row, rendering in drawn
            if rendering.pixels is not None and row["image_id"] in subjects
        ]
        found = {
            row["image_id"]: scores
            for (row, _), scores in zip(pairs, _scores(pairs, scorers, lambda: None), strict=True)
        }
        return [found.get(row["image_id"], []) for row, _ in drawn]

    return measure


def _scores(
    pairs: Sequence[tuple[Row, Pixels]], scorers: Mapping[str, Scorer], tick: Callable[[], None]
) -> list[list[Row]]:
    """Rows of the table scores for each (subject, pixels), scorer by scorer over all of them."""
    pictures = [_picture(row, pixels) for row, pixels in pairs]
    found: list[list[Row]] = [[] for _ in pairs]
    for name in sorted({name for row, _ in pairs for name in row["digests"]}):
        places = [place for place, (row, _) in enumerate(pairs) if name in row["digests"]]
        measured = scores_of(scorers[name], [pictures[place] for place in places], tick)
        for place, scores in zip(places, measured, strict=True):
            row, _ = pairs[place]
            found[place] += [
                {
                    "image_id": row["image_id"],
                    "scorer": name,
                    "digest": row["digests"][name],
                    "metric": score.metric,
                    "value": None if score.value is None or math.isnan(score.value) else score.value,
                    "detail": score.detail,
                }
                for score in scores
            ]
    return found


def _picture(row: Row, pixels: Pixels) -> Picture:
    return Picture(
        pixels=pixels,
        text=row["text"],
        axis=row["axis"],
        expected_text=tuple(row["expected_text"] or ()),
        scene=Scene.from_json(row["scene"]) if row["scene"] else None,
        questions=tuple(Question(**{**each, "requires": tuple(each["requires"])}) for each in row["questions"] or ()),
    )


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

    def made(rows: Sequence[Row], pool: ThreadPoolExecutor) -> Iterator[Mapping[str, Sequence[Row]]]:
        groups = [rows[start : start + SCORED_TOGETHER] for start in range(0, len(rows), SCORED_TOGETHER)]
        ahead: deque[list[Future[Pixels]]] = deque()
        for number, group in enumerate(groups):
            for later in groups[number + len(ahead) : number + 2]:  # decoded while this group is measured
                ahead.append([pool.submit(decode, pixels[row["image_id"]]) for row in later])
            decoded = [future.result() for future in ahead.popleft()]
            for found in _scores(list(zip(group, decoded, strict=True)), scorers, lambda: progress(0)):
                progress(1)
                yield {"scores": found}

    total = Tally("score")
    with ThreadPoolExecutor(min(MOST_DECODERS, n_cores()), thread_name_prefix="decode") as pool:
        for name in pixels.names[rank::world]:
            shard = name.rpartition("/")[2].split("-")[1]  # that of the render whose pictures these are
            rows = files.get(name, [])
            total += run.facts("score", shard, rows, made(rows, pool))
    return total
