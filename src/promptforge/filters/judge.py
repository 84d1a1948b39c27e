"""A language model's word on a prompt: can it be seen, which axis is it for, is it safe?

Every prompt is judged by itself, once in the life of a run folder: changing a threshold asks nothing again. Where the
model gave no answer the prompt stays, with a near miss that says so.
Not covered: removing a text from the folder; a drop for unsafe_sexual_minors calls for `promptforge purge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Answer, Ask, Filter, Finding, Request
from promptforge.records import digest_of
from promptforge.wording import Wording, load

VERSION = 1
ASKS = True

Unsafe = Literal["sexual", "sexual_minors", "violence", "hate", "self_harm", "personal_data"]

_TASK = "judge"
_STEPS = 10  # the model gives visualness in tenths: models count better than they divide
_CHUNK = 16_384  # requests held in memory at a time, some 50 MB


class Params(BaseModel):
    """What an answer leads to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    llm: str = Field(description="language model of the recipe that judges")
    min_visual: float = Field(
        0.4,
        ge=0,
        le=1,
        description="share of the prompt that says what is to be seen; less is dropped as not_visual; not yet measured"
        " against labels",
    )
    near: float = Field(
        0.1, ge=0, le=1, description="visualness this little above min_visual is recorded as a near miss"
    )
    wrong_axis: bool = Field(False, description="whether a prompt that the model gives another axis is dropped")
    unsafe: tuple[Unsafe, ...] = Field(get_args(Unsafe), description="kinds of unsafe prompts that are dropped")
    max_tokens: int = Field(256, ge=16, le=65_536, description="tokens of an answer; a model that reasons needs more")
    temperature: float = Field(0.0, ge=0, le=2, description="of the model's sampling")


def identity(params: Params) -> dict[str, Any]:
    """The words that the model is told."""
    return {"wording": load(_TASK).digest}


def build(params: Params, *, ask: Ask) -> Filter:
    """The check; the model is loaded when it is first needed."""
    return _Judge(params, ask, load(_TASK))


class _Judge:
    columns: tuple[str, ...] = ("prompt_id", "text_clean", "axis")

    def __init__(self, params: Params, ask: Ask, wording: Wording) -> None:
        self._params, self._ask, self._wording = params, ask, wording
        self._variant = digest_of([wording.digest, params.max_tokens, params.temperature])

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` and `threshold` of not_visual are visualness in [0, 1]."""
        found: list[Finding] = []
        for start in range(0, rows.num_rows, _CHUNK):
            some = rows.slice(start, _CHUNK).to_pylist()
            answers = self._ask([self._request(row["prompt_id"], row["text_clean"]) for row in some])
            for place, (row, answer) in enumerate(zip(some, answers, strict=True), start):
                finding = self._finding(place, row["axis"], answer)
                if finding is not None:
                    found.append(finding)
        return found

    def _request(self, prompt: str, text: str) -> Request:
        return Request(
            task=_TASK,
            variant=self._variant,
            subject=prompt,
            system=self._wording.system,
            user=self._wording.about({"prompt": text}),
            schema=self._wording.schema,
            max_tokens=self._params.max_tokens,
            temperature=self._params.temperature,
        )

    def _finding(self, row: int, axis: str, answer: Answer) -> Finding | None:
        params = self._params
        if answer.error is not None:
            return Finding(row, "near_miss", "judge_failed", detail=answer.error)
        said = answer.value
        if said["safety"] in params.unsafe:
            return Finding(row, "drop", f"unsafe_{said['safety']}")
        visual = said["visual"] / _STEPS
        if visual < params.min_visual:
            return Finding(row, "drop", "not_visual", visual, params.min_visual)
        if params.wrong_axis and said["axis"] != axis:
            return Finding(row, "drop", "wrong_axis", detail=said["axis"])
        if visual < round(params.min_visual + params.near, 6):  # 0.2 + 0.1 is a little over 0.3 in floating point
            return Finding(row, "near_miss", "not_visual", visual, params.min_visual)
        return None
