"""questions: what a picture of each kept prompt must show, as yes/no questions whose right answer is yes.

One relational step over every shard. The questions come from the prompt's scene; where the recipe names a language
model, prompts that the scene does not wholly understand are parsed by it instead, as far as the plan draws them: nobody
asks about a picture that is not made. In rounds, of which nobody knows how far they go, these are as many of each cell
as rounds.max_renders could pay for, all without that limit. An answer that gives no question, or an error, leaves those
of the scene.
Not covered: prompts outside the plan are never parsed, so a larger plan may give a prompt other questions than before
it was drawn; a scene with unknown words is only as right as the reader of the text (scenes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from promptforge import catalog, lexicon, questions, records, wording
from promptforge.protocols import Request
from promptforge.records import Question, Scene
from promptforge.schema import arrow_schema
from promptforge.stages import goals, render
from promptforge.stages.parts import identity_of
from promptforge.stages.run import Row, Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 1
TASK = "parse"
MAX_TOKENS = 2048  # 24 questions of some 60 tokens, with room

_READ = {"prompts": ["row_id", "prompt_id", "text_clean", "scene"], "verdicts": ["row_id", "verdict"]}
_KEPT = "SELECT prompt_id, text_clean AS text, scene FROM kept ORDER BY prompt_id"
_PAYABLE = "SELECT prompt_id FROM eligible WHERE NOT left_over AND nth <= $1"


def unit(run: Run, commits: Sequence[Commit]) -> Unit:
    """The work of the whole run: `commits` are those of the checked prompts, and of their order where there is one."""
    plan = render.plan_unit(run, commits) if run.recipe.questions.llm is not None else None
    most = None if run.recipe.rounds is None else run.recipe.rounds.max_renders
    digest = records.digest_of(
        {
            "version": VERSION,
            "questions": [questions.VERSION, lexicon.digest()],
            "input": digest_columns(commits, _READ),
            "parsed": None
            if plan is None
            else [_variant(), _model(run), plan.digest, *([] if most is None else [most])],
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, commits) as con:
            kept = con.sql(_KEPT).to_arrow_table().to_pylist()
            payable = None
            if plan is not None and most is not None:
                goals.assign(con, run.recipe)
                payable = {one for (one,) in con.execute(_PAYABLE, [most]).fetchall()}
        parsed: dict[str, tuple[Question, ...]] = {}
        n_failed = 0
        if plan is not None:
            drawn = set(plan.make()[0]["render_plan"]["prompt_id"].to_pylist())
            drawn = drawn if payable is None else drawn & payable
            asked = [row for row in kept if row["prompt_id"] in drawn and not _understood(row["scene"])]
            parsed = _parsed(run, asked)
            n_failed = len(asked) - len(parsed)
        rows = [line for row in kept for line in _rows(row, parsed)]
        table = pa.Table.from_pylist(rows, schema=arrow_schema("questions"))
        return {"questions": table}, {"questions": len(rows), "parsed": len(parsed), "parse_failed": n_failed}

    return Unit("questions", "all", digest, make)


def _understood(scene: str | None) -> bool:
    return scene is not None and not Scene.from_json(scene).unknown


def _model(run: Run) -> Mapping[str, object]:
    return next(identity_of(part) for part in run.parts.llms if part.name == run.recipe.questions.llm)


def _variant() -> str:
    return records.digest_of([wording.load(TASK).digest, MAX_TOKENS])


def _parsed(run: Run, rows: Sequence[Row]) -> dict[str, tuple[Question, ...]]:
    """prompt_id -> questions that the language model made of the text; prompts that it made nothing of are left out."""
    name, brief = run.recipe.questions.llm, wording.load(TASK)
    if not rows or name is None:
        return {}
    requests = [
        Request(
            task=TASK,
            variant=_variant(),
            subject=row["prompt_id"],
            system=brief.system,
            user=brief.about({"prompt": row["text"]}),
            schema=brief.schema,
            max_tokens=MAX_TOKENS,
        )
        for row in rows
    ]
    answers = run.ask(name)(requests)
    found = {
        row["prompt_id"]: questions.from_answer(answer.value["questions"])
        for row, answer in zip(rows, answers, strict=True)
        if answer.error is None
    }
    return {prompt: some for prompt, some in found.items() if some}


def _rows(row: Row, parsed: Mapping[str, Sequence[Question]]) -> list[Row]:
    """Rows of the table questions for one prompt."""
    prompt, scene = row["prompt_id"], row["scene"]
    some = parsed.get(prompt)
    if some is None:
        some = () if scene is None else questions.from_scene(Scene.from_json(scene), row["text"])
    return [
        {
            "prompt_id": prompt,
            "place": place,
            "key": question.key,
            "kind": question.kind,
            "text": question.text,
            "requires": list(question.requires),
            "noun": question.noun,
            "value": question.value,
            "other": question.other,
            "verified": question.verified,
            "origin": "llm" if prompt in parsed else "scene",
        }
        for place, question in enumerate(some)
    ]
