"""render: which pictures are wanted (the plan), and making those that do not exist yet.

The plan takes, of each goal (goals.py), the first kept prompts in stream order or in that of [order]: as many as it
wants (policy distill) or `oversample` times as many (policy images), and those that quantile gates are fitted to; then
the recipe's sample of them, times takes.
With [rounds] or render.until_pass the pictures are wanted in rounds (rounds/chain.py).
Pictures are facts: a picture that any earlier run of this folder made is never made again, whatever else has changed. A
failed one is a fact too, but for one that memory did not hold: it is tried again where the recipe names another memory
mode.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from PIL import Image

from promptforge import catalog, records
from promptforge.errors import StoreFault
from promptforge.protocols import Pixels, RawTensor, Rendering, RenderJob, Teacher
from promptforge.recipe import Render
from promptforge.records import canonical_json
from promptforge.schema import arrow_schema
from promptforge.stages import goals
from promptforge.stages.judging.reference import reference_prompts
from promptforge.stages.run import Row, Run, Tally, Unit, digest_columns
from promptforge.store import Commit

VERSION = 2
ENCODERS = 2  # threads; lossless WebP of 1024 px takes 45 ms, and a picture at least as long on any GPU
LOOK_AHEAD = 4  # pictures drawn and not yet handed over, so that encoding never holds the teacher up
SCORED_TOGETHER = 16  # pictures that are measured at once, where that is done here

#: The rows of the table scores for each of these pictures, in order; [] for one that failed.
Measure = Callable[[Sequence[tuple[Row, Rendering]]], Sequence[list[Row]]]

ELIGIBLE, wanted = goals.ELIGIBLE, goals.wanted

#: Columns that a plan reads.
READS: dict[str, list[str]] = {
    "prompts": [
        *("row_id", "prompt_id", "axis", "noise_group", "split_group", "split", "stream_order"),
        *(name for name in goals.READS if name != "text_clean"),  # prompt_id names it
    ],
    "verdicts": ["row_id", "verdict"],
    "arrangement": ["row_id", "place", "left_over"],
}


class Wish(NamedTuple):
    """Takes `start` to `stop` - 1 of a prompt; `fixed`: every take of it is drawn, whatever passes."""

    prompt_id: str
    noise_group: str
    start: int
    stop: int
    fixed: bool


def plan_unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The committed list of pictures that this recipe wants, where it comes in one piece: every take at once."""
    recipe = run.recipe
    reference = reference_prompts(recipe)
    digest = records.digest_of(
        {
            "version": VERSION,
            "seed": recipe.seed,
            "sample": recipe.render.sample,
            "takes": recipe.render.takes,
            "goals": [[goal.axis, goal.cell] for goal in goals.goals(recipe)],
            "most": goals.most(recipe),
            **({"reference": reference} if any(reference.values()) else {}),
            "teacher": run.teacher_fingerprint,
            "input": digest_columns(text, READS),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, text) as con:
            wishes = wishes_of_quotas(con, run)
        plan = plan_rows(run, [wish._replace(stop=recipe.render.takes, fixed=True) for wish in wishes], 0)
        return {"render_plan": plan}, {"images": plan.num_rows}

    return Unit("plan", "all", digest, make)


def wishes_of_quotas(con: duckdb.DuckDBPyConnection, run: Run) -> list[Wish]:
    """The first take of the prompts that the quotas or quantile gates want, by prompt_id; every take of the fixed ones.

    A quota below a gate's reference would else have a larger one move its bound.
    """
    goals.assign(con, run.recipe)
    reference = " ".join(f"WHEN '{axis}' THEN {n}" for axis, n in reference_prompts(run.recipe).items())
    rows = con.sql(
        "SELECT e.prompt_id, e.noise_group FROM eligible e JOIN goals g USING (goal) WHERE NOT e.left_over"
        f" AND (g.most IS NULL OR e.nth <= g.most OR e.place <= CASE e.axis {reference} END) ORDER BY e.prompt_id"
    ).fetchall()
    chosen = [(prompt, group) for prompt, group in rows if sampled(prompt, run.recipe.render.sample)]
    return [first_wish(run.recipe.render, prompt, group) for prompt, group in chosen]


def first_wish(settings: Render, prompt: str, group: str) -> Wish:
    """What is wanted of a prompt that has no picture yet."""
    fixed = is_fixed(settings, prompt)
    return Wish(prompt, group, 0, settings.takes if fixed else 1, fixed)


def is_fixed(settings: Render, prompt: str) -> bool:
    """Whether every take of this prompt is drawn: all are, or a draw of its own for each prompt."""
    if not settings.until_pass:
        return True
    return settings.fixed_share > 0 and sampled(prompt, settings.fixed_share, "fixed")


def plan_rows(run: Run, wishes: Sequence[Wish], number: int) -> pa.Table:
    """The rows of render_plan of one round."""
    settings = run.recipe.run
    n_images = sum(wish.stop - wish.start for wish in wishes)
    # Eight a rank at least, since hash buckets differ in size and the last rank to finish decides.
    n_buckets = max(1, math.ceil(n_images / settings.bucket_images), min(n_images, 8 * settings.workers))
    plan = [
        {
            "image_id": records.image_id(wish.prompt_id, run.teacher_fingerprint, take),
            "prompt_id": wish.prompt_id,
            "take": take,
            "seed": records.noise_seed(wish.noise_group, take, run.recipe.seed),
            "teacher": run.teacher_fingerprint,
            "bucket": int(wish.prompt_id[:8], 16) % n_buckets,
            "round": number,
            "fixed": wish.fixed,
        }
        for wish in wishes
        for take in range(wish.start, wish.stop)
    ]
    return pa.Table.from_pylist(plan, schema=arrow_schema("render_plan"))


def sampled(prompt: str, share: float, salt: str = "sample") -> bool:
    """A fixed draw for each prompt, so that a larger sample holds the smaller one; each salt has a draw of its own."""
    return int(records.content_id(salt, prompt)[:13], 16) < share * 16**13


def forget_unheld(run: Run) -> int:
    """Take out the failures of this teacher for lack of memory under another mode than the recipe now names.

    The mode is no part of a picture's name, so without this its error row would stand for it for ever. Called once,
    before any rank renders; how many were taken out.
    """
    mode, total = _memory_mode(run), 0
    if mode is None:
        return 0
    for commit in run.store.commits("render"):
        item = commit.file("images")
        if item is None:
            continue
        rows = run.store.read(item, ["teacher", "error", "provenance"])
        keep = [
            teacher != run.teacher_fingerprint
            or not (error or "").startswith("out_of_memory:")
            or json.loads(provenance).get("memory") == mode
            for teacher, error, provenance in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True)
        ]
        if not all(keep):
            tables = {each.table: run.store.read(each) for each in commit.files}
            run.store.rewrite(commit, tables | {"images": tables["images"].filter(pa.array(keep))})
            total += keep.count(False)
    return total


