"""respond: how much the teacher's prediction depends on each prompt of a sample; rows of prompt_scores.

Two groups of rows a prompt, each with a digest of its own, so that only what is missing is measured:

    response   needs the text alone; the metrics of models/diffusion/response.py
    word_swap  of a prompt with text to be drawn, once its picture (the first take) is there and has been read: the
               boxes are those of the metric `reading` of a scorer; so this stage comes after score

The sample is a fixed draw for each prompt, the same as that of render: of two shares the larger holds the smaller.
No gate reads these rows: validated is false until real weights have shown that non-visual prompts come out low.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from promptforge import catalog
from promptforge.models.diffusion import response
from promptforge.models.diffusion.response import Box, ResponseSettings
from promptforge.models.diffusion.settings import Settings
from promptforge.protocols import Pixels, Score
from promptforge.records import canonical_json, content_id
from promptforge.stages import goals
from promptforge.stages.render import decode, sampled
from promptforge.stages.run import Row, Run, Tally
from promptforge.stages.score import PixelReader, wanted_scores
from promptforge.store import Commit

VALIDATED = False

# In rounds nobody knows beforehand which prompts are taken, so there it is those that were drawn.
_WANTED = """
SELECT k.prompt_id, k.text_clean AS text, k.expected_text
FROM eligible e JOIN goals g USING (goal) JOIN kept k ON k.prompt_id = e.prompt_id
WHERE CASE WHEN $in_rounds THEN k.prompt_id IN (SELECT prompt_id FROM render_plan)
           ELSE g.most IS NULL OR e.nth <= g.most END ORDER BY k.prompt_id
"""

# The first picture of a prompt with text to be drawn, and where a reader found text in it.
_READ = """
SELECT i.prompt_id, i.image_id, min_by(s.detail, s.scorer) AS reading
FROM images i JOIN kept k USING (prompt_id) JOIN scores s USING (image_id) JOIN in_force f
    ON f.image_id = s.image_id AND f.scorer = s.scorer AND f.digest = s.digest
WHERE i.teacher = $teacher AND i.take = 0 AND i.error IS NULL AND i.width >= $px AND i.height >= $px
    AND s.metric = 'reading' AND s.detail IS NOT NULL AND len(k.expected_text) > 0
GROUP BY i.prompt_id, i.image_id
"""


class Measures(Protocol):
    """What the stage asks of models/diffusion/response.Responder."""

    def response(self, text: str) -> tuple[Score, ...]:
        """The metrics of the text alone."""
        ...

    def word_swap(self, text: str, drawn: Sequence[str], pixels: Pixels, boxes: Sequence[Box]) -> tuple[Score, ...]:
        """The metric of a drawn word."""
        ...


def settings_of(run: Run) -> ResponseSettings:
    """The recipe's [response] with its defaults; it was checked when the recipe was read."""
    return ResponseSettings.model_validate(run.recipe.response or {})


def teacher_of(run: Run) -> Settings:
    """The teacher's settings; that it has a velocity was checked when the recipe was read."""
    params = run.parts.teacher.params
    assert isinstance(params, Settings)
    return params


def missing(run: Run, commits: Sequence[Commit]) -> list[Row]:
    """Prompts with something left to measure, by prompt_id: the text, and digests by group of rows.

    `commits` are those up to the plan and every respond; pictures and readings are looked up here. A row with a
    word_swap has image_id and boxes too.
    """
    settings = settings_of(run)
    pictures = [commit for stage in ("render", "score") for commit in run.store.commits(stage)]
    with catalog.connect(run.store, [*commits, *pictures]) as con:
        goals.assign(con, run.recipe)
        rows = con.sql(_WANTED, params={"in_rounds": run.recipe.rounds is not None}).to_arrow_table().to_pylist()
        done = set(con.sql("SELECT prompt_id, scorer, digest FROM prompt_scores").fetchall())
        con.execute(f"CREATE TEMP TABLE in_force AS {wanted_scores(run.parts.scorers)}")
        read = {
            prompt: (image, boxes)
            for prompt, image, reading in con.execute(
                _READ, {"teacher": run.teacher_fingerprint, "px": settings.word_swap_px}
            ).fetchall()
            if (boxes := _boxes(reading))
        }
    todo = []
    for row in rows:
        prompt = row["prompt_id"]
        if not sampled(prompt, settings.sample):
            continue
        wants = {"response": _digest(run, settings, "response", row["text"])}
        if prompt in read:
            row["image_id"], row["boxes"] = read[prompt]
            wants["word_swap"] = _digest(run, settings, "word_swap", row["text"], row["expected_text"], read[prompt])
        row["digests"] = {name: digest for name, digest in wants.items() if (prompt, name, digest) not in done}
        if row["digests"]:
            todo.append(row)
    return todo


def _boxes(reading: str) -> tuple[Box, ...]:
    """Boxes of the lines that a reader found; () where there are none, or the detail is of another form."""
    lines: Any = json.loads(reading).get("lines", [])
    return response.boxes_of([line["box"] for line in lines if line.get("box")])


def _digest(run: Run, settings: ResponseSettings, *parts: Any) -> str:
    return content_id(canonical_json([response.identity(settings), run.teacher_fingerprint, *parts]))


def respond_rank(
    run: Run, todo: Sequence[Row], rank: int, progress: Callable[[int], None], responder: Measures | None = None
) -> Tally:
    """Measure these prompts, in order; the teacher is loaded for the rank's device unless a responder is given."""
    if not todo:
        return Tally("respond")
    measures = responder or response.build(teacher_of(run), settings_of(run), rank)
    read: Mapping[str, bytes] | PixelReader = {}
    if any("word_swap" in row["digests"] for row in todo):
        read = PixelReader(run)

    def made() -> Iterator[Mapping[str, Sequence[Row]]]:
        for row in todo:
            found: list[Row] = []
            for name, digest in row["digests"].items():
                if name == "response":
                    scores = measures.response(row["text"])
                else:
                    picture = decode(read[row["image_id"]])
                    scores = measures.word_swap(row["text"], row["expected_text"], picture, row["boxes"])
                found += [
                    {
                        "prompt_id": row["prompt_id"],
                        "scorer": name,
                        "digest": digest,
                        "metric": score.metric,
                        "value": score.value,
                        "detail": score.detail,
                        "validated": VALIDATED,
                    }
                    for score in scores
                ]
            progress(1)
            yield {"prompt_scores": found}

    return run.facts("respond", f"r{rank:05d}", todo, made())
