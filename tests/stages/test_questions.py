"""The stage that fills the table questions: by scene, or by a language model where words are not understood."""

import json
from collections import Counter

import pytest

from promptforge import catalog
from promptforge.protocols import Answer
from promptforge.stages import dedup, filter, generate, questions, render
from promptforge.stages.run import prepare

PROMPTS = [
    "three blue cups beside a lamp",
    "a red apple on a green table",
    "a gryphon above a red castle",  # gryphon: no word of the lexicon
    "a quokka beside a lamp",  # nor is quokka
]
SERVER = {"kind": "server", "base_url": "http://127.0.0.1:9/v1", "model": "nobody"}


def recipe(folder, prompts=PROMPTS, **more):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in prompts), "utf-8")
    return {
        "name": "asked",
        "sources": [{"kind": "files", "paths": [str(path)], "name": "own", "axis": "semantic_understanding"}],
        "regime": {"teacher": "canvas", "size": 128},
        **more,
    }


def started(root, raw):
    """A run with its text stages done, and their commits."""
    run = prepare(root, raw, "test")
    commits = []
    for shard in generate.shards(run):
        made, _ = run.work(generate.unit(run, shard))
        commits += [made, run.work(filter.unit(run, made))[0]]
    return run, [*commits, run.work(dedup.unit(run, commits))[0]]


def table(run, commits, commit):
    with catalog.connect(run.store, [*commits, commit]) as con:
        return (
            con.sql(
                "SELECT text_clean, place, key, requires, verified, origin, q.text AS question"
                " FROM questions q JOIN kept USING (prompt_id) ORDER BY stream_order, place"
            )
            .to_arrow_table()
            .to_pylist()
        )


class Asked:
    """An Ask that notes what is asked and answers by the prompt."""

    def __init__(self, answers):
        self.answers, self.requests = answers, []

    def __call__(self, requests):
        self.requests += requests
        return [next(a for text, a in self.answers.items() if text in request.user) for request in requests]


@pytest.fixture
def asked(monkeypatch):
    def put(run, answers):
        ask = Asked(answers)
        monkeypatch.setattr(type(run), "ask", lambda _run, name: {"writer": ask}[name])
        return ask

    return put


def gryphon(text="Is there a gryphon?"):
    one = {"id": 1, "kind": "object", "text": text, "noun": "gryphon", "value": "", "other": "", "requires": []}
    return Answer(value={"questions": [one]})


def test_questions_come_from_the_scene_in_order(tmp_path):
    run, commits = started(tmp_path / "run", recipe(tmp_path / "in"))
    commit, tally = run.work(questions.unit(run, commits))
    rows = table(run, commits, commit)
    assert [row["key"] for row in rows if row["text_clean"] == PROMPTS[0]] == [
        "object:cup",
        "object:lamp",
        "count:cup:3",
        "colour:cup:blue",
        "relation:cups:next to:lamp",
    ]
    assert [row["place"] for row in rows if row["text_clean"] == PROMPTS[0]] == [0, 1, 2, 3, 4]
    assert {row["origin"] for row in rows} == {"scene"}
    assert Counter(row["text_clean"] for row in rows) == {PROMPTS[0]: 5, PROMPTS[1]: 5, PROMPTS[2]: 2, PROMPTS[3]: 1}
    assert (tally.done, tally.rows) == (1, 13)
    assert run.work(questions.unit(run, commits))[1].skipped == 1


def test_a_model_parses_what_the_lexicon_does_not_know(tmp_path, asked):
    raw = recipe(tmp_path / "in", llm={"writer": SERVER}, questions={"llm": "writer"})
    run, commits = started(tmp_path / "run", raw)
    ask = asked(run, {"gryphon": gryphon(), "quokka": Answer(error="malformed_json: no end")})
    commit, _ = run.work(questions.unit(run, commits))
    rows = table(run, commits, commit)
    assert len(ask.requests) == 2
    assert {(row["text_clean"], row["origin"]) for row in rows} == {
        (PROMPTS[0], "scene"),
        (PROMPTS[1], "scene"),
        (PROMPTS[2], "llm"),
        (PROMPTS[3], "scene"),  # the answer failed: the scene's lamp is asked for
    }
    assert [row["question"] for row in rows if row["origin"] == "llm"] == ["Is there a gryphon?"]
    assert (commit.counts["parsed"], commit.counts["parse_failed"]) == (1, 1)