def _memory_mode(run: Run) -> str | None:
    """Where the recipe wants the teacher's weights to lie; None where it leaves that open."""
    mode = getattr(run.parts.teacher.params, "memory", None)
    return None if mode == "auto" else mode


def missing(run: Run, commits: Sequence[Commit], rank: int, world: int) -> tuple[int, dict[int, list[Row]]]:
    """How many planned pictures are not there yet, and this rank's share: bucket -> rows with text, by image_id.

    `commits` are those of text, dedup, plan and every render. A rank has the buckets that are it modulo `world`.
    """
    with catalog.connect(run.store, commits) as con:
        con.execute("CREATE TEMP VIEW todo AS FROM render_plan ANTI JOIN images USING (image_id)")
        ((total,),) = con.sql("SELECT count(*) FROM todo").fetchall()
        rows = con.sql(
            "SELECT t.*, k.text_clean AS text FROM todo t JOIN kept k USING (prompt_id)"
            " WHERE t.bucket % $world = $rank ORDER BY t.bucket, t.image_id",
            params={"world": world, "rank": rank},
        ).to_arrow_table()
    found: dict[int, list[Row]] = {}
    mode = _memory_mode(run)
    for row in rows.to_pylist():
        # Names the increment: a second try of the same pictures is not taken for the first.
        found.setdefault(row["bucket"], []).append(row if mode is None else row | {"memory": mode})
    return total, found


