"""The judge: what a language model says of a prompt becomes findings; what it does not say drops nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pydantic import ValidationError

from promptforge.filters import judge
from promptforge.filters.judge import Params
from promptforge.protocols import Completion, Finding, Request
from promptforge.records import prompt_id
from promptforge.stages.ask import Asker
from promptforge.store import Store


class Judge:
    """Says what a table holds for the prompt; anything else is a fine picture."""

    identity: ClassVar[dict[str, Any]] = {"kind": "judge"}

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self.asked: list[str] = []

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            text = json.loads(request.user.split("<<<DATA\n")[1].split("\nDATA>>>")[0])["prompt"]
            self.asked.append(text)
            said = self.table.get(text, {})
            fine = {"visual": 9, "axis": "image_quality", "safety": "ok"}
            yield place, Completion(said if isinstance(said, str) else json.dumps(fine | said), 50, 12)

    def sleep(self) -> None:
        """It holds no memory."""


def judged(root: Path, table: dict[str, Any], axis: str = "image_quality", **params: Any) -> list[Finding]:
    model = Judge(table)
    check = judge.build(Params(llm="j", **params), ask=Asker(Store(root), "j", Judge.identity, lambda: model))
    texts = list(table)
    rows = pa.table(
        {"prompt_id": [prompt_id(text) for text in texts], "text_clean": texts, "axis": [axis] * len(texts)}
    )
    return list(check(rows.select(list(check.columns))))


def test_what_cannot_be_seen_is_dropped_with_its_value(tmp_path: Path) -> None:
    table = {"a lake": {"visual": 10}, "be honest": {"visual": 1}, "hope": {"visual": 4}, "joy in blue": {"visual": 5}}
    assert judged(tmp_path, table) == [
        Finding(1, "drop", "not_visual", 0.1, 0.4),
        Finding(2, "near_miss", "not_visual", 0.4, 0.4),
    ]


def test_a_near_band_of_nothing_finds_nothing_near(tmp_path: Path) -> None:
    assert judged(tmp_path, {"hope": {"visual": 4}, "joy": {"visual": 3}}, min_visual=0.3, near=0) == []


@pytest.mark.parametrize("kind", ["sexual", "sexual_minors", "violence", "hate", "self_harm", "personal_data"])
def test_each_kind_of_unsafe_prompt_has_its_reason(tmp_path: Path, kind: str) -> None:
    table = {"x": {"safety": kind, "visual": 0}, "y": {}}
    assert judged(tmp_path / "on", table) == [Finding(0, "drop", f"unsafe_{kind}")]
    kept = tuple({"sexual", "violence", "hate"} - {kind})
    assert judged(tmp_path / "off", {"x": {"safety": kind}}, unsafe=kept) == []


def test_another_axis_drops_only_where_asked(tmp_path: Path) -> None:
    table = {"two cups": {"axis": "semantic_understanding"}, "a lake": {}}
    assert judged(tmp_path, table) == []
    assert judged(tmp_path, table, wrong_axis=True) == [
        Finding(0, "drop", "wrong_axis", detail="semantic_understanding")
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("I cannot judge this.", "malformed_json: Expecting value at character 0"),
        ('{"visual": 11, "axis": "image_quality", "safety": "ok"}', "wrong_schema: $.visual breaks maximum"),
        ('{"visual": 5, "axis": "image_quality", "safety": "fine"}', "wrong_schema: $.safety breaks enum"),
    ],
)
def test_where_the_model_fails_the_prompt_stays_with_a_note(tmp_path: Path, said: str, error: str) -> None:
    assert judged(tmp_path, {"a": {}, "b": said}) == [Finding(1, "near_miss", "judge_failed", detail=error)]


def test_another_threshold_asks_nothing_again(tmp_path: Path) -> None:
    model = Judge({"hope": {"visual": 4}})
    ask = Asker(Store(tmp_path), "j", Judge.identity, lambda: model)
    rows = pa.table({"prompt_id": [prompt_id("hope")], "text_clean": ["hope"], "axis": ["image_quality"]})
    first = judge.build(Params(llm="j", min_visual=0.2), ask=ask)(rows)
    second = judge.build(Params(llm="j", min_visual=0.9, wrong_axis=True, unsafe=()), ask=ask)(rows)
    assert ([*first], [*second]) == ([], [Finding(0, "drop", "not_visual", 0.4, 0.9)])
    assert model.asked == ["hope"]


def test_equal_prompts_are_judged_once_and_rows_keep_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_CHUNK", 3)
    model = Judge({"bad": {"visual": 0}})
    check = judge.build(Params(llm="j"), ask=Asker(Store(tmp_path), "j", Judge.identity, lambda: model))
    texts = ["a", "bad", "a", "b", "bad", "c", "c", "bad"]
    rows = pa.table({"prompt_id": [prompt_id(text) for text in texts], "text_clean": texts, "axis": ["x"] * 8})
    assert [finding.row for finding in check(rows)] == [1, 4, 7]
    assert sorted(model.asked) == ["a", "b", "bad", "c"]


def test_the_wording_is_part_of_its_identity_and_unknown_kinds_are_refused() -> None:
    assert len(judge.identity(Params(llm="j"))["wording"]) == 64
    with pytest.raises(ValidationError, match="unsafe"):
        Params(llm="j", unsafe=("rudeness",))