def test_an_answer_without_a_usable_question_leaves_those_of_the_scene(tmp_path, asked):
    raw = recipe(tmp_path / "in", PROMPTS[2:3], llm={"writer": SERVER}, questions={"llm": "writer"})
    run, commits = started(tmp_path / "run", raw)
    asked(run, {"gryphon": gryphon("A gryphon.")})
    commit, _ = run.work(questions.unit(run, commits))
    assert {row["origin"] for row in table(run, commits, commit)} == {"scene"}


def test_requests_name_the_prompt_and_hold_its_text_as_data(tmp_path, asked):
    raw = recipe(tmp_path / "in", llm={"writer": SERVER}, questions={"llm": "writer"})
    run, commits = started(tmp_path / "run", raw)
    ask = asked(run, {"gryphon": gryphon(), "quokka": gryphon()})
    run.work(questions.unit(run, commits))
    with catalog.connect(run.store, commits) as con:
        ids = dict(con.sql("SELECT text_clean, prompt_id FROM kept").fetchall())
    assert {request.subject for request in ask.requests} == {ids[PROMPTS[2]], ids[PROMPTS[3]]}
    for request in ask.requests:
        assert request.task == "parse"
        data = request.user.split("<<<DATA\n")[1].split("\nDATA>>>")[0]
        assert ids[json.loads(data)["prompt"]] == request.subject


def test_prompts_that_are_not_drawn_are_not_parsed(tmp_path, asked):
    raw = recipe(
        tmp_path / "in",
        llm={"writer": SERVER},
        questions={"llm": "writer"},
        select={"quota": {"semantic_understanding": 3}},
    )
    run, commits = started(tmp_path / "run", raw)
    ask = asked(run, {"gryphon": gryphon(), "quokka": gryphon()})
    commit, _ = run.work(questions.unit(run, commits))
    plan = render.plan_unit(run, commits).make()[0]["render_plan"]
    assert [request.subject in set(plan["prompt_id"].to_pylist()) for request in ask.requests] == [True]
    assert {row["text_clean"] for row in table(run, commits, commit)} == set(PROMPTS)  # asked for by their scene


def test_in_rounds_no_more_prompts_are_parsed_than_the_budget_could_draw(tmp_path, asked):
    raw = recipe(
        tmp_path / "in",
        llm={"writer": SERVER},
        questions={"llm": "writer"},
        select={"policy": "images", "quota": {"semantic_understanding": 2}},
        rounds={"max_renders": 3},
    )
    run, commits = started(tmp_path / "run", raw)
    ask = asked(run, {"gryphon": gryphon(), "quokka": gryphon()})
    run.work(questions.unit(run, commits))
    with catalog.connect(run.store, commits) as con:
        first = con.sql("SELECT prompt_id FROM kept ORDER BY stream_order LIMIT 3").fetchall()
    asked_of = [request.subject for request in ask.requests]
    assert len(asked_of) == 1
    assert {(one,) for one in asked_of} < set(first)


def test_the_digest_follows_the_model_and_the_texts(tmp_path):
    def digest(name, prompts=PROMPTS, **more):
        run, commits = started(tmp_path / name, recipe(tmp_path / f"{name}-in", prompts, **more))
        return questions.unit(run, commits).digest

    asks = {"questions": {"llm": "writer"}}
    assert digest("a") == digest("b")
    assert digest("c", llm={"writer": SERVER}) == digest("a")
    with_one = digest("d", llm={"writer": SERVER}, **asks)
    with_other = digest("e", llm={"writer": {**SERVER, "model": "somebody"}}, **asks)
    assert len({digest("a"), with_one, with_other, digest("f", PROMPTS[:3])}) == 4
    moved = {**SERVER, "base_url": "http://127.0.0.1:10/v1", "concurrency": 3, "price_out": 2.0}
    assert digest("g", llm={"writer": moved}, **asks) == with_one