def render_rank(
    run: Run,
    teacher: Teacher,
    todo: Mapping[int, Sequence[Row]],
    progress: Callable[[int], None],
    measure: Measure | None = None,
) -> Tally:
    """Make the pictures of these buckets, in order; `measure` gives the scores of pictures before they are encoded.

    Pictures are encoded in threads while the teacher draws the next ones. Raises StoreFault where the teacher is not
    the one that the plan names.
    """
    if teacher.fingerprint != run.teacher_fingerprint:
        raise StoreFault(
            f"{run.root}: the teacher is {teacher.fingerprint}, the plan wants {run.teacher_fingerprint}; a file of the"
            " model changed since the run began: run again"
        )
    total = Tally("render")
    with ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode") as pool:
        for bucket, rows in todo.items():
            made = _made(rows, teacher, pool, measure, run.parts.licence.name)
            total += run.facts("render", f"b{bucket:05d}", rows, _counted(made, progress))
    return total


def _counted(
    made: Iterable[Mapping[str, Sequence[Row]]], progress: Callable[[int], None]
) -> Iterator[Mapping[str, Sequence[Row]]]:
    for tables in made:
        progress(1)
        yield tables


def _made(
    rows: Sequence[Row],
    teacher: Teacher,
    pool: ThreadPoolExecutor,
    measure: Measure | None,
    licence: str,
) -> Iterator[Mapping[str, Sequence[Row]]]:
    """The tables of each row, in order, a few pictures behind the teacher."""
    jobs = (RenderJob(row["text"], row["seed"], row["take"]) for row in rows)
    waiting: deque[tuple[Row, Rendering, Future[bytes] | None]] = deque()
    unscored: list[tuple[Row, Rendering]] = []
    scores: deque[list[Row]] = deque()
    about = {"regime": canonical_json(teacher.description), "licence": licence}

    def finish() -> Mapping[str, Sequence[Row]]:
        row, result, encoding = waiting.popleft()
        notes = {"notes": dict(result.notes)} if result.notes else {}
        image = about | {"provenance": canonical_json({**teacher.provenance, **notes})}
        tables = _tables(row, result, encoding.result() if encoding else None, image)
        if measure:
            tables["scores"] = scores.popleft()
        return tables

    for row, result in zip(rows, teacher.render_all(jobs), strict=True):
        encoding = None if result.pixels is None else pool.submit(encode, result.pixels)
        waiting.append((row, result, encoding))
        unscored.append((row, result))
        if measure and len(unscored) == SCORED_TOGETHER:
            scores.extend(measure(unscored))
            unscored = []
            while waiting:
                yield finish()
        elif not measure and len(waiting) > LOOK_AHEAD:
            yield finish()
    if measure and unscored:
        scores.extend(measure(unscored))
    while waiting:
        yield finish()


def _tables(row: Row, result: Rendering, encoded: bytes | None, about: Row) -> dict[str, list[Row]]:
    """Every table's rows of one picture; `about` holds the columns of images that its teacher decides."""
    image = about | {name: row[name] for name in ("image_id", "prompt_id", "take", "seed", "teacher")}
    image |= {"error": result.error, "truth": None if result.truth is None else canonical_json(result.truth)}
    tables: dict[str, list[Row]] = {"images": [image], "pixels": []}
    if encoded is not None:
        assert result.pixels is not None
        height, width = result.pixels.shape[:2]
        image |= {"width": width, "height": height, "sha256": hashlib.sha256(encoded).hexdigest()}
        tables["pixels"] = [{"image_id": row["image_id"], "encoded": encoded}]
    if result.latent is not None:
        tables["latents"] = [{"image_id": row["image_id"], **_stored(result.latent)}]
    if result.embeddings and row["take"] == 0:  # those of a prompt are the same for every take
        tables["embeddings"] = [
            {"prompt_id": row["prompt_id"], "teacher": row["teacher"], "name": name, **_stored(tensor)}
            for name, tensor in sorted(result.embeddings.items())
        ]
    return tables


def _stored(tensor: RawTensor) -> Row:
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "data": tensor.data}


def encode(pixels: Pixels) -> bytes:
    """Lossless WebP of RGB pixels; method 0 takes 10.7 ms at 512 px and is 22% smaller than PNG."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "WEBP", lossless=True, method=0, quality=0)
    return sink.getvalue()


def decode(encoded: bytes) -> Pixels:
    """RGB pixels of an encoded picture, height x width x 3."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))
