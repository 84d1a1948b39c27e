"""The client of a language model server against a real server process that behaves as badly as each prompt says."""

import base64
import io
import json
import random
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.models.language.server import Params, Server, build
from promptforge.protocols import Completion, Request

pytestmark = pytest.mark.models

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
QUICK = {"backoff_s": 0.05, "stall_s": 0.6, "min_tokens_per_s": 5, "first_token_s": 1.5, "max_retries": 2}


class Hostile:
    """The server process."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("hostile_server.py"))
        self.process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
        self.address = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def get(self, path: str, data: object = None) -> dict:
        sent = None if data is None else json.dumps(data).encode()
        with urllib.request.urlopen(self.address + path, sent, timeout=5) as answer:
            return json.load(answer)

    def tries(self, name: str) -> list[dict]:
        return [entry for entry in self.get("/stats")["seen"] if entry["id"] == name]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def process() -> Iterator[list[Hostile]]:
    """The one server of this file; a test that kills it leaves the next one to start another."""
    running = [Hostile()]
    yield running
    running[0].stop()


@pytest.fixture
def server(process: list[Hostile]) -> Hostile:
    if process[0].process.poll() is not None:
        process[0].stop()
        process[0] = Hostile()
    process[0].get("/forget")
    return process[0]


@pytest.fixture
def client(server: Hostile) -> Callable[..., Server]:
    def make(**params: object) -> Server:
        return build(Params(base_url=f"{server.address}/v1", model="tiny", **{**QUICK, **params}))

    return make


def ask(name: str, *do: Sequence[object]) -> Request:
    user = json.dumps({"id": name, **({"do": do} if do else {})})
    return Request("judge", "v", name, "Be brief.", user, SCHEMA, max_tokens=50)


def gather(model: Server, requests: Sequence[Request]) -> tuple[dict[int, Completion], EnvironmentFault | None]:
    """What came before the end, and the fault that it ended with."""
    got: dict[int, Completion] = {}
    try:
        for place, completion in filter(None, model.complete(requests)):
            assert place not in got, "one completion a request"
            got[place] = completion
    except EnvironmentFault as exc:
        return got, exc
    return got, None


def test_every_request_is_answered_once_at_its_place_and_never_more_at_once_than_allowed(server, client):
    state = random.getstate()
    got, fault = gather(client(concurrency=4), [ask(f"row {n}", ["slowly", 0.05]) for n in range(20)])
    assert fault is None
    assert {n: json.loads(each.text)["answer"] for n, each in got.items()} == {n: f"row {n}" for n in range(20)}
    assert {(each.n_tokens_in, each.n_tokens_out, each.finish, each.error) for each in got.values()} == {
        (7, 3, "stop", None)  # what the server's usage says
    }
    stats = server.get("/stats")
    assert (stats["most"], len(stats["seen"])) == (4, 20)
    assert random.getstate() == state


def test_an_answer_is_given_while_a_slower_one_is_still_awaited(server, client):
    places = filter(None, client(concurrency=2).complete([ask("slow", ["slowly", 1]), ask("fast")]))
    assert [place for place, _ in places] == [1, 0]


def test_no_requests_need_no_server():
    assert list(build(Params(base_url="http://127.0.0.1:9/v1", model="tiny")).complete([])) == []


def test_the_request_says_what_was_asked(server, client):
    picture = np.random.default_rng(5).integers(0, 256, (48, 31, 3), dtype=np.uint8)
    request = replace(ask("row"), picture=picture, seed=9, temperature=0.7)
    model = client(top_p=0.9, top_k=5, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    gather(model, [request])
    body = server.tries("row")[0]["body"]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "judge", "schema": SCHEMA, "strict": True},
    }
    told = {"model", "seed", "temperature", "max_tokens", "stream", "stream_options", "top_p", "top_k"}
    assert {key: body[key] for key in told} == {
        "model": "tiny",
        "seed": 9,
        "temperature": 0.7,
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_p": 0.9,
        "top_k": 5,
    }
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    image, text = user["content"]
    assert (user["role"], text) == ("user", {"type": "text", "text": request.user})
    form, _, data = image["image_url"]["url"].partition(",")
    assert form == "data:image/png;base64"
    from PIL import Image

    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(seen, picture)


def test_the_schema_can_go_in_the_field_of_vllm(server, client):
    gather(client(structure="structured_outputs"), [replace(ask("row"), system="")])
    body = server.tries("row")[0]["body"]
    assert body["structured_outputs"] == {"json": SCHEMA}
    assert "response_format" not in body
    assert [each["role"] for each in body["messages"]] == ["user"]


def test_retry_after_holds_back_every_request_as_long_as_it_says(server, client):
    requests = [ask("told", ["status", 429, {"retry-after": "1"}], ["well"])]
    requests += [ask(f"row {n}", ["slowly", 0.1]) for n in range(12)]
    got, fault = gather(client(concurrency=2), requests)
    assert fault is None
    assert all(each.error is None for each in got.values())
    first, second = (entry["at"] for entry in server.tries("told"))
    assert second - first >= 1
    # The one other request that was in flight may still be read a moment after the 429.
    assert not [e for e in server.get("/stats")["seen"] if first + 0.3 < e["at"] < first + 0.95]


def test_a_longer_retry_after_than_the_bound_ends_the_run_at_once(server, client):
    started = time.monotonic()
    got, fault = gather(client(), [ask("row", ["status", 429, {"retry-after": "3600"}])])
    assert "asks to wait 3600 s, more than max_wait_s = 60" in str(fault)
    assert (got, time.monotonic() - started < 5) == ({}, True)


def test_a_server_that_stays_busy_is_no_fault_of_the_row(server, client):
    got, fault = gather(client(concurrency=1), [ask("good"), ask("row", ["status", 429])])
    assert [*got] == [0]
    assert "3 tries failed, the last with: HTTP 429" in str(fault)
    assert "lower concurrency" in str(fault)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (["status", 500], "HTTP 500"),
        (["status", 503], "HTTP 503"),
        (["garbage"], "no chat completion"),
        (["bad_gzip"], "connection: "),
        (["bad_head"], "connection: "),
        (["odd_json"], "without choices"),
        (["half_json"], "the stream ended|no chat completion"),
        (["cut"], "the stream ended after 11 characters"),
        (["reset"], "connection"),
        (["two_choices"], "more than the one choice"),
        (["no_choices"], "the stream ended after 0 characters"),
        (["page"], "content type 'text/html'"),
        (["endless"], "more than max_tokens allows"),
        (["error_inside", 500], "the engine is dead"),
        (["late", 60], "no token within first_token_s = 1.5"),
        (["silent"], "no token for stall_s = 0.6 s after 12 characters"),
        (["trickle", 0.4], "under min_tokens_per_s = 5"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_fault_is_tried_again_and_where_it_stays_and_others_are_answered_it_is_the_row_s(server, client, do, said):
    requests = [ask("once", do, ["well"]), ask("always", do), ask("good")]
    got, fault = gather(client(max_retries=1, concurrency=3), requests)
    assert fault is None
    assert (json.loads(got[0].text), got[0].error) == ({"answer": "once"}, None)
    assert (json.loads(got[2].text), got[2].error) == ({"answer": "good"}, None)
    assert (got[1].text, got[1].finish, got[1].n_tokens_out) == ("", "error", 0)
    assert got[1].error.startswith("2 tries failed, the last with: ")
    assert any(part in got[1].error for part in said.split("|")), got[1].error
    assert (len(server.tries("once")), len(server.tries("always")), len(server.tries("control"))) == (2, 2, 1)


@pytest.mark.parametrize("do", [["silent"], ["trickle", 0.4]], ids=["silent", "trickling"])
def test_a_stuck_server_that_says_it_is_healthy_ends_the_run_after_what_was_done(server, client, do):
    server.get("/control", [do])
    requests = [*(ask(f"good {n}") for n in range(5)), ask("row", do)]
    got, fault = gather(client(max_retries=1), requests)
    assert sorted(got) == [0, 1, 2, 3, 4]
    assert server.get("/health") == {}
    assert "a control request failed too" in str(fault)
    assert "start it again (it may say that it is healthy)" in str(fault)


def test_a_slow_first_token_and_a_long_thought_are_no_stall(server, client):
    got, fault = gather(client(max_retries=0), [ask("slow", ["late", 1.0]), ask("thinks", ["think"])])
    assert (fault, got[0].text, got[1].text) == (None, "{}", "{}")


def test_a_refused_request_is_the_row_s_error_and_is_sent_once(server, client):
    requests = [ask("bad", ["status", 400, {}, "too long"]), ask("worse", ["status", 422]), ask("good")]
    got, fault = gather(client(), requests)
    assert fault is None
    assert (got[0].error, got[1].error, got[2].error) == ("HTTP 400: too long", "HTTP 422: no", None)
    assert (len(server.tries("bad")), len(server.tries("worse"))) == (1, 1)


def test_a_server_that_refuses_every_request_is_no_fault_of_the_rows(server, client):
    server.get("/control", [["status", 400, {}, "no such field"]])
    got, fault = gather(client(), [ask(f"row {n}", ["status", 400, {}, "no such field"]) for n in range(3)])
    assert got == {}
    assert "HTTP 400: no such field; a control request failed too (HTTP 400: no such field)" in str(fault)


def test_the_control_request_holds_nothing_of_the_row_but_schema_and_kind(server, client):
    black = np.zeros((8, 8, 3), dtype=np.uint8)
    gather(client(), [replace(ask("secret", ["status", 400]), picture=black)])
    (seen,) = server.tries("control")
    assert "secret" not in json.dumps(seen["body"]["messages"])
    assert [part["type"] for part in seen["body"]["messages"][0]["content"]] == ["image_url", "text"]
    assert seen["body"]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_wrong_key_ends_the_run_at_once_and_is_never_repeated(server, client, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "sk-very-secret")
    got, fault = gather(client(api_key_env="TINY_KEY"), [ask("row", ["echo_key", 401, "sk-very-secret"])])
    assert (got, len(server.tries("row"))) == ({}, 1)
    assert server.tries("row")[0]["headers"]["authorization"] == "Bearer sk-very-secret"
    assert "HTTP 401: Incorrect API key provided: ***" in str(fault)
    assert "secret" not in "".join(traceback.format_exception(fault))


def test_a_key_that_a_long_message_was_cut_in_is_not_repeated_either(server, client, monkeypatch):
    key = "sk-very-secret-" + "0123456789" * 30
    monkeypatch.setenv("TINY_KEY", key)
    _, fault = gather(client(api_key_env="TINY_KEY"), [ask("row", ["echo_key", 401, key])])
    assert "HTTP 401: Incorrect API key provided: ***" in str(fault)
    assert "secret" not in str(fault)


def test_a_key_for_another_server_is_not_sent(server, client, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    got, _ = gather(client(), [ask("row")])
    assert got[0].error is None
    assert "other" not in json.dumps(server.tries("row")[0]["headers"])


def test_a_redirect_is_not_followed(server, client):
    other = Hostile()
    try:
        where = {"location": f"{other.address}/v1/chat/completions"}
        _, fault = gather(client(), [ask("row", ["status", 307, where])])
        assert f"HTTP 307: sent on to {other.address}/v1/chat/completions, which is never followed" in str(fault)
        assert other.get("/stats")["seen"] == []
    finally:
        other.stop()


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(server, client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    got, _ = gather(client(), [ask("row")])
    assert got[0].error is None


@pytest.mark.parametrize(
    ("do", "text", "finish", "error", "counts"),
    [
        (["no_usage"], "{}", "stop", None, (0, 0)),
        (["no_end_mark"], "{}", "stop", None, (0, 0)),
        (["finish", "length"], '{"a', "length", None, (7, 3)),
        (["finish", "content_filter"], '{"a', "error", "refused: the server's content filter", (7, 3)),
        (["refuse"], "", "error", "refused: I will not", (7, 3)),
        (["halves"], "\U0001f600 \ufffd", "stop", None, (7, 3)),
        (["well", "not { json"], "not { json", "stop", None, (7, 3)),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_how_an_answer_ended_is_told(server, client, do, text, finish, error, counts):
    found, _ = gather(client(max_retries=0), [ask("row", do)])
    got = found[0]
    assert (got.text, got.finish, got.error) == (text, finish, error)
    assert (got.n_tokens_in, got.n_tokens_out) == counts


def test_a_server_that_is_killed_in_the_middle_loses_nothing_that_was_done(server, client):
    requests = [*(ask(f"good {n}") for n in range(6)), *(ask(f"slow {n}", ["slowly", 30]) for n in range(3))]
    got: dict[int, Completion] = {}
    with pytest.raises(EnvironmentFault, match="then run again: what was answered is not asked again") as fault:
        for place, completion in filter(None, client(concurrency=9, first_token_s=20).complete(requests)):
            got[place] = completion
            if len(got) == 6:
                server.process.kill()
                server.process.wait()
    assert sorted(got) == [0, 1, 2, 3, 4, 5]
    assert "connection" in str(fault.value)


def test_what_is_being_answered_when_the_run_ends_is_still_given(server, client):
    requests = [ask("slow", ["slowly", 0.4]), ask("key", ["status", 401])]
    got, fault = gather(client(first_token_s=5), requests)
    assert "HTTP 401" in str(fault)
    assert [*got] == [0]


def test_faults_of_different_kinds_in_a_row_are_mended_by_tries(server, client):
    got, fault = gather(client(), [ask(f"row {n}", ["reset"], ["status", 502], ["well"]) for n in range(4)])
    assert fault is None
    assert all(each.error is None for each in got.values())


def test_a_silent_server_leaves_the_caller_a_look_around_every_second(server, client):
    answers = client(first_token_s=60).complete([ask("slow", ["slowly", 30])])
    started = time.monotonic()
    assert [next(answers), next(answers)] == [None, None]
    assert 1.5 < time.monotonic() - started < 5
    answers.close()


def test_closing_early_ends_what_is_in_flight_and_asks_no_more(server, client):
    requests = [ask("good"), *(ask(f"slow {n}", ["slowly", 30]) for n in range(20))]
    answers = client(concurrency=4, first_token_s=60).complete(requests)
    assert next(answers)[0] == 0
    while server.get("/stats")["open"] < 4:
        time.sleep(0.02)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 2
    deadline = time.monotonic() + 3
    while (stats := server.get("/stats"))["open"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (stats["open"], len(stats["seen"])) == (0, 5)
    assert [each.name for each in threading.enumerate() if each.name == "language-model"] == []
