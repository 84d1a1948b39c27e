"""The source that a language model writes: a fixed stream of rows, whatever the model does and however it is cut."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from promptforge.errors import EnvironmentFault, SourceFault
from promptforge.protocols import Completion, Request
from promptforge.records import AXES, SEMANTIC_CATEGORIES, prompt_id
from promptforge.sources import llm
from promptforge.sources.inventing.contract import lost
from promptforge.sources.inventing.lanes import cells
from promptforge.sources.llm import Params
from promptforge.stages.ask import Asker
from promptforge.store import Store
from promptforge.wording import briefs

SEED = 5


def data_of(request: Request) -> dict[str, Any]:
    """What the request is about: the one line between the marks."""
    return json.loads(request.user.split("<<<DATA\n")[1].split("\nDATA>>>")[0])


class Writer:
    """Writes numbered prompts of the words that it is given; what `spoil` returns for a request is said instead."""

    identity: ClassVar[dict[str, Any]] = {"kind": "writer"}

    def __init__(self, spoil: Any = None, *, lost_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self.batches: list[int] = []
        self.spoil, self.lost_after = spoil, lost_after

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        self.batches.append(len(requests))
        for place, request in enumerate(requests):
            if self.lost_after is not None and len(self.asked) >= self.lost_after:
                raise EnvironmentFault("the server is gone")
            self.asked.append(request)
            said = self.spoil(request) if self.spoil else None
            yield place, Completion(said if said is not None else self.write(request), 10, 10)

    def write(self, request: Request) -> str:
        data = data_of(request)
        texts = [f"{data.get('category')} {request.seed} number {number}" for number in range(data["count"])]
        if "strings" in request.schema["properties"]["prompts"]["items"].get("properties", {}):
            items = [{"prompt": f'a sign that says "{text}"', "strings": [text]} for text in texts]
            return json.dumps({"prompts": items})
        if "prompt" in data:
            texts = [f"{data['prompt']}, in soft light {number}" for number in range(data["count"])]
        return json.dumps({"prompts": texts})

    def sleep(self) -> None:
        """It holds no memory."""


def source_of(root: Path, writer: Writer, **params: Any) -> llm.LlmSource:
    made = Params(llm="writer", **params)
    ask = Asker(Store(root), "writer", Writer.identity, lambda: writer)
    source = llm.build(made, SEED, ask=ask)
    assert isinstance(source, llm.LlmSource)
    return source


def rows(source: llm.LlmSource, start: int = 0, stop: int = 10**9) -> list[Any]:
    (part,) = source.parts()
    return list(source.read(part, start, stop))


SMALL = {"axis": "semantic_understanding", "categories": ("color", "numeracy"), "per_request": 3}


@pytest.mark.parametrize("axis", AXES)
def test_every_row_carries_what_its_cell_says(tmp_path: Path, axis: str) -> None:
    found = rows(source_of(tmp_path, Writer(), axis=axis, n=500))
    of_axis = briefs()[axis]
    assert [row.row for row in found] == list(range(500))
    assert {row.axis for row in found} == {axis}
    counts = Counter(row.category for row in found)
    assert tuple(sorted(counts)) == tuple(sorted(of_axis.categories))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {row.style or "none" for row in found} == set(of_axis.styles)
    for row in found:
        if axis == "text_rendering":
            (string,) = row.expected_text
            assert f'"{string}"' in row.text
        else:
            assert row.expected_text is None
            assert row.text.startswith(row.category)


def test_the_semantic_categories_are_those_of_the_benchmark(tmp_path: Path) -> None:
    found = rows(source_of(tmp_path, Writer(), axis="semantic_understanding", n=8))
    assert [row.category for row in found] == list(SEMANTIC_CATEGORIES)


@pytest.mark.parametrize(
    ("n_categories", "n_lengths", "n_styles"), [(8, 3, 6), (3, 3, 3), (5, 1, 4), (1, 4, 2), (2, 6, 5)]
)
def test_cells_are_every_combination_once_and_change_from_one_to_the_next(
    n_categories: int, n_lengths: int, n_styles: int
) -> None:
    names = [f"c{number}" for number in range(n_categories)]
    lengths = [(number + 1, number + 9) for number in range(n_lengths)]
    styles = [f"s{number}" for number in range(n_styles)]
    found = cells(names, lengths, styles)
    assert len(set(found)) == len(found) == n_categories * n_lengths * n_styles
    for start in range(0, len(found), n_categories):
        assert [cell.category for cell in found[start : start + n_categories]] == names
    few = found[: max(n_lengths, n_styles)]
    if n_categories >= max(n_lengths, n_styles):
        assert {cell.length for cell in few} == set(lengths)
        assert {cell.style for cell in few} == set(styles)


def test_rows_are_the_same_however_they_are_cut(tmp_path: Path) -> None:
    whole = rows(source_of(tmp_path / "whole", Writer(), n=100, **SMALL))
    cut = source_of(tmp_path / "cut", Writer(), n=100, **SMALL)
    pieces = [rows(cut, start, start + 7) for start in reversed(range(0, 100, 7))]
    assert [row for piece in reversed(pieces) for row in piece] == whole
    alone = source_of(tmp_path / "alone", Writer(), n=100, **SMALL)
    assert rows(alone, 93, 94) == whole[93:94]


def test_a_larger_n_keeps_the_rows_and_asks_only_for_the_rest(tmp_path: Path) -> None:
    first, second = Writer(), Writer()
    few = source_of(tmp_path, first, n=40, **SMALL)
    more = source_of(tmp_path, second, n=90, **SMALL)
    assert few.parts()[0].digest == more.parts()[0].digest
    before = rows(few)
    assert rows(more)[:40] == before
    assert not {item.subject for item in first.asked} & {item.subject for item in second.asked}
    # 2 categories x 3 lengths = 6 lanes of 15 rows are 5 blocks of 3 each; 40 rows took 3 blocks of the first 4 lanes
    # (7 rows) and 2 of the others (6 rows)
    assert (len(first.asked), len(second.asked)) == (4 * 3 + 2 * 2, 6 * 5 - 16)


def test_what_is_decided_outside_n_makes_another_part(tmp_path: Path) -> None:
    def digest(seed: int = SEED, **more: Any) -> str:
        params = Params(llm="writer", **({"n": 9} | SMALL | more))
        return llm.build(params, seed, ask=lambda _: []).parts()[0].digest

    same = {digest(), digest(n=10), digest(name="mine"), digest(licence="CC0-1.0")}
    assert len(same) == 1
    others = [
        digest(temperature=0.5),
        digest(per_request=4),
        digest(n_ban=3),
        digest(styles=("photograph",)),
        digest(lengths=((4, 8),)),
        digest(examples=False),
        digest(examples=("a blue dog and a red cat",)),
        digest(briefs={"color": "one thing in an unusual colour"}),
        digest(seed=6),
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_blocks_show_what_the_waves_before_them_gave_in_their_lane(tmp_path: Path) -> None:
    writer = Writer()
    found = rows(source_of(tmp_path, writer, n=6 * 3 * 7, n_ban=5, **SMALL))
    # 7 blocks a lane come in waves of 1, 2 and 4: three calls for all 6 lanes together
    assert writer.batches == [6, 12, 24]
    by_lane: dict[str, dict[int, Request]] = {}
    for item in writer.asked:
        label, _, block = item.subject.rpartition("#")
        by_lane.setdefault(label, {})[int(block)] = item
    assert len(by_lane) == 6
    lane = by_lane["semantic_understanding/color/5-9/none"]
    texts = [row.text for row in found[0::6]]  # the first lane's rows: places 0 to 2 of block 0, then block 1, ...
    assert data_of(lane[0])["avoid"] == []
    assert data_of(lane[1])["avoid"] == data_of(lane[2])["avoid"] == texts[0:3]
    assert all(data_of(lane[block])["avoid"] == texts[4:9] for block in (3, 4, 5, 6))  # the newest 5 of 9


def test_requests_say_what_the_cell_wants_and_nothing_else(tmp_path: Path) -> None:
    writer = Writer()
    rows(source_of(tmp_path, writer, n=1, n_hints=4, styles=("watercolour",), lengths=((4, 8),), **SMALL))
    (first,) = writer.asked
    data = data_of(first)
    assert (data["count"], data["category"], data["words"], data["style"]) == (3, "color", [4, 8], "watercolour")
    assert data["examples"] == list(briefs()["semantic_understanding"].categories["color"].examples)
    assert 1 <= len(data["hints"]) <= 4
    prompts = first.schema["properties"]["prompts"]
    assert (prompts["maxItems"], prompts["items"]["maxLength"]) == (3, 96)  # 8 words of 12 characters


def test_own_categories_and_examples_are_told(tmp_path: Path) -> None:
    writer = Writer()
    own = {"briefs": {"glass": "things of glass"}, "categories": ("glass",), "examples": ("a glass fish",)}
    rows(source_of(tmp_path, writer, axis="image_quality", n=1, **own))
    data = data_of(writer.asked[0])
    assert (data["category"], data["what"], data["examples"]) == ("glass", "things of glass", ["a glass fish"])


def spoiled(subject_end: str, said: str) -> Any:
    return lambda request: said if request.subject.endswith(subject_end) else None


def test_a_malformed_block_gives_rows_that_say_so(tmp_path: Path) -> None:
    writer = Writer(spoiled("color/5-9/none#1", "Sure! Here are three prompts:"))
    found = rows(source_of(tmp_path, writer, n=60, **SMALL))
    bad = [row for row in found if row.text is None]
    # lane 0 has the rows 0, 6, 12, ...; its block 1 the rows 18, 24 and 30
    assert [row.row for row in bad] == [18, 24, 30]
    assert {(row.fault, row.fault_detail) for row in bad} == {
        ("llm_malformed", "malformed_json: Expecting value at character 0")
    }
    assert {row.axis for row in bad} == {"semantic_understanding"}
    assert len(writer.asked) == 24 + 2  # 10 rows a lane are 4 blocks; one of the 24 was tried three times


def test_too_few_prompts_and_empty_ones_are_faults_of_their_rows(tmp_path: Path) -> None:
    writer = Writer(spoiled("color/5-9/none#0", json.dumps({"prompts": ["a red cup", " \u200b "]})))
    found = rows(source_of(tmp_path, writer, n=18, **SMALL))
    assert [(row.row, row.fault, row.fault_detail) for row in found if row.text is None] == [
        (6, "empty", "3 characters, none of them visible"),
        (12, "llm_short", "2 prompts in the answer"),
    ]


def test_a_lost_model_raises_and_loses_nothing(tmp_path: Path) -> None:
    first, second = Writer(lost_after=9), Writer()
    with pytest.raises(EnvironmentFault):
        rows(source_of(tmp_path, first, n=100, **SMALL))
    found = rows(source_of(tmp_path, second, n=100, **SMALL))
    assert not {item.subject for item in first.asked} & {item.subject for item in second.asked}
    assert found == rows(source_of(tmp_path / "other", Writer(), n=100, **SMALL))


PARENTS = ["two red cups on a green table", 'a wooden sign that says "OPEN"', "a quiet lake at dawn"]


@pytest.fixture
def parents(tmp_path: Path) -> str:
    path = tmp_path / "parents.jsonl"
    lines = [json.dumps({"text": text}) for text in PARENTS]
    path.write_text("\n".join([*lines, '{"text": ""}', "{broken", '{"other": 1}']) + "\n", "utf-8")
    return str(path)


def test_rewrites_share_their_parent_and_take_turns_in_length(tmp_path: Path, parents: str) -> None:
    writer = Writer()
    found = rows(source_of(tmp_path, writer, task="rewrite", parents=(parents,), n=12))
    for number, text in enumerate(PARENTS):
        for row in (found[number], found[6 + number]):
            assert (row.parent_id, row.axis, row.category) == (prompt_id(text), None, None)
            assert row.text.startswith(text)
    asked = {item.subject: data_of(item) for item in writer.asked}
    assert [asked[name]["words"] for name in asked if asked[name]["prompt"] == PARENTS[0]] == [[15, 28], [29, 45]]
    again = next(data for name, data in asked.items() if data["prompt"] == PARENTS[0] and name.endswith("#1"))
    assert again["avoid"] == [found[0].text]


def test_parents_that_cannot_be_read_are_rows_and_never_asked(tmp_path: Path, parents: str) -> None:
    writer = Writer()
    found = rows(source_of(tmp_path, writer, task="rewrite", parents=(parents,)))
    assert len(found) == 6
    assert [(row.fault, row.fault_detail.partition(":")[0]) for row in found[3:]] == [
        ("bad_parent", "empty"),
        ("bad_parent", "malformed_json"),
        ("bad_parent", "not_a_string"),
    ]
    assert len(writer.asked) == 3


def test_a_rewrite_that_breaks_its_parents_contract_is_a_row_without_text(tmp_path: Path) -> None:
    path = tmp_path / "parents.txt"
    path.write_text("\n".join(PARENTS), "utf-8")
    said = {
        PARENTS[0]: "Three red cups on a green table in the sun",
        PARENTS[1]: 'A weathered wooden sign that says "CLOSED" by the sea',
        PARENTS[2]: "A quiet lake at dawn under thin mist",
    }
    writer = Writer(lambda request: json.dumps({"prompts": [said[data_of(request)["prompt"]]]}))
    found = rows(source_of(tmp_path, writer, task="rewrite", parents=(str(path),)))
    assert [(row.fault, row.fault_detail) for row in found] == [
        ("contract_broken", "lost 2 red cup"),
        ("contract_broken", "lost 1 of 1 texts, 1 texts added"),
        (None, None),
    ]
    assert found[2].text == said[PARENTS[2]]


@pytest.mark.parametrize(
    ("parent", "rewrite", "broken"),
    [
        ("a red apple", "A shiny red apple on a plate in the morning light", ()),
        ("a red apple", "A shiny green apple on a plate", ("red apple",)),
        ("a red apple", "Five red apples on a plate", ("red apple",)),
        ("lemons in a bowl", "Seven lemons in a deep bowl", ()),  # a bare plural leaves the number open
        ("two lemons in a bowl", "Seven lemons in a deep bowl", ("2 lemon",)),
        ("a dog beside a cat", "A dog asleep by the fire", ("cat",)),
        ("a quiet lake", 'A quiet lake and a sign that says "LAKE"', ("1 texts added",)),
        ('a mug that reads "TEA"', "A white mug that reads “TEA” in a kitchen", ()),
        ('a mug that reads "TEA"', 'A white mug that reads "Tea" in a kitchen', ("1 of 1 texts", "1 texts added")),
        ('a sign that reads "TEA"', 'An old lamp that reads "TEA"', ("sign",)),
        ("", "", ()),
    ],
)
def test_the_contract_is_things_numbers_colours_and_text(parent: str, rewrite: str, broken: tuple[str, ...]) -> None:
    assert lost(parent, rewrite) == broken


EXAMPLES = [example for axis in briefs().values() for brief in axis.categories.values() for example in brief.examples]


@pytest.mark.parametrize("text", PARENTS + EXAMPLES)
def test_a_text_keeps_its_own_contract(text: str) -> None:
    assert lost(text, text) == ()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "needs axis and n"),
        ({"axis": "image_quality"}, "needs axis and n"),
        ({"axis": "image_quality", "n": 5, "parents": ("a.txt",)}, "parents are for task 'rewrite'"),
        ({"axis": "image_quality", "n": 5, "categories": ("color",)}, "no category 'color'; it has portrait"),
        ({"task": "rewrite"}, "needs parents"),
        ({"task": "rewrite", "parents": ("a.txt",), "categories": ("x",)}, "for task 'invent'"),
        ({"axis": "image_quality", "n": 5, "lengths": ((9, 4),)}, r"length \[9, 4\]"),
        ({"axis": "image_quality", "n": 5, "styles": ("a", "a")}, "styles has an entry twice"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Params(llm="writer", **params)


def test_parents_of_an_unknown_kind_or_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    for name, message in (("p.csv", r"\.txt or \.jsonl"), ("none.txt", "no such file"), ("empty.txt", "no row")):
        with pytest.raises(SourceFault, match=message):
            source_of(tmp_path, Writer(), task="rewrite", parents=(str(tmp_path / name),)).parts()
